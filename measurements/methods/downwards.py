"""Example of a method as a Python function: random networks, smaller than the smallest that reached the target."""

import random
from collections.abc import Sequence

from harness.searching.external_method import Ask, Problem, TriedNetwork
from harness.spaces.notation import parse_space
from harness.spaces.space import draw_uniform
from harness.spaces.space_errors import DrawError


def begin(problem: Problem) -> Ask:
    """Return the function that proposes the next network."""
    space, rng = parse_space(problem.space, task=problem.task), random.Random(problem.seed)

    def ask(tried: Sequence[TriedNetwork]) -> str:
        passed = [each.parameters for each in tried if (each.validation_accuracy_pct or 0) >= problem.target_pct]
        try:
            return str(draw_uniform(space, rng, min(passed, default=problem.budget + 1) - 1, attempts=500).architecture)
        except DrawError:  # The space has no smaller network, or too few for random draws.
            return str(draw_uniform(space, rng, problem.budget).architecture)

    return ask
