"""The model of the errors: a Gaussian process over their logarithm, around what is believed before any training.

Before any training of a data set it is believed that errors fall by powers of the parameters and of the epochs, or,
where trainings of other data sets are known, that they are what these expect, but for a factor and a power of the data
set's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness.searching.surrogate.features import FEATURES, Row
from harness.searching.surrogate.gaussian_process import NUGGET, GaussianProcess, Kernel, Points
from harness.studies.candidate import LEAST_COUNTED, SEED_SHARE, seed_share_square

# What is believed before any training: so many errors of ten thousand at the centre, and a power of the parameters and
# of the epochs (docs/lab, "what says how many errors a network makes").
PRIOR_ERRORS = 100.0
_PRIOR_SLOPES = {"log parameters": -0.5, "log epochs": -0.3}
# Where hundreds of trainings of the same images are known: round values near the optimum of the evidence; on forms that
# were held out they were the better ones (docs/lab, "how good is the model of the errors").
SETTLED = Kernel(level=0.5, slope=0.045, bend=0.4, reach=4.0)
_SETTLED_OBSERVATIONS = 300
# Where none are, and for what trainings of other data sets say: the best of some round values on tables of data sets
# that were held out (docs/lab, "what transfers").
OPEN = Kernel(level=0.7, slope=0.03, bend=0.4, reach=3.0, stretch=0.5)
# How far the errors depart from what is believed differs from data set to data set: the factor is the one of these
# under which the latest observations are most probable, with a prior that is normal in its logarithm.
_FACTORS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
_FACTOR_DEVIATION = 1.0
_FACTOR_OBSERVATIONS = 200
# Fewer errors than this, in all runs of a network together, are taken for a count: no error of ten images says that
# errors are few, and says it more surely the more networks make none. The logarithm of a count says neither. The mode
# of what counts and process say together is reached in so many steps (Laplace's approximation: Rasmussen and Williams,
# "Gaussian Processes for Machine Learning", 2006, section 3.4).
_FEW_COUNTED = 10.0
_STEPS = 8
# Predictions have so many decimals: far more than they are sure of, and fewer than rounding errors reach.
_DECIMALS = 9
# Errors are counted as if of so many validation images, whatever a data set has.
IMAGES = 10_000


@dataclass(frozen=True, slots=True)
class Observation:
    """What trainings of one network and length have shown.

    Attributes:
        row: of ``row_of``.
        errors: mean validation errors of its runs, scaled to ten thousand images.
        runs: how many those are.
        doubt: further deviation of the logarithm, for what is not the end of a whole training.
        images: validation images of a run.
    """

    row: Row
    errors: float
    runs: int = 1
    doubt: float = 0.0
    images: int = IMAGES

    @property
    def counted(self) -> float:
        """Errors in all its runs together."""
        return self.errors * self.images * self.runs / IMAGES

    @property
    def log_errors(self) -> float:
        """The logarithm of the errors."""
        return math.log(max(self.errors, LEAST_COUNTED * IMAGES / self.images))

    @property
    def variance(self) -> float:
        """The variance of that logarithm around its mean over seeds."""
        return NUGGET**2 + seed_variance(self.errors, self.images) / self.runs + self.doubt**2


def seed_variance(errors: float, images: int) -> float:
    """Return the variance between seeds of the logarithm of the errors, which are of ten thousand images."""
    return seed_share_square(max(LEAST_COUNTED, errors * images / IMAGES))


class Transfer:
    """What trainings of other data sets expect: one function of the features, which each of them stretches and shifts.

    The logarithm of the errors of a data set is ``shift + stretch * expected(row)``. The function is the mean of a
    Gaussian process; it and the shifts and stretches are fitted in turn.
    """

    # Rounds after which shifts and stretches change by less than a hundredth; pseudo-observations of a stretch of one,
    # as a share of the observations; what data sets differ by from the function, as a deviation.
    _ROUNDS = 4
    _PRIOR_SHARE = 0.02
    _OWN_DEVIATION = 0.15
    _KERNEL = Kernel(level=0.1, slope=0.045, bend=0.4, reach=4.0)

    def __init__(self, sets: Sequence[Sequence[Observation]]) -> None:
        """Fit it to the observations of each data set."""
        features = [_features(item.row for item in observations) for observations in sets]
        logs = [np.array([item.log_errors for item in observations]) for observations in sets]
        variances = [np.array([item.variance for item in observations]) for observations in sets]
        before = [_power_law(points) for points in features]
        self._process = GaussianProcess(self._KERNEL, _points(np.empty((0, len(FEATURES)))), np.empty(0), np.empty(0))
        self._centre = 0.0
        stretches = [1.0] * len(sets)
        for _ in range(self._ROUNDS):
            expected = [self._at(points) for points in features]
            for index, values in enumerate(expected):
                around = values - values.mean()
                prior = self._PRIOR_SHARE * len(values)
                covariance = around @ (logs[index] - logs[index].mean())
                stretches[index] = max(0.1, (covariance + prior) / (around @ around + prior))
            parts = zip(logs, expected, before, stretches, strict=True)
            values = [(log - log.mean()) / stretch + mean.mean() - law for log, mean, law, stretch in parts]
            pairs = zip(variances, stretches, strict=True)
            noise = [variance / stretch**2 + self._OWN_DEVIATION**2 for variance, stretch in pairs]
            points = _points(np.concatenate(features))
            self._process = GaussianProcess(self._KERNEL, points, np.concatenate(values), np.concatenate(noise))
        self._centre = float(np.mean(np.concatenate([self._at(points) for points in features])))

    def expected(self, features: Any) -> Any:
        """Return what is expected of rows of features, (rows, features), around its mean over what was observed."""
        return self._at(features) - self._centre

    def _at(self, features: Any) -> Any:
        return _power_law(features) + self._process.mean(_points(features))


class Past(NamedTuple):
    """What a search learns from before its first training: runs on the same images, and what others expect."""

    observations: tuple[Observation, ...] = ()
    transfer: Transfer | None = None

    @property
    def is_settled(self) -> bool:
        """Whether so much is known of the images that what other data sets expect adds nothing."""
        return len(self.observations) >= _SETTLED_OBSERVATIONS


NO_PAST = Past()


class Surrogate:
    """The model after some observations."""

    def __init__(
        self,
        observations: Sequence[Observation],
        belief: float = PRIOR_ERRORS,
        kernel: Kernel = SETTLED,
        transfer: Transfer | None = None,
    ) -> None:
        """Fit it; ``belief`` are the errors at the centre before any training, ``transfer`` what others expect."""
        self._belief = math.log(belief)
        self._transfer = transfer
        points = self._points(item.row for item in observations)
        values = np.array([item.log_errors for item in observations]) - self._belief - points.expected
        noise = np.array([item.variance for item in observations])
        # What trainings of the same images have settled is not scaled.
        if kernel is not SETTLED:
            kernel = _best_scaled(kernel, points, values, noise)
        self._process = GaussianProcess(kernel, points, values, noise)
        few = np.array([item.counted < _FEW_COUNTED for item in observations], dtype=bool)
        for _ in range(_STEPS if few.any() else 0):
            centres = self._belief + points.expected
            logs = centres + self._process.mean(points)
            steps = [_newton_step(item, log) for item, log in zip(observations, logs.tolist(), strict=True)]
            values = np.where(few, logs - centres + [step for step, _ in steps], values)
            noise = np.where(few, [variance for _, variance in steps], noise)
            self._process = GaussianProcess(kernel, points, values, noise)

    def predict(self, rows: Sequence[Row]) -> tuple[Any, Any]:
        """Return means and deviations of the logarithm of the errors in the mean over seeds, both (rows,)."""
        points = self._points(rows)
        differences, deviations = self._process.predict(points)
        # Networks of the same features are equal on every processor, whatever the last bits of its BLAS.
        return (self._belief + points.expected + differences).round(_DECIMALS), deviations.round(_DECIMALS)

    def _points(self, rows: Iterable[Row]) -> Points:
        features = _features(rows)
        transfer = self._transfer
        return Points(features, _power_law(features) if transfer is None else transfer.expected(features))


def _newton_step(observation: Observation, log_errors: float) -> tuple[float, float]:
    """Return the step from a logarithm of the errors towards a count of Poisson's kind, and the variance of its end."""
    runs = observation.runs
    expected = math.exp(log_errors) * observation.images * runs / IMAGES
    variance = NUGGET**2 + SEED_SHARE**2 / runs + 1 / expected + observation.doubt**2
    return observation.counted / expected - 1, variance


