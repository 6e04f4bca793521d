#!/usr/bin/env bash
# SMAC's multi-fidelity facade evaluates every configuration with one seed, also if the objective is not deterministic.
#
# Versions: SMAC 2.4.1, ConfigSpace 1.2.2.
# Expected: with deterministic=False (the default) promising configurations are trained with further seeds before a
#   configuration becomes the incumbent; the smallest budget is min_budget.
# Observed: the facade without budgets uses 3 seeds in 30 trainings, the facade with budgets a single seed for all, so
#   the incumbent is the best with a lucky seed. min_budget=5 is never used: budgets are 60/9 = 6.67, 20 and 60.
# Matters: the accuracy of small networks varies by a tenth of a per cent between seeds, as much as good
#   configurations differ. Retrain the incumbent with fresh seeds, or pass get_intensifier(scenario, n_seeds=...).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile smac==2.4.1 ConfigSpace==1.2.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging

from ConfigSpace import ConfigurationSpace
from smac import HyperparameterOptimizationFacade, MultiFidelityFacade, Scenario

logging.disable(logging.CRITICAL)
calls = []


def train(config, seed=0, budget=None):
    calls.append((config["x"], seed, budget))
    return config["x"]


def search(facade, name, **limits):
    calls.clear()
    space = ConfigurationSpace({"x": (0.0, 1.0)})
    scenario = Scenario(space, name=name, n_trials=30, deterministic=False, output_directory="runs", **limits)
    facade(scenario, train, overwrite=True, logging_level=False).optimize()
    return len(calls), len({seed for _, seed, _ in calls}), sorted({budget for *_, budget in calls if budget})


results = {
    "HyperparameterOptimizationFacade": search(HyperparameterOptimizationFacade, "full"),
    "MultiFidelityFacade": search(MultiFidelityFacade, "budgets", min_budget=5, max_budget=60),
}
for name, (number, seeds, budgets) in results.items():
    print(f"{name:32} {number} trainings, {seeds} seeds, budgets {[round(budget, 2) for budget in budgets]}")
assert results["HyperparameterOptimizationFacade"][1] == 3, results
assert results["MultiFidelityFacade"][1] == 1, results
assert min(results["MultiFidelityFacade"][2]) > 6.6, results
PYTHON
