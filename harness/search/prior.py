"""What earlier runs a search begins with: those that come with the package, a person's own, or none.

Only whole runs on the search split count, and only their validation images: no test error is ever in here. Which ship
is decided by ``benchmarks/trainings.py``. A study keeps what it began with in its folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain
from pathlib import Path

from harness.evidence.study import Study
from harness.search.surrogate import Observation, training_row
from harness.system import files
from harness.system.document import csv_text, read_each, unguarded
from harness.system.errors import ContentError, reason
from harness.system.files import Workspace
from harness.system.statistics import mean
from harness.training.recipe import RECIPES, Recipe
from harness.training.result import PROTOCOL_VERSION, Result, Status
from search_spaces.errors import NotationError
from search_spaces.network import Architecture, Form, form
from search_spaces.notation import parse_notation
from search_spaces.task import Task

# Errors are counted as if of so many validation images, whatever a data set has.
IMAGES = 10_000
# A training says all that a model needs of its recipe if the rest of the recipe is that of one of these. It does not
# say the precision: for the one network that was compared, bf16 and fp32 differed by less than the seeds (docs/lab,
# "what bf16 costs the certified network").
_BASES = ("small", "fast")
_FREE_FIELDS = ("epochs", "batch_size", "augmented_share", "learning_rate", "precision")
FILE = "prior.csv"


class Prior(StrEnum):
    """Which earlier runs: of the package; these and those of the workspace's studies on the same data; none."""

    SHIPPED = "shipped"
    OWN = "own"
    NONE = "none"


@dataclass(frozen=True, slots=True)
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
    form: str
    source: str

    def __post_init__(self) -> None:
        """Check the ranges; raises ContentError. The comparisons are false for NaN too."""
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("batch_size", 1, 10_000),
            ("augmented_share", 0, 1),
            ("learning_rate", 1e-12, 1e3),
            ("errors", 0, IMAGES),
            ("runs", 1, 1_000_000),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise ContentError(f"{name} is {value}, but must be from {low:g} to {high:g}")
        if self.form not in list(Form):
            raise ContentError(f"form is {self.form!r}; allowed are {', '.join(Form)}")


_COLUMNS = [item.name for item in fields(PastTraining)]


def comparable(recipe: Recipe) -> bool:
    """Return whether a recipe is one of ``_BASES`` in all but what a past training states of it."""
    free = {name: getattr(recipe, name) for name in _FREE_FIELDS}
    return any(replace(RECIPES[name].recipe, **free) == recipe for name in _BASES)


def past_training(architecture: Architecture, recipe: Recipe, errors: float, runs: int, source: str) -> PastTraining:
    """Return a past training of a network."""
    return PastTraining(
        architecture=architecture,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        augmented_share=recipe.augmented_share,
        learning_rate=recipe.learning_rate,
        errors=errors,
        runs=runs,
        form=form(architecture).value,
        source=source,
    )


@cache
def shipped(dataset: str) -> tuple[PastTraining, ...]:
    """Return the runs that come with the package; none for a data set that has no file.

    Raises:
        ContentError: the file is damaged.
    """
    path = resources.files("harness.search") / f"trainings-{dataset}.csv"
    return _read(path, "install the harness anew") if path.is_file() else ()


def own(place: Workspace, dataset: str, data_hash: str) -> tuple[tuple[PastTraining, ...], tuple[ContentError, ...]]:
    """Return what the studies of a workspace have trained on these images, and each study that cannot be read.

    Runs by recipes that are not ``comparable`` are left out, and so are runs that did not end as they should.
    """
    folders = sorted(path.parent for path in place.runs.glob("*/config.json"))
    found, damage = read_each(lambda folder: _whole_runs(folder, dataset, data_hash), folders)
    # Two studies of one seed may have trained the same network from the same numbers: that is one run.
    runs = {(run.hash, run.recipe_hash, run.seed): run for run in chain(*found)}
    alike: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for run in runs.values():
        alike[run.hash, run.recipe_hash].append(run)
    return tuple(map(_of_runs, alike.values())), tuple(damage)


