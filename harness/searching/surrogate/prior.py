"""Prior observations: trainings from before a search, which the surrogate model learns from.

Sources are files of the package, which ``measurements/trainings.py`` writes, and the user's studies; a study keeps a
copy in prior.csv. Trainings on the study's images become ``Observation``s, trainings on other data the ``Transfer``.
Only validation errors of complete runs on the search split count.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.datasets import DATASETS, Dataset, dataset_of
from harness.searching.surrogate.features import row_of
from harness.searching.surrogate.model import IMAGES, Observation, Prior, Transfer
from harness.spaces.network import Architecture, Task
from harness.spaces.notation import parse_notation
from harness.spaces.space_errors import NotationError
from harness.studies.config import StudyConfig
from harness.studies.log import read_state
from harness.system import files
from harness.system.document import csv_text, read_each, unguarded
from harness.system.errors import ContentError, reason
from harness.system.files import Workspace
from harness.system.statistics import mean
from harness.training.recipe import RECIPES, Recipe, length_factor
from harness.training.result import PROTOCOL_VERSION, Result, Status

# A training is used if all fields of the recipe, except ``_FREE_FIELDS``, equal a recipe of this tuple. Precision and
# starts are no columns of prior.csv: bf16 and fp32 differed by less than the seeds (diary 110), and several starts made
# no difference at equal cost (diary 136).
_BASES = ("small", "fast")
_FREE_FIELDS = ("epochs", "batch_size", "augmented_share", "learning_rate", "precision", "starts", "start_epochs")
# Augmentation is chosen per data set.
_MOVES = ("rotation_degrees", "shift_pixels", "scale", "shear")
_FILE = "prior.csv"
_SKETCHES = "trained-images.json"  # smallest digests of the training images, by data set
# Numeric columns of prior.csv and fields of ``PriorTraining``, with types.
_NUMBERS = dict(epochs=int, batch_size=int, augmented_share=float, learning_rate=float, errors=float, runs=int)
_COLUMNS = ("architecture", *_NUMBERS, "form", "source")
_SOFT_COLUMN = "soft_errors"  # only in files with a training that states soft errors
_DATASET_COLUMNS = ("dataset", "input_shape", "classes", "images", "validation_images")
# Trainings per transferred data set, evenly spread over the list.
_MAX_OF_A_SET = 200
# Trainings from which shift and stretch of a data set can be fitted.
_MIN_OF_A_SET = 20
_REINSTALL = "reinstall the package"
# Cached: a new study reads the shipped trainings from the package and again from prior.csv.
_parsed = lru_cache(maxsize=5_000)(parse_notation)


class PriorDataset(NamedTuple):
    """Data set of prior trainings; ``validation_images`` are per run."""

    name: str
    task: Task
    images: int
    validation_images: int

    @classmethod
    def of(cls, data: Dataset) -> PriorDataset:
        """Return the facts of a data set."""
        return cls(data.name, data.task, data.train_size, data.validation_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorTraining:
    """Trainings of a network with a recipe, averaged over seeds.

    Attributes:
        epochs: This and the next three fields belong to the recipe.
        errors: Validation errors per 10,000 images at the last epoch, mean over runs.
        runs: Each with a different seed.
        source: Files or studies that hold the runs, separated by spaces.
        dataset: None for the images of the search.
        soft_errors: Soft errors per 10,000 images, mean over runs; None unless all runs state soft errors.
    """

    architecture: Architecture
    epochs: int
    batch_size: int
    augmented_share: float
    learning_rate: float
    errors: float
    runs: int
    source: str
    dataset: PriorDataset | None = None
    soft_errors: float | None = None

    @classmethod
    def of(cls, architecture: Architecture, recipe: Recipe, errors: float, runs: int, source: str) -> PriorTraining:
        """Return a prior training on the images of the search."""
        return cls(
            architecture=architecture,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            augmented_share=recipe.augmented_share,
            learning_rate=recipe.learning_rate,
            errors=errors,
            runs=runs,
            source=source,
        )


def comparable(recipe: Recipe, free_fields: Iterable[str] = _FREE_FIELDS) -> bool:
    """Return whether a recipe equals a recipe of ``_BASES`` in all fields but ``free_fields``."""
    free = {name: getattr(recipe, name) for name in free_fields}
    return any(replace(RECIPES[name].recipe, **free) == recipe for name in _BASES)


def prior_of(
    config: StudyConfig, folder: Path, workspace: Workspace, digests: Callable[[], Set[str]]
) -> tuple[tuple[PriorTraining, ...], list[ContentError]]:
    """Return the prior observations of a study, and the errors of studies that could not be read.

    A continued study keeps the first prior observations.
    """
    stored_prior = read_prior(folder)
    if stored_prior is not None:
        return stored_prior, []
    same_images = _sets_with_images(digests())
    return prior_trainings(config.prior, workspace, config.dataset, config.data_hash, same_images)


def prior_trainings(
    prior: str, workspace: Workspace, dataset: str, data_hash: str, same_images: frozenset[str] = frozenset()
) -> tuple[tuple[PriorTraining, ...], list[ContentError]]:
    """Return the prior observations of a new search, and the errors of studies that could not be read.

    Runs of the user's studies that are incomplete, or whose recipes are not ``comparable``, are left out.

    Args:
        prior: ``shipped`` for the package's trainings, ``own`` for these and the workspace's, or ``none``.
        same_images: Further data sets whose shipped trainings are left out (``_sets_with_images``).
    """
    if prior == "none":
        return (), []
    of_package = prior_of_package(dataset, same_images)
    if prior == "shipped":
        return of_package, []
    studies, damage = read_each(lambda folder: _study_trainings(folder, dataset, data_hash), workspace.studies())
    # By seed: two studies with equal seeds may have the same run, which counts once.
    runs_by_seed: dict[tuple[str, str, str], dict[int, Result]] = defaultdict(dict)
    datasets: dict[str, PriorDataset | None] = {}
    for images_key, study_dataset, usable_runs in studies:
        datasets[images_key] = study_dataset
        for run in usable_runs:
            runs_by_seed[images_key, run.hash, run.recipe_hash][run.seed] = run
    own = []
    for (images_key, _, _), by_seed in runs_by_seed.items():
        runs = list(by_seed.values())
        errors = mean([run.required_validation.wrong * IMAGES / run.required_validation.images for run in runs])
        source = " ".join(sorted({run.study for run in runs if run.study}))
        softs = [run.validation_soft_errors for run in runs]
        shares = [
            soft / run.required_validation.images for soft, run in zip(softs, runs, strict=True) if soft is not None
        ]
        soft_errors = mean(shares) * IMAGES if len(shares) == len(runs) else None
        training = PriorTraining.of(runs[0].architecture, runs[0].recipe, errors, len(runs), source)
        own.append(replace(training, dataset=datasets[images_key], soft_errors=soft_errors))
    return (*of_package, *own), damage


def _study_trainings(folder: Path, name: str, data_hash: str) -> tuple[str, PriorDataset | None, list[Result]]:
    """Return a key of the study's images, the data set (None for the images of the search) and the usable runs."""
    study = read_state(folder)
    config = study.config
    if config.dataset == name and config.data_hash == data_hash:
        study_dataset = None
        free_fields: tuple[str, ...] = _FREE_FIELDS
    else:
        study_dataset = PriorDataset.of(dataset_of(config.dataset, f"the study {folder.name}", folder))
        free_fields = (*_FREE_FIELDS, *_MOVES)
    runs = []
    if config.protocol_version == PROTOCOL_VERSION:
        complete = [run for run in study.results if run.status is Status.COMPLETE and run.validation is not None]
        runs = [run for run in complete if comparable(run.recipe, free_fields)]
    return f"{config.dataset} {config.data_hash}", study_dataset, runs


