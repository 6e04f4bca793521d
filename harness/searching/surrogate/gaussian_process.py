"""A Gaussian process: a value at any point, from values that were observed with noise at others.

Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 2. With the covariances K of what was
observed, its noise N, and the covariances k of that with a new point, the mean there is k' (K + N)^-1 y, and the
variance falls by k' (K + N)^-1 k. The covariance of two points is that of a mean which is linear in the coordinates
(and in what is expected there, where something is) with unknown coefficients, and of a smooth function around it:
points like those that were observed are guessed better than strange ones, and it is known by how much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# What two things at one point differ by, as networks of the same features do.
NUGGET = 0.045


@dataclass(frozen=True, slots=True)
class Kernel:
    """How far values may lie from zero, as deviations.

    Attributes:
        level: of the value at the centre.
        slope: of a coefficient of the linear part, for each feature.
        bend: of the smooth part; ``reach`` is how far apart two points are, in widths of the features, when they say
            little of each other.
        stretch: of the factor of what is expected, around one.
    """

    level: float
    slope: float
    bend: float
    reach: float
    stretch: float = 0.0

    def scaled(self, factor: float) -> Kernel:
        """Return the kernel of a process that departs from its level and expectation so many times as far."""
        return replace(self, slope=factor * self.slope, bend=factor * self.bend)

    def covariance(self, left: Points, right: Points) -> Any:
        """Return the covariances of points, (left, right)."""
        near = left.features / self.reach
        far = right.features / self.reach
        squares = (near**2).sum(axis=1)[:, None] + (far**2).sum(axis=1)[None, :] - 2 * near @ far.T
        smooth = self.bend**2 * np.exp(-0.5 * np.maximum(squares, 0.0))
        covariances = self.level**2 + self.slope**2 * (left.features @ right.features.T) + smooth
        if not self.stretch:
            return covariances
        return covariances + self.stretch**2 * np.outer(left.expected, right.expected)

    def variance(self, points: Points) -> Any:
        """Return the variances at points, (points,)."""
        linear = self.slope**2 * (points.features**2).sum(axis=1)
        return self.level**2 + linear + self.bend**2 + self.stretch**2 * points.expected**2


@dataclass(frozen=True, slots=True)
class Points:
    """Points: their features, (points, features), and what is expected there but for a level, (points,)."""

    features: Any
    expected: Any


class GaussianProcess:
    """The process after some observations, with a mean of zero before them.

    Attributes:
        evidence: the logarithm of the probability of the observations, but for a constant of their number.
    """

    def __init__(self, kernel: Kernel, points: Points, values: Any, noise: Any) -> None:
        """Fit it to values at points; ``noise`` are their variances, with ``NUGGET``'s."""
        from scipy.linalg import cho_solve

        self._kernel = kernel
        self._points = points
        self.evidence = 0.0
        if len(values):
            # The Cholesky factor of the covariance, (observations, observations).
            self._root = np.linalg.cholesky(kernel.covariance(points, points) + np.diag(noise))
            self._weights = cho_solve((self._root, True), values, check_finite=False)
            self.evidence = float(-0.5 * values @ self._weights - np.log(np.diag(self._root)).sum())

    def mean(self, points: Points) -> Any:
        """Return means at points, (points,), which take far less time than deviations."""
        if not len(self._points.features):
            return np.zeros(len(points.features))
        return self._kernel.covariance(points, self._points) @ self._weights

    def predict(self, points: Points) -> tuple[Any, Any]:
        """Return means and deviations at points, both (points,)."""
        from scipy.linalg import solve_triangular

        means = np.zeros(len(points.features))
        variances = self._kernel.variance(points) + NUGGET**2
        if len(self._points.features):
            across = self._kernel.covariance(self._points, points)  # (observations, points)
            means = across.T @ self._weights
            half = solve_triangular(self._root, across, lower=True, check_finite=False)
            variances = variances - (half**2).sum(axis=0)
        return means, np.sqrt(np.maximum(variances, NUGGET**2))
