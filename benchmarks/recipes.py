"""Recipes compared: one field of `fast` changed at a time, on validation, over seeds.

Every variant trains the same network for the same number of epochs on the search split; its figure is the mean
validation accuracy at the last epoch over the seeds, and its difference from `fast` comes with the standard error of
a difference of independent means. The test set is not read.

    python -m benchmarks.recipes --epochs 8 --seeds 4 --data FOLDER

writes benchmarks/results/recipes.json, and keeps the runs beside it.
"""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.runs import trained
from benchmarks.throughput import NETWORKS
from harness.system import files
from harness.system.statistics import mean, standard_deviation
from harness.training.recipe import AverageStatistics, Initialisation, Optimizer, Recipe, Schedule
from harness.training.result import Purpose
from harness.training.run import Job
from search_spaces.catalog import PRESETS
from search_spaces.notation import parse_network

HERE = Path(__file__).resolve().parent / "results"
_TAUGHT: dict[str, Any] = {"teacher": PRESETS["seed4"].text, "teacher_recipe": Recipe()}
# Batch and rate go together: halving one halves the other.
VARIANTS: dict[str, dict[str, Any]] = {
    "fast": {},
    "batch 32, rate 0.05": {"batch_size": 32, "learning_rate": 0.05},
    "batch 32, rate 0.1": {"batch_size": 32},
    "batch 128, rate 0.2": {"batch_size": 128, "learning_rate": 0.2},
    "rate 0.05": {"learning_rate": 0.05},
    "rate 0.2": {"learning_rate": 0.2},
    "warm-up 0.05": {"warmup": 0.05},
    "warm-up 0.4": {"warmup": 0.4},
    "momentum 0.8": {"momentum": 0.8},
    "momentum 0.95": {"momentum": 0.95},
    "no average": {"average_decay": 0.0},
    "average 0.99": {"average_decay": 0.99},
    "average 0.9995": {"average_decay": 0.9995},
    "weight decay 0": {"weight_decay": 0.0},
    "weight decay 5e-4": {"weight_decay": 5e-4},
    "augmented 0.3": {"augmented_share": 0.3},
    "augmented 1": {"augmented_share": 1.0},
    "label smoothing 0.05": {"label_smoothing": 0.05},
    "torch's first weights": {"initialisation": Initialisation.TORCH},
    "Adam, rate 0.005": {"optimizer": Optimizer.ADAM, "learning_rate": 0.005},
    "cosine": {"schedule": Schedule.COSINE},
    "linear to 0.02": {"final_rate": 0.02},
    "statistics recomputed": {"average_statistics": AverageStatistics.RECOMPUTED},
    "no moves in the last 0.25": {"augmentation_off_share": 0.25},
    "dirac": {"initialisation": Initialisation.DIRAC},
    "head of zeros": {"zero_head": True},
    "taught by seed4": _TAUGHT,
    "taught by three seed4": {**_TAUGHT, "teacher_seeds": 3},
    "taught by seed4, 0.9": {**_TAUGHT, "distill_weight": 0.9},
    "taught by seed4 at 2": {**_TAUGHT, "distill_temperature": 2.0},
}


def main() -> None:
    """Train what is missing, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="3,702 parameters", help="of benchmarks/throughput.py, or the notation")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    text, _ = NETWORKS.get(given.network, (given.network, 0))
    jobs = [
        Job(
            architecture=parse_network(text),
            recipe=replace(Recipe(), epochs=given.epochs, **changes),
            recipe_name=name,
            purpose=Purpose.REFERENCE,
            seed_index=index,
            engine="native",
            teachers=HERE / "runs" / "teachers",
        )
        for name, changes in VARIANTS.items()
        for index in range(given.seeds)
    ]
    runs = trained(jobs, given.data, HERE / "runs" / "recipes.json")
    accuracies = {
        name: [run.validation_accuracy_pct or 0.0 for run in runs[at * given.seeds : (at + 1) * given.seeds]]
        for at, name in enumerate(VARIANTS)
    }
    rows = sorted((_row(name, accuracies) for name in VARIANTS), key=lambda row: -row["mean_pct"])
    document = {"machine": machine(), "network": text, "epochs": given.epochs, "seeds": given.seeds, "rows": rows}
    files.write_json(HERE / "recipes.json", document)
    for row in rows:
        print(f"{row['recipe']:<24} {row['mean_pct']:.3f} %  {row['difference_pct']:+.3f} +- {row['error_pct']:.3f}")


def _row(name: str, accuracies: dict[str, list[float]]) -> dict[str, Any]:
    ours, base = accuracies[name], accuracies["fast"]
    variances = standard_deviation(ours) ** 2 + standard_deviation(base) ** 2
    return {
        "recipe": name,
        "validation_accuracy_pct": ours,
        "mean_pct": mean(ours),
        "difference_pct": mean(ours) - mean(base),
        "error_pct": math.sqrt(variances / len(ours)),
    }


if __name__ == "__main__":
    main()