@cache
def prior_of_package(name: str, same_images: frozenset[str] = frozenset()) -> tuple[PriorTraining, ...]:
    """Return the package's trainings on a data set; if there are none, those of ``prior_of_other_sets``."""
    path = _package_file(f"trainings-{name}.csv")
    return _read(path, _REINSTALL) if path.is_file() else prior_of_other_sets(name, same_images)


@cache
def prior_of_other_sets(name: str, same_images: frozenset[str] = frozenset()) -> tuple[PriorTraining, ...]:
    """Return the package's trainings on all data sets except ``name`` and ``same_images``."""
    mnist = PriorDataset.of(DATASETS["mnist"])
    of_mnist = [replace(each, dataset=mnist) for each in _read(_package_file("trainings-mnist.csv"), _REINSTALL)]
    sets = _by_dataset([*of_mnist, *_read(_package_file("trainings-elsewhere.csv"), _REINSTALL)])
    left_out = {name, *same_images}
    return tuple(each for of_set in sets for each in _even_subset(sets[of_set]) if of_set.name not in left_out)


def _sets_with_images(digests: Set[str]) -> frozenset[str]:
    """Return the data sets of the package's trainings that have training images in common with a search.

    Of each data set the 256 smallest digests are stored. If a share ``s`` of the images is common, this is overlooked
    with probability ``(1 - s)^256`` (MinHash: Broder, "On the resemblance and containment of documents", 1997).
    """
    sketches = json.loads(_package_file(_SKETCHES).read_text(encoding="utf-8"))
    return frozenset(name for name, sketch in sketches.items() if not digests.isdisjoint(sketch))


