"""A method as an entry point: draw at random, but below the smallest network that has passed once."""

import random
from collections.abc import Sequence

from harness.bench.methods.door import Ask, Brief, Tried
from search_spaces.errors import DrawError
from search_spaces.spaces.draw import draw_uniform
from search_spaces.spaces.resolve import parse_space


def begin(brief: Brief) -> Ask:
    """Return the function that is asked for the next network."""
    space, rng = parse_space(brief.space), random.Random(brief.seed)

    def ask(tried: Sequence[Tried]) -> str:
        passed = [each.parameters for each in tried if (each.validation_accuracy_pct or 0) >= brief.target_pct]
        try:
            return str(draw_uniform(space, rng, min(passed, default=brief.budget + 1) - 1, attempts=500).architecture)
        except DrawError:  # Nothing is smaller, or next to nothing.
            return str(draw_uniform(space, rng, brief.budget).architecture)

    return ask
