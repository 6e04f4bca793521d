"""A Gaussian process: a value at any point, from values that were observed with noise at others.

Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 2. With the covariances K of what was
observed, its noise N, and the covariances k of that with a new point, the mean there is k' (K + N)^-1 y, and the
variance falls by k' (K + N)^-1 k. The covariance of two points is that of a mean which is linear in the coordinates
with unknown coefficients, and of a smooth function around it: points like those that were observed are guessed better
than strange ones, and it is known by how much.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# The hyperparameters, all for the logarithm of errors: round values near the optimum of the evidence; on forms that
# were held out they were the better ones (docs/lab, "how good is the model of the errors"). Deviations of the mean at
# the centre, of a coefficient of the linear part, and of the smooth part.
_LEVEL = 0.5
_SLOPE = 0.045
_BEND = 0.4
# How far apart two points are, in widths of the features, when they say little of each other.
_REACH = 4.0
# What two things at one point differ by, as networks of the same features do.
NUGGET = 0.045


class GaussianProcess:
    """The process after some observations, with a mean of zero before them."""

    def __init__(self, points: Any, values: Any, noise: Any) -> None:
        """Fit it to values at points, (observations, features); ``noise`` are their variances, with ``NUGGET``'s."""
        from scipy.linalg import cho_solve

        self._points = points
        if len(points):
            # The Cholesky factor of the covariance, (observations, observations).
            self._root = np.linalg.cholesky(_covariance(points, points) + np.diag(noise))
            self._weights = cho_solve((self._root, True), values, check_finite=False)

    def predict(self, points: Any) -> tuple[Any, Any]:
        """Return means and deviations at points, both (points,)."""
        from scipy.linalg import solve_triangular

        means = np.zeros(len(points))
        variances = _LEVEL**2 + _SLOPE**2 * (points**2).sum(axis=1) + _BEND**2 + NUGGET**2
        if len(self._points):
            across = _covariance(self._points, points)  # (observations, points)
            means = across.T @ self._weights
            half = solve_triangular(self._root, across, lower=True, check_finite=False)
            variances = variances - (half**2).sum(axis=0)
        return means, np.sqrt(np.maximum(variances, NUGGET**2))


def _covariance(left: Any, right: Any) -> Any:
    near = left / _REACH
    far = right / _REACH
    squares = (near**2).sum(axis=1)[:, None] + (far**2).sum(axis=1)[None, :] - 2 * near @ far.T
    smooth = _BEND**2 * np.exp(-0.5 * np.maximum(squares, 0.0))
    return _LEVEL**2 + _SLOPE**2 * (left @ right.T) + smooth
