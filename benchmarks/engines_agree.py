"""No accuracy lost: seeds of one network by the native engine and by torch.

Both engines train the same seeds of the same network with the same recipe on the search split; the accuracies are those
of the validation images at the last epoch. Runs of a seed are a pair: the same first weights, order and moves. Two
statements about the mean of their differences: it lies within one standard error of zero, which equal engines miss in
three of ten such comparisons; and it is smaller than a margin, at 5 % (two one-sided t tests, Schuirmann 1987).

    python -m benchmarks.engines_agree --seeds 30 --epochs 4 --margin 0.1 --data FOLDER

writes benchmarks/results/engines-agree.json, and keeps the runs beside it.
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
from harness import files
from harness.evidence.statistics import mean, standard_deviation
from harness.training.recipes import named_recipe
from harness.training.result import Result
from harness.training.run import Job
from harness.training.seeds import Purpose
from search_spaces.catalog import preset

HERE = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Train what is missing, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="anchor3762")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--margin", type=float, default=0.1, help="points")
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    recipe = replace(named_recipe(given.recipe).recipe, epochs=given.epochs)
    jobs = [
        Job(
            architecture=preset(given.network).text,
            recipe=recipe,
            recipe_name=f"{given.recipe}, {given.epochs} epochs",
            purpose=Purpose.REFERENCE,
            seed_index=index,
            engine=engine,
        )
        for index in range(given.seeds)
        for engine in ("native", "torch")
    ]
    runs = trained(jobs, given.data, HERE / "runs" / "engines-agree.json")
    native, torch = (_side(runs[first::2]) for first in (0, 1))
    differences = [
        ours - theirs
        for ours, theirs in zip(native["validation_accuracy_pct"], torch["validation_accuracy_pct"], strict=True)
    ]
    error = standard_deviation(differences) / math.sqrt(given.seeds)
    within = interval(differences)
    document = {
        "machine": machine(),
        "network": given.network,
        "recipe": f"{given.recipe}, {given.epochs} epochs",
        "native": native,
        "torch": torch,
        "difference_pct": mean(differences),
        "standard_error_pct": error,
        "within_one_standard_error": abs(mean(differences)) <= error,
        "interval_90_pct": within,
        "margin_pct": given.margin,
        "equivalent_within_the_margin": -given.margin < within[0] and within[1] < given.margin,
    }
    files.write_json(HERE / "engines-agree.json", document)
    print(json.dumps(document, indent=1))


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
