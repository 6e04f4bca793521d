#!/usr/bin/env bash
# skorch: EarlyStopping with a negative score, such as neg_log_loss, counts equal and worse epochs as improvements.
#
# Versions: skorch 1.4.0, torch 2.13.0, scikit-learn 1.9.1.
# Expected: patience epochs after the last improvement the training ends, and load_best=True restores the best epoch. A
#   score and the negative score give the same decisions.
# Observed: the relative threshold (the default, 1e-4) is multiplied by the score, so negative scores are compared with
#   a value below the best score. A constant score improves in each epoch. With a score that falls from -1 by 0.00005
#   per epoch the training never stops, and load_best restores the last and worst epoch. ReduceLROnPlateau of torch has
#   the same rule, and keeps the rate.
# Matters: scikit-learn scorers of losses are negative (neg_log_loss, neg_mean_squared_error); trainings last to
#   max_epochs, and the reported best epoch is wrong. Pass threshold_mode="abs", also to ReduceLROnPlateau.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 skorch==1.4.0 scikit-learn==1.9.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring
from torch import nn

EPOCHS = 40
samples = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
labels = (samples[:, 0] > 0).astype("int64")


def train(sign, slope, **options):
    """Return the epochs, and the best epoch, for a loss of 1 + slope * epoch that is multiplied by sign."""

    def score(net, *_):
        return sign * (1 + slope * (len(net.history) - 1))

    rising = sign < 0
    stopping = EarlyStopping("score", lower_is_better=not rising, patience=5, load_best=True, **options)
    net = NeuralNetClassifier(
        nn.Sequential(nn.Linear(4, 2), nn.Softmax(-1)),
        max_epochs=EPOCHS,
        verbose=0,
        callbacks=[
            ("scoring", EpochScoring(score, lower_is_better=not rising, name="score")),
            ("stopping", stopping),
        ],
    )
    net.fit(samples, labels)
    answer = len(net.history), dict(net.callbacks_)["stopping"].best_epoch_
    print(f"scores {net.history[0, 'score']}, {net.history[1, 'score']}, ... {options}:", end=" ")
    print(f"{answer[0]} epochs, best epoch {answer[1]}")
    return answer


for slope in (0, 0.00005):
    assert train(1, slope) == (6, 1)
    assert train(-1, slope) == (EPOCHS, EPOCHS)
    assert train(-1, slope, threshold_mode="abs") == (6, 1)

rates = {}
for loss in (1.0, -1.0):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", patience=5)
    for _ in range(EPOCHS):
        scheduler.step(loss)
    rates[loss] = optimizer.param_groups[0]["lr"]
print("ReduceLROnPlateau, rate after 40 equal losses of 1 and -1:", rates)
assert rates[1.0] < 1e-5, rates
assert rates[-1.0] == 1, rates
PYTHON
