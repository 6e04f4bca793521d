"""Earlier trainings, from which the model of the errors learns before a search.

They are those that come with the package (``benchmarks/trainings.py`` decides which), a person's own, or none; a study
keeps them in its folder. Those of the study's own images are observations; those of other data sets say what to expect
of a network. Only whole runs on the search split count, and only their validation images: no test error is in here.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.datasets import Dataset, dataset, dataset_of
from harness.searching.surrogate.features import row_of
from harness.searching.surrogate.model import IMAGES, Observation, Transfer
from harness.studies.log import read_state
from harness.system import files
from harness.system.document import csv_text, read_each, unguarded
from harness.system.errors import ContentError, reason
from harness.system.files import Workspace
from harness.system.statistics import mean
from harness.training.recipe import RECIPES, Recipe, length_factor
from harness.training.result import PROTOCOL_VERSION, Result, Status
from search_spaces.errors import NotationError
from search_spaces.network import Architecture, Task
from search_spaces.notation import parse_notation

# A training says all that a model needs of its recipe if the rest of the recipe is that of one of these. It does not
# say the precision: for the one network that was compared, bf16 and fp32 differed by less than the seeds (docs/lab,
# "what bf16 costs the certified network"); nor the starts, which made none at equal cost ("several starts").
_BASES = ("small", "fast")
_FREE_FIELDS = ("epochs", "batch_size", "augmented_share", "learning_rate", "precision", "starts", "start_epochs")
# How images are moved is chosen for each data set: what other sets say does not depend on it.
_MOVES = ("rotation_degrees", "shift_pixels", "scale", "shear")
_FILE = "prior.csv"
_NUMBERS = dict(epochs=int, batch_size=int, augmented_share=float, learning_rate=float, errors=float, runs=int)
_COLUMNS = ("architecture", *_NUMBERS, "form", "source")
_ORIGIN_COLUMNS = ("dataset", "input_shape", "classes", "images", "validation_images")
# Of another data set so many trainings at the most, evenly spread over its list.
_MOST_OF_A_SET = 200
# Of fewer nobody can tell the shift and the stretch of a data set.
_LEAST_OF_A_SET = 20
_ELSEWHERE = "elsewhere"
_REINSTALL = "install the harness anew"
# What ships is read once more from the folder of a new study.
_parsed = lru_cache(maxsize=5_000)(parse_notation)


class Origin(NamedTuple):
    """A data set: its name, what its networks take and give, and how many images train and validate."""

    dataset: str
    task: Task
    images: int
    validation_images: int

    @classmethod
    def of(cls, data: Dataset) -> Origin:
        """Return a data set as the origin of trainings."""
        return cls(data.name, data.task, data.train_size, data.validation_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTraining:
    """One network under one recipe.

    Attributes:
        errors: validation errors of 10,000 images at the last epoch, mean over runs.
        runs: how many trainings the mean is of, each from a seed of its own.
        source: the files or studies that hold the runs, separated by spaces.
        origin: the data set; None for the study's own images.
    """

    architecture: Architecture
    epochs: int
    batch_size: int
    augmented_share: float
    learning_rate: float
    errors: float
    runs: int
    source: str
    origin: Origin | None = None

    @classmethod
    def of(cls, architecture: Architecture, recipe: Recipe, errors: float, runs: int, source: str) -> PastTraining:
        """Return a past training under a recipe, on the study's own images."""
        stated: dict[str, Any] = {name: getattr(recipe, name) for name in _FREE_FIELDS if name in _NUMBERS}
        return cls(architecture=architecture, errors=errors, runs=runs, source=source, **stated)


def comparable(recipe: Recipe, free_fields: Iterable[str] = _FREE_FIELDS) -> bool:
    """Return whether a recipe is one of ``_BASES`` in all but these fields: what a past training states of it."""
    free = {name: getattr(recipe, name) for name in free_fields}
    return any(replace(RECIPES[name].recipe, **free) == recipe for name in _BASES)


