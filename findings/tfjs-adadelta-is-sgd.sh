#!/usr/bin/env bash
# TensorFlow.js: the optimiser Adadelta takes the steps of plain SGD, whatever rho and epsilon are.
#
# Versions: @tensorflow/tfjs 4.22.0.
# Expected: tf.train.adadelta follows Zeiler 2012 (https://arxiv.org/abs/1212.5701, algorithm 1), with the learning rate
#   as a factor, as in Keras and PyTorch: the step does not depend on the scale of the loss.
# Observed: the step is the learning rate times the gradient. The average of squared gradients is read before it is
#   updated, so that both averages start equal, the quotient of their roots is 1, and the averages stay equal for ever.
#   rho and epsilon have no influence, and a loss that is multiplied by 100 multiplies the step by 100.
# Matters: a training that is moved from Keras to TensorFlow.js runs without a message with another optimiser: at the
#   default rate of 0.001 hardly anything is learned, and at the rate of 1 from the paper a steep loss diverges.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @tensorflow/tfjs@4.22.0 > log 2>&1 || { cat log >&2; exit 1; }
cat > program.js <<'JAVASCRIPT'
const assert = require("assert");
const tf = require("@tensorflow/tfjs");

const STEPS = 200;

/** Return the weight after each step from 1, for the loss scale * weight ** 2 / 2, whose gradient is scale * weight. */
function train(optimiser, scale) {
  const weight = tf.variable(tf.scalar(1));
  const weights = [];
  for (let step = 0; step < STEPS; step++) {
    optimiser.minimize(() => tf.mul(tf.square(weight), scale / 2), false, [weight]);
    weights.push(weight.dataSync()[0]);
  }
  return weights;
}

/** Return the same weights by algorithm 1 of the paper. */
function paper(rate, rho, epsilon, scale) {
  let weight = 1;
  let squaredGradients = 0;
  let squaredUpdates = 0;
  const weights = [];
  for (let step = 0; step < STEPS; step++) {
    const gradient = scale * weight;
    squaredGradients = rho * squaredGradients + (1 - rho) * gradient ** 2;
    const update = (Math.sqrt(squaredUpdates + epsilon) / Math.sqrt(squaredGradients + epsilon)) * gradient;
    squaredUpdates = rho * squaredUpdates + (1 - rho) * update ** 2;
    weight -= rate * update;
    weights.push(weight);
  }
  return weights;
}

const difference = (first, second) => Math.max(...first.map((value, step) => Math.abs(value - second[step])));
const show = (weights) => [1, 10, 100, 200].map((step) => weights[step - 1].toFixed(5)).join(" ");

console.log("weight after 1, 10, 100 and 200 steps");
for (const [rate, rho, epsilon, scale] of [
  [0.001, 0.95, 1e-7, 1],
  [1, 0.95, 1e-7, 0.02],
  [1, 0.5, 1e-6, 0.02],
  [0.01, 0.95, 1e-7, 1],
  [0.01, 0.95, 1e-7, 100],
]) {
  const adadelta = train(tf.train.adadelta(rate, rho, epsilon), scale);
  const sgd = train(tf.train.sgd(rate), scale);
  const expected = paper(rate, rho, epsilon, scale);
  console.log(`rate ${rate}, rho ${rho}, epsilon ${epsilon}, scale of the loss ${scale}`);
  console.log(`  Adadelta ${show(adadelta)}\n  SGD      ${show(sgd)}\n  paper    ${show(expected)}`);
  assert(difference(adadelta, sgd) < 1e-6);
  assert(difference(adadelta, expected) > 0.01);
}
const steep = train(tf.train.adadelta(1), 3);
console.log("rate 1, scale of the loss 3: Adadelta", steep[9], "paper", paper(1, 0.95, 1e-7, 3)[9]);
assert(Math.abs(steep[9]) > 1000 && Math.abs(paper(1, 0.95, 1e-7, 3)[9]) < 1);
const both = [tf.train.adagrad(0.1), tf.train.rmsprop(0.1)].map((optimiser) => difference(
  train(optimiser, 1), train(tf.train.sgd(0.1), 1)));
console.log("largest difference of Adagrad and RMSProp from SGD:", both.map((value) => value.toFixed(3)).join(" "));
assert(Math.min(...both) > 0.1);
JAVASCRIPT
node program.js 2>> log || { cat log >&2; exit 1; }
