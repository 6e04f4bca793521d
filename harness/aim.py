"""At which size a search aims next: below the smallest network that has passed, where a pass is still likely.

A logistic curve over the logarithm of the size is fitted to all networks that were trained. A size is then worth its
chance to pass times what the budget would fall by, in the logarithm; sizes are drawn with that weight.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

# The smallest aim is this share of the smallest size that has passed.
SPAN = 4
GRID = 24
# What is believed before the first network: at 2.7 times the ceiling one passes, at a quarter of it none. Observations
# of the same weight as one trained network each.
PRIOR = ((1.0, True), (-math.log(SPAN), False))
NEWTON_STEPS = 50
# A normal prior of deviation 5 on level and slope keeps the curve finite where sizes that pass and fail do not overlap.
RIDGE = 1 / 5**2


def aimed_size(trained: Sequence[tuple[int, bool]], ceiling: int, rng: random.Random) -> float:
    """Return a size to aim at, in parameters, from a quarter of the ceiling up to the ceiling.

    Args:
        trained: size of each trained network, and whether it passed.
        ceiling: the largest size worth proposing.
    """
    observed = [(math.log(size / ceiling), passed) for size, passed in trained]
    level, slope = _fitted([*PRIOR, *observed])
    depths = [math.log(SPAN) * (step + 0.5) / GRID for step in range(GRID)]
    weights = [depth * _chance(level - slope * depth) for depth in depths]
    depth = rng.choices(depths, weights)[0]
    # Anywhere within the step of the grid.
    return ceiling * math.exp(-depth + math.log(SPAN) / GRID * (rng.random() - 0.5))


def _fitted(points: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Return level and slope of the logistic curve of greatest likelihood, by Newton's method.

    The slope is not below zero, because larger networks do not pass less often.
    """
    level, slope = 0.0, 1.0
    for _ in range(NEWTON_STEPS):
        g0, g1 = -RIDGE * level, -RIDGE * slope
        h00 = h11 = RIDGE
        h01 = 0.0
        for x, passed in points:
            p = _chance(level + slope * x)
            weight = p * (1 - p)
            g0 += passed - p
            g1 += (passed - p) * x
            h00 += weight
            h01 += weight * x
            h11 += weight * x * x
        determinant = h00 * h11 - h01 * h01
        step0, step1 = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
        # Far from its end a Newton step may overshoot.
        shorter = min(1.0, 2.0 / max(1e-12, abs(step0), abs(step1)))
        level, slope = level + shorter * step0, max(0.0, slope + shorter * step1)
    return level, slope


def _chance(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-40.0, min(40.0, logit))))
