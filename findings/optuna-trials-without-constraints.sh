#!/usr/bin/env bash
# Finished trials without constraints are feasible for Optuna's TPE and NSGA-II, and an error for its GP.
#
# Versions: Optuna 5.0.0.
# Expected: a trial without recorded constraints is treated alike by all samplers: as unknown, or as infeasible.
# Observed: TPE and NSGA-II continue, and study.best_trial names the trial without constraints although its value
#   violates them; GPSampler raises ValueError at its first proposal.
# Matters: studies are often warm-started with trainings that were recorded before a limit on parameters or time
#   existed. Store constraints with each imported trial (create_trial(system_attrs=...) or a study that re-evaluates
#   them).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile optuna==5.0.0 torch==2.13.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
range_of_x = optuna.distributions.FloatDistribution(0, 1)


def constraints(trial):
    return trial.user_attrs["constraints"]


def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    trial.set_user_attr("constraints", (0.5 - x,))  # feasible if x is at least 0.5
    return x


earlier = [
    optuna.trial.create_trial(params={"x": step / 20}, distributions={"x": range_of_x}, value=step / 20)
    for step in range(12)  # for example imported from a study that had no constraints
]
results = {}
for name in ("TPESampler", "NSGAIISampler", "GPSampler"):
    study = optuna.create_study(sampler=getattr(optuna.samplers, name)(seed=0, constraints_func=constraints))
    study.add_trials(earlier)
    try:
        study.optimize(objective, n_trials=20)
    except ValueError as error:
        results[name] = str(error)
    else:
        results[name] = study.best_trial.number
    print(f"{name:14} {results[name]}")
print("trial 0 has x = 0, which the constraint excludes")
assert results["TPESampler"] == 0 and results["NSGAIISampler"] == 0, results
assert "number of constraints" in str(results["GPSampler"]), results
PYTHON
