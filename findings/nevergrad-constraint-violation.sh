#!/usr/bin/env bash
# nevergrad's NGOpt with constraint violations finds no feasible candidate and recommends its infeasible starting point.
#
# Versions: nevergrad 1.0.12.
# Expected: tell(candidate, loss, [violation]) leads NGOpt to feasible candidates, as a simple penalty in the loss does,
#   and the recommendation is feasible.
# Observed: with a budget of 200 none of the candidates is feasible, in all searches and for both signs of the loss; the
#   recommendation is the middle of the ranges, without a warning. The internal penalty is 0 for negative losses (such
#   as -accuracy) in the first half of the budget, and grows with the number of evaluations; the candidates contract
#   to one infeasible point. With 10 * violation added to the loss the same optimiser finds the
#   best feasible accuracy, 0.889. RandomSearch with violations recommends feasible candidates.
# Matters: budgets of some hundred trainings are usual. Add a penalty to the loss, or use register_cheap_constraint if
#   the constraint is known before the training.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile nevergrad==1.0.12 numpy==1.26.4
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import nevergrad as ng
import numpy as np

BUDGET = 200
SEEDS = (0, 1, 2)


def search(name, constant, penalty, seed):
    """Maximise the accuracy at width + 2 * depth <= 8; return the number of feasible candidates and the result."""
    space = ng.p.Array(shape=(2,), lower=0, upper=10)
    space.random_state.seed(seed)
    optimizer = ng.optimizers.registry[name](space, budget=BUDGET)
    feasible = 0
    for _ in range(BUDGET):
        candidate = optimizer.ask()
        width, depth = candidate.value
        loss = constant - (1 - 1 / (1 + width + depth))
        violation = max(0, width + 2 * depth - 8)
        feasible += violation == 0
        if penalty:
            optimizer.tell(candidate, loss + penalty * violation)
        else:
            optimizer.tell(candidate, loss, [violation])
    return feasible, optimizer.provide_recommendation().value


for name, constant, penalty in (("NGOpt", 0, 0), ("NGOpt", 1, 0), ("NGOpt", 0, 10), ("RandomSearch", 0, 0)):
    outcomes = [search(name, constant, penalty, seed) for seed in SEEDS]
    counts = [count for count, _ in outcomes]
    excess = np.array([width + 2 * depth - 8 for _, (width, depth) in outcomes])
    loss = "1 - accuracy" if constant else "-accuracy"
    print(f"{name}, loss {loss}, {'penalty' if penalty else 'violation'}: feasible candidates {counts},", end=" ")
    print("recommendations", *[f"({width:.2f}, {depth:.2f})" for _, (width, depth) in outcomes])
    if name == "NGOpt" and not penalty:
        assert counts == [0, 0, 0], counts
        assert np.allclose([value for _, value in outcomes], 5)
    else:
        assert min(counts) > 0, counts
        assert excess.max() < 0.01, excess
PYTHON
