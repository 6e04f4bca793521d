"""Which of many networks, and trained for how long, is worth most to a search: its chance, what it gains, its time.

The surrogate is fitted to all that is known; it ranks draws and changes of the best of them, or all of a small space.
"""

from __future__ import annotations

import itertools
import math
import operator
import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from harness.evidence.study import StudyConfig
from harness.search.clock import CAUTION, TimeLeft, rounds, verifying
from harness.search.features import NAMES, features, work_of
from harness.search.proposal_step import ProposalStep, accepted, enumerated, in_time
from harness.search.race import (
    CONFIRM_SEEDS,
    Candidate,
    by_cost,
    chance_to_stand,
    expected_errors,
    is_confirmed,
    needed_share,
    passed_first,
    refuted,
)
from harness.search.surrogate import PRIOR_ERRORS, TRAINING, Model, Observation, fitted, predicted, row_of
from harness.system import statistics
from harness.training.recipe import Recipe
from harness.training.result import Status
from search_spaces.draw import Draw, Judgement, measured, mutate
from search_spaces.errors import DrawError
from search_spaces.notation import parse_space
from search_spaces.space import Metric
from search_spaces.task import Task

# While nothing stands, what counts is the chance that one of several networks like this one stands in time, with this
# power, since an answer matters more than its size. In time is within so many seconds of the search's beginning, later
# within a minute, and always within this share of the time left. Four minutes are promised. With three aimed at, a
# second network came too late where the first one failed its confirmation (docs/lab, "first answers").
SECURE_SECONDS, LEAST_SECURE_SECONDS, SECURE_SHARE, CERTAINTY = 75.0, 60.0, 0.33, 4.0
# More attempts are no surer: where the model is wrong about one network it is wrong about others like it.
_MOST_ATTEMPTS = 4.0
# What looks best among hundreds is rather too good to be true, and the more so the less is known of it: the errors
# that are predicted are raised by so many of their deviations (docs/lab, "chances of small networks").
_SELECTION_BIAS_SD = 1.0
# Once something stands this share of the time left, by the rounds of a network that comes to stand, is added to the
# time of every training: many small steps down cost more than one large one.
_STRIDE_SHARE = 0.05
_CERTAIN = 1 - 1e-12
# Where one look chooses several networks, it compares so many times as many: those that are worth most.
_SHORTLIST_FACTOR = 4
# What cannot improve the answer is not proposed once there is one.
LEAST_CHANCE = 0.03
# What was given less chance has hardly ever come to stand: 1 of 242 networks (docs/lab, "what an unlikely
# network costs"). It is trained only while there is time for a second verification, should the winner's miss.
UNLIKELY = 0.2
# The model chooses among so many draws, from at most so many looks, and among changes of those that are worth most and
# have not been changed yet: so many at once, so many changes each (docs/lab, "how well the best network is
# looked for").
AIM_DRAWS, AIM_LOOKS = 600, 1600
PARENTS, CHILDREN = 24, 8
# A look chooses one network for each so many workers: with a look for each network hundreds of workers would wait.
_WORKERS_A_CHOICE = 8
# The model is fitted to so many observations at most, as its time grows with their cube.
MOST_OBSERVATIONS = 1_500
# The rounds end when so many have not raised the highest worth by this share, and after so many in all.
PATIENCE, RISE, MOST_ROUNDS = 6, 0.01, 25
# Errors that are believed of a network of middling size where no earlier training tells, by those that are allowed.
_PRIOR_ERROR_FACTOR = 1.5
# What a run that was pruned would have come to is a guess: further deviation of its logarithm.
_PRUNED_DOUBT = 0.15


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
class _Aim:
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
    time_left: TimeLeft


def option(found: Draw, judgement: Judgement, metric: Metric) -> Option:
    """Return a network as the model sees it."""
    analysis = judgement.analysis
    assert analysis is not None, "an accepted network has been analysed"
    raw = features(found.architecture, analysis)
    row = tuple((value - centre) / width for value, (_, centre, width) in zip(raw, NAMES, strict=True))
    return Option(found, judgement, found.architecture.hash, measured(analysis, metric), row, work_of(analysis))


