"""Measure the offset between validation and test accuracy on reference networks, never on candidates.

For each network: n seeds trained on the search split and read on the validation images after every epoch, and the
test accuracies of its record (n seeds trained on all images, `harness verify`). The offset is the mean over networks
of the difference of the two means; its standard error comes from the deviations of both.

    python -m benchmarks.validation_offset --seeds 3 --networks anchor3762 --recipe fast

writes benchmarks/results/validation-offset.json (every run) and harness/offsets.json (what a search adds).
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

from harness import files, record, workers
from harness.data import resolve
from harness.document import read_as
from harness.environment import code_version
from harness.recipes import NamedRecipe, named_recipe
from harness.result import Result, to_document
from harness.run import Job
from harness.seeds import Purpose
from harness.statistics import mean, standard_deviation
from harness.workers import Finished, Limits, Source
from harness.workspace import workspace
from search_spaces.catalog import preset
from search_spaces.notation import parse_network

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "benchmarks" / "results" / "validation-offset.json"
OFFSETS = ROOT / "harness" / "offsets.json"


def main() -> None:
    """Run what is missing and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="anchor3762", help="presets, comma-separated")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    recipe = named_recipe(given.recipe)
    names = given.networks.split(",")
    runs = _validated(names, recipe, given.seeds, given.workers, given.data)
    _write_offset(names, recipe, runs)


def _validated(names: list[str], recipe: NamedRecipe, seeds: int, count: int, folder: Path | None) -> list[Result]:
    """Return the validation runs, those on file and those that were missing."""
    kept = read_as(list[Result], RUNS.read_bytes(), str(RUNS)) if RUNS.exists() else []
    there = {(run.hash, run.recipe_hash, run.seed_index) for run in kept}
    waiting = [
        _job(text, recipe, index)
        for index in range(seeds)
        for text in (preset(name).text for name in names)
        if (parse_network(text).hash, recipe.recipe.hash, index) not in there
    ]
    if not waiting:
        return kept
    data = resolve("mnist", folder)
    pool = workers.start(Source(data.dataset.name, folder), min(count, len(waiting)))
    try:
        while waiting or any(worker.job for worker in pool):
            for worker in pool:
                if worker.job is None and waiting:
                    workers.assign(worker, waiting.pop(0))
            for event in workers.poll(pool, Limits(), 1.0):
                if isinstance(event, Finished):
                    kept.append(event.result)
                    files.write_json(RUNS, [to_document(run) for run in kept])
                    done = event.result
                    print(done.hash, done.seed_index, done.validation_accuracy_pct, flush=True)
    finally:
        workers.stop(pool)
    return kept


def _job(text: str, recipe: NamedRecipe, index: int) -> Job:
    return Job(
        architecture=text,
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        purpose=Purpose.REFERENCE,
        seed_index=index,
        evaluate_each_epoch=True,
    )


def _write_offset(names: list[str], recipe: NamedRecipe, runs: list[Result]) -> None:
    differences, variances, parts = [], [], []
    records = {(item.hash, item.recipe_hash): item for item in record.read_all(workspace().records)}
    for name in names:
        network = parse_network(preset(name).text).hash
        evidence = records.get((network, recipe.recipe.hash))
        mine = [run for run in runs if (run.hash, run.recipe_hash) == (network, recipe.recipe.hash)]
        validation = [run.validation_accuracy_pct or 0.0 for run in mine]
        test = list(evidence.accuracies_pct) if evidence else []
        if len(validation) < 2 or len(test) < 2:
            print(f"{name}: {len(validation)} validation and {len(test)} test runs; two of each are needed")
            continue
        difference = mean(validation) - mean(test)
        print(
            f"{name}: validation {mean(validation):.3f} % (n {len(validation)}), "
            f"test {mean(test):.3f} % (n {len(test)})"
        )
        differences.append(difference)
        variances.append(_squared_error(validation) + _squared_error(test))
        parts.append(f"{name} (validation n {len(validation)}, test n {len(test)})")
    if not differences:
        return
    error = math.sqrt(sum(variances)) / len(differences)
    document: dict[str, Any] = json.loads(OFFSETS.read_text(encoding="utf-8"))
    document["mnist"] = {
        "offset_pct": round(mean(differences), 4),
        "standard_error_pct": round(error, 4),
        "protocol": f"recipe {recipe.name}, {', '.join(parts)}; commit {(code_version()[0] or 'unknown')[:12]}",
    }
    files.write_json(OFFSETS, document)
    print(f"offset {mean(differences):+.4f} points, standard error {error:.4f}")


def _squared_error(values: list[float]) -> float:
    return standard_deviation(values) ** 2 / len(values)


if __name__ == "__main__":
    main()
