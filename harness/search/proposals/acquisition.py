"""Which of many networks, and trained for how long, is worth most to a search: its chance, what it gains, its time.

Pure functions over the model of the errors (``surrogate``); ``aim`` finds the networks.
"""

from __future__ import annotations

import itertools
import math
import operator
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.search.proposals.estimate import CAUTION, Room, rounds, verifying
from harness.search.proposals.features import NAMES, features, work_of
from harness.search.proposals.surrogate import TRAINING, Model, predicted
from harness.search.race import STAND_SEEDS, needed_share
from harness.system import statistics
from harness.training.recipe import Recipe
from search_spaces.draw import Draw, Judgement, measured
from search_spaces.space import Metric

# While nothing stands, what counts is the chance that one of several networks like this one stands in time, with this
# power, since an answer matters more than its size. In time is within so many seconds of the search's beginning, later
# within a minute, and always within this share of the time left. Four minutes are promised. With three aimed at, a
# second network came too late where the first one failed its confirmation (docs/lab, "first answers").
SECURE_SECONDS, LEAST_SECURE_SECONDS, SECURE_SHARE, CERTAINTY = 75.0, 60.0, 0.33, 4.0
# More attempts are no surer: where the model is wrong about one network it is wrong about others like it.
MOST_ATTEMPTS = 4.0
# What looks best among hundreds is rather too good to be true, and the more so the less is known of it: the errors
# that are predicted are raised by so many of their deviations (docs/lab, "chances of small networks").
CURSE = 1.0
# Once something stands this share of the time left, by the rounds of a network that comes to stand, is added to the
# time of every training: many small steps down cost more than one large one.
STRIDE_SHARE = 0.05
CERTAIN = 1 - 1e-12
# Where one look chooses several networks, it compares so many times as many: those that are worth most.
AMONG = 4
# What cannot improve the answer is not proposed once there is one.
LEAST_CHANCE = 0.03
# What was given less chance has hardly ever come to stand: 1 of 242 networks (docs/lab, "what an unlikely
# network costs"). It is trained only while there is time for a second verification, should the winner's miss.
UNLIKELY = 0.2


