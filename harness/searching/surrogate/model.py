"""The model of the errors: a Gaussian process over their logarithm, around what is believed before any training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.searching.surrogate.features import FEATURES, Row
from harness.searching.surrogate.gaussian_process import NUGGET, GaussianProcess

# What is believed before any training: so many errors of ten thousand at the centre, and a power of the parameters and
# of the epochs (docs/lab, "what says how many errors a network makes").
PRIOR_ERRORS = 100.0
_PRIOR_SLOPES = {"log parameters": -0.5, "log epochs": -0.3}
# What the logarithm of the errors differs by between seeds of one network, as a standard deviation.
SEED_DEVIATION = 0.08
# Predictions have so many decimals: far more than they are sure of, and fewer than rounding errors reach.
_DECIMALS = 9


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
    """The model after some observations."""

    def __init__(self, observations: Sequence[Observation], belief: float = PRIOR_ERRORS) -> None:
        """Fit it; ``belief`` are the errors at the centre before any training."""
        self._belief = belief
        rows = _points(item.row for item in observations)
        logs = np.log([max(1.0, item.errors) for item in observations]) - _before(rows, belief)
        noise = np.array([NUGGET**2 + SEED_DEVIATION**2 / item.runs + item.doubt**2 for item in observations])
        self._process = GaussianProcess(rows, logs, noise)

    def predict(self, rows: Sequence[Row]) -> tuple[Any, Any]:
        """Return means and deviations of the logarithm of the errors in the mean over seeds, both (rows,)."""
        points = _points(rows)
        differences, deviations = self._process.predict(points)
        # Networks of the same features are equal on every processor, whatever the last bits of its BLAS.
        return (_before(points, self._belief) + differences).round(_DECIMALS), deviations.round(_DECIMALS)


def _points(rows: Iterable[Row]) -> Any:
    return np.array(list(rows), dtype=float).reshape(-1, len(FEATURES))


def _before(points: Any, belief: float) -> Any:
    means = np.full(len(points), math.log(belief))
    for at, feature in enumerate(FEATURES):
        if feature.name in _PRIOR_SLOPES:
            # Rows are scaled; a slope is one of the logarithm itself.
            means = means + _PRIOR_SLOPES[feature.name] * feature.width * points[:, at]
    return means
