"""Measure the offset between validation and test accuracy on reference networks, never on candidates.

For each network: n seeds trained on the search split and read on the validation images after every epoch, and the
test accuracies of its record (n seeds trained on all images, `harness verify`). The offset is the geometric mean over
networks of mean test errors by mean validation errors. The standard error of its logarithm is the larger of two: the
one that the deviations over seeds give, and the one that the deviation between the networks gives.

    python -m benchmarks.validation_offset --seeds 6 --recipe fast --networks anchor3762 \
        'conv3x3(8) bn relu conv3x3(8) bn relu | maxpool | conv3x3(12) bn relu | gap | linear(10)'

writes benchmarks/results/validation-offset.json (every run) and what a search allows for,
harness/evidence/offsets.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

from benchmarks.runs import trained
from harness import files
from harness.environment import code_version
from harness.evidence import record
from harness.evidence.statistics import mean, standard_deviation
from harness.training.recipes import NamedRecipe, named_recipe
from harness.training.result import Result
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.workspace import workspace
from search_spaces.catalog import PRESETS, preset
from search_spaces.cost import analyse
from search_spaces.notation import parse_network

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "benchmarks" / "results" / "validation-offset.json"
OFFSETS = ROOT / "harness" / "evidence" / "offsets.json"


def main() -> None:
    """Run what is missing and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["anchor3762"], help="presets or networks in the notation")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--engine", default="native", help="native or torch")
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    recipe = named_recipe(given.recipe)
    texts = [preset(name).text if name in PRESETS else name for name in given.networks]
    jobs = [_job(text, recipe, index, given.engine) for index in range(given.seeds) for text in texts]
    runs = trained(jobs, given.data, RUNS)
    _write_offset(texts, recipe, runs)


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


def _write_offset(texts: list[str], recipe: NamedRecipe, runs: list[Result]) -> None:
    logarithms, variances, parts = [], [], []
    records = {(item.hash, item.recipe_hash): item for item in record.read_all(workspace().records)}
    for text in texts:
        network = parse_network(text).hash
        name = f"{network} ({analyse(parse_network(text)).parameters:,} parameters)"
        evidence = records.get((network, recipe.recipe.hash))
        mine = [run for run in runs if (run.hash, run.recipe_hash) == (network, recipe.recipe.hash)]
        validation = [100 - (run.validation_accuracy_pct or 0.0) for run in mine]
        test = [100 - accuracy for accuracy in evidence.accuracies_pct] if evidence else []
        if len(validation) < 2 or len(test) < 2:
            print(f"{name}: {len(validation)} validation and {len(test)} test runs; two of each are needed")
            continue
        ratio = mean(test) / mean(validation)
        print(
            f"{name}: wrong on validation {mean(validation):.3f} % (n {len(validation)}), "
            f"on test {mean(test):.3f} % (n {len(test)}), ratio {ratio:.3f}"
        )
        logarithms.append(math.log(ratio))
        variances.append(_relative_square(validation) + _relative_square(test))
        parts.append(f"{name} (validation n {len(validation)}, test n {len(test)})")
    if not logarithms:
        return
    over_seeds = math.sqrt(sum(variances)) / len(logarithms)
    over_networks = standard_deviation(logarithms) / math.sqrt(len(logarithms)) if len(logarithms) > 1 else 0.0
    ratio, error = math.exp(mean(logarithms)), max(over_seeds, over_networks)
    document: dict[str, Any] = json.loads(OFFSETS.read_text(encoding="utf-8"))
    document["mnist"] = {
        "errors_ratio": round(ratio, 4),
        "relative_error": round(error, 4),
        "protocol": f"recipe {recipe.name}, {', '.join(parts)}; commit {(code_version()[0] or 'unknown')[:12]}",
    }
    files.write_json(OFFSETS, document)
    print(f"test errors by validation errors {ratio:.4f}, relative standard error {error:.4f}")


def _relative_square(values: list[float]) -> float:
    """Return the squared standard error of a mean's logarithm (delta method)."""
    return (standard_deviation(values) / mean(values)) ** 2 / len(values)


if __name__ == "__main__":
    main()
