"""How many derivations a search space has, and how many of them lead to an accepted network.

Derivations, not networks: two derivations may spell the same network, as ``<bn / bn>`` does.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from search_spaces.cost import Analysis, analyse, map_numbers
from search_spaces.errors import DrawError
from search_spaces.spaces.draw import ByDerivations, Draw, Uniform, draw, draw_uniform, enumerate_draws, replay
from search_spaces.spaces.judge import judge
from search_spaces.spaces.measure import value_ways
from search_spaces.spaces.space import Body, Options, SearchSpace

# So many derivations are all looked at.
MOST_EXACT = 5_000
# Draws with an option that must all be rejected before it is named, where not all derivations are looked at.
LEAST_DRAWN = 100
# Below this share of accepted draws, options of a space that is not looked at whole are not judged.
LEAST_ACCEPTED = 0.25
# Of a look for a small network; one alone may end where only two changes at once help.
DESCENTS = 5


@dataclass(frozen=True, slots=True)
class Count:
    """How many derivations are accepted: from ``low`` to ``high``, both included.

    Attributes:
        derivations: accepted or not.
        exact: every derivation was looked at, so ``low`` equals ``high``.
        looked_at: derivations looked at; when not exact, drawn with equal odds.
        accepted: those of them that were accepted.
        confidence: probability with which the interval holds the number; 1 when exact.
        median_macs: median multiply-adds of those that were accepted; None where none was.
        median_numbers: median of the numbers in all maps of one image, likewise.
        median_parameters: median of the parameters, likewise.
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


def derivations(space: SearchSpace) -> int:
    """Return the exact number of derivations, before any condition."""
    contents = (part.content for part in space.shared)
    shared = (content.derivations if isinstance(content, Body) else value_ways(content) for content in contents)
    return math.prod(shared) * space.net.derivations


def feasible(
    space: SearchSpace,
    budget: int | None = None,
    *,
    rng: random.Random | None = None,
    samples: int = 2_000,
    most_exact: int = MOST_EXACT,
    confidence: float = 0.95,
) -> Count:
    """Return how many derivations keep the space's conditions and the budget.

    Up to ``most_exact`` derivations are all looked at. Of more, ``samples`` are drawn with equal odds, and
    the interval is that of Clopper and Pearson (Biometrika 26, 1934, page 404), which holds the true number
    with at least the stated confidence.
    """
    total = derivations(space)
    if total <= most_exact:
        found = _accepted(space, enumerate_draws(space), budget)
        return Count(len(found), len(found), total, True, total, len(found), 1.0, *_medians(found))
    chooser = ByDerivations(rng or random.Random(0))
    found = _accepted(space, (draw(space, chooser) for _ in range(samples)), budget)
    accepted = len(found)
    low, high = clopper_pearson(accepted, samples, confidence)
    # What was seen is there, whatever the interval says.
    lowest = max(math.floor(Fraction(low) * total), min(accepted, 1))
    highest = min(math.ceil(Fraction(high) * total), total - (accepted < samples))
    return Count(lowest, highest, total, False, samples, accepted, confidence, *_medians(found))


@dataclass(frozen=True, slots=True)
class VainOption:
    """An option of a space that leads to no accepted network, as far as was looked.

    Attributes:
        decision: name of the decision, such as ``stage/unit[2]/pad``.
        option: the option, as the space writes it.
        looked_at: derivations with it, all of them rejected.
        exact: there are no others.
    """

    decision: str
    option: str
    looked_at: int
    exact: bool


def vain_options(space: SearchSpace, rng: random.Random, samples: int = 2_000) -> list[VainOption]:
    """Return the options that only rejected networks have, in the order in which they were seen first.

    Up to ``MOST_EXACT`` derivations are all looked at. Of a larger space ``samples`` networks are drawn, every decision
    uniform; then as many more with each option that only rejected ones had. Empty where hardly any network is
    accepted: then draws show nothing of a single option.
    """
    exact = derivations(space) <= MOST_EXACT
    draws = list(enumerate_draws(space) if exact else (draw(space, Uniform(rng)) for _ in range(samples)))
    accepted = [found for found in draws if judge(space, found.architecture).accepted]
    if not accepted or len(accepted) < (0 if exact else LEAST_ACCEPTED * samples):
        return []
    used = {(decision.name, decision.index) for found in accepted for decision in found.decisions}
    seen = Counter((decision.name, decision.index) for found in draws for decision in found.decisions)
    vain = []
    for (name, index), times in seen.items():
        if (name, index) in used:
            continue
        if not exact:
            more = _rejected_draws(space, name, index, rng, samples)
            if more is None or times + more < LEAST_DRAWN:
                continue
            times += more
        example = next(found for found in draws if found.indices.get(name) == index)
        vain.append(VainOption(name, _option_text(space, example, name), times, exact))
    return vain


