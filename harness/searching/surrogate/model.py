"""Surrogate model of log errors: a Gaussian process around a prior mean.

Symbols, for d features:

- x: row of scaled features (``features.row_of``), (d,).
- e: validation errors per ``IMAGES`` images, the mean over the runs of a network.
- f(x): mean log errors over seeds.
- b: log of ``belief``, the prior errors at the centre of the features.
- m(x): prior mean but for a constant: a power law, or ``Transfer.expected`` with trainings on other data sets.
- g: Gaussian process with mean 0 (``gaussian_process``).

Formulas:

    f(x) = b + m(x) + g(x)
    m(x) = -0.5 (log parameters - centre) - 0.3 (log epochs - centre)            power law
    log e ~ Normal(f(x), NUGGET^2 + seed variance / runs + doubt^2)              10 counted errors or more
    count ~ Poisson(exp(f(x)) * images * runs / IMAGES)                          fewer than 10 counted errors
    log e of data set s = shift_s + stretch_s * (power law + h(x))               ``Transfer``
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness.searching.surrogate.features import FEATURES, Row
from harness.searching.surrogate.gaussian_process import NUGGET, CovarianceKernel, GaussianProcess, Points
from harness.studies.candidate import LEAST_COUNTED, SEED_SHARE, seed_share_square

# Prior errors per 10,000 images at the centre of the features (diary 12).
PRIOR_ERRORS = 100.0
_PRIOR_SLOPES = {"log parameters": -0.5, "log epochs": -0.3}  # exponents of the prior power law (same entry)
# Kernel if hundreds of trainings on the same images are known: rounded values near the optimum of the evidence, which
# predicted held-out forms better than the optimum (diary 13).
SETTLED = CovarianceKernel(level=0.5, slope=0.045, bend=0.4, reach=4.0)
_SETTLED_OBSERVATIONS = 300  # observations from which ``SETTLED`` is used
# Kernel otherwise, also with a ``Transfer``: the best of some rounded values on held-out data sets
# (diary 124).
OPEN = CovarianceKernel(level=0.7, slope=0.03, bend=0.4, reach=3.0, stretch=0.5)
# Candidate factors of slope and bend; the factor with the highest evidence times a log-normal prior is used.
_FACTORS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
_FACTOR_DEVIATION = 1.0  # standard deviation of the log factor in the prior
_FACTOR_OBSERVATIONS = 200  # latest observations that the factor is fitted to
# Below this count, in all runs of a network together, errors have a Poisson likelihood: many networks without an error
# are strong evidence of few errors, which the log of a count does not express.
_FEW_COUNTED = 10.0
_STEPS = 8  # Newton steps of Laplace's approximation (Rasmussen and Williams, 2006, section 3.4)
# Decimals of predictions: more than are significant, but few enough to hide rounding errors of the BLAS.
_DECIMALS = 9
# Validation images that error counts are scaled to.
IMAGES = 10_000


@dataclass(frozen=True, slots=True)
class Observation:
    """Errors of the runs of a network with a fixed training length.

    Attributes:
        row: Scaled features (``features.row_of``).
        errors: Mean validation errors of the runs, scaled to ``IMAGES`` images.
        runs: Number of runs.
        doubt: Additional standard deviation of the log errors, for runs that were stopped early.
        images: Validation images per run.
    """

    row: Row
    errors: float
    runs: int = 1
    doubt: float = 0.0
    images: int = IMAGES

    @property
    def counted(self) -> float:
        """Number of errors of all runs together, not scaled."""
        return self.errors * self.images * self.runs / IMAGES

    @property
    def log_errors(self) -> float:
        """Log of ``errors``, with at least ``LEAST_COUNTED`` errors per run."""
        return math.log(max(self.errors, LEAST_COUNTED * IMAGES / self.images))

    @property
    def variance(self) -> float:
        """Variance of ``log_errors`` around the mean over seeds."""
        return NUGGET**2 + seed_variance(self.errors, self.images) / self.runs + self.doubt**2


def seed_variance(errors: float, images: int) -> float:
    """Return the variance of log errors between seeds, for ``errors`` errors of 10,000 images."""
    return seed_share_square(max(LEAST_COUNTED, errors * images / IMAGES))


class Transfer:
    """Prior mean from trainings on other data sets: a shared function of the features.

    The log errors of data set s are shift_s + stretch_s * expected(row). The function is the power law plus the mean
    of a Gaussian process; the process and the shifts and stretches are fitted in turn.
    """

    # Rounds of alternating fits, after which shifts and stretches change by less than 0.01.
    _ROUNDS = 4
    _PRIOR_SHARE = 0.02  # weight of the prior stretch 1, in pseudo-observations per observation
    _OWN_DEVIATION = 0.15  # standard deviation of a data set's log errors around the shared function
    _KERNEL = CovarianceKernel(level=0.1, slope=0.045, bend=0.4, reach=4.0)

    def __init__(self, sets: Sequence[Sequence[Observation]]) -> None:
        """Fit the shared function to the observations of each data set."""
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
        """Return the shared function at ``features``, centred on the observations, shape (rows,)."""
        return self._at(features) - self._centre

    def _at(self, features: Any) -> Any:
        return _power_law(features) + self._process.mean(_points(features))


class Past(NamedTuple):
    """Knowledge before the first training of a search.

    Attributes:
        observations: Trainings on the same images.
        transfer: Prior mean from other data sets; None for the power law.
    """

    observations: tuple[Observation, ...] = ()
    transfer: Transfer | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the observations suffice to ignore other data sets."""
        return len(self.observations) >= _SETTLED_OBSERVATIONS


