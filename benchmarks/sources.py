"""What the repository's files tell of trainings on mnist's fixed 50,000 images: one reader a kind of file.

Read are validation errors at the last epoch; where a file holds test accuracies too, they are passed over. Accuracies
are of 10,000 images, so each is a whole number of errors.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.bench.tables.table_files import read_table
from harness.evidence.leaderboard import Tier, read
from harness.search.proposals.trainings import IMAGES, comparable
from harness.system.document import csv_text, documented, read_as
from harness.system.errors import ContentError
from harness.training.recipe import Recipe, named_recipe, recipe_by_hash, recipe_from
from harness.training.result import Purpose, Status
from search_spaces.network import Architecture
from search_spaces.notation import parse_notation

DATASET = "mnist"


@dataclass(frozen=True, slots=True)
class Told:
    """One training, or the mean of several where only that is on file.

    Attributes:
        errors: validation errors of 10,000 images, mean over ``runs``.
        seed: the run's purpose and index; empty for a mean.
    """

    architecture: Architecture
    hash: str
    recipe: Recipe
    errors: float
    seed: str
    runs: int = 1


@dataclass(frozen=True, slots=True)
class Source:
    """What one file tells.

    Attributes:
        content: the bytes that were read of it, for their digest.
        left_out: how many of its trainings are not told, by reason.
    """

    content: bytes
    told: tuple[Told, ...]
    left_out: dict[str, int]


@documented
@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of ``benchmarks/results/trainings.jsonl``.

    Attributes:
        recipe: name in the catalog; ``epochs`` takes the place of the recipe's own.
        seed: index of one of the fixed seeds of its purpose.
        errors: wrong validation images; None where a run has none.
        purpose: ``reference``, or that of a search's training.
        study_seed: of that search.
    """

    hash: str
    recipe: str
    epochs: int
    seed: int
    parameters: int
    macs: int
    errors: int | None
    seconds: float
    network: str
    purpose: Purpose = Purpose.REFERENCE
    study_seed: int = 0

    @property
    def drawn_by(self) -> str:
        """What its random numbers come from, in words that no other run of the network and the recipe has."""
        of_study = f", study {self.study_seed}" if self.purpose is not Purpose.REFERENCE else ""
        return f"{self.purpose} {self.seed}{of_study}"


def wrong(accuracy_pct: float) -> int:
    """Return the errors of 10,000 images that an accuracy in per cent stands for.

    Raises:
        ContentError: it stands for no whole number of them.
    """
    errors = round((100 - accuracy_pct) * IMAGES / 100)
    if abs((100 - accuracy_pct) * IMAGES / 100 - errors) > 1e-6:
        raise ContentError(f"{accuracy_pct} % is no accuracy of {IMAGES:,} images")
    return errors


def recorded(path: Path) -> tuple[Recorded, ...]:
    """Return the lines of a recording.

    Raises:
        ContentError: a line is none of a recording.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(read_as(Recorded, line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))


def _of_table(path: Path) -> Source:
    table = read_table(path.parent)
    last = [row for row in table.rows if row.rung == table.rungs[-1]]
    return _source(
        path.read_bytes(),
        (
            "a run that diverged"
            if row.status is not Status.COMPLETE
            else _told(
                parse_notation(row.architecture), table.recipe, wrong(row.validation_accuracy_pct), f"bench {row.seed}"
            )
            for row in last
        ),
    )


def _of_rows(path: Path) -> Source:
    """Read rows of one network and one recipe each, with a run a seed."""
    content = path.read_bytes()
    document: dict[str, Any] = json.loads(content)
    recipes = {name: recipe_from(stated, str(path)) for name, stated in document["recipes"].items()}
    return _source(
        content,
        (
            _told(
                parse_notation(row["network"]),
                recipes[row["recipe_hash"]],
                wrong(run["validation_accuracy_pct"]),
                f"{Purpose.REFERENCE} {run['seed_index']}",
            )
            for row in document["rows"]
            for run in row["runs"]
        ),
    )


def _of_recording(path: Path) -> Source:
    return _source(
        path.read_bytes(),
        (
            "a run without validation errors"
            if line.errors is None
            else _told(
                parse_notation(line.network),
                named_recipe(line.recipe, epochs=line.epochs).recipe,
                line.errors,
                line.drawn_by,
            )
            for line in recorded(path)
        ),
    )


def _of_leaderboard(path: Path) -> Source:
    """Read what searches have found: means over the seeds that speak for a network, of the best of each study only.

    Rows of other tiers and data sets are no part of the source, and the digest is of what is told of the others, so
    that a new record changes nothing here unless it takes the place of a row.
    """
    found: list[Told | str] = []
    for row in read(path):
        if row.tier is not Tier.SEARCHED or row.dataset != DATASET:
            continue
        if row.epochs is None or row.validation_accuracy_pct is None or not row.validation_seeds:
            found.append("a row without validation errors")
        elif (recipe := recipe_by_hash(row.recipe_hash, row.epochs)) is None:
            found.append(_ANOTHER)
        else:
            errors = wrong_in_all(row.validation_accuracy_pct, row.validation_seeds) / row.validation_seeds
            found.append(_told(row.architecture, recipe, errors, "", row.validation_seeds))
    made = _source(b"", found)
    rows = sorted([told.hash, told.recipe.hash, told.errors, told.runs] for told in made.told)
    return Source(csv_text(["hash", "recipe_hash", "errors", "runs"], rows).encode(), made.told, made.left_out)


def wrong_in_all(mean_accuracy_pct: float, runs: int) -> int:
    """Return the errors of all runs together that a mean accuracy in per cent stands for, which are a whole number."""
    return round((100 - mean_accuracy_pct) * IMAGES / 100 * runs)


_ANOTHER = "another recipe"


def _told(network: Architecture, recipe: Recipe, errors: float, seed: str, runs: int = 1) -> Told | str:
    if not comparable(recipe):
        return _ANOTHER
    return Told(network, network.hash, recipe, errors, seed, runs)


def _source(content: bytes, found: Iterable[Told | str]) -> Source:
    """Return a source of what was found: trainings, and reasons why others are left out."""
    told: list[Told] = []
    left_out: Counter[str] = Counter()
    for item in found:
        if isinstance(item, str):
            left_out[item] += 1
        else:
            told.append(item)
    return Source(content, tuple(told), dict(sorted(left_out.items())))


# In this order: of a run that two files tell, the first speaks.
READERS: dict[str, Callable[[Path], Source]] = {
    "benchmarks/tables/mnist-bench/table.csv": _of_table,
    "benchmarks/results/topologies.json": _of_rows,
    "benchmarks/results/poses.json": _of_rows,
    "benchmarks/results/trainings.jsonl": _of_recording,
    "leaderboard.csv": _of_leaderboard,
}
