"""The median size over the repeats of a method, over time, with a bootstrap band (Efron 1979, percentile method)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def interval(drawn: Callable[[Any], Any], count: int, method: Any = "linear") -> Any:
    """Return the ends of a bootstrap interval.

    Args:
        drawn: what is wanted of ``count`` repeats, for each row of their numbers, (DRAWS, count).
        method: how ``numpy.quantile`` comes to a quantile.
    """
    chosen = np.random.default_rng(0).integers(0, count, (DRAWS, count))
    tail = (1 - CONFIDENCE) / 2
    return np.quantile(drawn(chosen), [tail, 1 - tail], axis=0, method=method)


def curve(repeats: Sequence[Steps], times: Sequence[float]) -> Curve:
    """Return the curve of at least one repeat."""
    sizes = np.array([[found.at(time) for time in times] for found in repeats])  # (repeats, times)
    # Between a number and infinity nothing can be interpolated, so ends are values that were seen.
    low, high = interval(
        lambda chosen: np.array([_median(sizes[rows]) for rows in chosen]), len(repeats), "inverted_cdf"
    )
    return Curve(tuple(times), *(tuple(map(float, line)) for line in (_median(sizes), low, high)))


def _median(sizes: Any) -> Any:
    """Return the lower median of each column: a value that was seen, so that infinity is no trouble."""
    middle = (len(sizes) - 1) // 2
    return np.partition(sizes, middle, axis=0)[middle]


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the bootstrap interval of a mean."""
    given = np.array(values)
    low, high = interval(lambda chosen: given[chosen].mean(axis=1), len(given))
    return float(low), float(high)
