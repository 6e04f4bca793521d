#!/usr/bin/env bash
# jsfive: chunks that were never written are holes of undefined, and a dataset without chunks is an empty array.
#
# Versions: jsfive 0.4.2 (npm), with files of h5py 3.16.0.
# Expected: the numbers of h5py, as for written chunks: the fill value in every place that was not written, which is 0
#   by default and often NaN or -1.
# Observed: the value of a partly written dataset has holes, which read as undefined, and of an unwritten dataset with
#   chunks it is an empty array, although the shape is right. A dataset without chunks has a hole in every place. There
#   is no message, and fillvalue is not exported. forEach and reduce skip holes, so means are means of the written
#   numbers; Float32Array.from turns holes into NaN, Uint8Array.from into 0. Written chunks are right with gzip,
#   shuffle and checksums, also at the border.
# Matters: learning curves and tables that grow in a file contain such chunks until a run has ended. Write the fill
#   value in Python before the file is used, and compare the number of values with the shape.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile h5py==3.16.0 numpy==2.4.6
cd "$folder"
npm install --silent --no-audit --no-fund jsfive@0.4.2 > log 2>&1 || { cat log >&2; exit 1; }
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import json

import h5py
import numpy as np

with h5py.File("numbers.h5", "w") as file:
    whole = file.create_dataset("whole", (5, 7), "f4", chunks=(2, 3), compression="gzip", shuffle=True, fletcher32=True)
    whole[:] = np.arange(35).reshape(5, 7)
    for name, fill in (("zero", 0), ("minus", -1)):
        file.create_dataset(name, (8,), "i2", chunks=(2,), fillvalue=fill)[0:4] = [10, 20, 30, 40]
    file.create_dataset("unwritten", (6,), "f4", chunks=(2,), fillvalue=7)
    file.create_dataset("contiguous", (4,), "f8", fillvalue=7)
with h5py.File("numbers.h5") as file:
    expected = {name: file[name][:].ravel().tolist() for name in file}
with open("expected.json", "w") as file:
    json.dump(expected, file)
PYTHON
cat > program.js <<'JAVASCRIPT'
const assert = require("assert");
const fs = require("fs");
const hdf5 = require("jsfive");

const bytes = fs.readFileSync("numbers.h5");
const file = new hdf5.File(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength), "numbers.h5");
const expected = JSON.parse(fs.readFileSync("expected.json", "utf8"));
const values = {};
for (const name of Object.keys(expected)) {
  const dataset = file.get(name);
  values[name] = dataset.value;
  const text = Array.from(values[name], (number) => String(number)).join(" ");
  console.log(`${name}, shape ${dataset.shape.join("x")}: ${text || "(empty)"}; h5py ${expected[name].join(" ")}`);
}
assert.deepStrictEqual(values.whole, expected.whole);
for (const name of ["zero", "minus"]) {
  assert.strictEqual(values[name].length, 8);
  assert.deepStrictEqual(values[name].slice(0, 4), [10, 20, 30, 40]);
  assert(!(4 in values[name]) && values[name][7] === undefined);
}
assert.deepStrictEqual(values.unwritten, []);
assert.strictEqual(values.contiguous.length, 4);
assert(!(0 in values.contiguous));

let [total, count] = [0, 0];
values.zero.forEach((number) => {
  total += number;
  count += 1;
});
const mean = expected.zero.reduce((sum, number) => sum + number) / 8;
console.log(`zero: mean by forEach ${total / count}, by h5py ${mean};`,
  `Float32Array ${Float32Array.from(values.zero).join(" ")}; Uint8Array ${Uint8Array.from(values.minus).join(" ")}`);
assert.strictEqual(total / count, 25);
assert(Number.isNaN(Float32Array.from(values.zero)[5]));
assert.strictEqual(Uint8Array.from(values.minus)[5], 0);
JAVASCRIPT
node program.js
