"""Surrogate model of log errors: a Gaussian process around a prior mean.

Symbols, for d features:

- x: row of scaled features (``features.row_of``), (d,).
- e: validation errors per ``IMAGES`` images, the mean over the runs of a network.
- f(x): mean log errors, over seeds and over networks with the features x.
- u: deviation of the log errors of a network from f, over its runs.
- b: log of ``belief``, the prior errors at the centre of the features.
- m(x): prior mean up to a constant: a power law, or ``Transfer.expected`` with trainings on other data sets.
- g: Gaussian process with mean 0 (``gaussian_process``).
- h: mean of the Gaussian process of ``Transfer``, which all data sets share; only shift_s and stretch_s differ between
  the data sets s.

Formulas:

    f(x) = b + m(x) + g(x)
    m(x) = -0.5 (log parameters - centre) - 0.3 (log epochs - centre)            power law (``_PRIOR_SLOPES``)
    log e ~ Normal(f(x), NUGGET^2 + seed variance / runs + doubt^2)              10 counted errors or more
    count ~ Poisson(exp(f(x) + u) * images * runs / IMAGES)                      fewer than 10 counted errors
        with u ~ Normal(0, NUGGET^2 + SEED_SHARE^2 / runs + doubt^2)             approximated by ``_newton_step``
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
from harness.studies.candidate import MIN_COUNTED, SEED_SHARE, seed_share_square

# Prior errors per ``IMAGES`` images at the centre of the features, with ``_SETTLED`` (diary 12).
_SETTLED_BELIEF = 100.0
_PRIOR_SLOPES = {"log parameters": -0.5, "log epochs": -0.3}  # exponents of the prior power law (diary 12)
# Kernel if hundreds of trainings on the same images are known: rounded values near the optimum of the evidence, which
# predicted held-out families better than the optimum (diary 13).
_SETTLED = CovarianceKernel(constant=0.5, linear=0.045, amplitude=0.4, length_scale=4.0)
_SETTLED_OBSERVATIONS = 300  # observations from which ``_SETTLED`` is used
# Otherwise, also with a ``Transfer``: the best of some rounded values on held-out data sets (diary 124).
# ``prior_scale`` is the standard deviation of a factor of m; each ``stretch_s`` is a factor itself.
_OPEN = CovarianceKernel(constant=0.7, linear=0.03, amplitude=0.4, length_scale=3.0, prior_scale=0.5)
# Factors of ``linear`` and ``amplitude``; the highest evidence times a log-normal prior decides.
_FACTORS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
_FACTOR_DEVIATION = 1.0  # of the log factor in the prior
_FACTOR_OBSERVATIONS = 200  # latest observations for the factor, as each of ``_FACTORS`` needs a fit
# Below this count, in all runs of a network together, the likelihood is Poisson: many networks without an error are
# strong evidence of few errors, which the log of a count does not express.
_FEW_COUNTED = 10.0
_NEWTON_STEPS = 8  # of Laplace's approximation (Rasmussen and Williams, 2006, section 3.4)
# Decimals of predictions: few enough to hide rounding errors of the BLAS.
_DECIMALS = 9
# Validation images that error counts are scaled to.
IMAGES = 10_000


@dataclass(frozen=True, slots=True)
class Observation:
    """Errors of the runs of a network with a fixed training length.

    Attributes:
        errors: Mean validation errors per ``IMAGES`` images.
        doubt: Additional standard deviation of the log errors, for runs that were stopped early.
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
        """Log of ``errors``, with at least ``MIN_COUNTED`` errors per run."""
        return math.log(max(self.errors, MIN_COUNTED * IMAGES / self.images))

    @property
    def variance(self) -> float:
        """Variance of ``log_errors`` around f at the row."""
        return NUGGET**2 + seed_variance(self.errors, self.images) / self.runs + self.doubt**2


def seed_variance(errors: float, images: int) -> float:
    """Return the variance of log errors between seeds, which grows below 60 errors of a run (``seed_share_square``).

    ``errors`` are per ``IMAGES`` images.
    """
    return seed_share_square(max(MIN_COUNTED, errors * images / IMAGES))


class Transfer:
    """Prior mean from trainings on other data sets: a function of the features that all data sets share.

    The process of h and the shifts and stretches are fitted in turn. ``expected`` subtracts a constant from the
    function, which changes the shifts only.
    """

    # Rounds of alternating fits, after which shifts and stretches change by less than 0.01.
    _ROUNDS = 4
    # Prior of a stretch: pseudo-observations per observation, with stretch 1 at a distance of 1 from the mean of the
    # function.
    _PRIOR_SHARE = 0.02
    _SET_DEVIATION = 0.15  # of (log errors - shift_s) / stretch_s around the shared function
    _KERNEL = CovarianceKernel(constant=0.1, linear=0.045, amplitude=0.4, length_scale=4.0)

    def __init__(self, sets: Sequence[Sequence[Observation]]) -> None:
        features = [_features(item.row for item in observations) for observations in sets]
        logs = [np.array([item.log_errors for item in observations]) for observations in sets]
        variances = [np.array([item.variance for item in observations]) for observations in sets]
        points = _zero_mean_points(np.concatenate(features))
        self._process = GaussianProcess(self._KERNEL, _zero_mean_points(_features([])), np.empty(0), np.empty(0))
        for _ in range(self._ROUNDS):
            values = []
            noise = []
            for rows, log_errors, variance in zip(features, logs, variances, strict=True):
                expectations = self._uncentred(rows)
                mean = expectations.mean()
                around = expectations - mean
                prior = self._PRIOR_SHARE * len(rows)
                covariance = around @ (log_errors - log_errors.mean())
                stretch = max(0.1, (covariance + prior) / (around @ around + prior))
                # Observations of h: log errors, shifted to mean 0, divided by the stretch, shifted to the mean of the
                # function, minus the power law.
                values.append((log_errors - log_errors.mean()) / stretch + mean - _power_law(rows))
                noise.append(variance / stretch**2 + self._SET_DEVIATION**2)
            self._process = GaussianProcess(self._KERNEL, points, np.concatenate(values), np.concatenate(noise))
        self._centre = float(np.mean(np.concatenate([self._uncentred(rows) for rows in features])))

    def expected(self, features: Any) -> Any:
        """Return the shared function, minus its mean over the observations, at scaled ``features``, (rows, d)."""
        return self._uncentred(features) - self._centre

    def _uncentred(self, features: Any) -> Any:
        return _power_law(features) + self._process.mean(_zero_mean_points(features))


