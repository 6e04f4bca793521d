#!/usr/bin/env bash
# scikit-learn's successive halving shrinks the validation folds as well as the training sets.
#
# Versions: scikit-learn 1.9.1.
# Expected: the resource n_samples is the number of training samples; each candidate is scored on whole validation
#   folds, so that the first rung has a cheap training and the usual error of the accuracy.
# Observed: validation folds are reduced by the same factor. With 1,000 samples, 27 candidates and 5 folds the first
#   rung trains on 29 samples and validates on 7. If one candidate has an accuracy of 0.92 and 26 have 0.88, all
#   independent of the training set, the best candidate wins 21 of 40 searches, and with whole folds 38.
# Matters: scoring costs little for small networks, and the elimination is decided by the noise of few samples. Pass
#   min_resources of thousands of samples, or resource="max_iter" (or n_estimators), which keeps whole folds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import collections

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV

SAMPLES = 1_000
CANDIDATES = 27
SEARCHES = 40
sizes = collections.Counter()


class Candidate(ClassifierMixin, BaseEstimator):
    """A classifier whose accuracy, 0.92 for index 0 and otherwise 0.88, does not depend on the training."""

    def __init__(self, index=0, epochs=1):
        self.index = index
        self.epochs = epochs

    def fit(self, samples, labels):
        self.classes_ = np.array([0, 1])
        self.trained_ = len(samples)
        return self

    def predict(self, samples):
        sizes[self.trained_, len(samples)] += 1
        is_right = samples[:, self.index] < (0.88 if self.index else 0.92)
        return np.where(is_right, samples[:, -1], 1 - samples[:, -1])


def wins(**options):
    """Return the number of searches that select the best candidate, and the sizes of the folds."""
    sizes.clear()
    count = 0
    for seed in range(SEARCHES):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, SAMPLES)
        samples = np.column_stack([rng.random((SAMPLES, CANDIDATES)), labels])
        grid = {"index": list(range(CANDIDATES))}
        search = HalvingGridSearchCV(
            Candidate(), grid, factor=3, refit=False, return_train_score=False, random_state=seed, **options
        )
        search.fit(samples, labels)
        count += search.best_params_["index"] == 0
    pairs = sorted(sizes)
    print(f"{options}: samples of training and validation {pairs};", end=" ")
    print(f"the best candidate wins {count} of {SEARCHES} searches")
    return count, pairs


small, pairs = wins()
assert pairs[0] == (29, 7), pairs
assert pairs[-1] == (799, 199), pairs
whole, pairs = wins(resource="epochs", max_resources=27)
assert pairs == [(800, 200)], pairs
assert small < 0.7 * SEARCHES, small
assert whole > 0.9 * SEARCHES, whole
PYTHON
