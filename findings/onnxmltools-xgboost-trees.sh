#!/usr/bin/env bash
# onnxmltools: XGBoost models with parallel trees for classes, several outputs or reg:logistic predict other numbers.
#
# Versions: xgboost 3.2.0, onnxmltools 1.16.0, ONNX Runtime 1.32.0, scikit-learn 1.9.1.
# Expected: the ONNX model has the predictions of XGBoost, or the conversion raises an error.
# Observed: for three classes and num_parallel_tree=3 the trees are assigned to the wrong classes: the accuracy falls
#   from 0.89 to chance, without a message. With two outputs the second output is 0 and the first contains trees of
#   both outputs. reg:logistic returns 0.5 plus the sum of leaves in place of the probability, multi:softmax the sums.
#   Parallel trees for a regression, classes without parallel trees and count:poisson agree.
# Matters: the file loads and runs. Compare predictions after the conversion, or boost without parallel trees, train one
#   model per output, and use binary:logistic or multi:softprob.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile xgboost==3.2.0 onnxmltools==1.16.0 onnx==1.23.2 \
    onnxruntime==1.32.0 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log" >&2; exit 1; }
import numpy as np
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from onnxruntime import InferenceSession
from xgboost import XGBClassifier, XGBRegressor

PARALLEL = {"num_parallel_tree": 3, "subsample": 0.5}
rng = np.random.default_rng(0)
x = rng.integers(0, 20, (600, 6)).astype(np.float32)
y = 0.3 * x[:, 0] + np.sin(x[:, 1]) + 2 * (x[:, 2] > 9) + rng.normal(0, 0.1, 600) + 2
large = (y > np.median(y)).astype(int)
third = np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))


def compare(name, kind, target, **options):
    """Train and convert a model; return the predictions of XGBoost and of ONNX Runtime."""
    model = kind(n_estimators=10, max_depth=4, n_jobs=1, **options).fit(x, target)
    proto = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 6]))], target_opset=15)
    outputs = InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    exact = model.predict_proba(x) if kind is XGBClassifier else model.predict(x)
    converted = outputs[-1].reshape(exact.shape)
    print(f"{name:32} largest difference {np.abs(exact - converted).max():.5f}")
    if kind is XGBClassifier:
        accuracies = np.mean(model.predict(x) == target), np.mean(outputs[0] == target)
        print(f"{'':32} accuracy: XGBoost {accuracies[0]:.3f}, ONNX {accuracies[1]:.3f}")
    return exact, converted


for name, kind, target, options in (
    ("regression", XGBRegressor, y, {}),
    ("regression, parallel trees", XGBRegressor, y, PARALLEL),
    ("three classes", XGBClassifier, third, {}),
    ("count:poisson", XGBRegressor, y, {"objective": "count:poisson"}),
):
    assert np.allclose(*compare(name, kind, target, **options), atol=1e-4), name

exact, converted = compare("three classes, parallel trees", XGBClassifier, third, **PARALLEL)
assert np.mean(exact.argmax(axis=1) == third) > 0.85 and np.mean(converted.argmax(axis=1) == third) < 0.45

exact, converted = compare("reg:logistic", XGBRegressor, large, objective="reg:logistic")
assert np.allclose(1 / (1 + np.exp(0.5 - converted)), exact, atol=1e-4) and np.abs(converted).max() > 2

exact, converted = compare("multi:softmax", XGBClassifier, third, objective="multi:softmax")
weights = np.exp(converted)
assert np.allclose(weights / weights.sum(axis=1, keepdims=True), exact, atol=1e-4) and converted.min() < -1

exact, converted = compare("two outputs", XGBRegressor, np.column_stack([y, 1 - 2 * y]))
print("two outputs, first row: XGBoost", exact[0].round(2), "ONNX", converted.ravel()[:2].round(2))
assert np.abs(exact - converted).max() > 5
PYTHON
