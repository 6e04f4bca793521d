"""Earlier trainings, from which the model of the errors learns before a search.

They are those that come with the package (``benchmarks/trainings.py`` decides which), a person's own, or none; a study
keeps them in its folder. Only whole runs on the search split count, and only their validation images: no test error is
ever in here.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain
from pathlib import Path
from typing import Any

from harness.searching.surrogate.features import row_of
from harness.searching.surrogate.model import Observation
from harness.studies.log import read_state
from harness.system import files
from harness.system.document import csv_text, read_each, unguarded
from harness.system.errors import ContentError, reason
from harness.system.files import Workspace
from harness.system.statistics import mean
from harness.training.recipe import RECIPES, Recipe
from harness.training.result import PROTOCOL_VERSION, Result, Status
from search_spaces.errors import NotationError
from search_spaces.network import Architecture, Task
from search_spaces.notation import parse_notation

# Errors are counted as if of so many validation images, whatever a data set has.
IMAGES = 10_000
# A training says all that a model needs of its recipe if the rest of the recipe is that of one of these. It does not
# say the precision: for the one network that was compared, bf16 and fp32 differed by less than the seeds (docs/lab,
# "what bf16 costs the certified network").
_BASES = ("small", "fast")
_FREE_FIELDS = ("epochs", "batch_size", "augmented_share", "learning_rate", "precision")
_FILE = "prior.csv"
_NUMBERS = dict(epochs=int, batch_size=int, augmented_share=float, learning_rate=float, errors=float, runs=int)
_COLUMNS = ("architecture", *_NUMBERS, "form", "source")
# What ships is read once more from the folder of a new study.
_parsed = lru_cache(maxsize=5_000)(parse_notation)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTraining:
    """One network under one recipe.

    Attributes:
        errors: validation errors of 10,000 images at the last epoch, mean over runs.
        runs: how many trainings the mean is of, each from a seed of its own.
        source: the files or studies that hold the runs, separated by spaces.
    """

    architecture: Architecture
    epochs: int
    batch_size: int
    augmented_share: float
    learning_rate: float
    errors: float
    runs: int
    source: str

    @classmethod
    def of(cls, architecture: Architecture, recipe: Recipe, errors: float, runs: int, source: str) -> PastTraining:
        """Return a past training under a recipe."""
        stated: dict[str, Any] = {name: getattr(recipe, name) for name in _FREE_FIELDS if name in _NUMBERS}
        return cls(architecture=architecture, errors=errors, runs=runs, source=source, **stated)


def comparable(recipe: Recipe) -> bool:
    """Return whether a recipe is one of ``_BASES`` in all but what a past training states of it."""
    free = {name: getattr(recipe, name) for name in _FREE_FIELDS}
    return any(replace(RECIPES[name].recipe, **free) == recipe for name in _BASES)


def past_trainings(
    prior: str, workspace: Workspace, dataset: str, data_hash: str
) -> tuple[tuple[PastTraining, ...], list[ContentError]]:
    """Return earlier trainings, and why studies of the workspace on the same images could not be read.

    They are those of the package for ``shipped``, these and the workspace's for ``own``, none for ``none``. Of one's
    own, runs by recipes that are not ``comparable`` are left out, and those that did not end as they should.
    """
    if prior != "own":
        return (shipped(dataset) if prior == "shipped" else ()), []
    folders = sorted(path.parent for path in workspace.runs.glob("*/config.json"))
    runs_of_studies, damage = read_each(lambda folder: _whole_runs(folder, dataset, data_hash), folders)
    # Two studies of one seed may have trained the same network from the same numbers: that is one run.
    runs = {(run.hash, run.recipe_hash, run.seed): run for run in chain(*runs_of_studies)}
    equal: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for run in runs.values():
        equal[run.hash, run.recipe_hash].append(run)
    return (*shipped(dataset), *map(_training_of, equal.values())), damage


def _whole_runs(folder: Path, dataset: str, data_hash: str) -> list[Result]:
    """Return the runs of a study that may be learned from; none where it is of other images."""
    study = read_state(folder)
    config = study.config
    if (config.dataset, config.data_hash, config.protocol_version) != (dataset, data_hash, PROTOCOL_VERSION):
        return []
    whole = (run for run in study.results if run.status is Status.COMPLETE)
    return [run for run in whole if run.validation_accuracy_pct is not None and comparable(run.recipe)]


def _training_of(runs: Sequence[Result]) -> PastTraining:
    """Return what equal trainings from several seeds have shown together."""
    errors = mean([(run.validation_errors or 0) * IMAGES / (run.validation_size or 1) for run in runs])
    source = " ".join(sorted({run.study for run in runs if run.study}))
    return PastTraining.of(runs[0].architecture, runs[0].recipe, errors, len(runs), source)


@cache
def shipped(dataset: str) -> tuple[PastTraining, ...]:
    """Return the runs that come with the package; none for a data set that has no file."""
    path = _packaged(dataset)
    return _read(path, "install the harness anew") if path.is_file() else ()


def shipped_sha256(dataset: str) -> str:
    """Return the SHA-256 of the runs that come with the package, empty where there are none."""
    path = _packaged(dataset)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _packaged(dataset: str) -> Traversable:
    return resources.files("harness.searching") / f"trainings-{dataset}.csv"


def write_prior(folder: Path, trainings: Iterable[PastTraining]) -> None:
    """Write what a new study begins with into its folder."""
    files.write_text(folder / _FILE, csv_of(trainings))


def read_prior(folder: Path) -> tuple[PastTraining, ...] | None:
    """Return what a study began with; None where its folder does not say."""
    path = folder / _FILE
    return _read(path, "bring the file back, or begin another study: --study NAME") if path.exists() else None


def csv_of(trainings: Iterable[PastTraining]) -> str:
    """Return trainings as CSV."""
    rows = (
        (each.architecture, *(getattr(each, name) for name in _NUMBERS), each.architecture.form, each.source)
        for each in trainings
    )
    return csv_text(_COLUMNS, rows)


def _read(path: Traversable, hint: str) -> tuple[PastTraining, ...]:
    try:
        rows = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), strict=True)
        return tuple(
            PastTraining(
                architecture=_parsed(row["architecture"]),
                source=unguarded(row["source"]),
                **{name: kind(row[name]) for name, kind in _NUMBERS.items()},
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error, NotationError) as error:
        raise ContentError(f"cannot read the past trainings {path}: {reason(error)}", hint=hint) from error


def alike(trainings: Iterable[PastTraining], recipe: Recipe) -> list[PastTraining]:
    """Return the trainings with the learning rate of a recipe; none where it differs in what they do not state."""
    return [each for each in trainings if each.learning_rate == recipe.learning_rate] if comparable(recipe) else []


def observations(trainings: Iterable[PastTraining], recipe: Recipe, task: Task) -> tuple[Observation, ...]:
    """Return what the surrogate learns from trainings before a search by a recipe."""
    return tuple(
        Observation(
            row_of(each.architecture, task, each.epochs, each.batch_size, each.augmented_share), each.errors, each.runs
        )
        for each in alike(trainings, recipe)
    )