def _whole_runs(folder: Path, dataset: str, data_hash: str) -> list[Result]:
    study = Study.read(folder)
    config = study.config
    if (config.dataset, config.data_hash, config.protocol_version) != (dataset, data_hash, PROTOCOL_VERSION):
        return []
    runs = [
        run
        for run in study.results
        if run.status is Status.COMPLETE and run.validation_accuracy_pct is not None and comparable(run.recipe)
    ]
    for run in runs:
        # One bad run is the fault of its study; the others count.
        try:
            _of_runs([run])
        except ContentError as error:
            raise ContentError(f"{folder}: a run of trial {run.trial}: {error.message}") from error
    return runs


def _of_runs(runs: list[Result]) -> PastTraining:
    first = runs[0]
    errors = mean([(run.validation_errors or 0) * IMAGES / (run.validation_size or 1) for run in runs])
    source = " ".join(sorted({run.study for run in runs if run.study}))
    return past_training(first.architecture, first.recipe, errors, len(runs), source)


def text(trainings: Iterable[PastTraining]) -> str:
    """Return trainings as CSV; the columns are the fields of ``PastTraining``."""
    return csv_text(_COLUMNS, ([getattr(item, name) for name in _COLUMNS] for item in trainings))


def digest(trainings: Iterable[PastTraining]) -> str:
    """Return the SHA-256 of trainings as CSV: what a surrogate was fitted to."""
    return hashlib.sha256(text(trainings).encode()).hexdigest()


def _read(path: Traversable, hint: str) -> tuple[PastTraining, ...]:
    found: list[PastTraining] = []
    try:
        lines = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), strict=True))
        if lines[:1] != [_COLUMNS]:
            raise ContentError(f"the columns are not {', '.join(_COLUMNS)}")
        for network, epochs, batch, share, rate, errors, runs, kind, source in lines[1:]:
            training = (int(epochs), int(batch), float(share), float(rate), float(errors), int(runs))
            found.append(PastTraining(parse_notation(network), *training, unguarded(kind), unguarded(source)))
    except (OSError, ValueError, csv.Error, ContentError, NotationError) as error:
        where = f"{path}, row {len(found) + 1}"
        raise ContentError(f"cannot read the past trainings {where}: {reason(error)}", hint=hint) from error
    return tuple(found)


def past_trainings(
    prior: Prior, place: Workspace, dataset: str, data_hash: str
) -> tuple[tuple[PastTraining, ...], tuple[ContentError, ...]]:
    """Return the trainings, and each study of the workspace that could not be read.

    Raises:
        ContentError: the trainings of the package are damaged.
    """
    if prior is Prior.NONE:
        return (), ()
    mine, damaged = own(place, dataset, data_hash) if prior is Prior.OWN else ((), ())
    return (*shipped(dataset), *mine), damaged


def keep(folder: Path, trainings: Iterable[PastTraining]) -> None:
    """Write what a new study begins with into its folder."""
    files.write_text(folder / FILE, text(trainings))


def kept(folder: Path) -> tuple[PastTraining, ...] | None:
    """Return what a study began with; None where its folder does not say.

    Raises:
        ContentError: the file is damaged.
    """
    path = folder / FILE
    return _read(path, "bring the file back, or begin another study: --study NAME") if path.exists() else None


def observations(trainings: Iterable[PastTraining], recipe: Recipe, task: Task) -> tuple[Observation, ...]:
    """Return what the model of the errors learns from them: those with the learning rate of the recipe.

    None where the recipe differs from theirs in what they do not state.
    """
    if not comparable(recipe):
        return ()
    return tuple(
        Observation(
            training_row(item.architecture, item.epochs, item.batch_size, item.augmented_share, task),
            item.errors,
            item.runs,
        )
        for item in trainings
        if item.learning_rate == recipe.learning_rate
    )
