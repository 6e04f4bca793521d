"""Whether methods differ: ranks over the repeats, and tests that account for their number.

Repeats are pairs: repeat i has the same seed for every method, so the same training of the same network gives the same
accuracy. Friedman's test (1937) asks whether any method differs, Wilcoxon's signed-rank test (1945) which two do, and
Holm's procedure (1979) keeps the chance of one false finding among all pairs at the level of one test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.bench.results.curve import mean_interval

LEVEL = 0.05
# Decimals of a score: sums of the same spans of time in other pieces differ by what floats round.
DECIMALS = 12
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

    table = np.array(list(scores.values())).round(DECIMALS)  # (methods, repeats)
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
    corrected = holm([p for p, _ in tested])
    found = []
    for (when, first, second), (p, balance), corrected_p in zip(asked, tested, corrected, strict=True):
        scores = scored[when]
        differences = [ours - theirs for ours, theirs in zip(scores[first], scores[second], strict=True)]
        low, high = mean_interval(differences)
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


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's step-down procedure."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    corrected, largest = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = largest
    return corrected


def _tested(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return Wilcoxon's p and the balance that it goes by; repeats that are alike have ranks, but no sign."""
    from scipy.stats import rankdata, wilcoxon

    differences = (np.array(ours) - np.array(theirs)).round(DECIMALS)
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
    """Return the two-sided p of a sum of those ranks that have a plus, where each has one with an even chance."""
    chances = np.ones(1)  # (sums,)
    for rank in ranks:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return min(1.0, 2 * float(min(chances[: positive + 1].sum(), chances[positive:].sum())))
