"""What errors a network will make after a training of some length, guessed from what was trained before.

A Gaussian process over the logarithm of the validation errors (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, chapter 2). Its mean is linear in the features of a network and of its training, with unknown
coefficients; around it lies a smooth function of the same numbers, so that networks like those that were trained are
guessed better than strange ones, and it is known by how much.

No feature names a space or a form: the numbers say how deep a network is, how wide, how often its kernels are used, in
how many orientations, and how long it is trained. Sizes are logarithms; shares are mostly between 0 and 1.

It begins with earlier runs: those that come with the package (``benchmarks/trainings.py`` decides which), a person's
own, or none; a study keeps them in its folder. Only whole runs on the search split count, and only their validation
images: no test error is ever in here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from harness.studies.log import read_state
from harness.system import files
from harness.system.document import csv_text, read_each, unguarded
from harness.system.errors import ContentError, reason
from harness.system.files import Workspace
from harness.system.statistics import mean
from harness.training.recipe import RECIPES, Recipe
from harness.training.result import PROTOCOL_VERSION, Result, Status
from search_spaces.errors import NotationError
from search_spaces.network import Analysis, Architecture, Task, analyse
from search_spaces.notation import parse_notation
from search_spaces.ops import (
    Conv,
    ReLU,
    Residual,
    Role,
    flat,
    kernels,
)

# A receptive field beyond the image adds nothing.
_WIDEST_FIELD = 40
# What is believed before any training: so many errors of ten thousand at the centre, and a power of the parameters and
# of the epochs (docs/lab, "what says how many errors a network makes").
PRIOR_ERRORS = 100.0
_PRIOR_SLOPES = {"log parameters": -0.5, "log epochs": -0.3}
# The hyperparameters, all for the logarithm of errors: round values near the optimum of the evidence; on forms that
# were held out they were the better ones (docs/lab, "how good is the model of the errors"). Deviations of the mean at
# the centre, of a coefficient of the linear part, and of the smooth part.
_LEVEL = 0.5
_SLOPE = 0.045
_BEND = 0.4
# How far apart two trainings are, in widths of the features, when they say little of each other.
_REACH = 4.0
# What networks of the same features differ by, and what seeds of one network differ by.
_NETWORK, SEED_DEVIATION = 0.045, 0.08
# Predictions have so many decimals: far more than they are sure of, and fewer than rounding errors reach.
_DECIMALS = 9

# Name, centre and width of each feature of a network: how far apart two networks may be in it and still say much of one
# another. The widths are those under which the trainings that ship are most probable, drawn towards 1.25 times the
# spread among networks of some thousand parameters and rounded (docs/lab, "the widths of the model").
_NETWORK_FEATURES: tuple[tuple[str, float, float], ...] = (
    ("log parameters", 8.0, 0.55),
    ("log numbers of all uses", 9.2, 0.6),
    ("log multiply-adds", 13.8, 0.65),
    ("kernels larger than 1x1", 7.0, 2.2),
    ("receptive field", 30.0, 12.0),
    ("log2 orientations", 1.0, 1.4),
    ("share of separable kernels", 0.3, 0.7),
    ("share of sums", 0.3, 0.6),
    ("log uses of a kernel", 0.5, 0.75),
    ("strides", 0.5, 0.7),
    ("share of max pooling", 0.5, 0.9),
    ("share without padding", 0.2, 0.5),
    ("dropout", 0.0, 0.07),
    ("share of BN behind the rectifier", 0.3, 0.85),
    ("log channels of the first map", 2.6, 1.15),
    ("log channels before the head", 3.1, 0.38),
    ("log rows before the head", 2.0, 0.65),
    ("linear head", 0.8, 0.6),
    ("share of 1x1 kernels", 0.3, 0.35),
    ("log multiply-adds above 14x14", 11.0, 4.0),
)
# The same for a training: logarithms of epochs and batch, the share of images that are moved.
_TRAINING_FEATURES: tuple[tuple[str, float, float], ...] = (
    ("log epochs", 2.3, 1.0),
    ("log batch", 3.7, 0.65),
    ("share of moved images", 0.6, 0.4),
)
_FEATURES = (*_NETWORK_FEATURES, *_TRAINING_FEATURES)
Row = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """What trainings of one network and length have shown.

    Attributes:
        row: of ``row_of``.
        errors: mean validation errors of its runs, scaled to ten thousand images.
        runs: how many those are.
        doubt: further deviation of the logarithm, for what is not the end of a whole training.
    """

    row: Row
    errors: float
    runs: int = 1
    doubt: float = 0.0


class Surrogate:
    """The process after some observations."""

    def __init__(self, observations: Sequence[Observation], belief: float = PRIOR_ERRORS) -> None:
        """Fit it; ``belief`` are the errors at the centre before any training."""
        from scipy.linalg import cho_solve

        self._belief = belief
        self._rows = np.array([item.row for item in observations], dtype=float).reshape(-1, len(_FEATURES))
        logs = np.log([max(1.0, item.errors) for item in observations]) - _before(self._rows, belief)
        noise = np.array([_NETWORK**2 + SEED_DEVIATION**2 / item.runs + item.doubt**2 for item in observations])
        if observations:
            # The Cholesky factor of the covariance, (observations, observations).
            self._root = np.linalg.cholesky(_kernel(self._rows, self._rows) + np.diag(noise))
            self._weights = cho_solve((self._root, True), logs, check_finite=False)

    def predict(self, rows: Sequence[Row]) -> tuple[Any, Any]:
        """Return means and deviations of the logarithm of the errors in the mean over seeds, both (rows,)."""
        from scipy.linalg import solve_triangular

        points = np.array(rows, dtype=float).reshape(-1, len(_FEATURES))
        means = _before(points, self._belief)
        variances = _LEVEL**2 + _SLOPE**2 * (points**2).sum(axis=1) + _BEND**2 + _NETWORK**2
        if len(self._rows):
            across = _kernel(self._rows, points)  # (observations, rows)
            means = means + across.T @ self._weights
            half = solve_triangular(self._root, across, lower=True, check_finite=False)
            variances = variances - (half**2).sum(axis=0)
        deviations = np.sqrt(np.maximum(variances, _NETWORK**2))
        # Networks of the same features are equal on every processor, whatever the last bits of its BLAS.
        return means.round(_DECIMALS), deviations.round(_DECIMALS)


def _before(rows: Any, belief: float) -> Any:
    means = np.full(len(rows), math.log(belief))
    for at, (name, _, width) in enumerate(_FEATURES):
        if name in _PRIOR_SLOPES:
            # Rows are scaled; a slope is one of the logarithm itself.
            means = means + _PRIOR_SLOPES[name] * width * rows[:, at]
    return means


def _kernel(left: Any, right: Any) -> Any:
    one, two = left / _REACH, right / _REACH
    squares = (one**2).sum(axis=1)[:, None] + (two**2).sum(axis=1)[None, :] - 2 * one @ two.T
    smooth = _BEND**2 * np.exp(-0.5 * np.maximum(squares, 0.0))
    return _LEVEL**2 + _SLOPE**2 * (left @ right.T) + smooth


def row_of(architecture: Architecture, task: Task, epochs: int, batch_size: int, augmented_share: float) -> Row:
    """Return what the surrogate knows of a network and its training, scaled."""
    return _known_row(architecture, task) + training_row(epochs, batch_size, augmented_share)


@lru_cache(maxsize=50_000)
def _known_row(architecture: Architecture, task: Task) -> Row:
    return network_row(architecture, analyse(architecture, task))


def training_row(epochs: int, batch_size: int, augmented_share: float) -> Row:
    """Return the features of a training, scaled: the end of a row."""
    return _scaled((math.log(epochs), math.log(batch_size), augmented_share), _TRAINING_FEATURES)


def network_row(architecture: Architecture, analysis: Analysis) -> Row:
    """Return the features of a network, scaled: the beginning of a row."""
    return _scaled(features(architecture, analysis), _NETWORK_FEATURES)


def _scaled(raw: Row, scales: Sequence[tuple[str, float, float]]) -> Row:
    return tuple((value - centre) / width for value, (_, centre, width) in zip(raw, scales, strict=True))


def features(architecture: Architecture, analysis: Analysis) -> Row:
    """Return the numbers that describe a network, in the order of ``_NETWORK_FEATURES``."""
    ops = [op for op in flat(architecture.ops) if not isinstance(op, Residual)]
    convs = kernels(ops)
    spatial = [op for op in convs if op.edges[0] > 1]
    full = [op for op in convs if isinstance(op, Conv)]
    distinct = {op.tie or index for index, op in enumerate(convs)}
    norms = [index for index, op in enumerate(ops) if op.role is Role.NORMALISATION]
    pools = [op.role for op in ops if op.role in (Role.MAX_POOLING, Role.MEAN_POOLING) and not op.is_global]
    maps = [layer for layer in analysis.layers if len(layer.output_shape) == 3]
    # What the kernels would be if each use and each orientation had numbers of its own.
    laid_out = sum(
        layer.macs / math.prod(layer.output_shape[1:]) if len(layer.output_shape) == 3 else layer.macs
        for layer in analysis.layers
    )
    first = maps[0].output_shape if maps else (1, 1, 1)
    # Rows; of a series, which has one, those of a square map of as many numbers.
    is_series = all(m.output_shape[1] == 1 for m in maps)
    edges = [math.sqrt(m.output_shape[2]) if is_series else float(m.output_shape[1]) for m in maps]
    before_head = next((at for at in reversed(range(len(maps))) if edges[at] > 1), 0)
    return (
        math.log(analysis.parameters),
        math.log(max(1.0, laid_out)),
        math.log(max(1, analysis.macs)),
        float(len(spatial)),
        float(min(_WIDEST_FIELD, analysis.receptive_field)),
        math.log2(max((op.poses for op in full), default=1)),
        _share(sum(op.is_grouped for op in spatial), len(spatial)),
        _share(sum(isinstance(op, Residual) for op in architecture.ops), len(spatial)),
        math.log(max(1, len(convs)) / max(1, len(distinct))),
        float(any(op.stride > 1 for op in convs)),
        _share(pools.count(Role.MAX_POOLING), len(pools)),
        _share(sum(max(op.paddings) == 0 for op in spatial), len(spatial)),
        max((op.drop_rate for op in ops), default=0.0),
        _share(sum(index > 0 and isinstance(ops[index - 1], ReLU) for index in norms), len(norms)),
        math.log(first[0]),
        math.log(maps[before_head].output_shape[0] if maps else 1),
        math.log(edges[before_head] if maps else 1),
        float(ops[-1].role is Role.LINEAR),
        _share(sum(op.kernel_size == 1 for op in full), len(full)),
        math.log(1 + sum(m.macs for m, edge in zip(maps, edges, strict=True) if edge > 14)),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


# Earlier runs ---------------------------------------------------------------------------------------------------

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

    def whole_runs(folder: Path) -> list[Result]:
        study = read_state(folder)
        config = study.config
        if (config.dataset, config.data_hash, config.protocol_version) != (dataset, data_hash, PROTOCOL_VERSION):
            return []
        whole = (run for run in study.results if run.status is Status.COMPLETE)
        return [run for run in whole if run.validation_accuracy_pct is not None and comparable(run.recipe)]

    runs_of_studies, damage = read_each(
        whole_runs, sorted(path.parent for path in workspace.runs.glob("*/config.json"))
    )
    # Two studies of one seed may have trained the same network from the same numbers: that is one run.
    runs = {(run.hash, run.recipe_hash, run.seed): run for run in chain(*runs_of_studies)}
    equal: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for run in runs.values():
        equal[run.hash, run.recipe_hash].append(run)

    def of(runs: list[Result]) -> PastTraining:
        errors = mean([(run.validation_errors or 0) * IMAGES / (run.validation_size or 1) for run in runs])
        source = " ".join(sorted({run.study for run in runs if run.study}))
        return PastTraining.of(runs[0].architecture, runs[0].recipe, errors, len(runs), source)

    return (*shipped(dataset), *map(of, equal.values())), damage


@cache
def shipped(dataset: str) -> tuple[PastTraining, ...]:
    """Return the runs that come with the package; none for a data set that has no file."""
    path = resources.files("harness.searching") / f"trainings-{dataset}.csv"
    return _read(path, "install the harness anew") if path.is_file() else ()


def shipped_sha256(dataset: str) -> str:
    """Return the SHA-256 of the runs that come with the package, empty where there are none."""
    path = resources.files("harness.searching") / f"trainings-{dataset}.csv"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def keep(folder: Path, trainings: Iterable[PastTraining]) -> None:
    """Write what a new study begins with into its folder."""
    files.write_text(folder / _FILE, text(trainings))


def kept(folder: Path) -> tuple[PastTraining, ...] | None:
    """Return what a study began with; None where its folder does not say."""
    path = folder / _FILE
    return _read(path, "bring the file back, or begin another study: --study NAME") if path.exists() else None


def text(trainings: Iterable[PastTraining]) -> str:
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
