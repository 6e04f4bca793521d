#!/usr/bin/env bash
# TensorFlow.js: the layer AlphaDropout shifts the mean by almost one standard deviation.
#
# Versions: @tensorflow/tfjs 4.22.0 (backend "cpu").
# Expected: alpha dropout (Klambauer et al. 2017, https://arxiv.org/abs/1706.02515, section 3) sets dropped activations
#   to -1.7581, and scales and shifts the result so that inputs with mean 0 and variance 1 keep both.
# Observed: dropped activations are set to +1.7581 before the shift, which was computed for the negative value. For a
#   rate of 0.1 the mean is 0.33, for 0.3 it is 0.91, for 0.5 it is 1.57; the variance is 1. The formula of the
#   paper gives a mean of 0 for the same inputs.
# Matters: the layer is made for networks with SELU, which rely on a mean of 0; in the prediction the shift is missing,
#   so that training and prediction see different activations, without a message. Use dropout, or write the layer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @tensorflow/tfjs@4.22.0 > log 2>&1 || { cat log >&2; exit 1; }
cat > program.js <<'JAVASCRIPT'
const assert = require("assert");
const tf = require("@tensorflow/tfjs");

tf.setBackend("cpu");
const DROPPED = -1.6732632423543772 * 1.0507009873554805; // the limit of SELU for negative inputs
const COUNT = 40000;

const moments = (tensor) => {
  const { mean, variance } = tf.moments(tensor);
  return [mean.dataSync()[0], variance.dataSync()[0]];
};

for (const rate of [0.1, 0.3, 0.5]) {
  const inputs = tf.randomNormal([COUNT], 0, 1, "float32", 1);
  const factor = ((1 - rate) * (1 + rate * DROPPED ** 2)) ** -0.5;
  const shift = -factor * DROPPED * rate;
  const kept = tf.cast(tf.greaterEqual(tf.randomUniform([COUNT], 0, 1, "float32", 2), rate), "float32");
  const dropped = tf.mul(tf.sub(1, kept), DROPPED);
  const paper = moments(tf.add(tf.mul(tf.add(tf.mul(inputs, kept), dropped), factor), shift));
  const outputs = tf.layers.alphaDropout({ rate }).apply(inputs, { training: true });
  const layer = moments(outputs);

  const values = Array.from(outputs.dataSync());
  const counts = new Map();
  for (const value of values) counts.set(value.toFixed(4), (counts.get(value.toFixed(4)) || 0) + 1);
  const [frequent, count] = [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best));
  const before = (Number(frequent) - shift) / factor;
  console.log(`rate ${rate}: mean and variance ${layer.map((value) => value.toFixed(3)).join(" ")}, ` +
    `paper ${paper.map((value) => value.toFixed(3)).join(" ")}; ` +
    `a share of ${(count / COUNT).toFixed(3)} was set to ${before.toFixed(4)}, paper ${DROPPED.toFixed(4)}`);
  assert(Math.abs(paper[0]) < 0.03 && Math.abs(paper[1] - 1) < 0.05);
  assert(Math.abs(layer[0] - 2 * shift) < 0.03 && Math.abs(layer[1] - 1) < 0.05);
  assert(Math.abs(count / COUNT - rate) < 0.02 && Math.abs(before + DROPPED) < 1e-3);
  const predicted = moments(tf.layers.alphaDropout({ rate }).apply(inputs));
  assert(Math.abs(predicted[0]) < 0.03);
}
JAVASCRIPT
node program.js 2>> log || { cat log >&2; exit 1; }
