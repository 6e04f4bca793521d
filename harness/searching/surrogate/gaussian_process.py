"""Gaussian process regression with a linear, an RBF and a prior-mean term.

Symbols, for n observations and d features:

- X: scaled features of the observations, (n, d); x: scaled features of a new point, (d,).
- m: prior mean at a point, up to a constant (``Points.expected``).
- y: observed values minus the prior mean, (n,); N: diagonal matrix of the noise variances, (n, n).
- K = k(X, X), (n, n); L: Cholesky factor of K + N. ``CovarianceKernel`` has the parameters of k.

The last term of k lets the observations correct the scale of the prior mean.

Formulas (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 2):

    k(a, b)  = constant^2 + linear^2 a.b + amplitude^2 exp(-|a - b|^2 / (2 length_scale^2)) + prior_scale^2 m(a) m(b)
    mean(x)  = k(x, X) (K + N)^-1 y
    var(x)   = k(x, x) + NUGGET^2 - k(x, X) (K + N)^-1 k(X, x)
    evidence = -y' (K + N)^-1 y / 2 - sum(log(diag(L)))
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# Deviation of log errors between networks with equal features.
NUGGET = 0.045


@dataclass(frozen=True, slots=True)
class CovarianceKernel:
    """Parameters of the covariance function k, standard deviations except for ``length_scale``.

    Attributes:
        linear: Coefficient of each scaled feature.
        length_scale: In widths of the features (``features.Feature``).
        prior_scale: Correction of the factor 1 of the prior mean m; 0 to keep the prior mean as it is.
    """

    constant: float
    linear: float
    amplitude: float
    length_scale: float
    prior_scale: float = 0.0

    def scaled(self, factor: float) -> CovarianceKernel:
        """Return the kernel with ``linear`` and ``amplitude`` multiplied by ``factor``."""
        return replace(self, linear=factor * self.linear, amplitude=factor * self.amplitude)

    def covariance(self, left: Points, right: Points) -> Any:
        """Return k(left, right), shape (left points, right points)."""
        left_squares = (left.features**2).sum(axis=1)
        right_squares = (right.features**2).sum(axis=1)
        covariances = left.features @ right.features.T
        # -|a - b|^2 / 2, in place because a proposal needs millions of covariances.
        smooth = covariances - 0.5 * left_squares[:, None]
        smooth -= 0.5 * right_squares
        smooth /= self.length_scale**2
        # Rounding may give negative squared distances close to 0.
        np.minimum(smooth, 0.0, out=smooth)
        np.exp(smooth, out=smooth)
        smooth *= self.amplitude**2
        covariances *= self.linear**2
        covariances += smooth
        covariances += self.constant**2
        if not self.prior_scale:
            return covariances
        return covariances + self.prior_scale**2 * np.outer(left.expected, right.expected)

    def variance(self, points: Points) -> Any:
        """Return k(x, x) at each point, shape (points,)."""
        linear_term = self.linear**2 * (points.features**2).sum(axis=1)
        return self.constant**2 + linear_term + self.amplitude**2 + self.prior_scale**2 * points.expected**2


@dataclass(frozen=True, slots=True)
class Points:
    """Scaled features, shape (points, features), and the prior mean up to a constant, shape (points,)."""

    features: Any
    expected: Any


class GaussianProcess:
    """Posterior of a Gaussian process with prior mean 0; without observations, the prior.

    Attributes:
        evidence: Log marginal likelihood of the observations, without the term -n log(2 pi) / 2.
    """

    def __init__(self, kernel: CovarianceKernel, points: Points, values: Any, noise: Any) -> None:
        """Fit the process to ``values`` y, (n,); the variances ``noise``, (n,), include ``NUGGET`` ** 2."""
        from scipy.linalg import cho_solve

        self._kernel = kernel
        self._points = points
        self.evidence = 0.0
        if len(values):
            # L, shape (n, n).
            self._root = np.linalg.cholesky(kernel.covariance(points, points) + np.diag(noise))
            self._weights = cho_solve((self._root, True), values, check_finite=False)
            self.evidence = float(-0.5 * values @ self._weights - np.log(np.diag(self._root)).sum())

    def mean(self, points: Points) -> Any:
        """Return posterior means, shape (points,); much faster than ``predict``."""
        if not len(self._points.features):
            return np.zeros(len(points.features))
        return self._kernel.covariance(points, self._points) @ self._weights

    def predict(self, points: Points) -> tuple[Any, Any]:
        """Return posterior means and standard deviations, ``NUGGET`` included, both of shape (points,)."""
        from scipy.linalg import solve_triangular

        means = np.zeros(len(points.features))
        variances = self._kernel.variance(points) + NUGGET**2
        if len(self._points.features):
            across = self._kernel.covariance(self._points, points)  # (observations, points)
            means = across.T @ self._weights
            half = solve_triangular(self._root, across, lower=True, check_finite=False)
            variances = variances - (half**2).sum(axis=0)
        return means, np.sqrt(np.maximum(variances, NUGGET**2))
