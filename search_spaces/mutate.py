"""Small changes to a network of a search space, for evolution."""

from __future__ import annotations

import random
from collections.abc import Mapping

from search_spaces.draw import Draw, Uniform, replay
from search_spaces.errors import DrawError
from search_spaces.judge import judge
from search_spaces.space import SearchSpace


def mutate(
    space: SearchSpace,
    indices: Mapping[str, int],
    rng: random.Random,
    budget: int | None = None,
    attempts: int = 1_000,
) -> Draw:
    """Return an accepted network that differs from its parent by one decision and what that opens anew.

    Args:
        indices: the parent's decisions, by name; a parent from elsewhere is completed at random.

    Raises:
        DrawError: none of ``attempts`` changes gave another network that is accepted.
    """
    parent = replay(space, indices, Uniform(rng))
    if not parent.decisions:
        raise DrawError(f"'{space.name}' decides nothing, so its network cannot be changed")
    for _ in range(attempts):
        changed = rng.choice(parent.decisions)
        index = rng.randrange(changed.size - 1)
        index += index >= changed.index
        child = replay(space, {**parent.indices, changed.name: index}, Uniform(rng))
        if child.architecture != parent.architecture and judge(space, child.architecture, budget).accepted:
            return child
    raise DrawError(
        f"none of {attempts:,} changes of one decision gave another accepted network of '{space.name}'",
        hint="raise the budget, or start from another network",
    )
