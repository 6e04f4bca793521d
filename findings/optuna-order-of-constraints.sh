#!/usr/bin/env bash
# Optuna's GPSampler matches named constraints by the order of the calls, not by name.
#
# Versions: Optuna 5.0.0 (Trial.set_constraint, new in this version).
# Expected: constraints have names, so the order of the set_constraint calls has no effect, as with TPE.
# Observed: if every second trial sets the two constraints in reverse order, GPSampler mixes the values and all 15
#   proposals are infeasible (below 0.2), without an error or a warning; with equal order all 15 are at the boundary,
#   0.5. trial.constraints and best_trial are right in both cases.
# Matters: a limit on parameters is known before training, a limit on time after training, so branches of an objective
#   set constraints in different order. Set all constraints together, always in the same order.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile optuna==5.0.0 torch==2.13.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def proposals(sampler, swapped):
    """Return the values of x after ten random trials; values from 0.5 to 0.7 are feasible, 0.01 is tolerated."""

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        constraints = [("size", 0.5 - x), ("time", x - 0.7)]
        for name, value in reversed(constraints) if swapped and trial.number % 2 else constraints:
            trial.set_constraint(name, value)
        return x

    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=25)
    return [trial.params["x"] for trial in study.trials[10:]]


results = {}
for name in ("TPESampler", "GPSampler"):
    for swapped in (False, True):
        values = proposals(getattr(optuna.samplers, name)(seed=0), swapped)
        feasible = sum(0.49 <= value <= 0.71 for value in values)
        results[name, swapped] = feasible, values
        print(f"{name:10} order alternates: {swapped!s:6} feasible: {feasible:2} of 15", end=" ")
        print([round(value, 2) for value in values[:8]])
assert results["TPESampler", False][1] == results["TPESampler", True][1], results
assert results["GPSampler", False][0] >= 12, results
assert results["GPSampler", True][0] <= 2, results
PYTHON
