"""Expected running time to a size, misses counted.

ERT of COCO (Hansen, Auger, Ros, Mersmann, Tusar and Brockhoff, "COCO: a platform for comparing continuous optimizers
in a black-box setting", 2021, section 4): the time that all repeats together spent until they were there, or until the
end where they did not get there, over the number of repeats that got there. That is what one success costs who starts
again after each miss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.bench.results.curve import CONFIDENCE, interval
from harness.bench.results.sizes import Steps, first_hit
from search_spaces.count import clopper_pearson


@dataclass(frozen=True, slots=True)
class Runtime:
    """How long a method needs to a size.

    Attributes:
        size: in parameters.
        expected_seconds: infinite where no repeat got there; ``low`` and ``high`` are its bootstrap interval.
        hits: repeats that got there, of ``repeats``.
        share_low: lower end of the exact interval of their share (Clopper and Pearson 1934), ``share_high`` upper.
    """

    size: int
    expected_seconds: float
    low: float
    high: float
    hits: int
    repeats: int
    share_low: float
    share_high: float

    @property
    def share(self) -> float:
        """Share of the repeats that got there."""
        return self.hits / self.repeats


def runtime(repeats: Sequence[Steps], size: int, seconds: float) -> Runtime:
    """Return the expected running time to an answer of at most that size.

    Args:
        repeats: at least one.
        seconds: the end of each repeat.
    """
    hits = [first_hit(found, size) for found in repeats]
    spent = np.array([min(hit, seconds) for hit in hits])
    there = np.array([hit <= seconds for hit in hits])
    with np.errstate(divide="ignore"):
        low, high = interval(
            lambda chosen: spent[chosen].sum(axis=1) / there[chosen].sum(axis=1), len(hits), "inverted_cdf"
        )
    count = int(there.sum())
    share_low, share_high = clopper_pearson(count, len(hits), CONFIDENCE)
    return Runtime(
        size, expected_seconds(hits, seconds), float(low), float(high), count, len(hits), share_low, share_high
    )


def expected_seconds(hits: Sequence[float], seconds: float) -> float:
    """Return the expected running time of repeats that got there after so many seconds; infinity for never."""
    count = sum(hit <= seconds for hit in hits)
    return math.fsum(min(hit, seconds) for hit in hits) / count if count else math.inf
