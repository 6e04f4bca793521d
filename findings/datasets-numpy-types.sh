#!/usr/bin/env bash
# datasets: with_format("numpy") returns uint8 images as int64, and the type of numbers depends on the kind of index.
#
# Versions: datasets 5.2.0.
# Expected: columns declared as uint8, int8 and float64 are arrays of these types.
# Observed: images of Array2D "uint8" are int64, eight times as large. Numbers are int8 and float64 in a row, ds[0], and
#   int64 and float32 in a slice, ds[:], so that 1/3 in ds[0] is not equal to 1/3 in ds[:1]. format("arrow") has the
#   declared types.
# Matters: data sets and tables of results of searches: weights and pixels need eight times the memory, and accuracies
#   of rows and slices are unequal. Pass with_format("numpy", columns=[...], dtype=...), or convert from Arrow.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile datasets==5.2.0 numpy==2.4.6 pandas==2.3.3
cd "$folder"
HF_HOME="$folder" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from datasets import Array2D, Dataset, Features, Value

features = Features({"image": Array2D((4, 4), "uint8"), "weight": Value("int8"), "accuracy": Value("float64")})
rows = {"image": [np.full((4, 4), 200, np.uint8)] * 3, "weight": [1, -2, 3], "accuracy": [1 / 3] * 3}
dataset = Dataset.from_dict(rows, features=features).with_format("numpy")
types = {}
for name, part in (("row", dataset[0]), ("slice", dataset[:])):
    types[name] = {column: str(np.asarray(values).dtype) for column, values in part.items()}
    print(f"{name}: {types[name]}")
print(f"accuracy of ds[0] equals that of ds[:1]: {dataset[0]['accuracy'] == dataset[:1]['accuracy'][0]}")
assert types["row"] == {"image": "int64", "weight": "int8", "accuracy": "float64"}, types
assert types["slice"] == {"image": "int64", "weight": "int64", "accuracy": "float32"}, types
arrow = dataset.with_format("arrow")[:]
print(arrow.schema.types)
assert str(arrow.schema.field("weight").type) == "int8"
PYTHON