def past_trainings(
    prior: str, workspace: Workspace, dataset: str, data_hash: str
) -> tuple[tuple[PastTraining, ...], list[ContentError]]:
    """Return earlier trainings, and why studies of the workspace could not be read.

    They are those of the package for ``shipped``, these and the workspace's for ``own``, none for ``none``. Of one's
    own, runs by recipes that are not ``comparable`` are left out, and those that did not end as they should.
    """
    if prior != "own":
        return (shipped(dataset) if prior == "shipped" else ()), []
    folders = sorted(path.parent for path in workspace.runs.glob("*/config.json"))
    studies, damage = read_each(lambda folder: _past_study(folder, dataset, data_hash), folders)
    # Two studies of one seed may have trained the same network from the same numbers: that is one run.
    runs = {(key, run.hash, run.recipe_hash, run.seed): (origin, run) for key, origin, of in studies for run in of}
    equal: dict[tuple[str, str, str], list[tuple[Origin | None, Result]]] = defaultdict(list)
    for (key, hash_, recipe_hash, _), pair in runs.items():
        equal[key, hash_, recipe_hash].append(pair)
    return (*shipped(dataset), *map(_training_of, equal.values())), damage


def _past_study(folder: Path, name: str, data_hash: str) -> tuple[str, Origin | None, list[Result]]:
    """Return the name and hash of a study's images, their data set where it is another one, and runs to learn from."""
    study = read_state(folder)
    config = study.config
    is_own = (config.dataset, config.data_hash) == (name, data_hash)
    origin = None if is_own else Origin.of(dataset_of(config.dataset, f"the study {folder.name}", folder))
    free_fields = _FREE_FIELDS if is_own else (*_FREE_FIELDS, *_MOVES)
    whole = [run for run in study.results if run.status is Status.COMPLETE and run.validation_accuracy_pct is not None]
    is_usable = config.protocol_version == PROTOCOL_VERSION
    runs = [run for run in whole if is_usable and comparable(run.recipe, free_fields)]
    return f"{config.dataset} {config.data_hash}", origin, runs


def _training_of(runs: Sequence[tuple[Origin | None, Result]]) -> PastTraining:
    """Return what equal trainings from several seeds have shown together."""
    errors = mean([(run.validation_errors or 0) * IMAGES / (run.validation_size or 1) for _, run in runs])
    source = " ".join(sorted({run.study for _, run in runs if run.study}))
    origin, run = runs[0]
    return replace(PastTraining.of(run.architecture, run.recipe, errors, len(runs), source), origin=origin)


@cache
def shipped(name: str) -> tuple[PastTraining, ...]:
    """Return the runs that come with the package: those of the images, or where there are none of other data sets."""
    path = _packaged(name)
    return _read(path, _REINSTALL) if path.is_file() else elsewhere(name)


@cache
def elsewhere(name: str) -> tuple[PastTraining, ...]:
    """Return the runs that come with the package of other data sets than this one."""
    mnist = [replace(each, origin=Origin.of(dataset("mnist"))) for each in _read(_packaged("mnist"), _REINSTALL)]
    sets: dict[str, list[PastTraining]] = defaultdict(list)
    for training in (*mnist, *_read(_packaged(_ELSEWHERE), _REINSTALL)):
        if training.origin is not None and training.origin.dataset != name:
            sets[training.origin.dataset].append(training)
    return tuple(training for trainings in sets.values() for training in _thinned(trainings))


