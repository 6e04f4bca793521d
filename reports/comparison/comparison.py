"""What two to four things have in common to be compared by: quantities, their ratios, and the words for noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.system import statistics
from reports.numbers import DASH, count, decimal, plural

FEWEST, MOST = 2, 4
# Below it a difference is called more than chance; the usual convention (Fisher 1925), and no more than that.
_CHANCE = 0.05
TIMES = "\N{MULTIPLICATION SIGN}"


_Side = TypeVar("_Side")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One line of a comparison.

    Attributes:
        words: what is shown, one a side.
        ratios: to the first side, one a side; None where there is none, as for the first side itself.
    """

    name: str
    words: tuple[str, ...]
    ratios: tuple[float | None, ...]


def quantity(
    name: str,
    values: Sequence[float | None],
    shown: Callable[[float | None], str] = count,
    *,
    comparable: bool = True,
) -> Quantity:
    """Return a line of numbers; where they are not ``comparable`` it has no ratios."""
    ratios = _ratios_to_first(values) if comparable else (None,) * len(values)
    return Quantity(name, tuple(shown(value) for value in values), ratios)


def plain(name: str, words: Sequence[object]) -> Quantity:
    """Return a line of texts, which have no ratios; what is missing or empty is a dash."""
    shown = tuple(DASH if word is None or word == "" else str(word) for word in words)
    return Quantity(name, shown, (None,) * len(shown))


def of_known(name: str, sides: Sequence[_Side | None], words: Callable[[_Side], object]) -> Quantity:
    """Return a line of texts, a dash where nothing is known of a side."""
    return plain(name, [None if side is None else words(side) for side in sides])


def known(quantities: Iterable[Quantity]) -> list[Quantity]:
    """Return the lines that say something of at least one side."""
    return [line for line in quantities if set(line.words) != {DASH}]


def _ratios_to_first(values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return each value as a multiple of the first, None for the first and where that means nothing."""
    first = values[0]
    return (None, *(_ratio(value, first) for value in values[1:]))


def ratio_text(ratio: float) -> str:
    """Return a ratio with three digits that matter, for a table."""
    return f"{TIMES}{_three_digits(ratio)}"


def more_or_fewer(ratio: float, fewer: str = "fewer", many: str = "many") -> str:
    """Return a ratio for a sentence: ``70 % fewer than``, ``12 % more than``, ``3.21 times as many as``."""
    if ratio >= 2:
        return f"{_three_digits(ratio)} times as {many} as"
    change = 100 * abs(ratio - 1)
    if change < 0.05:  # what follows would be 0.0 %
        return f"as {many} as"
    shown = f"{change:.1f}" if change < 1 or change > 99 else f"{change:.0f}"
    return f"{shown} % {fewer if ratio < 1 else 'more'} than"


def accuracy_sentence(names: tuple[str, str], accuracies_pct: tuple[Sequence[float], Sequence[float]]) -> str:
    """Return what the test accuracies of two networks, over their seeds, say about which is better."""
    ours, theirs = accuracies_pct
    if not ours or not theirs:
        lacking = " and ".join(name for name, values in zip(names, accuracies_pct, strict=True) if not values)
        return f"Nobody has measured {lacking} on the test set, so the accuracies cannot be compared."
    gap = statistics.mean(theirs) - statistics.mean(ours)
    beside = f"points {'below' if gap < 0 else 'above'} that of {names[0]}"
    said = f"The mean test accuracy of {names[1]} is {decimal(abs(gap), 3)} {beside}"
    chance = _two_sided(ours, theirs)
    if not math.isfinite(chance):
        return f"{said}; with a single seed on a side nobody can say whether that is chance."
    seeds = f"Welch's test over {len(ours)} and {plural(len(theirs), 'seed')}"
    if chance < _CHANCE:
        return f"{said}, more than the choice of seeds explains (p = {chance:.2g}, {seeds})."
    return f"{said}, which the choice of seeds alone may explain (p = {chance:.2f}, {seeds})."


def _two_sided(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the p value of "the two means are equal", two-sided Welch test; NaN below two values on a side."""
    lower = statistics.chance_that_lower(ours, theirs)
    higher = statistics.chance_that_lower(theirs, ours)
    return min(1.0, 2 * min(lower, higher)) if math.isfinite(lower) else math.nan


def _three_digits(ratio: float) -> str:
    if ratio >= 1000:
        return f"{ratio:,.0f}"
    digits = 2 if ratio == 0 else max(0, 2 - math.floor(math.log10(ratio) + 1e-9))
    return f"{ratio:.{digits}f}"


def _ratio(value: float | None, first: float | None) -> float | None:
    if value is None or first is None or not (math.isfinite(value) and math.isfinite(first)):
        return None
    return value / first if first > 0 and value >= 0 else None
