"""What errors a network will make after a training of some length, guessed from what was trained before.

A Gaussian process over the logarithm of the validation errors (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, chapter 2). Its mean is linear in the numbers of ``features`` and in the length of the training, with
unknown coefficients; around it lies a smooth function of the same numbers, so that networks like those that were
trained are guessed better than strange ones, and it is known by how much. It knows no space and no form by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.search.features import NAMES, network_features
from harness.training.recipe import Recipe
from search_spaces.network import Architecture
from search_spaces.task import Task

# Centre and width of what is known of a training: logarithms of epochs and batch, the share of images that are moved.
TRAINING: tuple[tuple[str, float, float], ...] = (
    ("log epochs", 2.3, 1.0),
    ("log batch", 3.7, 0.65),
    ("share of moved images", 0.6, 0.4),
)
# What is believed before any training: so many errors of ten thousand at the centre, and a power of the parameters and
# of the epochs (docs/lab, "what says how many errors a network makes").
PRIOR_ERRORS = 100.0
_PRIOR_SLOPES = {"log parameters": -0.5, "log epochs": -0.3}


@dataclass(frozen=True, slots=True)
class _Scales:
    """The hyperparameters of the process, all for the logarithm of errors.

    Round values near the optimum of the evidence; on forms that were held out they were the better ones
    (docs/lab, "how good is the model of the errors").

    Attributes:
        level: deviation of the mean at the centre.
        slope: deviation of a coefficient of the linear part.
        bend: deviation of the smooth part.
        reach: how far apart two networks are, in widths of the features, when they say little of each other.
        training_reach: the same for two trainings.
        network: what networks of the same features differ by.
        seed: what seeds of one network differ by.
    """

    level: float = 0.5
    slope: float = 0.045
    bend: float = 0.4
    reach: float = 4.0
    training_reach: float = 4.0
    network: float = 0.045
    seed: float = 0.08


_SCALES = _Scales()


@dataclass(frozen=True, slots=True)
class Observation:
    """What trainings of one network and length have shown.

    Attributes:
        row: of ``row_of``.
        errors: mean validation errors of its runs, scaled to ten thousand images.
        runs: how many those are.
        doubt: further deviation of the logarithm, for what is not the end of a whole training.
    """

    row: tuple[float, ...]
    errors: float
    runs: int = 1
    doubt: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """The process after its observations.

    Attributes:
        rows: (observations, features).
        weights: (observations,).
        root: the Cholesky factor of their covariance, (observations, observations).
        belief: errors at the centre before any training.
    """

    rows: Any
    weights: Any
    root: Any
    scales: _Scales
    belief: float


def row_of(architecture: Architecture, recipe: Recipe, task: Task) -> tuple[float, ...]:
    """Return what the model knows of a network under a recipe, scaled."""
    return training_row(architecture, recipe.epochs, recipe.batch_size, recipe.augmented_share, task)


def training_row(
    architecture: Architecture, epochs: int, batch_size: int, augmented_share: float, task: Task
) -> tuple[float, ...]:
    """Do as ``row_of`` for a training that is told by its figures."""
    raw = (*network_features(architecture, task), math.log(epochs), math.log(batch_size), augmented_share)
    return tuple((value - centre) / width for value, (_, centre, width) in zip(raw, (*NAMES, *TRAINING), strict=True))


def fitted(observations: Sequence[Observation], scales: _Scales = _SCALES, belief: float = PRIOR_ERRORS) -> Model:
    """Return the process after these observations; of none it is the belief before any."""
    width = len(NAMES) + len(TRAINING)
    rows = np.array([item.row for item in observations], dtype=float).reshape(-1, width)
    logs = np.log([max(1.0, item.errors) for item in observations]) - _before(rows, belief)
    noise = np.array([scales.network**2 + scales.seed**2 / item.runs + item.doubt**2 for item in observations])
    covariance = _kernel(rows, rows, scales) + np.diag(noise)
    root = np.linalg.cholesky(covariance) if len(rows) else np.zeros((0, 0))
    weights = _solve(root, logs) if len(rows) else logs
    return Model(rows, weights, root, scales, belief)


def predicted(model: Model, rows: Sequence[tuple[float, ...]]) -> tuple[Any, Any]:
    """Return means and deviations of the logarithm of the errors that networks make in the mean over seeds, (rows,)."""
    asked = np.array(rows, dtype=float).reshape(-1, len(NAMES) + len(TRAINING))
    scales = model.scales
    means = _before(asked, model.belief)
    variances = _own(asked, scales) + scales.network**2
    if len(model.rows):
        across = _kernel(model.rows, asked, scales)  # (observations, rows)
        means = means + across.T @ model.weights
        variances = variances - (_half_solve(model.root, across) ** 2).sum(axis=0)
    return means, np.sqrt(np.maximum(variances, scales.network**2))


def _before(rows: Any, belief: float) -> Any:
    names = [name for name, _, _ in (*NAMES, *TRAINING)]
    found = np.full(len(rows), math.log(belief))
    for name, slope in _PRIOR_SLOPES.items():
        at = names.index(name)
        # Rows are scaled; a slope is one of the logarithm itself.
        found = found + slope * (*NAMES, *TRAINING)[at][2] * rows[:, at]
    return found


def _kernel(left: Any, right: Any, scales: _Scales) -> Any:
    reaches = np.array([scales.reach] * len(NAMES) + [scales.training_reach] * len(TRAINING))
    one, two = left / reaches, right / reaches
    squares = (one**2).sum(axis=1)[:, None] + (two**2).sum(axis=1)[None, :] - 2 * one @ two.T
    smooth = scales.bend**2 * np.exp(-0.5 * np.maximum(squares, 0.0))
    return scales.level**2 + scales.slope**2 * (left @ right.T) + smooth


def _own(rows: Any, scales: _Scales) -> Any:
    return scales.level**2 + scales.slope**2 * (rows**2).sum(axis=1) + scales.bend**2


def _half_solve(root: Any, right: Any) -> Any:
    from scipy.linalg import solve_triangular

    return solve_triangular(root, right, lower=True, check_finite=False)


def _solve(root: Any, right: Any) -> Any:
    from scipy.linalg import cho_solve

    return cho_solve((root, True), right, check_finite=False)
