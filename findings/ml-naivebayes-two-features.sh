#!/usr/bin/env bash
# ml-naivebayes: GaussianNB reads the first two features only, and refuses to predict features + 1 rows.
#
# Versions: ml-naivebayes 4.0.0.
# Expected: a Gaussian naive Bayes classifier adds up the log densities of all features, and predicts any number of
#   rows.
# Observed: the loop over the features ends after two, whatever their number. With four features, of which only one
#   differs between two classes, the accuracy is 0.99 if this is the first or second, and 0.54 (chance) if it is the
#   third or fourth. With a single feature predict raises a TypeError. With two features three rows are refused with
#   "the dataset must have the same features as the training set", and four rows are not.
# Matters: the two columns that happen to be first decide, without a message, and the first pixels of an image are
#   empty. Compute the densities by hand, or reduce the data to two components before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund ml-naivebayes@4.0.0 > log 2>&1 || { cat log >&2; exit 1; }
cat > program.js <<'JAVASCRIPT'
const assert = require("assert");
const { GaussianNB } = require("ml-naivebayes");

const ROWS = 400;
let state = 5;

/** Return a uniform number of a linear congruential generator (Park and Miller 1988). */
function uniform() {
  state = (state * 16807) % 2147483647;
  return state / 2147483647;
}

const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());

/** Return the classes by the sum of log densities, with variances and shares of the training rows. */
function reference(rows, labels) {
  const classes = [0, 1].map((label) => {
    const members = rows.filter((_, index) => labels[index] === label);
    const statistics = rows[0].map((_, feature) => {
      const mean = members.reduce((sum, row) => sum + row[feature], 0) / members.length;
      const variance = members.reduce((sum, row) => sum + (row[feature] - mean) ** 2, 0) / (members.length - 1);
      return { mean, variance };
    });
    return { prior: Math.log(members.length / rows.length), statistics };
  });
  return rows.map((row) => {
    const scores = classes.map(({ prior, statistics }) => statistics.reduce((sum, { mean, variance }, feature) =>
      sum - Math.log(variance) / 2 - (row[feature] - mean) ** 2 / (2 * variance), prior));
    return Number(scores[1] > scores[0]);
  });
}

const accuracy = (predictions, labels) => predictions.filter((value, index) => value === labels[index]).length / ROWS;

for (let feature = 0; feature < 4; feature++) {
  const labels = [...Array(ROWS).keys()].map((index) => index % 2);
  const rows = labels.map((label) => [0, 1, 2, 3].map((column) => normal() + (column === feature ? 6 * label : 0)));
  const model = new GaussianNB();
  model.train(rows, labels);
  const predictions = model.predict(rows);
  const exact = reference(rows, labels);
  const firstTwo = reference(rows.map((row) => row.slice(0, 2)), labels);
  console.log(`classes differ in feature ${feature + 1}: accuracy ${accuracy(predictions, labels)}, by the formula ` +
    `${accuracy(exact, labels)}, by the formula with two features ${accuracy(firstTwo, labels)}`);
  assert.deepStrictEqual(predictions, firstTwo);
  assert(accuracy(exact, labels) > 0.98);
  assert(feature < 2 ? accuracy(predictions, labels) > 0.98 : accuracy(predictions, labels) < 0.6);
}

const rows = [[1, 0], [2, 1], [8, 5], [9, 4]];
const model = new GaussianNB();
model.train(rows, [0, 0, 1, 1]);
for (const count of [1, 2, 3, 4]) {
  let answer;
  try {
    answer = model.predict(rows.slice(0, count)).join(" ");
  } catch (error) {
    answer = error.message;
  }
  console.log(`two features, ${count} rows: ${answer}`);
  assert.strictEqual(answer.includes("must have the same features"), count === 3);
}
const single = new GaussianNB();
single.train([[1], [2], [8], [9]], [0, 0, 1, 1]);
assert.throws(() => single.predict([[1], [9], [2]]), TypeError);
JAVASCRIPT
node program.js
