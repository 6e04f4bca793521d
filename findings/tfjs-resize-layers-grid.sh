#!/usr/bin/env bash
# TensorFlow.js: the layers Resizing and UpSampling2D read an image at other positions than the Keras layers.
#
# Versions: @tensorflow/tfjs-core, @tensorflow/tfjs-backend-cpu and @tensorflow/tfjs-layers 4.22.0.
# Expected: the layers have the names and options of Keras, whose bilinear interpolation takes pixels for squares (the
#   middle of pixel 0 is 0.5), so that half the width of 0 1 2 3 is 0.5 2.5. tf.image.resizeBilinear has the option
#   halfPixelCenters for this grid. cropToAspectRatio=true cuts the border away before the image is resized.
# Observed: Resizing aligns the corners: 0 1 2 3 becomes 0 3. UpSampling2D with "bilinear" scales from the corner: 0 1
#   becomes 0 0.5 1 1, in place of 0 0.25 0.75 1. No option of the layers changes this. cropToAspectRatio=true cuts
#   nothing; it selects the grid that scales from the corner, and 0 1 2 3 becomes 0 2, in place of 1 2.
# Matters: a network that was trained with Keras gets other pixels in a browser, without a message. Resize with tf.image
#   and halfPixelCenters before the network, or with "nearest" for whole factors of enlargement.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-backend-cpu@4.22.0 \
    @tensorflow/tfjs-layers@4.22.0 > log 2>&1 || { cat log >&2; exit 1; }
cat > program.js <<'JAVASCRIPT'
const assert = require("assert");
const tf = require("@tensorflow/tfjs-core");
require("@tensorflow/tfjs-backend-cpu");
const { layers } = require("@tensorflow/tfjs-layers");

const row = (width) => tf.tensor4d([...Array(width).keys()], [1, 1, width, 1]);
const numbers = (tensor) => Array.from(tensor.dataSync()).map((value) => Number(value.toFixed(3)));
const clip = (position, width) => Math.min(Math.max(position, 0), width - 1);

/** Return the resized row 0, 1, ... whose pixel at a position is the position, within the borders. */
const halfPixel = (width, size) =>
  [...Array(size).keys()].map((index) => clip(((index + 0.5) * width) / size - 0.5, width));
const corners = (width, size) => [...Array(size).keys()].map((index) => (index * (width - 1)) / (size - 1));
const fromCorner = (width, size) => [...Array(size).keys()].map((index) => clip((index * width) / size, width));

function equal(first, second) {
  return first.every((value, index) => Math.abs(value - second[index]) < 2e-3);
}

for (const [width, size] of [[4, 2], [28, 14], [5, 3], [2, 4], [4, 8]]) {
  const image = row(width);
  const resized = numbers(layers.resizing({ height: 1, width: size, interpolation: "bilinear" }).apply(image));
  const options = { height: 1, width: size, interpolation: "bilinear", cropToAspectRatio: true };
  const cropped = numbers(layers.resizing(options).apply(image));
  const reference = numbers(tf.image.resizeBilinear(image, [1, size], false, true));
  if (width < 10) {
    console.log(`width ${width} to ${size}: Resizing ${resized}; with cropToAspectRatio ${cropped}; ` +
      `tf.image with halfPixelCenters ${reference}`);
  }
  assert(equal(reference, halfPixel(width, size)));
  assert(equal(resized, corners(width, size)) && !equal(resized, reference));
  assert(equal(cropped, fromCorner(width, size)));
  if (size % width === 0) {
    const factor = size / width;
    const enlarged = numbers(layers.upSampling2d({ size: [1, factor], interpolation: "bilinear" }).apply(image));
    const nearest = numbers(layers.upSampling2d({ size: [1, factor], interpolation: "nearest" }).apply(image));
    console.log(`  UpSampling2D, bilinear ${enlarged}; nearest ${nearest}`);
    assert(equal(enlarged, fromCorner(width, size)) && !equal(enlarged, reference));
    assert(equal(nearest, numbers(tf.image.resizeNearestNeighbor(image, [1, size], false, true))));
  }
}

const digit = tf.tidy(() => tf.tensor4d(
  [...Array(28 * 28).keys()].map((index) => Number(Math.hypot((index % 28) - 13, Math.floor(index / 28) - 11) < 8)),
  [1, 28, 28, 1]));
const small = layers.resizing({ height: 14, width: 14, interpolation: "bilinear" }).apply(digit);
const difference = tf.abs(tf.sub(small, tf.image.resizeBilinear(digit, [14, 14], false, true)));
const changed = tf.sum(tf.cast(tf.greater(difference, 0.01), "float32")).dataSync()[0];
console.log("a disc of 28x28 pixels at 14x14: pixels that differ", changed, "by up to", numbers(tf.max(difference))[0]);
assert(changed > 8);
JAVASCRIPT
node program.js 2>> log || { cat log >&2; exit 1; }