def _rejected_draws(space: SearchSpace, name: str, index: int, rng: random.Random, samples: int) -> int | None:
    """Return how many of ``samples`` draws make a decision so, if all of these are rejected; None if one is not."""
    rejected = 0
    for _ in range(samples):
        found = replay(space, {name: index}, Uniform(rng))
        # A draw in which the decision is not made at all says nothing of it.
        if name in found.indices:
            if judge(space, found.architecture).accepted:
                return None
            rejected += 1
    return rejected


def _option_text(space: SearchSpace, found: Draw, name: str) -> str:
    """Return how the space writes what a draw chose at a decision."""
    texts: dict[str, str] = {}

    class Noted:
        def choose(self, name: str, options: Options) -> int:
            index = found.indices[name]
            texts[name] = options.texts[index]
            return index

    draw(space, Noted())
    return texts[name]


def has_none(space: SearchSpace, budget: int) -> bool:
    """Return whether no derivation keeps conditions and budget; False where there are too many to look at all."""
    return derivations(space) <= MOST_EXACT and not any(
        judge(space, found.architecture, budget).accepted for found in enumerate_draws(space)
    )


def fewest_parameters(space: SearchSpace) -> int | None:
    """Return the parameters of the smallest network that keeps the space's conditions; looks at every derivation."""
    judgements = (judge(space, found.architecture) for found in enumerate_draws(space))
    return min((found.analysis.parameters for found in judgements if found.accepted and found.analysis), default=None)


def fewest_found(space: SearchSpace, enough: int, rng: random.Random) -> int | None:
    """Return the parameters of the smallest accepted network of a descent; ends at the first that has ``enough``.

    From a drawn network it changes one decision after the other while the network becomes smaller. So the smallest
    network of the space may be smaller still. None where no accepted network was drawn.
    """
    best: int | None = None
    for _ in range(DESCENTS):
        try:
            found = draw_uniform(space, rng, attempts=2_000)
        except DrawError:
            return best
        size = analyse(found.architecture, space.task).parameters
        while size > enough and (smaller := _smaller(space, found, size, rng)) is not None:
            found, size = smaller
        best = size if best is None else min(best, size)
        if best <= enough:
            break
    return best


def _smaller(space: SearchSpace, found: Draw, size: int, rng: random.Random) -> tuple[Draw, int] | None:
    """Return an accepted network of fewer parameters that differs in one decision, and its size; None without one."""
    for decision in found.decisions:
        for index in range(decision.size):
            other = replay(space, {**found.indices, decision.name: index}, Uniform(rng))
            judgement = judge(space, other.architecture, size - 1)
            if judgement.accepted and judgement.analysis is not None:
                return other, judgement.analysis.parameters
    return None


def _accepted(space: SearchSpace, draws: Iterable[Draw], budget: int | None) -> list[Analysis]:
    judgements = (judge(space, found.architecture, budget) for found in draws)
    return [found.analysis for found in judgements if found.accepted and found.analysis]


def _medians(found: list[Analysis]) -> tuple[int | None, int | None, int | None]:
    """Return the medians of the multiply-adds, of the numbers in maps and of the parameters."""
    if not found:
        return None, None, None
    macs = statistics.median_low([analysis.macs for analysis in found])
    numbers = statistics.median_low([map_numbers(analysis) for analysis in found])
    return macs, numbers, statistics.median_low([analysis.parameters for analysis in found])


def count_text(number: int) -> str:
    """Return a count as people read it: in full up to 15 digits, else its order of magnitude."""
    digits = str(number)
    return f"{number:,}" if len(digits) <= 15 else f"{digits[0]}.{digits[1:3]}e{len(digits) - 1}"


def derivations_text(number: int) -> str:
    """Return a count of derivations with its noun."""
    return f"{count_text(number)} derivation{'' if number == 1 else 's'}"


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion."""
    tail = (1 - confidence) / 2
    low, high = 0.0, 1.0
    if successes > 0:
        low = _bisect(lambda share: _at_least(successes, trials, share) < tail)
    if successes < trials:
        high = _bisect(lambda share: _at_least(successes + 1, trials, share) < 1 - tail)
    return low, high


def _at_least(successes: int, trials: int, share: float) -> float:
    """Return the probability of at least so many successes, for a share strictly between 0 and 1."""
    logs = (
        math.lgamma(trials + 1)
        - math.lgamma(count + 1)
        - math.lgamma(trials - count + 1)
        + count * math.log(share)
        + (trials - count) * math.log1p(-share)
        for count in range(successes, trials + 1)
    )
    return math.fsum(map(math.exp, logs))


def _bisect(below: Callable[[float], bool]) -> float:
    """Return where a condition that holds on the left of the unit interval ceases to hold."""
    left, right = 0.0, 1.0
    for _ in range(50):
        middle = (left + right) / 2
        left, right = (middle, right) if below(middle) else (left, middle)
    return (left + right) / 2
