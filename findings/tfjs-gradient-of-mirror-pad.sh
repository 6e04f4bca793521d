#!/usr/bin/env bash
# TensorFlow.js: tf.mirrorPad and resizing with halfPixelCenters have the gradients of other operators.
#
# Versions: @tensorflow/tfjs 4.22.0 (backend "cpu").
# Expected: the gradient of an operator agrees with numeric derivatives, or "no gradient" is an error, as it is for
#   tf.cumprod, tf.einsum or a convolution with dilation.
# Observed: mirrorPad has the gradient of padding with zeros: pixels that appear twice in the output count once, in the
#   modes reflect and symmetric. tf.image.resizeBilinear and resizeNearestNeighbor with halfPixelCenters=true have the
#   gradient of the default grid: for a row of 4 resized to 2, 0 1 0 1 becomes 1 0 1 0 with nearest neighbours, so the
#   pixels that were read get nothing. Outputs are right, and so are gradients of the default and of alignCorners.
# Matters: reflection padding is usual before convolutions, and halfPixelCenters is the grid of PyTorch and Keras. A
#   network with one of them trains with wrong gradients, without a message. Concatenate slices of the border, and
#   resize with a product of matrices.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @tensorflow/tfjs@4.22.0 > log 2>&1 || { cat log >&2; exit 1; }
cat > program.js <<'JAVASCRIPT'
const assert = require("assert");
const tf = require("@tensorflow/tfjs");

tf.setBackend("cpu");

/** Return the gradient of the weighted sum of outputs of a linear operator: automatic, and from outputs of units. */
function compare(name, shape, operator) {
  const size = shape.reduce((product, length) => product * length, 1);
  const outputShape = operator(tf.zeros(shape)).shape;
  const outputSize = outputShape.reduce((product, length) => product * length, 1);
  const weights = tf.tensor([...Array(outputSize).keys()].map((index) => 1 + ((index * 5) % 7)), outputShape);
  const total = (tensor) => tf.sum(tf.mul(operator(tensor), weights));
  const automatic = Array.from(tf.grad(total)(tf.ones(shape)).dataSync());
  const exact = automatic.map((_, index) => {
    const unit = tf.tensor([...Array(size).keys()].map((place) => Number(place === index)), shape);
    return total(unit).dataSync()[0];
  });
  const difference = Math.max(...automatic.map((value, index) => Math.abs(value - exact[index])));
  const text = [automatic, exact].map((values) => values.slice(0, 4).map((value) => value.toFixed(2)).join(" "));
  console.log(`${name}: largest difference ${difference.toFixed(2)}; first gradients ${text[0]}; exact ${text[1]}`);
  return difference;
}

for (const mode of ["reflect", "symmetric"]) {
  assert(compare(`mirrorPad, ${mode}`, [3, 4], (map) => tf.mirrorPad(map, [[1, 1], [1, 2]], mode)) > 1);
}
assert(compare("pad with zeros", [3, 4], (map) => tf.pad(map, [[1, 1], [1, 2]])) < 1e-5);

for (const size of [[3, 2], [7, 6], [8, 8]]) {
  for (const [method, resize] of [
    ["bilinear", tf.image.resizeBilinear],
    ["nearest", tf.image.resizeNearestNeighbor],
  ]) {
    for (const [alignCorners, halfPixelCenters] of [[false, false], [true, false], [false, true]]) {
      const name = `4x4 to ${size.join("x")}, ${method}, alignCorners ${alignCorners}, ` +
        `halfPixelCenters ${halfPixelCenters}`;
      const difference = compare(name, [1, 4, 4, 1], (map) => resize(map, size, alignCorners, halfPixelCenters));
      const isWholeFactor = method === "nearest" && size[0] === 8;
      assert(halfPixelCenters && !isWholeFactor ? difference > 0.3 : difference < 1e-4, name);
    }
  }
}

const halves = (map) => tf.image.resizeNearestNeighbor(map, [1, 2], false, true);
const gradient = Array.from(tf.grad((map) => tf.sum(halves(map)))(tf.zeros([1, 1, 4, 1])).dataSync());
const row = Array.from(halves(tf.tensor4d([0, 1, 2, 3], [1, 1, 4, 1])).dataSync());
console.log("0 1 2 3 resized to 2 with halfPixelCenters:", row.join(" "), "; gradient:", gradient.join(" "));
assert(row.join() === "1,3" && gradient.join() === "1,0,1,0");

const image = tf.tensor2d([[1, 2, 3], [4, 5, 6]]);
const padded = tf.concat([image, tf.slice(image, [0, 1], [2, 1])], 1);
assert(tf.equal(padded, tf.mirrorPad(image, [[0, 0], [0, 1]], "reflect")).all().dataSync()[0] === 1);
assert(compare("border from a slice", [2, 3], (map) => tf.concat([map, tf.slice(map, [0, 1], [2, 1])], 1)) < 1e-5);
JAVASCRIPT
node program.js 2>> log || { cat log >&2; exit 1; }
