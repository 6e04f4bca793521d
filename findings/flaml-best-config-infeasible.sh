#!/usr/bin/env bash
# flaml's best_config ignores the metric_constraints of tune.run.
#
# Versions: flaml 2.8.0 with Optuna as its global search.
# Expected: best_config and best_result are the best trial that satisfies the constraints, since tune.run knows them.
# Observed: with metric_constraints=[("size", "<=", 8)] best_config is the trial with the highest accuracy of all, of
#   size 26, although 24 of 60 trials are feasible. The constraints change only the proposals; there is no warning.
#   (Open issue 876 of FLAML; the docstring of tune.run does not mention the behaviour.)
# Matters: accuracy rises with size, so the delivered network is the largest of the search. Filter
#   analysis.results.values() by the constraints.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile "flaml[blendsearch]==2.8.0" numpy==1.26.4
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging

from flaml import tune

logging.disable(logging.CRITICAL)
LIMIT = 8


def train(config):
    size = config["width"] + 2 * config["depth"]
    return {"accuracy": 1 - 1 / (1 + config["width"] + config["depth"]), "size": size}


analysis = tune.run(
    train,
    config={"width": tune.uniform(0, 10), "depth": tune.uniform(0, 10)},
    metric="accuracy",
    mode="max",
    num_samples=60,
    metric_constraints=[("size", "<=", LIMIT)],
    verbose=0,
)
results = list(analysis.results.values())
feasible = [result for result in results if result["size"] <= LIMIT]
best = max(feasible, key=lambda result: result["accuracy"])
reported = analysis.best_result
print(f"{len(feasible)} of {len(results)} trials are feasible; the best has accuracy {best['accuracy']:.3f}", end=" ")
print(f"and size {best['size']:.1f}; best_result has accuracy {reported['accuracy']:.3f}", end=" ")
print(f"and size {reported['size']:.1f}")
assert reported["size"] > LIMIT, reported
assert reported["accuracy"] == max(result["accuracy"] for result in results)
PYTHON
