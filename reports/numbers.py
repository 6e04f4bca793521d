"""Numbers as people read them, rounded here only; what is missing or not finite is an en dash."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.evidence.leaderboard import LeaderboardRow, Tier
from harness.system import statistics

DASH = "\N{EN DASH}"


def decimal(value: float | None, digits: int) -> str:
    """Return a number with a fixed count of decimals and separated thousands."""
    return DASH if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """Return a whole number with separated thousands."""
    return decimal(value, 0)


def pct(value: float | None, digits: int = 2) -> str:
    """Return per cent with the sign."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.{digits}f} %"


def short(value: float | None) -> str:
    """Return a number with as few digits as it needs."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.6g}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return mean and deviation, the mean alone below two values, a dash for none."""
    return mean_and_deviation(statistics.mean(values), statistics.standard_deviation(values), digits)


def mean_and_deviation(mean: float | None, deviation: float | None, digits: int = 2) -> str:
    """Return ``mean ± deviation``, the mean alone where there is no deviation."""
    if deviation is None or not math.isfinite(deviation):
        return decimal(mean, digits)
    return f"{decimal(mean, digits)} \N{PLUS-MINUS SIGN} {decimal(deviation, digits)}"


def accuracy_words(row: LeaderboardRow) -> str:
    """Return mean and deviation on the test set, per cent; v marks validation accuracy, c an unchecked claim."""
    match row.tier:
        case Tier.SEARCHED:
            return f"{decimal(row.validation_accuracy_pct, 2)} v"
        case Tier.CLAIMED:
            return f"{decimal(row.mean_test_accuracy_pct, 2)} c"
        case _:
            return mean_and_deviation(row.mean_test_accuracy_pct, row.std_test_accuracy_pct, 3)


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Return the number with its noun in the right form."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def duration(seconds: float | None) -> str:
    """Return a length of time in the two units that matter."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def three_digits(ratio: float) -> str:
    """Return a ratio with three digits that matter."""
    if ratio >= 1000:
        return f"{ratio:,.0f}"
    digits = 2 if ratio == 0 else max(0, 2 - math.floor(math.log10(ratio) + 1e-9))
    return f"{ratio:.{digits}f}"
