#!/usr/bin/env bash
# nevergrad ignores constraint violations in the first half of the budget if the loss is negative, such as -accuracy.
#
# Versions: nevergrad 1.0.12.
# Expected: tell(candidate, loss, constraint_violation) leads the optimiser to candidates that satisfy the constraint,
#   and the recommendation satisfies it; adding a constant to the loss changes nothing.
# Observed: until half of the budget is used the penalty is a multiple of max(loss, 0), so a violation costs nothing if
#   the loss is -accuracy. NGOpt with a budget of 300 converges to the infeasible optimum: in 5 of 5 searches
#   none of the 300 candidates is feasible, nor is the recommendation. RandomSearch finds feasible candidates in each
#   search and recommends one.
# Matters: accuracy is maximised as its negative. Return a large loss for infeasible candidates, or use
#   register_cheap_constraint if the constraint is known before the training.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile nevergrad==1.0.12 numpy==1.26.4
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import nevergrad as ng

BUDGET = 300


def search(name, constant, seed):
    """Maximise the accuracy at width + 2 * depth <= 8; return the feasible candidates, and the final violation."""
    space = ng.p.Array(shape=(2,), lower=0, upper=10)
    space.random_state.seed(seed)
    optimizer = ng.optimizers.registry[name](space, budget=BUDGET)
    feasible = 0
    for _ in range(BUDGET):
        candidate = optimizer.ask()
        width, depth = candidate.value
        violation = max(0, width + 2 * depth - 8)
        feasible += violation == 0
        optimizer.tell(candidate, constant - (1 - 1 / (1 + width + depth)), [violation])
    width, depth = optimizer.provide_recommendation().value
    return feasible, width + 2 * depth - 8


for name, constant in (("RandomSearch", 0), ("NGOpt", 0), ("NGOpt", 1)):
    outcomes = [search(name, constant, seed) for seed in range(5)]
    loss = "1 - accuracy" if constant else "-accuracy"
    print(f"{name}, loss {loss}: feasible candidates {[count for count, _ in outcomes]},", end=" ")
    print(f"excess of the recommendations {[round(float(max(0, excess)), 2) for _, excess in outcomes]}")
    if (name, constant) == ("NGOpt", 0):
        assert all(count == 0 and excess > 1 for count, excess in outcomes)
    if name == "RandomSearch":
        assert all(count > 0 and excess <= 0 for count, excess in outcomes)
PYTHON