def _thinned(trainings: Sequence[PastTraining]) -> list[PastTraining]:
    count = min(len(trainings), _MOST_OF_A_SET)
    return [trainings[number * len(trainings) // count] for number in range(count)]


def shipped_sha256(name: str) -> str:
    """Return the SHA-256 of the runs that come with the package for a data set."""
    return hashlib.sha256(csv_of(shipped(name)).encode()).hexdigest()


def _packaged(name: str) -> Traversable:
    return resources.files("harness.searching") / f"trainings-{name}.csv"


def write_prior(folder: Path, trainings: Iterable[PastTraining]) -> None:
    """Write what a new study begins with into its folder."""
    files.write_text(folder / _FILE, csv_of(trainings))


def read_prior(folder: Path) -> tuple[PastTraining, ...] | None:
    """Return what a study began with; None where its folder does not say."""
    path = folder / _FILE
    return _read(path, "bring the file back, or begin another study: --study NAME") if path.exists() else None


def csv_of(trainings: Iterable[PastTraining]) -> str:
    """Return trainings as CSV; the columns of data sets are there where some are of other images."""
    trainings = tuple(trainings)
    with_origins = any(each.origin is not None for each in trainings)
    rows = (
        (
            each.architecture,
            *(getattr(each, name) for name in _NUMBERS),
            each.architecture.form,
            each.source,
            *(_origin_cells(each.origin) if with_origins else ()),
        )
        for each in trainings
    )
    return csv_text((*_COLUMNS, *(_ORIGIN_COLUMNS if with_origins else ())), rows)


def _origin_cells(origin: Origin | None) -> tuple[str | int, ...]:
    if origin is None:
        return ("",) * len(_ORIGIN_COLUMNS)
    shape = "x".join(map(str, origin.task.input_shape))
    return origin.dataset, shape, origin.task.classes, origin.images, origin.validation_images


def _origin_of(row: Mapping[str, str]) -> Origin | None:
    if not row.get("dataset"):
        return None
    channels, rows, columns = map(int, row["input_shape"].split("x"))
    task = Task((channels, rows, columns), int(row["classes"]))
    return Origin(unguarded(row["dataset"]), task, int(row["images"]), int(row["validation_images"]))


def _read(path: Traversable, hint: str) -> tuple[PastTraining, ...]:
    try:
        rows = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), strict=True)
        return tuple(
            PastTraining(
                architecture=_parsed(row["architecture"]),
                source=unguarded(row["source"]),
                origin=_origin_of(row),
                **{name: kind(row[name]) for name, kind in _NUMBERS.items()},
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, csv.Error, NotationError) as error:
        raise ContentError(f"cannot read the past trainings {path}: {reason(error)}", hint=hint) from error


def alike(trainings: Iterable[PastTraining], recipe: Recipe) -> list[PastTraining]:
    """Return the trainings that say something of a recipe: of its learning rate.

    None are left where the recipe differs in what trainings do not state, but for how images are moved where they are
    of other data sets.
    """
    of_rate = [each for each in trainings if each.learning_rate == recipe.learning_rate]
    if comparable(recipe):
        return of_rate
    is_elsewhere = comparable(recipe, (*_FREE_FIELDS, *_MOVES))
    return [each for each in of_rate if is_elsewhere and each.origin is not None]


def observations(trainings: Iterable[PastTraining], recipe: Recipe, data: Dataset) -> tuple[Observation, ...]:
    """Return what the surrogate learns from trainings on the same images before a search by a recipe."""
    here = Origin.of(data)
    return tuple(_observation(each, here) for each in alike(trainings, recipe) if each.origin is None)


def transfer(trainings: Iterable[PastTraining], recipe: Recipe) -> Transfer | None:
    """Return what trainings on other images say of a search by a recipe; None where there are too few."""
    sets: dict[Origin, list[PastTraining]] = defaultdict(list)
    for training in alike(trainings, recipe):
        if training.origin is not None:
            sets[training.origin].append(training)
    large = {origin: _thinned(of) for origin, of in sets.items() if len(of) >= _LEAST_OF_A_SET}
    return _fitted(tuple((origin, tuple(of)) for origin, of in large.items())) if large else None


@lru_cache(maxsize=4)
def _fitted(sets: tuple[tuple[Origin, tuple[PastTraining, ...]], ...]) -> Transfer:
    return Transfer([[_observation(each, origin) for each in of] for origin, of in sets])


def _observation(training: PastTraining, origin: Origin) -> Observation:
    epochs = training.epochs / length_factor(origin.images)
    row = row_of(training.architecture, origin.task, epochs, training.batch_size, training.augmented_share)
    return Observation(row, training.errors, training.runs, images=origin.validation_images)
