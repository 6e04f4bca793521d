"""What a repeat of a method came to: its answers over time. Nothing here knows torch or Optuna."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.system import statistics
from harness.system.document import WrittenNetwork, documented
from search_spaces.count import clopper_pearson


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The network that a method would return from a moment on; None in all fields where it would return none.

    Attributes:
        seconds: of the clock.
    """

    seconds: float
    hash: str | None
    architecture: WrittenNetwork | None
    parameters: int | None


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One repeat of one method.

    Attributes:
        seed: of the repeat, the same for all methods.
        answers: one a change, in order; before the first there is none.
        networks: proposed and trained; ``runs`` of them, fresh seeds included.
        rejected: proposals that were over the budget or known conditions.
        ended: seconds at which nothing more was done; the end of the task, unless the space was searched through.
    """

    method: str
    repeat: int
    seed: int
    answers: tuple[Answer, ...]
    networks: int
    runs: int
    rejected: int
    ended: float


# Marks of the time axis, besides its beginning.
_STEPS = 60


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


def _first_hit(found: Steps, size: float) -> float:
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
    return [seconds * step / _STEPS for step in range(_STEPS + 1)]


def size_targets(smallest: float) -> list[int]:
    """Return the sizes that runtimes are asked for: the smallest that reaches, and multiples of it."""
    return [math.floor(smallest * factor) for factor in (1.0, 1.1, 1.25, 1.5, 2.0)] if math.isfinite(smallest) else []


_DRAWS = 2_000
_CONFIDENCE = 0.95


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


def _interval(drawn: Callable[[Any], Any], count: int, method: Any = "linear") -> Any:
    """Return the ends of a bootstrap interval.

    Args:
        drawn: what is wanted of ``count`` repeats, for each row of their numbers, (_DRAWS, count).
        method: how ``numpy.quantile`` comes to a quantile.
    """
    chosen = np.random.default_rng(0).integers(0, count, (_DRAWS, count))
    tail = (1 - _CONFIDENCE) / 2
    return np.quantile(drawn(chosen), [tail, 1 - tail], axis=0, method=method)


def curve(repeats: Sequence[Steps], times: Sequence[float]) -> Curve:
    """Return the curve of at least one repeat."""
    sizes = np.array([[found.at(time) for time in times] for found in repeats])  # (repeats, times)
    # Between a number and infinity nothing can be interpolated, so ends are values that were seen.
    ends = _interval(lambda chosen: np.array([_median(sizes[rows]) for rows in chosen]), len(repeats), "inverted_cdf")
    return Curve(tuple(times), *(tuple(map(float, line)) for line in (_median(sizes), *ends)))


def _median(sizes: Any) -> Any:
    middle = (len(sizes) - 1) // 2
    return np.partition(sizes, middle, axis=0)[middle]


def _mean_interval(values: Any) -> tuple[float, float]:
    low, high = _interval(lambda chosen: values[chosen].mean(axis=1), len(values))
    return float(low), float(high)


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
    hits = [_first_hit(found, size) for found in repeats]
    spent = np.array([min(hit, seconds) for hit in hits])
    there = np.array([hit <= seconds for hit in hits])
    with np.errstate(divide="ignore"):
        ends = _interval(lambda rows: spent[rows].sum(axis=1) / there[rows].sum(axis=1), len(hits), "inverted_cdf")
    low, high = map(float, ends)
    count = int(there.sum())
    share = clopper_pearson(count, len(hits), _CONFIDENCE)
    return Runtime(size, expected_seconds(hits, seconds), low, high, count, len(hits), *share)


def expected_seconds(hits: Sequence[float], seconds: float) -> float:
    """Return the expected running time of repeats that got there after so many seconds; infinity for never."""
    count = sum(hit <= seconds for hit in hits)
    return math.fsum(min(hit, seconds) for hit in hits) / count if count else math.inf


LEVEL = 0.05
# Decimals of a score: sums of the same spans of time in other pieces differ by what floats round.
_DECIMALS = 12
# Up to so many repeats that are not alike, Wilcoxon's p is counted out; with more the normal approximation is good.
MOST_COUNTED = 50


@dataclass(frozen=True, slots=True)
class Pair:
    """Two methods compared.

    Attributes:
        when: which of the scores they are compared by.
        ratio: sizes of the first as a multiple of those of the second, the geometric mean over repeats; ``low`` and
            ``high`` are its bootstrap interval.
        p: of Wilcoxon's test, two-sided; ``corrected_p`` is Holm's.
        balance: what the test goes by, the sum of the signed ranks over that of the ranks: from -1, the first is
            better in every repeat that is not alike, to 1, the second is.
    """

    first: str
    second: str
    when: str
    ratio: float
    low: float
    high: float
    p: float
    corrected_p: float
    balance: float

    @property
    def differs(self) -> bool:
        """Whether the difference holds among all pairs, and ranks and sizes say the same of which is better.

        Who is a little better mostly and far worse at times is better by the ranks, and may be worse by the sizes.
        """
        return self.corrected_p < LEVEL and self.balance * math.log(self.ratio) > 0


@dataclass(frozen=True, slots=True)
class Ranking:
    """Methods, best first, with the mean of their ranks; ``p`` is Friedman's, NaN for fewer than three methods."""

    mean_ranks: Mapping[str, float]
    p: float