@dataclass(frozen=True, slots=True)
class Option:
    """A network that may be trained.

    Attributes:
        cost: what it has of the metric that is minimised.
        row: its part of the model's row, scaled.
        work: of ``features.work_of``.
    """

    found: Draw
    judgement: Judgement
    hash: str
    cost: int
    row: tuple[float, ...]
    work: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A network, a length of its training, the predicted chance that it stands, and what that is worth."""

    option: Option
    epochs: int
    chance: float
    worth: float


@dataclass(frozen=True, slots=True)
class Aim:
    """What is asked for.

    Attributes:
        model: of the errors.
        recipe: without its length.
        lengths: epochs that may be chosen.
        allowed: most validation errors of ten thousand that stand for the target.
        below: the cost to get below: the lowest that stands, or one more than the ceiling of the search.
        open: costs and chances of networks that may come to stand, in training or confirmed at the moment.
        stands: whether something stands.
        room: what there is time for.
    """

    model: Model
    recipe: Recipe
    lengths: tuple[int, ...]
    allowed: float
    below: int
    open: tuple[tuple[int, float], ...]
    stands: bool
    room: Room


def option(found: Draw, judgement: Judgement, metric: Metric) -> Option:
    """Return a network as the model sees it."""
    analysis = judgement.analysis
    assert analysis is not None, "an accepted network has been analysed"
    raw = features(found.architecture, analysis)
    row = tuple((value - centre) / width for value, (_, centre, width) in zip(raw, NAMES, strict=True))
    return Option(found, judgement, found.architecture.hash, measured(analysis, metric), row, work_of(analysis))


def choices(aim: Aim, options: Sequence[Option], taken: frozenset[tuple[str, int]] = frozenset()) -> list[Choice]:
    """Return networks with lengths that there is time for, each network once, what is worth most first.

    Once something stands and time has an end, what has hardly a chance is left out, and what is unlikely where it
    would take the time of a second verification.

    Args:
        taken: hashes and lengths that were proposed before.
    """
    pairs = [
        (each, epochs)
        for each in options
        for epochs in aim.lengths
        if (each.hash, epochs) not in taken and aim.room.has(epochs, each.work)
    ]
    if not pairs:
        return []
    margins = margins_to_stand(aim, [(each.row, epochs) for each, epochs in pairs])
    chances = np.array([statistics.normal_share(float(margin)) for margin in margins])
    seconds = np.array([aim.room.takes(epochs, each.work) for each, epochs in pairs])
    fall_of = expected_falls({each.cost for each, _ in pairs}, aim.below, aim.open)
    falls = np.array([fall_of[each.cost] for each, _ in pairs])
    more = rounds(STAND_SEEDS, aim.room.workers)
    hopeful = np.full(len(pairs), fill_value=True)
    if aim.stands:
        if not math.isinf(aim.room.left):
            hopeful = chances >= _least_chances(aim.room, seconds)
            seconds = seconds + STRIDE_SHARE * aim.room.left / (1 + more)
        # The fresh seeds are run where the first one passes.
        worths = chances * falls / (seconds * (1 + more * chances))
    else:
        in_time = max(SECURE_SECONDS - aim.room.passed, LEAST_SECURE_SECONDS)
        worker_seconds = min(in_time, SECURE_SHARE * aim.room.left) * aim.room.workers
        attempts = np.minimum(MOST_ATTEMPTS, worker_seconds / (seconds * (1 + STAND_SEEDS * chances)))
        none_stands = np.maximum(1.0, attempts) * np.log1p(-np.minimum(chances, CERTAIN))
        # The verification of what stands first is kept until the end: what it leaves is for networks below.
        kept = np.array([verifying(float(each), aim.room.workers) for each in seconds])
        free = np.maximum(0.0, 1 - kept / aim.room.left)
        worths = (np.minimum(1.0, attempts) * -np.expm1(none_stands)) ** CERTAINTY * falls * free
    found: dict[str, Choice] = {}
    # Where all chances are as good as none, what comes nearest is first.
    for at in np.lexsort((-margins, -worths)):
        if not hopeful[at]:
            continue
        each, epochs = pairs[at]
        found.setdefault(each.hash, Choice(each, epochs, float(chances[at]), float(worths[at])))
    return list(found.values())


def is_timely(choice: Choice, room: Room) -> bool:
    """Return whether there is still time for a training that was chosen earlier."""
    seconds = room.takes(choice.epochs, choice.option.work)
    is_likely = math.isinf(room.spare) or choice.chance >= _least_chances(room, seconds)
    return room.has(choice.epochs, choice.option.work) and bool(is_likely)


def _least_chances(room: Room, seconds: Any) -> Any:
    """Return the chance that a network must have once something stands, for each training that takes so long."""
    return np.where(CAUTION * seconds <= room.spare, LEAST_CHANCE, UNLIKELY)


def one_by_one(aim: Aim, ranked: Sequence[Choice], count: int) -> list[Choice]:
    """Return so many choices where there are as many: each is worth most with those before it in training, too.

    A worth is in proportion to the expected fall, and that is all of it that networks in training lessen.

    Args:
        ranked: of ``choices``, not empty.
    """
    found, open_ = [ranked[0]], list(aim.open)
    left = list(ranked[1 : AMONG * count])
    costs = {each.option.cost for each in left}
    alone = expected_falls(costs, aim.below, open_)
    while left and len(found) < count:
        open_.append((found[-1].option.cost, found[-1].chance))
        falls = expected_falls(costs, aim.below, open_)
        worths = [
            each.worth * falls[each.option.cost] / alone[each.option.cost] if alone[each.option.cost] else 0.0
            for each in left
        ]
        found.append(left.pop(worths.index(max(worths))))
    return found


def margins_to_stand(aim: Aim, trainings: Sequence[tuple[tuple[float, ...], int]]) -> Any:
    """Return by how many deviations networks with these rows make fewer errors than they need to stand, (trainings,).

    The chance to stand after so many epochs is the normal distribution's at the margin.
    """
    recipe = aim.recipe
    raw = [(math.log(epochs), math.log(recipe.batch_size), recipe.augmented_share) for _, epochs in trainings]
    rows = [
        (*row, *((value - centre) / width for value, (_, centre, width) in zip(figures, TRAINING, strict=True)))
        for (row, _), figures in zip(trainings, raw, strict=True)
    ]
    means, deviations = predicted(aim.model, rows)
    # The fresh seeds that decide waver too.
    spread = np.sqrt(deviations**2 + aim.model.scales.seed**2 / STAND_SEEDS)
    needed = aim.allowed * needed_share()
    return (math.log(max(1e-9, needed)) - means - CURSE * deviations) / spread


def expected_falls(costs: Iterable[int], below: int, open_: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Return by how much a network of each cost that stands lowers the cost to get below, in the logarithm.

    Args:
        open_: costs and chances of others that may lower it too, taken to be independent; one above it lowers nothing.
    """
    rivals = sorted(each for each in open_ if each[0] < below)
    # The chance that none of the rivals before each one comes to stand.
    left = list(itertools.accumulate((1 - chance for _, chance in rivals), operator.mul, initial=1.0))
    falls = {}
    for cost in costs:
        fall = 0.0
        # Where a rival of no higher cost stands, the network lowers nothing.
        for at in range(bisect_right(rivals, (cost, math.inf)), len(rivals)):
            other, chance = rivals[at]
            fall += left[at] * chance * math.log(other / cost)
        falls[cost] = fall + left[-1] * max(0.0, math.log(below / cost))
    return falls
