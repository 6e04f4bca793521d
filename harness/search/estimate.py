"""How long a training takes, and how large a network a search still has the time for.

Estimated from the network's multiply-adds and corrected by what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.search.race import STAND_SEEDS
from harness.training.recipe import Recipe
from harness.training.result import Result
from search_spaces.cost import analyse
from search_spaces.notation import parse_network


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds an image of a training step on one core: a fixed part, and one a multiply-add of the forward pass."""

    seconds_an_image: float
    seconds_a_mac: float


# On one core of a two-core CPU machine, by engine. Fitted to the 3,702-parameter network (0.62 M multiply-adds) and
# seed4 (3.4 M): torch trains 4,600 and 3,000 images a second, the native engine 39,700 and 4,600.
PACES = {"torch": Pace(1.9e-4, 4.2e-11), "native": Pace(0.0, 6.0e-11)}

# Training on all images takes longer than on the search split: 60,000 to 50,000.
VERIFY_FACTOR = 1.2
LEAST_VERIFY_SEEDS = 5
# Share of the whole time that the runs of one winner may take at most: the rest is for those that lose.
WINNER_SHARE = 0.8
# What may be tried in the first half of the time, however slow the machine seems: an estimate is not to end a search.
EARLY_MACS = 1_500_000
# Share that an estimate is raised by.
CAUTION = 1.15


def taught(pace: Pace, recipe: Recipe) -> Pace:
    """Return the pace of a student: for each of its images every teacher runs forward, a third of a training step."""
    if not recipe.teacher:
        return pace
    macs = recipe.teacher_seeds * analyse(parse_network(recipe.teacher)).macs
    return replace(pace, seconds_an_image=pace.seconds_an_image + pace.seconds_a_mac * macs / 3)


def training_seconds(epochs: int, images: int, macs: int, pace: Pace) -> float:
    """Return the seconds that so many epochs over ``images`` take with a network of ``macs`` multiply-adds."""
    return epochs * images * (pace.seconds_an_image + pace.seconds_a_mac * macs)


def macs_within(seconds: float, epochs: int, images: int, pace: Pace) -> int:
    """Return the most multiply-adds a network may have to train within ``seconds``; 0 where none can."""
    return max(0, math.floor((seconds / (epochs * images) - pace.seconds_an_image) / pace.seconds_a_mac))


def slowdown(runs: Iterable[Result], images: int, pace: Pace) -> float | None:
    """Return measured over estimated seconds of all runs, None where there are none."""
    measured = estimated = 0.0
    for run in runs:
        if run.history and run.macs:
            measured += run.train_seconds
            estimated += training_seconds(len(run.history), images, run.macs, pace)
    return measured / estimated if estimated else None


def affordable_macs(
    whole: float | None, left: float, workers: int, epochs: int, images: int, pace: Pace, slow: float | None
) -> int | None:
    """Return the most multiply-adds of a network that can be trained, confirmed and verified in the time left.

    Args:
        whole: seconds of the whole search; None for no end, and then there is no limit.
        slow: measured over estimated seconds; None where nothing is known of this machine, and then there is no limit.
    """
    if whole is None or slow is None:
        return None
    # Half of the workers confirm while the others go on searching.
    rounds = 1 - (-STAND_SEEDS // max(1, workers // 2)) - (-LEAST_VERIFY_SEEDS // workers) * VERIFY_FACTOR
    found = macs_within(min(WINNER_SHARE * whole, left) / (rounds * slow), epochs, images, pace)
    return max(found, EARLY_MACS) if left > whole / 2 else found
