"""What an answer is worth: its size where it truly reaches the target, and nothing where it does not.

The judge is the same for all methods and hidden from them: the mean validation accuracy of the network at the last
epoch, over all its seeds of the table, or over fresh seeds where there is no table. A method whose answer was only
lucky has no size at that time. Sizes are parameters; no size is infinity.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from harness.bench.results.trace import Trace
from harness.system import statistics

# Marks of the time axis, besides its beginning.
STEPS = 60


@dataclass(frozen=True, slots=True)
class Judge:
    """Who reaches the target.

    Attributes:
        accuracies_pct: true accuracy of each network that was an answer, by hash.
        largest: the budget: what a score counts for no answer.
        smallest: size of the smallest network that is known to reach the target; infinite where none does.
    """

    accuracies_pct: Mapping[str, float]
    target_pct: float
    largest: int
    smallest: float

    def reaches(self, network_hash: str) -> bool:
        """Return whether a network reaches the target."""
        return statistics.reaches(self.accuracies_pct[network_hash], self.target_pct)


@dataclass(frozen=True, slots=True)
class Steps:
    """The size of a trace's answer over time: from ``starts[i]`` on it is ``sizes[i]``; the first start is 0."""

    starts: tuple[float, ...]
    sizes: tuple[float, ...]

    def at(self, seconds: float) -> float:
        """Return the size at a time."""
        return self.sizes[bisect_right(self.starts, seconds) - 1]


def steps(trace: Trace, judge: Judge) -> Steps:
    """Return the sizes of a trace."""
    starts, sizes = [0.0], [math.inf]
    for answer in trace.answers:
        reached = answer.hash is not None and judge.reaches(answer.hash)
        starts.append(answer.seconds)
        sizes.append(float(answer.parameters) if reached and answer.parameters is not None else math.inf)
    return Steps(tuple(starts), tuple(sizes))


def first_hit(found: Steps, size: float) -> float:
    """Return when the answer first was of at most that size; infinite where it never was."""
    hits = (start for start, known in zip(found.starts, found.sizes, strict=True) if known <= size)
    return next(hits, math.inf)


def score(found: Steps, judge: Judge, seconds: float) -> float:
    """Return the mean over time of the logarithm of size over the smallest possible; the lower the better.

    Before there is an answer that reaches, and while there is none, the budget counts. Where nothing reaches, all
    methods have the score 0.
    """
    least = min(judge.smallest, judge.largest)
    ends = (*found.starts[1:], seconds)
    spans = zip(found.starts, ends, found.sizes, strict=True)
    return (
        math.fsum(
            (min(end, seconds) - min(start, seconds)) * math.log(min(size, judge.largest) / least)
            for start, end, size in spans
        )
        / seconds
    )


def final_score(found: Steps, judge: Judge, seconds: float) -> float:
    """Return the logarithm of the size at the end over the smallest possible, the budget for no answer."""
    least = min(judge.smallest, judge.largest)
    return math.log(min(found.at(seconds), judge.largest) / least)


def times(seconds: float) -> list[float]:
    """Return the marks of the time axis, evenly spread."""
    return [seconds * step / STEPS for step in range(STEPS + 1)]


def size_targets(smallest: float) -> list[int]:
    """Return the sizes that runtimes are asked for: the smallest that reaches, and multiples of it."""
    return [math.floor(smallest * factor) for factor in (1.0, 1.1, 1.25, 1.5, 2.0)] if math.isfinite(smallest) else []
