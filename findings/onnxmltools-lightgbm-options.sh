#!/usr/bin/env bash
# onnxmltools, m2cgen and treelite: converters ignore options of LightGBM without a message.
#
# Versions: lightgbm 4.7.0, onnxmltools 1.16.0, ONNX Runtime 1.32.0, m2cgen 0.10.0, treelite 4.8.1.
# Expected: a converter that accepts a model writes a model with the same predictions, or raises an error.
# Observed: onnxmltools adds up the trees of a random forest for a booster (20 trees: 20 times the prediction), and
#   divides the sum by 100 for an estimator, whatever the number of trees; a forest of two classes then predicts one
#   class for all rows. onnxmltools leaves out the linear models of the leaves (linear_tree), the square (reg_sqrt), the
#   factor of sigmoid=2 and zero_as_missing, and writes a softmax for multiclassova. m2cgen leaves out linear_tree,
#   treelite zero_as_missing. The remaining pairs agree to 1e-5 or raise an error.
# Matters: a converted model runs without a message and predicts other numbers. Compare predictions after a conversion;
#   for forests, sigmoid, reg_sqrt and multiclassova, treelite and m2cgen are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile lightgbm==4.7.0 onnxmltools==1.16.0 onnx==1.23.2 \
    onnxruntime==1.32.0 m2cgen==0.10.0 treelite==4.8.1 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log" >&2; exit 1; }
import lightgbm
import m2cgen
import numpy as np
import treelite
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from onnxruntime import InferenceSession

TREES = 20
FOREST = {"boosting_type": "rf", "subsample": 0.6, "subsample_freq": 1}

rng = np.random.default_rng(0)
x = rng.integers(0, 20, (600, 6)).astype(np.float64)
y = 0.3 * x[:, 0] + np.sin(x[:, 1]) + 2 * (x[:, 2] > 9) + rng.normal(0, 0.1, 600) + 2
large = (y > np.median(y)).astype(int)
third = np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))
regressor, classifier = lightgbm.LGBMRegressor, lightgbm.LGBMClassifier
CASES = {
    "default": (regressor, y, {}),
    "forest": (regressor, y, FOREST),
    "forest of two classes": (classifier, large, FOREST),
    "linear_tree": (regressor, y, {"linear_tree": True}),
    "reg_sqrt": (regressor, y, {"reg_sqrt": True}),
    "sigmoid=2": (classifier, large, {"sigmoid": 2.0}),
    "zero_as_missing": (regressor, y, {"zero_as_missing": True}),
    "multiclassova": (classifier, third, {"objective": "multiclassova"}),
    "multiclass": (classifier, third, {}),
}
ONNX_AGREES = {"default", "multiclass"}


def onnx_outputs(model):
    """Return all outputs of ONNX Runtime for the converted model."""
    options = {"initial_types": [("x", FloatTensorType([None, 6]))], "target_opset": 15, "zipmap": False}
    session = InferenceSession(convert_lightgbm(model, **options).SerializeToString())
    return session.run(None, {"x": x.astype(np.float32)})


def m2cgen_predictions(model):
    """Return the predictions of the generated Python code."""
    code = {}
    exec(m2cgen.export_to_python(model), code)
    return np.array([code["score"](list(row)) for row in x])


def treelite_predictions(model):
    """Return the predictions of treelite's interpreter, with both columns for two classes."""
    model.booster_.save_model("model.txt")
    answer = np.squeeze(treelite.gtil.predict(treelite.frontend.load_lightgbm_model("model.txt"), x))
    two_classes = hasattr(model, "predict_proba") and answer.ndim == 1
    return np.column_stack([1 - answer, answer]) if two_classes else answer


for name, (kind, target, options) in CASES.items():
    model = kind(n_estimators=TREES, min_child_samples=5, n_jobs=1, verbose=-1, **options).fit(x, target)
    exact = model.predict_proba(x) if kind is classifier else model.predict(x)
    converted = {
        "onnxmltools": lambda: np.squeeze(onnx_outputs(model)[-1]),
        "m2cgen": lambda: m2cgen_predictions(model),
        "treelite": lambda: treelite_predictions(model),
    }
    ignores = {"m2cgen": "linear_tree", "treelite": "zero_as_missing"}
    for tool, predictions in converted.items():
        try:
            difference = np.abs(predictions() - exact).max()
        except (ValueError, treelite.TreeliteError) as error:
            print(f"{name:22} {tool:12} {type(error).__name__}")
            assert (tool, name) in {("m2cgen", "zero_as_missing"), ("treelite", "linear_tree")}
            continue
        print(f"{name:22} {tool:12} largest difference {difference:.5f}")
        wrong = name not in ONNX_AGREES if tool == "onnxmltools" else name == ignores[tool]
        assert (difference > 0.1) if wrong else (difference < 1e-5), (name, tool)
    if name == "forest":
        by_class = np.squeeze(onnx_outputs(model)[-1]) / exact
        by_booster = np.squeeze(onnx_outputs(model.booster_)[-1]) / exact
        ratios = f"{by_class.mean():.2f} for the estimator, {by_booster.mean():.2f} for the booster"
        print("forest: ONNX / LightGBM is", ratios)
        assert np.allclose(by_class, TREES / 100, rtol=1e-3) and np.allclose(by_booster, TREES, rtol=1e-3)
    if name == "forest of two classes":
        labels = onnx_outputs(model)[0]
        print("forest: labels of ONNX", np.unique(labels), "accuracy", np.mean(labels == target),
              "LightGBM", np.mean(model.predict(x) == target))
        assert len(np.unique(labels)) == 1
PYTHON
