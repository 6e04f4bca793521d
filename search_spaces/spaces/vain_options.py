"""Options of a search space that lead to no accepted network: a slip of the pen, or a condition that rules them out."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from search_spaces.spaces.count import MOST_EXACT, derivations
from search_spaces.spaces.draw import Draw, Uniform, draw, enumerate_draws, replay
from search_spaces.spaces.judge import judge
from search_spaces.spaces.space import Options, SearchSpace

# Draws with an option that must all be rejected before it is named, where not all derivations are looked at.
LEAST_DRAWN = 100
# Below this share of accepted draws, options of a space that is not looked at whole are not judged.
LEAST_ACCEPTED = 0.25


@dataclass(frozen=True, slots=True)
class VainOption:
    """An option of a space that leads to no accepted network, as far as was looked.

    Attributes:
        decision: name of the decision, such as ``stage/unit[2]/pad``.
        option: the option, as the space writes it.
        looked_at: derivations with it, all of them rejected.
        exact: there are no others.
        network: one of them, and why it is rejected in ``message``.
    """

    decision: str
    option: str
    looked_at: int
    exact: bool
    network: str
    message: str


def vain_options(space: SearchSpace, rng: random.Random, samples: int = 2_000) -> list[VainOption]:
    """Return the options that only rejected networks have, in the order in which they were seen first.

    Up to ``MOST_EXACT`` derivations are all looked at. Of a larger space ``samples`` networks are drawn, every decision
    uniform; then as many more with each option that only rejected ones had. Empty where hardly any network is
    accepted: then draws show nothing of a single option.
    """
    exact = derivations(space) <= MOST_EXACT
    draws = list(enumerate_draws(space) if exact else (draw(space, Uniform(rng)) for _ in range(samples)))
    said = [judge(space, found.architecture).message for found in draws]
    accepted = [found for found, message in zip(draws, said, strict=True) if not message]
    if not accepted or len(accepted) < (0 if exact else LEAST_ACCEPTED * samples):
        return []
    used = {(decision.name, decision.index) for found in accepted for decision in found.decisions}
    seen = Counter((decision.name, decision.index) for found in draws for decision in found.decisions)
    everywhere = Counter(said)
    vain = []
    for (name, index), times in seen.items():
        if (name, index) in used:
            continue
        if not exact:
            more = _rejected_draws(space, name, index, rng, samples)
            if more is None or times + more < LEAST_DRAWN:
                continue
            times += more
        with_it = {number: said[number] for number, found in enumerate(draws) if found.indices.get(name) == index}
        # Of several messages the one that the fewest other networks have: it is about the option.
        here = Counter(with_it.values())
        message = max(here, key=lambda each: (here[each] / everywhere[each], here[each]))
        example = next(draws[number] for number, each in with_it.items() if each == message)
        option = _option_text(space, example, name)
        vain.append(VainOption(name, option, times, exact, str(example.architecture), message))
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
