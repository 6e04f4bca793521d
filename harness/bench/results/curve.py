"""The median size over the repeats of a method, over time, with a bootstrap band (Efron 1979, percentile method)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.bench.results.sizes import Steps

DRAWS = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Curve:
    """Sizes at marks of the time axis, infinite where the median repeat has no answer that reaches.

    Attributes:
        low: lower end of the band of the median, ``high`` its upper end.
    """

    times: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def curve(repeats: Sequence[Steps], times: Sequence[float], seed: int = 0) -> Curve:
    """Return the curve of at least one repeat."""
    sizes = np.array([[found.at(time) for time in times] for found in repeats])  # (repeats, times)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(repeats), (DRAWS, len(repeats)))
    drawn = np.array([_median(sizes[rows]) for rows in chosen])  # (DRAWS, times)
    tail = (1 - CONFIDENCE) / 2
    # Between a number and infinity nothing can be interpolated, so ends are values that were seen.
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0, method="inverted_cdf")
    return Curve(tuple(times), *(tuple(map(float, line)) for line in (_median(sizes), low, high)))


def _median(sizes: Any) -> Any:
    """Return the lower median of each column: a value that was seen, so that infinity is no trouble."""
    middle = (len(sizes) - 1) // 2
    return np.partition(sizes, middle, axis=0)[middle]


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return the bootstrap interval of a mean."""
    given = np.array(values)
    rng = np.random.default_rng(seed)
    means = given[rng.integers(0, len(given), (DRAWS, len(given)))].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
