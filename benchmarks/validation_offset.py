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

from benchmarks.runs import trained
from harness import files, record
from harness.environment import code_version
from harness.recipes import NamedRecipe, named_recipe
from harness.result import Result
from harness.run import Job
from harness.seeds import Purpose
from harness.statistics import mean, standard_deviation
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
    parser.add_argument("--engine", default="native", help="native or torch")
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    recipe = named_recipe(given.recipe)
    names = given.networks.split(",")
    texts = [preset(name).text for name in names]
    jobs = [_job(text, recipe, index, given.engine) for index in range(given.seeds) for text in texts]
    runs = trained(jobs, given.data, RUNS)
    _write_offset(names, recipe, runs)


def _job(text: str, recipe: NamedRecipe, index: int, engine: str) -> Job:
    return Job(
        architecture=text,
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        purpose=Purpose.REFERENCE,
        seed_index=index,
        evaluate_each_epoch=True,
        engine=engine,
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
