"""Regularized (aging) evolution: of the networks trained last, the best of a few drawn at random has a child.

Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture Search" (AAAI 2019, arXiv
1802.01548, algorithm 1). A network leaves the population because it is old, not because it is bad: one that was lucky
once lives on only through children that do well on seeds of their own. Nothing here knows Optuna.
"""

from __future__ import annotations

import random
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from search_spaces.draw import Draw, Uniform, draw, draw_uniform, mutate, replay
from search_spaces.errors import DrawError
from search_spaces.space import SearchSpace

# P and S of the paper, which has 100 and 25 for 20,000 networks; a search here trains a hundred
# (docs/lab, "aging evolution").
POPULATION = 20
SAMPLE = 5
# Each further change of a child is as likely as not, so that half of them differ by one decision.
MORE_CHANGES = 0.5
# Parents tried for one child, and mutations of each; then a network is drawn instead.
PARENTS = 10
MUTATIONS = 20
DRAWS = 500


@dataclass(frozen=True, slots=True)
class Member:
    """A trained network.

    Attributes:
        indices: its decisions, by name.
        violation_pct: how far its validation accuracy stays below the threshold; for one that was pruned, at its rung.
        cost: what is minimised; None where it was not trained to the end.
    """

    indices: Mapping[str, int]
    violation_pct: float
    cost: int | None


def fitness(member: Member) -> tuple[bool, float]:
    """Return what is lowest for the fittest: one that reaches counts by its cost, any other by its violation."""
    if member.cost is not None and member.violation_pct <= 0:
        return (False, float(member.cost))
    return (True, member.violation_pct)


def living(members: Sequence[Member]) -> Sequence[Member]:
    """Return the population, of all members in order of their birth: the youngest."""
    return members[-POPULATION:]


def offspring(space: SearchSpace, members: Sequence[Member], known: Container[str], rng: random.Random) -> Draw:
    """Return the next network to try, accepted by the space and not known, where a bounded search finds one.

    A child of the population once that is complete; else, or where no child is to be had, a uniform draw.

    Args:
        space: its conditions hold all limits, the budget too.
        members: all trained networks in order of their birth.
        known: hashes of networks that were proposed before.
    """
    if len(members) >= POPULATION:
        for _ in range(PARENTS):
            # With replacement, as in the paper.
            parent = min(rng.choices(living(members), k=SAMPLE), key=fitness)
            changes = 1
            while rng.random() < MORE_CHANGES:
                changes += 1
            try:
                known_parent = replay(space, parent.indices, Uniform(rng))
                child, _ = mutate(space, known_parent, rng, attempts=MUTATIONS, changes=changes)
            except DrawError:
                continue
            if child.architecture.hash not in known:
                return child
    try:
        return draw_uniform(space, rng, attempts=DRAWS)
    except DrawError:
        # The coordinator rejects and counts it.
        return draw(space, Uniform(rng))
