"""Small changes to a network of a search space, for evolution."""

from __future__ import annotations

import random

from search_spaces.errors import DrawError
from search_spaces.spaces.draw import Decision, Draw, Uniform, replay
from search_spaces.spaces.judge import Judgement, judge
from search_spaces.spaces.space import SearchSpace


def mutate(
    space: SearchSpace, parent: Draw, rng: random.Random, attempts: int = 1_000, changes: int = 1
) -> tuple[Draw, Judgement]:
    """Return an accepted network that differs from its parent by a few decisions and what these open anew.

    Args:
        changes: decisions that are drawn again, all of them where there are no more.

    Returns:
        the network, and its judgement by the space.

    Raises:
        DrawError: none of ``attempts`` changes gave another network that is accepted.
    """
    if not parent.decisions:
        raise DrawError(f"'{space.name}' decides nothing, so its network cannot be changed")
    for _ in range(attempts):
        changed = rng.sample(parent.decisions, min(changes, len(parent.decisions)))
        child = replay(space, {**parent.indices, **{each.name: _other(each, rng) for each in changed}}, Uniform(rng))
        if child.architecture == parent.architecture:
            continue
        judgement = judge(space, child.architecture)
        if judgement.accepted:
            return child, judgement
    raise DrawError(
        f"none of {attempts:,} changes of {'one decision' if changes == 1 else f'{changes} decisions'} gave another "
        f"accepted network of '{space.name}'",
        hint="raise the budget, or start from another network",
    )


def _other(decision: Decision, rng: random.Random) -> int:
    """Return any other option of a decision."""
    index = rng.randrange(decision.size - 1)
    return index + (index >= decision.index)
