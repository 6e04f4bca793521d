"""No accuracy lost: seeds of one network by the native engine and by torch, or with products in fp32 and in bf16.

Both sides train the same seeds of the same network with the same recipe on the search split; the accuracies are those
of the validation images at the last epoch. Runs of a seed are a pair: the same first weights, order and moves. Two
statements about the mean of their differences: it lies within one standard error of zero, which equal engines miss in
three of ten such comparisons; and it is smaller than a margin, at 5 % (two one-sided t tests, Schuirmann 1987).

    python -m benchmarks.engines_agree --seeds 30 --epochs 4 --margin 0.1 --data FOLDER

writes benchmarks/results/engines-agree.json, and keeps the runs beside it; `--sides precisions` compares fp32 and bf16
on the native engine and writes precisions-agree.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.runs import trained
from harness.commands.shared.network_argument import read_network
from harness.system import files
from harness.system.files import workspace
from harness.system.statistics import mean, standard_deviation
from harness.training.recipe import Precision, Recipe, named_recipe
from harness.training.result import Purpose, Result
from harness.training.run import Job
from search_spaces.network import Architecture
from search_spaces.task import MNIST

HERE = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Train what is missing, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", choices=("engines", "precisions"), default="engines")
    parser.add_argument("--network", default="anchor3762", help="as commands take it")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--margin", type=float, default=0.1, help="points")
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    network = read_network(given.network, workspace(), MNIST).architecture
    recipe = replace(named_recipe(given.recipe).recipe, epochs=given.epochs)
    # The seed before the side: what disturbs the machine for a while disturbs both.
    sides = _sides(given.sides, network, recipe)
    jobs = [
        replace(side, recipe_name=_named(given), seed_index=index)
        for index in range(given.seeds)
        for side in sides.values()
    ]
    runs = trained(jobs, given.data, HERE / "runs" / f"{given.sides}-agree.json")
    found = {name: _side(runs[first :: len(sides)]) for first, name in enumerate(sides)}
    ours, theirs = (side["validation_accuracy_pct"] for side in found.values())
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    error = standard_deviation(differences) / math.sqrt(given.seeds)
    within = interval(differences)
    document = {
        "machine": machine(),
        "network": given.network,
        "recipe": _named(given),
        **found,
        "difference_pct": mean(differences),
        "standard_error_pct": error,
        "within_one_standard_error": abs(mean(differences)) <= error,
        "interval_90_pct": within,
        "margin_pct": given.margin,
        "equivalent_within_the_margin": -given.margin < within[0] and within[1] < given.margin,
    }
    files.write_json(HERE / f"{given.sides}-agree.json", document)
    print(json.dumps(document, indent=1))


def _sides(of: str, network: Architecture, recipe: Recipe) -> dict[str, Job]:
    """Return what is compared, the first with the second: jobs of one seed."""
    job = Job(
        architecture=network, recipe=recipe, recipe_name="", purpose=Purpose.REFERENCE, seed_index=0, engine="native"
    )
    if of == "engines":
        return {"native": job, "torch": replace(job, engine="torch")}
    return {
        "bf16": replace(job, recipe=replace(recipe, precision=Precision.BF16)),
        "fp32": replace(job, recipe=replace(recipe, precision=Precision.FP32)),
    }


def _named(given: argparse.Namespace) -> str:
    return f"{given.recipe}, {given.epochs} epochs"


def interval(differences: list[float]) -> tuple[float, float]:
    """Return the 90 % interval of a mean (Student), which holds both one-sided tests at 5 %."""
    from scipy.stats import ttest_1samp

    found = ttest_1samp(differences, 0.0).confidence_interval(0.9)
    return float(found.low), float(found.high)


def _side(runs: list[Result]) -> dict[str, Any]:
    accuracies = [run.validation_accuracy_pct or 0.0 for run in runs]
    return {
        "validation_accuracy_pct": accuracies,
        "mean_pct": mean(accuracies),
        "deviation": standard_deviation(accuracies),
        "seconds": mean([run.train_seconds for run in runs]),
    }


if __name__ == "__main__":
    main()
