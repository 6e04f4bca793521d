#!/usr/bin/env bash
# ngboost: after early stopping, predictions use all trees, also those after the best iteration.
#
# Versions: ngboost 0.5.11, scikit-learn 1.9.1.
# Expected: as in xgboost and catboost, predictions of a model with early stopping use the best iteration, which is
#   stored as best_val_loss_itr; predict(X, max_iter=best_val_loss_itr) is the same.
# Observed: pred_dist and predict use every tree, so a longer patience makes the model worse: the validation loss of the
#   default prediction rises with early_stopping_rounds from 5 to 40, while the best loss stays. best_val_loss_itr
#   counts from 0 and max_iter counts trees, so the best model has max_iter=best_val_loss_itr + 1.
# Matters: with a patience of 40 the loss on test data is 2.66 in place of 1.45, and a search over the patience or the
#   learning rate compares models that are past their optimum. Pass max_iter=model.best_val_loss_itr + 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile ngboost==0.5.11 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from ngboost import NGBRegressor

rng = np.random.default_rng(0)
inputs = rng.normal(size=(3, 300, 5))  # training, validation, test
targets = inputs[:, :, 0] + rng.normal(size=(3, 300))


def loss(distribution, part):
    return -distribution.logpdf(targets[part]).mean()


tests = {}
for patience in (5, 10, 20, 40):
    model = NGBRegressor(n_estimators=500, learning_rate=0.1, verbose=False, random_state=0)
    model.fit(inputs[0], targets[0], X_val=inputs[1], Y_val=targets[1], early_stopping_rounds=patience)
    stages = [loss(distribution, 1) for distribution in model.staged_pred_dist(inputs[1])]
    best = model.best_val_loss_itr
    default = loss(model.pred_dist(inputs[1]), 1)
    chosen = loss(model.pred_dist(inputs[1], max_iter=best + 1), 1)
    tests[patience] = [loss(model.pred_dist(inputs[2], max_iter=count), 2) for count in (None, best + 1)]
    print(f"patience {patience}: {len(stages)} trees, best_val_loss_itr {best}, validation loss {min(stages):.3f};")
    print(f"  default {default:.3f}, max_iter={best + 1} {chosen:.3f}; test losses {np.round(tests[patience], 3)}")
    assert default == stages[-1]
    assert np.argmin(stages) == best
    assert np.isclose(chosen, min(stages))
    assert loss(model.pred_dist(inputs[1], max_iter=best), 1) > chosen
    assert len(stages) > best + 1
assert tests[5][0] < tests[10][0] < tests[20][0] < tests[40][0], tests
assert tests[40][0] > tests[40][1] + 0.3, tests
PYTHON