def _even_subset(trainings: Sequence[PriorTraining]) -> list[PriorTraining]:
    count = min(len(trainings), _MAX_OF_A_SET)
    return [trainings[number * len(trainings) // count] for number in range(count)]


def package_prior_sha256(name: str) -> str:
    """Return the SHA-256 of the package's trainings for a data set.

    Names and seeds of studies depend on this hash.
    """
    # The folder ``benchmarks`` was renamed in 0.2.0; the hash of earlier studies stays valid.
    return hashlib.sha256(csv_of(prior_of_package(name)).replace("measurements/", "benchmarks/").encode()).hexdigest()


def _package_file(name: str) -> Traversable:
    return resources.files("harness.searching") / name


def write_prior(folder: Path, trainings: Iterable[PriorTraining]) -> None:
    """Write the prior observations of a new study."""
    files.write_text(folder / _FILE, csv_of(trainings))


def read_prior(folder: Path) -> tuple[PriorTraining, ...] | None:
    """Return the prior observations of a study; None if the folder has no prior.csv.

    Raises:
        ContentError: The file is damaged.
    """
    path = folder / _FILE
    return _read(path, "restore the file, or choose a new name for the study") if path.exists() else None


def csv_of(trainings: Iterable[PriorTraining]) -> str:
    """Return trainings as CSV, with columns for the data set if any training states a data set."""
    trainings = tuple(trainings)
    has_datasets = any(each.dataset is not None for each in trainings)
    has_soft = any(each.soft_errors is not None for each in trainings)
    columns = (*_COLUMNS, *([_SOFT_COLUMN] if has_soft else []), *(_DATASET_COLUMNS if has_datasets else ()))
    rows = []
    for training in trainings:
        numbers = [getattr(training, name) for name in _NUMBERS]
        cells: tuple[str | float, ...] = _dataset_cells(training.dataset) if has_datasets else ()
        if has_soft:
            cells = ("" if training.soft_errors is None else training.soft_errors, *cells)
        rows.append((training.architecture, *numbers, training.architecture.family, training.source, *cells))
    return csv_text(columns, rows)


def _dataset_cells(dataset: PriorDataset | None) -> tuple[str | int, ...]:
    if dataset is None:
        return ("",) * len(_DATASET_COLUMNS)
    shape = "x".join(map(str, dataset.task.input_shape))
    return dataset.name, shape, dataset.task.classes, dataset.images, dataset.validation_images


def _read(path: Traversable, hint: str) -> tuple[PriorTraining, ...]:
    try:
        rows = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), strict=True)
        return tuple(map(_training_of_row, rows))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, csv.Error, NotationError) as error:
        raise ContentError(f"cannot read the prior observations {path}: {reason(error)}", hint=hint) from error


def _training_of_row(row: Mapping[str, str]) -> PriorTraining:
    dataset = None
    if row.get("dataset"):
        channels, rows, columns = map(int, row["input_shape"].split("x"))
        task = Task((channels, rows, columns), int(row["classes"]))
        dataset = PriorDataset(unguarded(row["dataset"]), task, int(row["images"]), int(row["validation_images"]))
    numbers: dict[str, Any] = {name: kind(row[name]) for name, kind in _NUMBERS.items()}
    source = unguarded(row["source"])
    soft_errors = float(row[_SOFT_COLUMN]) if row.get(_SOFT_COLUMN) else None
    network = _parsed(row["architecture"])
    return PriorTraining(architecture=network, source=source, dataset=dataset, soft_errors=soft_errors, **numbers)


def comparable_trainings(trainings: Iterable[PriorTraining], recipe: Recipe) -> list[PriorTraining]:
    """Return the trainings that apply to a recipe: those with the same learning rate.

    None applies to a recipe that is not ``comparable``. If only the augmentation (``_MOVES``) is not, the trainings on
    other data sets apply.
    """
    of_rate = [each for each in trainings if each.learning_rate == recipe.learning_rate]
    if comparable(recipe):
        return of_rate
    is_elsewhere = comparable(recipe, (*_FREE_FIELDS, *_MOVES))
    return [each for each in of_rate if is_elsewhere and each.dataset is not None]


def knowledge(trainings: Iterable[PriorTraining], recipe: Recipe, data: Dataset) -> Prior:
    """Return the knowledge of prior trainings for a search on ``data`` with a recipe.

    Trainings on the images of the search are observations. Other data sets with at least ``_MIN_OF_A_SET`` trainings
    form the transfer mean.
    """
    applicable = comparable_trainings(trainings, recipe)
    here = PriorDataset.of(data)
    observations = tuple(_observation(each, here) for each in applicable if each.dataset is None)
    sets = _by_dataset(applicable).items()
    large_sets = tuple((of_set, tuple(_even_subset(each))) for of_set, each in sets if len(each) >= _MIN_OF_A_SET)
    return Prior(observations, _transfer(large_sets) if large_sets else None)


def _by_dataset(trainings: Iterable[PriorTraining]) -> dict[PriorDataset, list[PriorTraining]]:
    sets: dict[PriorDataset, list[PriorTraining]] = defaultdict(list)
    for training in trainings:
        if training.dataset is not None:
            sets[training.dataset].append(training)
    return sets


@lru_cache(maxsize=4)
def _transfer(sets: tuple[tuple[PriorDataset, tuple[PriorTraining, ...]], ...]) -> Transfer:
    # Cached for the searches of a process on equal trainings, such as the repeats of a bench.
    return Transfer([[_observation(each, of_set) for each in trainings] for of_set, trainings in sets])


def _observation(training: PriorTraining, dataset: PriorDataset) -> Observation:
    epochs = training.epochs / length_factor(dataset.images)
    row = row_of(training.architecture, dataset.task, epochs, training.batch_size, training.augmented_share)
    return Observation(row, training.errors, training.runs, images=dataset.validation_images)