def _best_scaled(kernel: Kernel, points: Points, values: Any, noise: Any) -> Kernel:
    """Return the kernel times the factor under which the latest values are most probable."""
    latest = slice(-_FACTOR_OBSERVATIONS, None)
    recent = Points(points.features[latest], points.expected[latest])

    def logarithm(factor: float) -> float:
        process = GaussianProcess(kernel.scaled(factor), recent, values[latest], noise[latest])
        return process.evidence - 0.5 * (math.log(factor) / _FACTOR_DEVIATION) ** 2

    return kernel.scaled(max(_FACTORS, key=lambda factor: round(logarithm(factor), _DECIMALS)))


def _features(rows: Iterable[Row]) -> Any:
    return np.array(list(rows), dtype=float).reshape(-1, len(FEATURES))


def _points(features: Any) -> Points:
    return Points(features, np.zeros(len(features)))


def _power_law(features: Any) -> Any:
    """Return the logarithm of what powers of the parameters and of the epochs make of the errors at the centre."""
    means = np.zeros(len(features))
    for at, feature in enumerate(FEATURES):
        if feature.name in _PRIOR_SLOPES:
            # Rows are scaled; a slope is one of the logarithm itself.
            means = means + _PRIOR_SLOPES[feature.name] * feature.width * features[:, at]
    return means