def choices(aim: _Aim, options: Sequence[Option], taken: frozenset[tuple[str, int]] = frozenset()) -> list[Choice]:
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
        if (each.hash, epochs) not in taken and aim.time_left.has(epochs, each.work)
    ]
    if not pairs:
        return []
    margins = _margins_to_stand(aim, [(each.row, epochs) for each, epochs in pairs])
    chances = np.array([statistics.normal_share(float(margin)) for margin in margins])
    seconds = np.array([aim.time_left.takes(epochs, each.work) for each, epochs in pairs])
    fall_of = _expected_falls({each.cost for each, _ in pairs}, aim.below, aim.open)
    falls = np.array([fall_of[each.cost] for each, _ in pairs])
    more = rounds(CONFIRM_SEEDS, aim.time_left.workers)
    hopeful = np.full(len(pairs), fill_value=True)
    if aim.stands:
        if not math.isinf(aim.time_left.left):
            hopeful = chances >= _least_chances(aim.time_left, seconds)
            seconds = seconds + _STRIDE_SHARE * aim.time_left.left / (1 + more)
        # The fresh seeds are run where the first one passes.
        worths = chances * falls / (seconds * (1 + more * chances))
    else:
        in_time = max(SECURE_SECONDS - aim.time_left.passed, LEAST_SECURE_SECONDS)
        worker_seconds = min(in_time, SECURE_SHARE * aim.time_left.left) * aim.time_left.workers
        attempts = np.minimum(_MOST_ATTEMPTS, worker_seconds / (seconds * (1 + CONFIRM_SEEDS * chances)))
        none_stands = np.maximum(1.0, attempts) * np.log1p(-np.minimum(chances, _CERTAIN))
        # The verification of what stands first is kept until the end: what it leaves is for networks below.
        kept = np.array([verifying(float(each), aim.time_left.workers) for each in seconds])
        free = np.maximum(0.0, 1 - kept / aim.time_left.left)
        worths = (np.minimum(1.0, attempts) * -np.expm1(none_stands)) ** CERTAINTY * falls * free
    found: dict[str, Choice] = {}
    # Where all chances are as good as none, what comes nearest is first.
    for at in np.lexsort((-margins, -worths)):
        if not hopeful[at]:
            continue
        each, epochs = pairs[at]
        found.setdefault(each.hash, Choice(each, epochs, float(chances[at]), float(worths[at])))
    return list(found.values())


def is_timely(choice: Choice, time_left: TimeLeft) -> bool:
    """Return whether there is still time for a training that was chosen earlier."""
    seconds = time_left.takes(choice.epochs, choice.option.work)
    is_likely = math.isinf(time_left.spare) or choice.chance >= _least_chances(time_left, seconds)
    return time_left.has(choice.epochs, choice.option.work) and bool(is_likely)


def _least_chances(time_left: TimeLeft, seconds: Any) -> Any:
    return np.where(CAUTION * seconds <= time_left.spare, LEAST_CHANCE, UNLIKELY)


def _one_by_one(aim: _Aim, ranked: Sequence[Choice], count: int) -> list[Choice]:
    """Return so many choices where there are as many: each is worth most with those before it in training, too.

    A worth is in proportion to the expected fall, and that is all of it that networks in training lessen.

    Args:
        ranked: of ``choices``, not empty.
    """
    found, open_ = [ranked[0]], list(aim.open)
    left = list(ranked[1 : _SHORTLIST_FACTOR * count])
    costs = {each.option.cost for each in left}
    alone = _expected_falls(costs, aim.below, open_)
    while left and len(found) < count:
        open_.append((found[-1].option.cost, found[-1].chance))
        falls = _expected_falls(costs, aim.below, open_)
        worths = [
            each.worth * falls[each.option.cost] / alone[each.option.cost] if alone[each.option.cost] else 0.0
            for each in left
        ]
        found.append(left.pop(worths.index(max(worths))))
    return found


