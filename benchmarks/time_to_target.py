"""Time to 99.4 %: the shortest fixed schedule that reaches it, beside a document's recipe on the same cores.

Of rising numbers of epochs the first is taken whose mean validation accuracy over five fresh seeds stands for the
target: nothing is chosen on the test set, which five seeds of that schedule read. The document's side is its record,
and the time of its epochs by the best seed-style loop of benchmarks/results/throughput.json: a lower bound where its
mean misses the target. The ratio is that of the epochs times that of an epoch's seconds.

    python -m benchmarks.time_to_target --network seed4 --data FOLDER

writes benchmarks/results/time-to-target.json.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from harness.data.datasets import dataset
from harness.evidence import record
from harness.evidence.bounds import error_ratio_of
from harness.evidence.verify import Plan, run_seeds
from harness.system import files
from harness.system.files import workspace
from harness.system.machine import core_count
from harness.system.statistics import mean, reaches
from harness.training.executor import Limits, Source, run_all
from harness.training.processes import Processes
from harness.training.recipe import NamedRecipe, Recipe, named_recipe
from harness.training.result import Purpose
from harness.training.run import Job
from search_spaces.catalog import PRESETS
from search_spaces.network import Architecture
from search_spaces.notation import parse_network

HERE = Path(__file__).resolve().parent / "results"
RESULTS, SPEEDS = HERE / "time-to-target.json", HERE / "throughput.json"
SEEDS = 5
TARGET_PCT = 99.4


def shortest(
    network: Architecture, base: NamedRecipe, epochs: list[int], folder: Path | None
) -> tuple[Recipe, list[Any]]:
    """Return the shortest schedule whose mean validation accuracy over five seeds suffices, and what each gave."""
    threshold = error_ratio_of(dataset("mnist"), TARGET_PCT).threshold_pct(TARGET_PCT)
    tried = []
    for count in epochs:
        job = Job(
            architecture=network,
            recipe=replace(base.recipe, epochs=count),
            recipe_name=f"fast, {count} epochs",
            purpose=Purpose.REFERENCE,
            seed_index=0,
            engine="native",
        )
        jobs = [replace(job, seed_index=index) for index in range(SEEDS)]
        runs = run_all(jobs, Processes(Source("mnist", folder), Limits()), core_count())
        accuracies = [ended.result.validation_accuracy_pct or 0.0 for ended in runs]
        tried.append({"epochs": count, "validation_accuracy_pct": accuracies, "mean": mean(accuracies)})
        print(tried[-1], flush=True)
        if reaches(mean(accuracies), threshold):
            return job.recipe, tried
    raise SystemExit(f"none of {epochs} epochs reaches {threshold:.3f} % on validation")


def main() -> None:
    """Find the schedule, confirm it on the test set, and write both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="seed4")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--epochs", default="2,3,4,5,6,8,10,12,15")
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    text, place = PRESETS[given.network], workspace()
    # What the comparison needs is looked for before anything is trained.
    network = parse_network(text)
    records = record.read_all(place.records)
    theirs = next((item for item in records if (item.hash, item.recipe_name) == (network.hash, given.network)), None)
    if theirs is None:
        raise SystemExit(f"no record of {given.network} by its document's recipe: harness verify {given.network}")
    speeds = json.loads(SPEEDS.read_text())["rows"] if SPEEDS.exists() else []
    speed = next((row for row in speeds if row["network"] == given.network), None)
    if speed is None:
        raise SystemExit(f"{SPEEDS} has no speed of {given.network}: python -m benchmarks.throughput measures it")
    recipe, tried = shortest(
        network, named_recipe(given.recipe), [int(count) for count in given.epochs.split(",")], given.data
    )
    # A verification like any other: its seeds and its reads of the test set are on record.
    plan = Plan(
        architecture=network,
        recipe=NamedRecipe(f"{given.recipe}, {recipe.epochs} epochs", recipe),
        dataset="mnist",
        target_pct=TARGET_PCT,
        indices=tuple(range(SEEDS)),
        engine="native",
        workers=core_count(),
        name=given.network,
    )
    runs = run_seeds(plan, place, Source("mnist", given.data), Limits(), lambda event: None).runs
    accuracies = [run.accuracy_pct for run in runs]
    # The speed is that of all processes together, and one of them trains the network.
    seconds = theirs.recipe.epochs * 60_000 / (speed["seed_style"] / core_count())
    ours = mean([run.train_seconds for run in runs])
    document = {
        "machine": machine(),
        "network": given.network,
        "tried": tried,
        "epochs": recipe.epochs,
        "test_accuracy_pct": accuracies,
        "mean_test_accuracy_pct": mean(accuracies),
        "reaches": reaches(mean(accuracies), TARGET_PCT),
        "seconds": ours,
        "document_epochs": theirs.recipe.epochs,
        "document_mean_test_accuracy_pct": mean(theirs.accuracies_pct),
        "document_seeds": len(theirs.accuracies_pct),
        "document_reaches": reaches(mean(theirs.accuracies_pct), TARGET_PCT),
        "document_seconds": seconds,
        "ratio": seconds / ours,
        "ratio_of_epochs": theirs.recipe.epochs / recipe.epochs,
        "ratio_of_an_epoch": seconds / theirs.recipe.epochs / (ours / recipe.epochs),
    }
    files.write_json(RESULTS, document)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
