"""No accuracy lost: seeds of one network by the native engine and by torch.

Both engines train the same seeds of the same network with the same recipe on the search split; the accuracies are those
of the validation images at the last epoch. Two statements about the means: they lie within one standard error of their
difference, which equal engines miss in three of ten such comparisons; and the difference is smaller than a margin that
was set before anything was trained, at 5 % (two one-sided t tests, Schuirmann 1987, unequal variances).

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
from harness.recipes import named_recipe
from harness.result import Result
from harness.run import Job
from harness.seeds import Purpose
from harness.statistics import mean, standard_deviation
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
    error = math.sqrt((native["deviation"] ** 2 + torch["deviation"] ** 2) / given.seeds)
    within = equivalence(native["validation_accuracy_pct"], torch["validation_accuracy_pct"])
    document = {
        "machine": machine(),
        "network": given.network,
        "recipe": f"{given.recipe}, {given.epochs} epochs",
        "native": native,
        "torch": torch,
        "difference_pct": native["mean_pct"] - torch["mean_pct"],
        "standard_error_pct": error,
        "within_one_standard_error": abs(native["mean_pct"] - torch["mean_pct"]) <= error,
        "interval_90_pct": within,
        "margin_pct": given.margin,
        "equivalent_within_the_margin": -given.margin < within[0] and within[1] < given.margin,
    }
    files.write_json(HERE / "engines-agree.json", document)
    print(json.dumps(document, indent=1))


def equivalence(first: list[float], second: list[float]) -> tuple[float, float]:
    """Return the 90 % interval of the difference of two means (Welch), which holds both one-sided tests at 5 %."""
    from scipy.stats import ttest_ind

    interval = ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    return float(interval.low), float(interval.high)


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