NO_PAST = Past()


class Surrogate:
    """Surrogate model, fitted to observations."""

    def __init__(
        self,
        observations: Sequence[Observation],
        belief: float = PRIOR_ERRORS,
        kernel: CovarianceKernel = SETTLED,
        transfer: Transfer | None = None,
    ) -> None:
        """Fit the model.

        Args:
            observations: Trainings on the same images, oldest first.
            belief: Prior errors per 10,000 images at the centre of the features.
            kernel: Covariance function.
            transfer: Prior mean but for a constant; None for the power law.
        """
        self._belief = math.log(belief)
        self._transfer = transfer
        points = self._points(item.row for item in observations)
        values = np.array([item.log_errors for item in observations]) - self._belief - points.expected
        noise = np.array([item.variance for item in observations])
        # ``SETTLED`` was fitted to trainings on the same images, so only other kernels are scaled.
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
        """Return means and standard deviations of f at ``rows``, both of shape (rows,)."""
        points = self._points(rows)
        differences, deviations = self._process.predict(points)
        # Rounded, so that networks with equal features tie on every processor.
        return (self._belief + points.expected + differences).round(_DECIMALS), deviations.round(_DECIMALS)

    def _points(self, rows: Iterable[Row]) -> Points:
        features = _features(rows)
        transfer = self._transfer
        return Points(features, _power_law(features) if transfer is None else transfer.expected(features))


def _newton_step(observation: Observation, log_errors: float) -> tuple[float, float]:
    """Return the Newton step of log errors for a Poisson count, count / expected - 1, and the variance afterwards."""
    runs = observation.runs
    expected = math.exp(log_errors) * observation.images * runs / IMAGES
    variance = NUGGET**2 + SEED_SHARE**2 / runs + 1 / expected + observation.doubt**2
    return observation.counted / expected - 1, variance


def _best_scaled(kernel: CovarianceKernel, points: Points, values: Any, noise: Any) -> CovarianceKernel:
    """Return the kernel scaled by the factor with the highest posterior density, given the latest values."""
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
    """Return the prior power law at scaled ``features``, (points, features), as log errors relative to the centre."""
    means = np.zeros(len(features))
    for at, feature in enumerate(FEATURES):
        if feature.name in _PRIOR_SLOPES:
            # Features are scaled by their width, exponents are not.
            means = means + _PRIOR_SLOPES[feature.name] * feature.width * features[:, at]
    return means
