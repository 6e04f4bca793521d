#!/usr/bin/env bash
# m2cgen: xgboost models with early stopping are exported with the trees after the best iteration.
#
# Versions: m2cgen 0.10.0, xgboost 3.2.0 (xgboost-cpu), scikit-learn 1.9.1.
# Expected: the generated code returns the predictions of the model, which uses the trees up to best_iteration.
# Observed: the code contains all trees, since m2cgen reads the attribute best_ntree_limit, which xgboost removed. In
#   addition thresholds are rounded to 7 or 8 digits and compared as double numbers, while xgboost compares float32: for
#   pixels k / 255 a value that is equal to a threshold takes the other branch, and probabilities differ by up to 0.75.
#   With the default base_score the code contains nan (regression) or the export raises TypeError (3 classes).
# Matters: the code on a microcontroller is larger and has different predictions. Train again with best_iteration + 1
#   trees and without early stopping, on integer pixels, pass base_score, and compare predictions.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile m2cgen==0.10.0 xgboost-cpu==3.2.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import m2cgen
import numpy as np
import xgboost
from sklearn.datasets import load_digits

digits, numbers = load_digits(return_X_y=True)
labels = numbers % 2
pixels = np.round(digits * 255 / 16)
TRAINING = slice(0, 1_200)
TEST = slice(1_200, None)


def export(model):
    """Return a function of the generated Python code."""
    names = {}
    exec(m2cgen.export_to_python(model), names)
    return lambda samples: np.array([names["score"](list(map(float, sample))) for sample in samples])


gaps = {}
for name, samples in (("k", pixels), ("k / 255", pixels / 255)):
    model = xgboost.XGBClassifier(n_estimators=50, max_depth=4, base_score=0.5, n_jobs=1)
    model.fit(samples[TRAINING], labels[TRAINING])
    gaps[name] = np.abs(export(model)(samples[TEST]) - model.predict_proba(samples[TEST])).max()
    print(f"pixels {name}: largest difference of probabilities {gaps[name]:.2g}")
assert gaps["k"] < 1e-5, gaps
assert gaps["k / 255"] > 0.1, gaps

rng = np.random.default_rng(0)
noisy = np.where(rng.random(len(labels)) < 0.2, 1 - labels, labels)
model = xgboost.XGBClassifier(
    n_estimators=200, learning_rate=0.5, early_stopping_rounds=20, base_score=0.5, max_depth=4, n_jobs=1
)
model.fit(pixels[TRAINING], noisy[TRAINING], eval_set=[(pixels[TEST], noisy[TEST])], verbose=False)
rounds = model.get_booster().num_boosted_rounds()
code = export(model)(pixels[TEST])
best = model.predict_proba(pixels[TEST], iteration_range=(0, model.best_iteration + 1))
complete = model.predict_proba(pixels[TEST], iteration_range=(0, rounds))
print(f"early stopping: best iteration {model.best_iteration}, {rounds} trees;", end=" ")
print(f"differences to the best {np.abs(code - best).max():.2g}, to all trees {np.abs(code - complete).max():.2g}")
assert rounds == model.best_iteration + 21
assert np.array_equal(best, model.predict_proba(pixels[TEST]))
assert np.abs(code - complete).max() < 1e-5
assert np.abs(code - best).max() > 0.1

regression = xgboost.XGBRegressor(n_estimators=2, n_jobs=1).fit(pixels[TRAINING], numbers[TRAINING])
assert "nan" in m2cgen.export_to_python(regression)
classes = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(pixels[TRAINING], numbers[TRAINING])
try:
    m2cgen.export_to_python(classes)
except TypeError as error:
    print("ten classes, default base_score:", error)
else:
    raise AssertionError("the export of ten classes works")
PYTHON
