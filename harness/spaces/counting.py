"""Number of the feasible networks of a search space, exact or as a confidence interval, and the smallest network."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from harness.spaces import space as spaces
from harness.spaces.network import Analysis
from harness.spaces.space import Draw, Feasibility, SearchSpace, judge

MAX_EXACT = 5_000  # configurations; larger spaces are sampled
_CONFIDENCE = 0.95  # of the interval of a sampled space
_DESCENTS = 12  # in a larger space, from as many draws; 1 to 4 s
MAX_RECORDED = 100_000  # configurations; a table of a larger space contains a sample; enumeration takes ten seconds


@dataclass(frozen=True, slots=True)
class _Rejection:
    """Configurations rejected for the same reason: ``shape``, or the metric that violates a limit or condition."""

    reason: str
    times: int
    network: str
    message: str


@dataclass(frozen=True, slots=True)
class FeasibleCount:
    """Confidence interval of the number of accepted configurations, both ends included.

    Attributes:
        derivations: Number of all configurations; JSON documents use this name as a key.
        exact: Whether every configuration was examined.
        looked_at: Examined configurations; if not exact, a uniform random sample.
        median_macs: Median multiply-adds of the accepted configurations; ``median_numbers`` are of all maps of an
            image.
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
    rejected: tuple[_Rejection, ...]


def feasible(
    space: SearchSpace,
    budget: int | None = None,
    *,
    rng: random.Random | None = None,
    samples: int = 2_000,
) -> FeasibleCount:
    """Return the number of feasible configurations, with at most ``budget`` parameters.

    Spaces of up to ``MAX_EXACT`` configurations are enumerated. Of larger spaces, ``samples`` configurations are drawn
    uniformly for the Clopper-Pearson interval (Biometrika 26, 1934, page 404).
    """
    total = space.configurations
    exact = total <= MAX_EXACT
    chooser = spaces.by_configurations(rng or random.Random(0))
    draws = spaces.enumerate_draws(space) if exact else (spaces.draw(space, chooser) for _ in range(samples))
    analyses: list[Analysis] = []
    times: Counter[str] = Counter()  # rejections by reason
    first: dict[str, tuple[str, str]] = {}  # network and message, by reason
    for proposal in draws:
        feasibility = judge(space, proposal.architecture, budget)
        if feasibility.reason is not None:
            times[feasibility.reason] += 1
            first.setdefault(feasibility.reason, (str(proposal.architecture), feasibility.message))
        elif feasibility.analysis is not None:
            analyses.append(feasibility.analysis)
    count = len(analyses)
    low = count
    high = count
    if not exact:
        low_share, high_share = clopper_pearson(count, samples, _CONFIDENCE)
        # An accepted draw proves that an accepted configuration exists, a rejected draw that a rejected one exists.
        low = max(math.floor(Fraction(low_share) * total), min(count, 1))
        high = min(math.ceil(Fraction(high_share) * total), total - min(samples - count, 1))

    def median(name: str) -> int | None:
        return statistics.median_low(getattr(each, name) for each in analyses) if analyses else None

    return FeasibleCount(
        low=low, high=high, derivations=total, exact=exact, looked_at=total if exact else samples, accepted=count,
        confidence=1.0 if exact else _CONFIDENCE, median_macs=median("macs"), median_numbers=median("map_numbers"),
        median_parameters=median("parameters"),
        rejected=tuple(_Rejection(reason, number, *first[reason]) for reason, number in times.most_common()),
    )  # fmt: skip


def smallest(space: SearchSpace, budget: int = 0) -> Feasibility:
    """Return the accepted network with the fewest parameters; if none is accepted, the nearest.

    Spaces of more than ``MAX_EXACT`` configurations are searched by local descents, which may miss the smallest
    network, until a network has at most ``budget`` parameters.
    """
    if space.configurations > MAX_EXACT:
        return max(_descents(space, budget), key=_rank)
    return max((judge(space, each.architecture) for each in spaces.enumerate_draws(space)), key=_rank)


def _rank(feasibility: Feasibility) -> tuple[bool, int, int]:
    if feasibility.accepted and feasibility.analysis is not None:
        return True, -feasibility.analysis.parameters, 0
    return False, *feasibility.nearness


def _descents(space: SearchSpace, budget: int) -> Iterator[Feasibility]:
    """Yield the end of each descent: from a draw, single decisions are changed while the rank rises."""
    rng = random.Random(0)
    for _ in range(_DESCENTS):
        proposal = spaces.draw(space, spaces.uniform(rng))
        best = judge(space, proposal.architecture)
        changes = _single_changes(proposal, rng)
        while changes and _rank(best) < (True, -budget):
            proposal = spaces.replay(space, changes.pop(), spaces.uniform(rng))
            feasibility = judge(space, proposal.architecture)
            if _rank(feasibility) > _rank(best):
                best = feasibility
                changes = _single_changes(proposal, rng)
        yield best
        if _rank(best) >= (True, -budget):
            return


def _single_changes(proposal: Draw, rng: random.Random) -> list[dict[str, int]]:
    changes = [{**proposal.indices, each.name: index} for each in proposal.decisions for index in range(each.size)]
    return rng.sample(changes, len(changes))


def count_text(number: int, noun: str = "") -> str:
    """Return a count as text, truncated from 12 digits on, as in 7.79e12.

    ``noun`` is appended, with a final s unless the count is 1.
    """
    digits = str(number)
    text = f"{number:,}" if len(digits) <= 11 else f"{digits[0]}.{digits[1:3]}e{len(digits) - 1}"
    ending = "" if number == 1 else "s"
    return f"{text} {noun}{ending}" if noun else text


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Return the two-sided Clopper-Pearson interval of a proportion."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = betaincinv(successes, trials - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, trials - successes, 1 - tail) if successes < trials else 1.0
    return float(low), float(high)