def ranking(scores: Mapping[str, Sequence[float]]) -> Ranking:
    """Return the ranks of methods by their scores, one a repeat; the lowest score is best, equal ones share a rank."""
    from scipy.stats import friedmanchisquare, rankdata

    table = np.array(list(scores.values())).round(_DECIMALS)  # (methods, repeats)
    means = rankdata(table, axis=0).mean(axis=1)
    ordered = sorted(zip(scores, map(float, means), strict=True), key=lambda pair: pair[1])
    differ = len(scores) > 2 and bool((table != table[0]).any())
    p = float(friedmanchisquare(*table).pvalue) if differ else math.nan
    return Ranking(dict(ordered), p)


def pairs(scored: Mapping[str, Mapping[str, Sequence[float]]], compared: Sequence[tuple[str, str]]) -> list[Pair]:
    """Return these pairs by every score, their p values corrected for all of them together.

    Args:
        scored: for each score, by what it is called, the figures of each method, one a repeat: logarithms of sizes.
    """
    asked = [(when, first, second) for when in scored for first, second in compared]
    tested = [_tested(scored[when][first], scored[when][second]) for when, first, second in asked]
    corrected = _holm([p for p, _ in tested])
    found = []
    for (when, first, second), (p, balance), corrected_p in zip(asked, tested, corrected, strict=True):
        scores = scored[when]
        differences = [ours - theirs for ours, theirs in zip(scores[first], scores[second], strict=True)]
        low, high = _mean_interval(np.array(differences))
        ratio = math.exp(math.fsum(differences) / len(differences))
        found.append(Pair(first, second, when, ratio, math.exp(low), math.exp(high), p, corrected_p, balance))
    return found


def fewest_repeats(tests: int) -> int:
    """Return with how many repeats one of so many tests can show a difference at all.

    Wilcoxon's p is least where all n repeats have one sign, 2 / 2^n, and Holm multiplies it by the number of tests.
    """
    repeats = 1
    while tests * 2 / 2**repeats >= LEVEL:
        repeats += 1
    return repeats


def _holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's step-down procedure."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    corrected, largest = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = largest
    return corrected


def _tested(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    from scipy.stats import rankdata, wilcoxon

    differences = (np.array(ours) - np.array(theirs)).round(_DECIMALS)
    # Twice the ranks: shared ones are halves. Those of Pratt (1959), who ranks the alike too and then leaves them out.
    signed = (2 * rankdata(np.abs(differences)) * np.sign(differences)).astype(int)
    signed = signed[signed != 0]
    if not signed.size:
        return 1.0, 0.0
    if signed.size > MOST_COUNTED:
        p = float(wilcoxon(differences, zero_method="pratt", method="asymptotic", correction=True).pvalue)
    else:
        p = _counted(np.abs(signed), int(signed[signed > 0].sum()))
    return p, float(signed.sum() / np.abs(signed).sum())


def _counted(ranks: Any, positive: int) -> float:
    chances = np.ones(1)  # (sums,)
    for rank in ranks:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return min(1.0, 2 * float(min(chances[: positive + 1].sum(), chances[positive:].sum())))
