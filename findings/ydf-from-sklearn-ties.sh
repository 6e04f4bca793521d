#!/usr/bin/env bash
# ydf: forests from scikit-learn take the wrong branch for features that are equal to a threshold.
#
# Versions: ydf 0.16.1, scikit-learn 1.9.1, NumPy 2.4.6.
# Expected: ydf.from_sklearn returns a model with the predictions of the scikit-learn model, up to the rounding of float
#   numbers.
# Observed: scikit-learn goes left if x <= threshold, and the converted node goes right if x >= threshold, with the same
#   threshold. A tree from the samples 0 and 2 has the threshold 1, and the number 1 gets the class of 2. On the digits
#   of scikit-learn (integer pixels from 0 to 16) the probabilities of a random forest differ for two fifths of the
#   test images. Extra trees, whose thresholds are random numbers, are equal.
# Matters: pixels, counts and quantised features are often equal to a threshold, the middle of two training values. Move
#   the thresholds to the next float32 number before the conversion; the predictions are then equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile ydf==0.16.1 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import ydf
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

samples = np.array([[0.0], [0.0], [2.0], [2.0]])
tree = DecisionTreeClassifier().fit(samples, [0, 0, 1, 1])
numbers = np.array([[0.0], [1.0], [2.0]], dtype=np.float32)
first = tree.predict_proba(numbers)[:, 1].tolist()
second = ydf.from_sklearn(tree).predict({"features": numbers}).tolist()
print(f"threshold {tree.tree_.threshold[0]}, probabilities for 0, 1, 2: scikit-learn {first}, ydf {second}")
assert tree.tree_.threshold[0] == 1
assert (first, second) == ([0, 0, 1], [0, 1, 1])

pixels, labels = load_digits(return_X_y=True)
TRAINING = slice(0, 1_200)
test = pixels[1_200:].astype(np.float32)


def difference(model):
    """Return the share of test images whose probabilities differ, and the largest difference."""
    gaps = np.abs(ydf.from_sklearn(model).predict({"features": test}) - model.predict_proba(test)).max(axis=1)
    return np.mean(gaps > 1e-5), gaps.max()


forest = RandomForestClassifier(20, random_state=0).fit(pixels[TRAINING], labels[TRAINING])
extra = ExtraTreesClassifier(20, random_state=0).fit(pixels[TRAINING], labels[TRAINING])
before = difference(forest)
probabilities = forest.predict_proba(test)
for member in forest.estimators_:
    thresholds = member.tree_.threshold
    thresholds[:] = np.nextafter(thresholds.astype(np.float32), np.float32(np.inf))
assert np.array_equal(probabilities, forest.predict_proba(test))
after = difference(forest)
random_thresholds = difference(extra)
for title, (share, largest) in {"random forest": before, "moved": after, "extra trees": random_thresholds}.items():
    print(f"{title}: probabilities of {share:.1%} of the test images differ, by up to {largest:.2g}")
assert before[0] > 0.3
assert before[1] > 0.1
assert after[0] == random_thresholds[0] == 0
PYTHON
