#!/usr/bin/env bash
# mlxtend's .632+ bootstrap returns accuracies below 0 and above 1.
#
# Versions: mlxtend 0.25.0, scikit-learn 1.9.1.
# Expected: the .632+ estimate of Efron and Tibshirani (1997) is between the accuracy of the training and 1 - gamma, the
#   accuracy without information: about 0.5 for two random classes; the paper limits the out-of-bag error to gamma, and
#   the relative overfitting rate R to 0..1 (section 3, equations 28 to 32).
# Observed: R is not limited. It has a pole where the training error equals gamma, and is above 1 where the out-of-bag
#   error exceeds gamma. For logistic regression on random labels, scores of single splits reach -6 and 711, and the
#   mean accuracy of 200 splits is 4.04 for one seed. With the limits of the paper all means are from 0.50 to 0.52.
# Matters: .632+ is made for networks that overfit, and for accuracies near chance (small data, early epochs), where
#   single splits decide the mean without a warning. Use method="oob", or compute R with the limits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile mlxtend==0.25.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from mlxtend.evaluate import BootstrapOutOfBag, bootstrap_point632_score
from sklearn.linear_model import LogisticRegression

SPLITS = 200


def limited(model, images, labels, seed):
    """Return the .632+ accuracy per split with the limits of the paper."""
    accuracies = []
    for train, test in BootstrapOutOfBag(n_splits=SPLITS, random_seed=seed).split(images):
        predictions = model.fit(images[train], labels[train]).predict(images)
        gamma = np.mean(labels[:, None] != predictions)
        training = np.mean(labels != predictions)
        left_out = min(np.mean(labels[test] != predictions[test]), gamma)
        rate = (left_out - training) / (gamma - training) if min(left_out, gamma) > training else 0
        weight = 0.632 / (1 - 0.368 * rate)
        accuracies.append(1 - weight * left_out - (1 - weight) * training)
    return np.array(accuracies)


outside = {}
means = {}
model = LogisticRegression()
for seed in (0, 3):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(100, 5))
    labels = rng.integers(0, 2, 100)
    scores = bootstrap_point632_score(model, images, labels, n_splits=SPLITS, method=".632+", random_seed=seed)
    reference = limited(model, images, labels, seed)
    outside[seed] = np.sum((scores < 0) | (scores > 1))
    means[seed] = scores.mean()
    print(f"seed {seed}: mean {means[seed]:.3f}, splits from {scores.min():.2f} to {scores.max():.2f};", end=" ")
    print(f"with limits {reference.mean():.3f}, from {reference.min():.2f} to {reference.max():.2f}")
    assert 0 <= reference.min() and reference.max() <= 1
    assert 0.5 < reference.mean() < 0.53
assert min(outside.values()) > 0, outside
assert means[3] > 2, means
PYTHON
