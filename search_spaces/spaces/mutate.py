"""Small changes to a network of a search space, for evolution."""

from __future__ import annotations

import random
from collections.abc import Mapping

from search_spaces.errors import DrawError
from search_spaces.spaces.draw import Decision, Draw, Uniform, replay
from search_spaces.spaces.judge import judge
from search_spaces.spaces.space import SearchSpace


def mutate(
    space: SearchSpace,
    indices: Mapping[str, int],
    rng: random.Random,
    budget: int | None = None,
    attempts: int = 1_000,
    changes: int = 1,
) -> Draw:
    """Return an accepted network that differs from its parent by a few decisions and what these open anew.

    Args:
        indices: the parent's decisions, by name; a parent from elsewhere is completed at random.
        changes: decisions that are drawn again, all of them where there are no more.

    Raises:
        DrawError: none of ``attempts`` changes gave another network that is accepted.
    """
    parent = replay(space, indices, Uniform(rng))
    if not parent.decisions:
        raise DrawError(f"'{space.name}' decides nothing, so its network cannot be changed")
    for _ in range(attempts):
        changed = rng.sample(parent.decisions, min(changes, len(parent.decisions)))
        child = replay(space, {**parent.indices, **{each.name: _other(each, rng) for each in changed}}, Uniform(rng))
        if child.architecture != parent.architecture and judge(space, child.architecture, budget).accepted:
            return child
    raise DrawError(
        f"none of {attempts:,} changes of {'one decision' if changes == 1 else f'{changes} decisions'} gave another "
        f"accepted network of '{space.name}'",
        hint="raise the budget, or start from another network",
    )


def _other(decision: Decision, rng: random.Random) -> int:
    """Return any other option of a decision."""
    index = rng.randrange(decision.size - 1)
    return index + (index >= decision.index)
