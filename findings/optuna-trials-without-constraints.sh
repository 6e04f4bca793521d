#!/usr/bin/env bash
# Finished trials without constraints are feasible for Optuna's TPE and NSGA-II, and an error for its GP.
#
# Versions: Optuna 5.0.0 (Trial.set_constraint, new in this version).
# Expected: a trial without recorded constraints is treated alike by all samplers: as unknown, or as infeasible.
# Observed: TPE and NSGA-II continue, and study.best_trial is the trial without constraints at x = 0, which the
#   constraint excludes; GPSampler raises ValueError at its first proposal. With create_trial(constraints=...) all
#   three agree.
# Matters: studies are often warm-started with trainings that were recorded before a limit on parameters or time
#   existed; an objective that returns early, before set_constraint, has the same effect.
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


def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    trial.set_constraint("size", 0.5 - x)  # feasible if x is at least 0.5
    return x


def trials(**options):
    """Return earlier trainings, for example from a study that had no constraints."""
    for step in range(12):
        x = step / 20
        extra = {"constraints": {"size": 0.5 - x}} if options.get("constrained") else {}
        yield optuna.trial.create_trial(params={"x": x}, distributions={"x": range_of_x}, value=x, **extra)


results = {}
for name in ("TPESampler", "NSGAIISampler", "GPSampler"):
    for constrained in (False, True):
        study = optuna.create_study(sampler=getattr(optuna.samplers, name)(seed=0))
        study.add_trials(trials(constrained=constrained))
        try:
            study.optimize(objective, n_trials=10)
        except ValueError as error:
            results[name, constrained] = str(error)
        else:
            results[name, constrained] = study.best_params["x"]
        print(f"{name:14} earlier trials with constraints: {constrained!s:6} best x: {results[name, constrained]}")
assert all(results[name, True] >= 0.5 for name in ("TPESampler", "NSGAIISampler", "GPSampler")), results
assert results["TPESampler", False] == results["NSGAIISampler", False] == 0, results
assert "number of constraints" in str(results["GPSampler", False]), results
PYTHON
