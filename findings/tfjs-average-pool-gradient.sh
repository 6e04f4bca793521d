#!/usr/bin/env bash
# TensorFlow.js: the gradient of average pooling with padding divides by cells that do not exist.
#
# Versions: @tensorflow/tfjs 4.22.0 (backend "cpu").
# Expected: tf.avgPool divides each sum by the number of real cells in the window, so the gradient divides by the same
#   number; over all cells the gradient of the sum of the outputs adds up to the number of outputs.
# Observed: the outputs are right, but the gradient divides by the size of the window also where the window reaches into
#   the padding. For a 5x5 map, 3x3 windows, stride 2 and "same", corners have 0.111 in place of 0.25, and the sum is
#   5.44 in place of 9. avgPool3d has the same fault. "valid" and maximum pooling are right.
# Matters: layers.averagePooling2d with padding "same" trains the weights before it with gradients that are too small
#   at the border, without a message. Use "valid", or divide the pooled map by the pooled ones.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @tensorflow/tfjs@4.22.0 > log 2>&1 || { cat log >&2; exit 1; }
cat > program.js <<'JAVASCRIPT'
const assert = require("assert");
const tf = require("@tensorflow/tfjs");

tf.setBackend("cpu");
const STEP = 0.01; // of the numeric derivative; the operators are linear, or piecewise linear with distant values

/** Return a tensor of distinct numbers, and the gradient of the sum of outputs: automatic and numeric. */
function gradients(shape, operator) {
  const size = shape.reduce((product, length) => product * length, 1);
  const values = [...Array(size).keys()].map((index) => ((index * 7) % size) / 10);
  const total = (tensor) => tf.sum(operator(tensor));
  const automatic = Array.from(tf.grad(total)(tf.tensor(values, shape)).dataSync());
  const numeric = values.map((_, index) => {
    const [above, below] = [STEP, -STEP].map((step) => {
      const moved = values.map((value, place) => (place === index ? value + step : value));
      return total(tf.tensor(moved, shape)).dataSync()[0];
    });
    return (above - below) / (2 * STEP);
  });
  return { automatic, numeric };
}

function compare(name, shape, operator) {
  const { automatic, numeric } = gradients(shape, operator);
  const difference = Math.max(...automatic.map((value, index) => Math.abs(value - numeric[index])));
  const sums = [automatic, numeric].map((values) => values.reduce((sum, value) => sum + value, 0).toFixed(2));
  console.log(`${name}: largest difference ${difference.toFixed(3)}, sum ${sums[0]}, numeric ${sums[1]}, ` +
    `first cell ${automatic[0].toFixed(3)}, numeric ${numeric[0].toFixed(3)}`);
  return difference;
}

for (const [padding, stride] of [["same", 1], ["same", 2], [1, 2]]) {
  const name = `3x3, stride ${stride}, padding ${padding}`;
  assert(compare(`avgPool ${name}`, [1, 5, 5, 1], (map) => tf.avgPool(map, 3, stride, padding)) > 0.1);
  assert(compare(`maxPool ${name}`, [1, 5, 5, 1], (map) => tf.maxPool(map, 3, stride, padding)) < 0.01);
}
assert(compare("avgPool 3x3, valid", [1, 5, 5, 1], (map) => tf.avgPool(map, 3, 1, "valid")) < 0.01);
assert(compare("avgPool3d 2x2x2, same", [1, 3, 3, 3, 1], (map) => tf.avgPool3d(map, 2, 1, "same")) > 0.1);

const ones = tf.ones([1, 5, 5, 1]);
const outputs = Array.from(tf.avgPool(ones, 3, 2, "same").dataSync());
console.log("average of ones with padding same:", outputs.join(" "));
assert(outputs.every((value) => Math.abs(value - 1) < 1e-6));
const divided = (map) => tf.div(tf.avgPool(tf.pad(map, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "valid"),
  tf.avgPool(tf.pad(ones, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "valid"));
assert(compare("padded by hand and divided by the pooled ones", [1, 5, 5, 1], divided) < 0.01);
JAVASCRIPT
node program.js 2>> log || { cat log >&2; exit 1; }
