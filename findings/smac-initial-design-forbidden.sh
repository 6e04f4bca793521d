#!/usr/bin/env bash
# SMAC's Sobol and Latin hypercube designs shrink by the forbidden configurations, which are not replaced.
#
# Versions: SMAC 2.4.1, ConfigSpace 1.2.2.
# Expected: n_configs=20 evaluates 20 initial configurations, as RandomInitialDesign does; 20 allowed ones exist.
# Observed: with a > b forbidden, half of the space, the Sobol design has 8 configurations and the Latin hypercube 13.
#   The log names the smaller number, without the reason.
# Matters: the model starts from few and uneven points, and designs of different sizes are compared. Count
#   select_configurations(), ask for more, or search a space without forbidden parts (b and a / b).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile smac==2.4.1 ConfigSpace==1.2.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging

from ConfigSpace import ConfigurationSpace, ForbiddenGreaterThanRelation
from smac import Scenario
from smac.initial_design import LatinHypercubeInitialDesign, RandomInitialDesign, SobolInitialDesign

logging.disable(logging.CRITICAL)


def size(design, forbidden):
    space = ConfigurationSpace({"a": (0.0, 1.0), "b": (0.0, 1.0)}, seed=0)
    if forbidden:
        space.add(ForbiddenGreaterThanRelation(space["a"], space["b"]))
    scenario = Scenario(space, n_trials=100, deterministic=True, output_directory="runs", seed=0)
    return len(set(design(scenario, n_configs=20, max_ratio=1.0).select_configurations()))


results = {}
for design in (RandomInitialDesign, SobolInitialDesign, LatinHypercubeInitialDesign):
    results[design.__name__] = size(design, forbidden=False), size(design, forbidden=True)
    print(f"{design.__name__:27} of 20: free space {results[design.__name__][0]},", end=" ")
    print(f"half of the space forbidden {results[design.__name__][1]}")
assert results["RandomInitialDesign"] == (20, 20), results
assert results["SobolInitialDesign"][0] == 20 > 14 > results["SobolInitialDesign"][1], results
assert results["LatinHypercubeInitialDesign"][0] == 20 > 17 > results["LatinHypercubeInitialDesign"][1], results
PYTHON
