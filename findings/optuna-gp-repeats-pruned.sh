#!/usr/bin/env bash
# Optuna: GPSampler with a pruner proposes the same bad candidate again and again, since pruned trials are left out.
#
# Versions: Optuna 5.0.0, torch 2.13.0.
# Expected: a pruned trial tells the sampler that the region is bad, as for TPESampler, or at least that the point was
#   tried.
# Observed: the Gaussian process is fitted to completed trials alone. A candidate that is pruned changes nothing, so the
#   next proposal is nearly the same: the last 30 of 60 proposals are 1 to 5 points with MedianPruner and 7 to 28 with
#   SuccessiveHalvingPruner, and the mean accuracy is below the mean of random search. Without a pruner the same
#   sampler is the best of the three; TPE is not affected by the pruner. There is no message.
# Matters: a search with early stopping stands still after about ten completed trainings. Use TPESampler with a pruner,
#   or return the last accuracy of a stopped training in place of raising TrialPruned.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile optuna==5.0.0 torch==2.13.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import optuna
from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import GPSampler, RandomSampler, TPESampler

TRIALS = 60
LAST = 30
OPTIMUM = np.array([0.7, 0.2, 0.5])
optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    point = np.array([trial.suggest_float(name, 0, 1) for name in "xyz"])
    accuracy = 1 - np.sum((point - OPTIMUM) ** 2)
    for epoch in range(1, 4):
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


means = {}
distinct = {}
for pruner in (NopPruner(), MedianPruner(), SuccessiveHalvingPruner()):
    for sampler in (RandomSampler, TPESampler, GPSampler):
        key = (type(pruner).__name__, sampler.__name__)
        means[key] = []
        distinct[key] = []
        for seed in range(4):
            study = optuna.create_study(direction="maximize", sampler=sampler(seed=seed), pruner=pruner)
            study.optimize(objective, n_trials=TRIALS)
            last = study.trials[-LAST:]
            means[key].append(float(np.mean([trial.intermediate_values[1] for trial in last])))
            points = {tuple(round(value, 3) for value in trial.params.values()) for trial in last}
            distinct[key].append(len(points))
        print(f"{key[0]}, {key[1]}: mean accuracy of the last {LAST}", end=" ")
        print(f"{np.round(means[key], 3).tolist()}, distinct points {distinct[key]}", flush=True)
for pruner in ("MedianPruner", "SuccessiveHalvingPruner"):
    assert np.allclose(means[pruner, "TPESampler"], means["NopPruner", "TPESampler"], atol=0.02)
    assert min(distinct[pruner, "GPSampler"]) <= 10
    assert min(distinct[pruner, "TPESampler"]) == LAST
    assert np.mean(means[pruner, "GPSampler"]) < np.mean(means[pruner, "RandomSampler"]), means
    assert np.mean(means[pruner, "GPSampler"]) < np.mean(means[pruner, "TPESampler"]) - 0.2, means
assert min(means["NopPruner", "GPSampler"]) > 0.9, means
PYTHON
