#!/usr/bin/env bash
# ml-levenberg-marquardt: with weights a fit stays at its initial values, or stops far from the minimum.
#
# Versions: ml-levenberg-marquardt 5.1.0, ml-matrix 6.15.1.
# Expected: a weight that is the same for all points multiplies the sum of squares and leaves its minimum: the line
#   through five points is 1.04 + 1.99 x. Weights 1/deviation give weighted least squares, as sigma of SciPy's curve_fit
#   does.
# Observed: weight 1 is right. With 2, 5 and 10 the result after 1,000 steps is the start, 0 + 0 x, and with 0.1 it is
#   0.10 + 0.19 x. Weights 1/deviation of deviations from 0.1 to 0.4 return the start too, even if it is [1, 2], beside
#   the minimum. The Gauss-Newton step is multiplied by the fourth power of the weight: by 16 for 2, by 10,000 for 10.
#   The returned parameterError belongs to the returned values; no error or flag tells the failure.
# Matters: weights are for measured deviations, and those of an accuracy are small: 0.002 is a weight of 500. Divide the
#   model and the numbers by the deviations, and fit without weights.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund ml-levenberg-marquardt@5.1.0 ml-matrix@6.15.1 > log 2>&1 ||
    { cat log >&2; exit 1; }
cat > program.mjs <<'JAVASCRIPT'
import assert from "node:assert";
import { levenbergMarquardt } from "ml-levenberg-marquardt";

const X = [0, 1, 2, 3, 4];
const Y = [1.1, 2.9, 5.2, 6.8, 9.1];
const DEVIATIONS = [0.1, 0.1, 0.2, 0.4, 0.4];
const line = ([start, slope]) => (x) => start + slope * x;

/** Return start and slope of the line with the least sum of squares of weight * residual. */
function exact(weights) {
  const sum = (term) => X.reduce((total, x, index) => total + weights[index] ** 2 * term(x, Y[index]), 0);
  const [ones, sumX, sumY] = [sum(() => 1), sum((x) => x), sum((_, y) => y)];
  const slope = (ones * sum((x, y) => x * y) - sumX * sumY) / (ones * sum((x) => x * x) - sumX ** 2);
  return [(sumY - slope * sumX) / ones, slope];
}

function fit(weights, initialValues = [0, 0]) {
  return levenbergMarquardt({ x: X, y: Y }, line, { initialValues, weights, maxIterations: 1000 }).parameterValues;
}

const show = (values) => values.map((value) => value.toFixed(3)).join(" ");
const isNear = (first, second) => first.every((value, index) => Math.abs(value - second[index]) < 0.01);

const unweighted = exact([1, 1, 1, 1, 1]);
for (const [weight, isRight] of [[1, true], [2, false], [5, false], [10, false], [0.1, false]]) {
  const values = fit(weight);
  console.log(`weight ${weight}: start and slope ${show(values)}, exact ${show(unweighted)}`);
  assert.strictEqual(isNear(values, unweighted), isRight);
  assert(weight <= 1 || isNear(values, [0, 0]));
}

const weights = DEVIATIONS.map((deviation) => 1 / deviation);
const weighted = exact(weights);
for (const start of [[0, 0], [1, 2]]) {
  const values = fit(weights, start);
  console.log(`weights 1/deviation, initial values ${start}: ${show(values)}, exact ${show(weighted)}`);
  assert.deepStrictEqual(values, start);
}

const scaled = levenbergMarquardt(
  { x: X, y: Y.map((y, index) => y / DEVIATIONS[index]) },
  (parameters) => (x) => line(parameters)(x) / DEVIATIONS[x],
  { initialValues: [0, 0], maxIterations: 1000 },
).parameterValues;
console.log("model and numbers divided by the deviations, without weights:", show(scaled));
assert(isNear(scaled, weighted));

for (const weight of [1, 2, 10, 0.5]) {
  const slopes = [];
  const recorded = ([slope]) => {
    slopes.push(slope);
    return (x) => slope * x;
  };
  const options = { initialValues: [1], weights: weight, damping: 1e-9, maxIterations: 1 };
  levenbergMarquardt({ x: X, y: X.map((x) => 2 * x) }, recorded, options);
  const step = slopes.at(-1) - 1;
  console.log(`weight ${weight}: first step ${step.toFixed(4)} from slope 1 to slope 2`);
  assert(Math.abs(step / weight ** 4 - 1) < 1e-3);
}
JAVASCRIPT
node program.mjs
