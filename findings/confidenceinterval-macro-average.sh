#!/usr/bin/env bash
# confidenceinterval: intervals of macro averages are too wide for 2 classes, too narrow or NaN for 30 classes.
#
# Versions: confidenceinterval 1.0.5, scikit-learn 1.9.1.
# Expected: the default (analytic, Takahashi et al. 2022) 95 % interval of macro F1, precision and recall contains the
#   true score in about 95 % of samples, as the interval of the bootstrap does within the error of 50 draws.
# Observed: the width of the F1 interval is near 3.92 / sqrt(classes * samples), whatever the score. For 2 classes it is
#   more than three times as wide as the spread of the scores and ends above 1. For 30 classes, 600 samples and accuracy
#   0.6 it contains the true score in about 60 % of samples. The intervals of macro precision and recall become narrower
#   with more classes: at 30 classes they contain the true score in less than 60 % of samples, or are NaN.
# Matters: two networks with 30 classes differ "significantly" by chance, and two networks with 2 classes never differ.
#   Pass method="bootstrap_percentile".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile confidenceinterval==1.0.5 scikit-learn==1.9.1 numpy==2.4.6 \
  scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import confidenceinterval
import numpy as np
import sklearn.metrics

DRAWS = 200
METRICS = ("f1_score", "precision_score", "recall_score")


def predictions(seed, samples, classes, rate):
    """Return labels and predictions, of which the share rate is right and the rest are random classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    return labels, np.where(rng.random(samples) < rate, labels, rng.integers(0, classes, samples))


def study(name, samples, classes, rate, **options):
    """Return the coverage of the interval, the width over 3.92 deviations of the score, and the largest bound."""
    truth = rate + (1 - rate) / classes  # precision, recall and F1 of each class in the limit of many samples
    answers = []
    for seed in range(DRAWS if not options else DRAWS // 4):
        pair = predictions(seed, samples, classes, rate)
        score, (low, high) = getattr(confidenceinterval, name)(*pair, average="macro", **options)
        assert np.isclose(score, getattr(sklearn.metrics, name)(*pair, average="macro"), atol=1e-4)
        answers.append((score, low, high))
    scores, lows, highs = np.array(answers).T
    coverage = np.mean((lows <= truth) & (truth <= highs))
    ratio = np.mean(highs - lows) / (3.92 * scores.std())
    print(f"{name}, {classes} classes, {samples} samples, score {truth:.2f} {options}:", end=" ")
    print(f"coverage {coverage:.3f}, width {ratio:.2f} of 3.92 deviations, largest bound {highs.max():.3f}")
    return coverage, ratio, highs.max()


coverage, ratio, top = study("f1_score", 400, 2, 0.9)
assert coverage == 1
assert ratio > 3
assert top > 1
coverage, ratio, _ = study("f1_score", 600, 30, 0.6)
assert coverage < 0.75
assert ratio < 0.6
for name in METRICS[1:]:
    assert study(name, 500, 10, 0.9)[0] > 0.9, "10 classes are about right"
    assert study(name, 600, 30, 0.8)[0] < 0.7
    assert np.isnan(study(name, 600, 30, 0.6)[1])
for classes, rate in ((2, 0.9), (30, 0.8)):
    answer = study("f1_score", 400, classes, rate, method="bootstrap_percentile", n_resamples=200, random_state=0)
    assert answer[0] > 0.85 and 0.7 < answer[1] < 1.4, answer
PYTHON