def _margins_to_stand(aim: _Aim, trainings: Sequence[tuple[tuple[float, ...], int]]) -> Any:
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
    spread = np.sqrt(deviations**2 + aim.model.scales.seed**2 / CONFIRM_SEEDS)
    needed = aim.allowed * needed_share()
    return (math.log(max(1e-9, needed)) - means - _SELECTION_BIAS_SD * deviations) / spread


def _expected_falls(costs: Iterable[int], below: int, open_: Sequence[tuple[int, float]]) -> dict[int, float]:
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


@dataclass(frozen=True, slots=True)
class Aimed:
    """What the model of the errors thinks is worth most, or why there is nothing.

    Attributes:
        looked_at: networks that the model had to choose among: new ones, or of a new length, that there is time for.
        lacks_time: with more time something would have a chance.
        further: what is worth most with the choice in training, and so on; empty where few workers train.
    """

    choice: Choice | None
    looked_at: int
    lacks_time: bool = False
    further: tuple[Choice, ...] = ()


def aimed(step: ProposalStep, past: Sequence[Observation], rng: random.Random) -> Aimed:
    """Return what the model of the errors thinks is worth most, of many draws and of changes of the best of them.

    Args:
        past: earlier trainings that the model begins with.
    """
    aim = _aim_of(step, past)
    options = _listed(step, rng)
    ranked = choices(aim, options, step.taken)
    if enumerated(step.space) is None:
        ranked = _climbed(step, aim, options, ranked, rng)
    new = sum(
        any((each.hash, epochs) not in step.taken and aim.time_left.has(epochs, each.work) for epochs in aim.lengths)
        for each in options
    )
    if ranked:
        first, *further = _one_by_one(aim, ranked, max(1, step.time_left.workers // _WORKERS_A_CHOICE))
        return Aimed(first, new, further=tuple(further))
    endless = replace(aim, time_left=replace(aim.time_left, seconds=None, spare=math.inf))
    return Aimed(None, new, lacks_time=bool(choices(endless, options, step.taken)))


def _climbed(
    step: ProposalStep, aim: _Aim, options: list[Option], ranked: list[Choice], rng: random.Random
) -> list[Choice]:
    known, changed = {each.hash for each in options}, set[str]()
    parents, worths = _parents(step), [0.0]
    while len(worths) <= MOST_ROUNDS and (len(worths) <= PATIENCE or worths[-1] > (1 + RISE) * worths[-1 - PATIENCE]):
        if step.time_left.is_over():
            break
        worthiest = [each.option for each in ranked if each.option.hash not in changed][:PARENTS]
        changed |= {each.hash for each in worthiest}
        children = {each.hash: each for each in _children(step, [*(each.found for each in worthiest), *parents], rng)}
        fresh = [child for name, child in children.items() if name not in known]
        known |= children.keys()
        options.extend(fresh)
        parents = []
        ranked = sorted([*ranked, *choices(aim, fresh, step.taken)], key=lambda each: -each.worth)
        worths.append(ranked[0].worth if ranked else 0.0)
    return ranked


def _learned(past: Sequence[Observation], latest: Sequence[Observation]) -> list[Observation]:
    count = min(len(past), MOST_OBSERVATIONS - len(latest))
    return [*(past[number * len(past) // count] for number in range(count)), *latest]


def _aim_of(step: ProposalStep, past: Sequence[Observation]) -> _Aim:
    config, candidates = step.config, list(step.candidates.values())
    observed = (seen for candidate in reversed(candidates) for seen in _observed(candidate, config, step.space.task))
    latest = list(itertools.islice(observed, MOST_OBSERVATIONS))[::-1]
    allowed = (100 - config.threshold_pct) * 100
    return _Aim(
        model=fitted(_learned(past, latest), belief=PRIOR_ERRORS if past else _PRIOR_ERROR_FACTOR * max(1.0, allowed)),
        recipe=config.recipe,
        lengths=step.config.all_lengths,
        allowed=allowed,
        below=step.ceiling + 1,
        open=tuple(_open(candidate, config.threshold_pct) for candidate in candidates if _is_open(candidate, config)),
        stands=any(is_confirmed(candidate, config.threshold_pct) for candidate in candidates),
        time_left=step.time_left,
    )


def _is_open(candidate: Candidate, config: StudyConfig) -> bool:
    if candidate.first is None:
        return True
    passed = passed_first(candidate, config.threshold_pct)
    return passed and not is_confirmed(candidate, config.threshold_pct) and not refuted(candidate, config.threshold_pct)


def _open(candidate: Candidate, threshold_pct: float) -> tuple[int, float]:
    chance = candidate.proposal.chance or 0.0 if candidate.first is None else chance_to_stand(candidate, threshold_pct)
    return candidate.cost, chance


def _observed(candidate: Candidate, config: StudyConfig, task: Task) -> list[Observation]:
    errors, first = expected_errors(candidate), candidate.first
    if errors is None or first is None or not first.validation_size:
        return []
    recipe, _ = config.recipe_of(candidate.proposal.epochs)
    doubt = 0.0 if first.status is Status.COMPLETE else _PRUNED_DOUBT
    scaled = errors * 10_000 / first.validation_size
    return [Observation(row_of(candidate.proposal.architecture, recipe, task), scaled, 1 + len(candidate.fresh), doubt)]


def _listed(step: ProposalStep, rng: random.Random) -> list[Option]:
    if enumerated(step.space) is not None:
        known = _all_options(step.space.text, step.space.name, step.space.task, step.config.minimise)
        return [each for each in known if each.cost <= step.ceiling]
    draws = list(itertools.islice(accepted(step, rng, AIM_LOOKS), AIM_DRAWS))
    # Where hardly a draw is within the limits one is enough to begin with: its changes are nearer to them.
    draws = draws or list(itertools.islice(accepted(step, rng), 1))
    options = (option(found, judgement, step.config.minimise) for found, judgement in draws)
    return list({each.hash: each for each in options}.values())


@lru_cache(maxsize=8)
def _all_options(text: str, name: str, task: Task, metric: Metric) -> tuple[Option, ...]:
    # Every aim at a small space asks for all of its networks.
    entries = enumerated(parse_space(text, name, task)) or ()
    return tuple(option(entry.found, entry.judgement, metric) for entry in entries)


def _parents(step: ProposalStep) -> list[Draw]:
    candidates = [step.candidates[trial] for trial in sorted(step.candidates)]
    passed = [each for each in candidates if passed_first(each, step.config.threshold_pct)]
    smallest = sorted(passed, key=by_cost)[:PARENTS]
    chosen = {each.proposal.hash: each.proposal for each in (*smallest, *candidates[-PARENTS:])}
    return [Draw(proposal.architecture, proposal.decisions) for proposal in chosen.values()]


def _children(step: ProposalStep, parents: Sequence[Draw], rng: random.Random) -> Iterator[Option]:
    limited = step.limited
    for parent in parents:
        for number in range(CHILDREN):
            try:
                child, judged = mutate(limited, parent, rng, attempts=5, changes=1 + number % 2)
            except DrawError:
                continue
            judgement = in_time(judged, step.time_left, step.config.all_lengths)
            if judgement.accepted:
                yield option(child, judgement, step.config.minimise)
            else:
                step.rejected[str(judgement.reason)] += 1


def length(step: ProposalStep, past: Sequence[Observation], found: Draw, judgement: Judgement) -> Choice | None:
    """Return the length that the model thinks most of for a network; None where there is no choice."""
    if len(step.config.all_lengths) == 1:
        return None
    options = [option(found, judgement, step.config.minimise)]
    return next(iter(choices(_aim_of(step, past), options, step.taken)), None)
