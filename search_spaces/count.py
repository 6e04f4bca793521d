"""How many configurations a search space has, and how many of them are accepted networks.

A configuration is one way through the choices of a space: two may spell the same network, as ``<bn / bn>`` does.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from search_spaces.cost import Analysis, map_numbers
from search_spaces.draw import Draw, by_configurations, draw, enumerate_draws, judge
from search_spaces.space import Body, Choice, SearchSpace

# So many configurations are all looked at.
MOST_EXACT = 5_000


@dataclass(frozen=True, slots=True)
class Rejection:
    """Configurations that are rejected for the same reason.

    Attributes:
        reason: ``shape`` or the metric that breaks a limit.
        times: how many of those that were looked at.
        network: the first of them, and what is wrong with it in ``message``.
    """

    reason: str
    times: int
    network: str
    message: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many configurations are accepted: from ``low`` to ``high``, both included.

    Attributes:
        derivations: configurations, accepted or not; a key of JSON documents has this name.
        exact: every configuration was looked at, so ``low`` equals ``high``.
        looked_at: configurations looked at; when not exact, drawn with equal odds.
        accepted: those of them that were accepted.
        confidence: probability with which the interval holds the number; 1 when exact.
        median_macs: median multiply-adds of those that were accepted; None where none was.
        median_numbers: median of the numbers in all maps of one image, likewise.
        median_parameters: median of the parameters, likewise.
        rejected: why the others that were looked at are rejected, the most frequent reason first.
    """

    low: int
    high: int
    derivations: int
    exact: bool
    looked_at: int
    accepted: int
    confidence: float
    median_macs: int | None
    median_numbers: int | None
    median_parameters: int | None
    rejected: tuple[Rejection, ...]


def configurations(space: SearchSpace) -> int:
    """Return the exact number of configurations, before any condition."""
    total = space.net.configurations
    for content in space.shared.values():
        if isinstance(content, Body):
            total *= content.configurations
        elif isinstance(content, Choice):
            total *= len(content.values)
    return total


def feasible(
    space: SearchSpace,
    budget: int | None = None,
    *,
    rng: random.Random | None = None,
    samples: int = 2_000,
    most_exact: int = MOST_EXACT,
    confidence: float = 0.95,
) -> Count:
    """Return how many configurations keep the space's conditions and the budget.

    Up to ``most_exact`` configurations are all looked at. Of more, ``samples`` are drawn with equal odds, and
    the interval is that of Clopper and Pearson (Biometrika 26, 1934, page 404), which holds the true number
    with at least the stated confidence.
    """
    total = configurations(space)
    exact = total <= most_exact
    chooser = by_configurations(rng or random.Random(0))
    draws = enumerate_draws(space) if exact else (draw(space, chooser) for _ in range(samples))
    found, rejected = _judged(space, draws, budget)
    lowest = highest = accepted = len(found)
    if exact:
        samples, confidence = total, 1.0
    else:
        low, high = clopper_pearson(accepted, samples, confidence)
        # What was seen is there, whatever the interval says.
        lowest = max(math.floor(Fraction(low) * total), min(accepted, 1))
        highest = min(math.ceil(Fraction(high) * total), total - (accepted < samples))

    def median(figure: Callable[[Analysis], int]) -> int | None:
        return statistics.median_low(map(figure, found)) if found else None

    medians = median(lambda each: each.macs), median(map_numbers), median(lambda each: each.parameters)
    return Count(lowest, highest, total, exact, samples, accepted, confidence, *medians, rejected)


def smallest(space: SearchSpace) -> int | None:
    """Return the fewest parameters of any accepted network, all being looked at; None where none is accepted."""
    accepted, _ = _judged(space, enumerate_draws(space), None)
    return min((analysis.parameters for analysis in accepted), default=None)


def _judged(
    space: SearchSpace, draws: Iterable[Draw], budget: int | None
) -> tuple[list[Analysis], tuple[Rejection, ...]]:
    accepted: list[Analysis] = []
    times: Counter[str] = Counter()
    first: dict[str, tuple[str, str]] = {}
    for found in draws:
        judgement = judge(space, found.architecture, budget)
        if judgement.reason is not None:
            times[judgement.reason] += 1
            first.setdefault(judgement.reason, (str(found.architecture), judgement.message))
        elif judgement.analysis is not None:
            accepted.append(judgement.analysis)
    return accepted, tuple(Rejection(reason, number, *first[reason]) for reason, number in times.most_common())


def count_text(number: int) -> str:
    """Return a count as people read it: in full up to 15 digits, else its order of magnitude."""
    digits = str(number)
    return f"{number:,}" if len(digits) <= 15 else f"{digits[0]}.{digits[1:3]}e{len(digits) - 1}"


def configurations_text(number: int) -> str:
    """Return a count of configurations with its noun."""
    return f"{count_text(number)} configuration{'' if number == 1 else 's'}"


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = betaincinv(successes, trials - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, trials - successes, 1 - tail) if successes < trials else 1.0
    return float(low), float(high)