class Prior(NamedTuple):
    """Knowledge before the first training of a search.

    Attributes:
        transfer: None for the power law. Unused if ``is_settled``.
    """

    observations: tuple[Observation, ...] = ()
    transfer: Transfer | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the observations suffice to ignore other data sets."""
        return len(self.observations) >= _SETTLED_OBSERVATIONS


NO_PRIOR = Prior()


class Surrogate:
    """Surrogate model: the posterior of the log errors, given observations."""

    def __init__(
        self,
        observations: Sequence[Observation],
        belief: float | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        """Fit the model.

        Args:
            observations: Trainings on the same images, oldest first.
            belief: Prior errors per ``IMAGES`` images at the centre of the features; None for ``Prior.is_settled``.
            transfer: Prior mean up to a constant; None for the power law.
        """
        self._log_belief = math.log(_SETTLED_BELIEF if belief is None else belief)
        self._transfer = transfer
        points = self._points(item.row for item in observations)
        values = np.array([item.log_errors for item in observations]) - self._log_belief - points.expected
        noise = np.array([item.variance for item in observations])
        # ``_SETTLED`` was fitted to trainings on the same images.
        kernel = _SETTLED if belief is None else _best_scaled(_OPEN, points, values, noise)
        self._process = GaussianProcess(kernel, points, values, noise)
        few = np.array([item.counted < _FEW_COUNTED for item in observations], dtype=bool)
        steps_needed = _NEWTON_STEPS if few.any() else 0
        for _ in range(steps_needed):
            centres = self._log_belief + points.expected
            logs = centres + self._process.mean(points)
            steps = [_newton_step(item, log) for item, log in zip(observations, logs.tolist(), strict=True)]
            # The variance is the noise of this pseudo-observation.
            values = np.where(few, logs - centres + [step for step, _ in steps], values)
            noise = np.where(few, [variance for _, variance in steps], noise)
            self._process = GaussianProcess(kernel, points, values, noise)

    def predict(self, rows: Sequence[Row]) -> tuple[Any, Any]:
        """Return the posterior of a network at each of ``rows``: means and standard deviations, both of shape (rows,).

        The means are means of f; the standard deviations are of the mean log errors over seeds (f and ``NUGGET``).
        """
        points = self._points(rows)
        differences, deviations = self._process.predict(points)
        means = self._log_belief + points.expected + differences
        # So that networks with equal features tie on every processor.
        return means.round(_DECIMALS), deviations.round(_DECIMALS)

    def _points(self, rows: Iterable[Row]) -> Points:
        features = _features(rows)
        prior_mean = _power_law if self._transfer is None else self._transfer.expected
        return Points(features, prior_mean(features))


def _newton_step(observation: Observation, estimate: float) -> tuple[float, float]:
    """Return the Newton step of the log errors for a Poisson count, and the noise variance of the pseudo-observation.

    The step is (count - expected) / expected with the count of all runs; the variance of the count adds 1 / expected to
    the variance of the log errors.
    """
    runs = observation.runs
    expected_errors = math.exp(estimate) * observation.images * runs / IMAGES
    variance = NUGGET**2 + SEED_SHARE**2 / runs + 1 / expected_errors + observation.doubt**2
    return observation.counted / expected_errors - 1, variance


def _best_scaled(kernel: CovarianceKernel, points: Points, values: Any, noise: Any) -> CovarianceKernel:
    latest = slice(-_FACTOR_OBSERVATIONS, None)
    recent = Points(points.features[latest], points.expected[latest])

    def log_density(factor: float) -> float:
        process = GaussianProcess(kernel.scaled(factor), recent, values[latest], noise[latest])
        return round(process.evidence - 0.5 * (math.log(factor) / _FACTOR_DEVIATION) ** 2, _DECIMALS)

    return kernel.scaled(max(_FACTORS, key=log_density))


def _features(rows: Iterable[Row]) -> Any:
    return np.array(list(rows), dtype=float).reshape(-1, len(FEATURES))


def _zero_mean_points(features: Any) -> Points:
    return Points(features, np.zeros(len(features)))


def _power_law(features: Any) -> Any:
    means = np.zeros(len(features))
    for column, feature in enumerate(FEATURES):
        if feature.name in _PRIOR_SLOPES:
            # Features are scaled by their width, exponents are not.
            means = means + _PRIOR_SLOPES[feature.name] * feature.width * features[:, column]
    return means
