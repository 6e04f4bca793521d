"""What the model of the errors proposes: fitted to all that is known, it chooses among draws and their neighbours."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from harness.evidence.study import StudyConfig
from harness.search.proposals import acquisition
from harness.search.proposals.acquisition import Aim, Choice, Option
from harness.search.proposals.enumeration import enumerated
from harness.search.proposals.look import Look, accepted, in_time
from harness.search.proposals.surrogate import PRIOR_ERRORS, Observation, fitted, row_of
from harness.search.race import Candidate, by_cost, chance_to_stand, expected_errors, passed_first, refuted, stands
from harness.training.result import Status
from search_spaces.draw import Draw, Judgement, mutate
from search_spaces.errors import DrawError
from search_spaces.resolve import parse_space
from search_spaces.space import Metric
from search_spaces.task import Task

# The model chooses among so many draws, from at most so many looks, and among changes of those that are worth most and
# have not been changed yet: so many at once, so many changes each (docs/lab, "how well the best network is
# looked for").
AIM_DRAWS, AIM_LOOKS = 600, 1600
PARENTS, CHILDREN = 24, 8
# A look chooses one network for each so many workers: with a look for each network hundreds of workers would wait.
WORKERS_A_CHOICE = 8
# The model is fitted to so many observations at most, as its time grows with their cube.
MOST_OBSERVATIONS = 1_500
# The rounds end when so many have not raised the highest worth by this share, and after so many in all.
PATIENCE, RISE, MOST_ROUNDS = 6, 0.01, 25
# Errors that are believed of a network of middling size where no earlier training tells, by those that are allowed.
BELIEF = 1.5
# What a run that was pruned would have come to is a guess: further deviation of its logarithm.
PRUNED_DOUBT = 0.15


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


def aimed(look: Look, past: Sequence[Observation], rng: random.Random) -> Aimed:
    """Return what the model of the errors thinks is worth most, of many draws and of changes of the best of them.

    Args:
        past: earlier trainings that the model begins with.
    """
    aim = _aim_of(look, past)
    options = _listed(look, rng)
    ranked = acquisition.choices(aim, options, look.taken)
    if enumerated(look.space) is None:
        ranked = _climbed(look, aim, options, ranked, rng)
    new = sum(
        any((each.hash, epochs) not in look.taken and aim.room.has(epochs, each.work) for epochs in aim.lengths)
        for each in options
    )
    if ranked:
        first, *further = acquisition.one_by_one(aim, ranked, max(1, look.room.workers // WORKERS_A_CHOICE))
        return Aimed(first, new, further=tuple(further))
    endless = replace(aim, room=replace(aim.room, seconds=None, spare=math.inf))
    return Aimed(None, new, lacks_time=bool(acquisition.choices(endless, options, look.taken)))


def _climbed(look: Look, aim: Aim, options: list[Option], ranked: list[Choice], rng: random.Random) -> list[Choice]:
    """Return the choices among networks and changes of the best of them, until these are no better; add to options."""
    known, changed = {each.hash for each in options}, set[str]()
    parents, worths = _parents(look), [0.0]
    while len(worths) <= MOST_ROUNDS and (len(worths) <= PATIENCE or worths[-1] > (1 + RISE) * worths[-1 - PATIENCE]):
        if look.room.is_over():
            break
        worthiest = [each.option for each in ranked if each.option.hash not in changed][:PARENTS]
        changed |= {each.hash for each in worthiest}
        children = {each.hash: each for each in _children(look, [*(each.found for each in worthiest), *parents], rng)}
        fresh = [child for name, child in children.items() if name not in known]
        known |= children.keys()
        options.extend(fresh)
        parents = []
        ranked = sorted([*ranked, *acquisition.choices(aim, fresh, look.taken)], key=lambda each: -each.worth)
        worths.append(ranked[0].worth if ranked else 0.0)
    return ranked


def _learned(past: Sequence[Observation], latest: Sequence[Observation]) -> list[Observation]:
    """Return the latest of a search's own observations, and as many of the past as there is room for.

    These are taken evenly: they are sorted by form, and no form is forgotten first.
    """
    room = min(len(past), MOST_OBSERVATIONS - len(latest))
    return [*(past[number * len(past) // room] for number in range(room)), *latest]


def _aim_of(look: Look, past: Sequence[Observation]) -> Aim:
    """Return what the model is asked for, fitted to all that is known at the moment."""
    config, candidates = look.config, list(look.candidates.values())
    observed = (seen for candidate in reversed(candidates) for seen in _observed(candidate, config, look.space.task))
    latest = list(itertools.islice(observed, MOST_OBSERVATIONS))[::-1]
    allowed = (100 - config.threshold_pct) * 100
    return Aim(
        model=fitted(_learned(past, latest), belief=PRIOR_ERRORS if past else BELIEF * max(1.0, allowed)),
        recipe=config.recipe,
        lengths=look.config.all_lengths,
        allowed=allowed,
        below=look.ceiling + 1,
        open=tuple(_open(candidate, config.threshold_pct) for candidate in candidates if _is_open(candidate, config)),
        stands=any(stands(candidate, config.threshold_pct) for candidate in candidates),
        room=look.room,
    )


def _is_open(candidate: Candidate, config: StudyConfig) -> bool:
    """Return whether a network may yet come to stand: in training, or passed and neither standing nor refuted."""
    if candidate.first is None:
        return True
    passed = passed_first(candidate, config.threshold_pct)
    return passed and not stands(candidate, config.threshold_pct) and not refuted(candidate, config.threshold_pct)


def _open(candidate: Candidate, threshold_pct: float) -> tuple[int, float]:
    chance = candidate.proposal.chance or 0.0 if candidate.first is None else chance_to_stand(candidate, threshold_pct)
    return candidate.cost, chance


def _observed(candidate: Candidate, config: StudyConfig, task: Task) -> list[Observation]:
    """Return what a trained network teaches the model; nothing where it failed."""
    errors, first = expected_errors(candidate), candidate.first
    if errors is None or first is None or not first.validation_size:
        return []
    recipe, _ = config.recipe_of(candidate.proposal.epochs)
    doubt = 0.0 if first.status is Status.COMPLETE else PRUNED_DOUBT
    scaled = errors * 10_000 / first.validation_size
    return [Observation(row_of(candidate.proposal.architecture, recipe, task), scaled, 1 + len(candidate.fresh), doubt)]


def _listed(look: Look, rng: random.Random) -> list[Option]:
    """Return what the model looks at first: all that is open of a small space, else draws."""
    if enumerated(look.space) is not None:
        known = _all_options(look.space.text, look.space.name, look.space.task, look.config.minimise)
        return [each for each in known if each.cost <= look.ceiling]
    draws = list(itertools.islice(accepted(look, rng, AIM_LOOKS), AIM_DRAWS))
    # Where hardly a draw is within the limits one is enough to begin with: its changes are nearer to them.
    draws = draws or list(itertools.islice(accepted(look, rng), 1))
    options = (acquisition.option(found, judgement, look.config.minimise) for found, judgement in draws)
    return list({each.hash: each for each in options}.values())


@lru_cache(maxsize=8)
def _all_options(text: str, name: str, task: Task, metric: Metric) -> tuple[Option, ...]:
    # Every aim at a small space asks for all of its networks.
    entries = enumerated(parse_space(text, name, task)) or ()
    return tuple(acquisition.option(entry.found, entry.judgement, metric) for entry in entries)


def _parents(look: Look) -> list[Draw]:
    """Return the smallest networks of this search that passed once, and the latest: changes of them may be better."""
    candidates = [look.candidates[trial] for trial in sorted(look.candidates)]
    passed = [each for each in candidates if passed_first(each, look.config.threshold_pct)]
    smallest = sorted(passed, key=by_cost)[:PARENTS]
    chosen = {each.proposal.hash: each.proposal for each in (*smallest, *candidates[-PARENTS:])}
    return [Draw(proposal.architecture, proposal.decisions) for proposal in chosen.values()]


def _children(look: Look, parents: Sequence[Draw], rng: random.Random) -> Iterator[Option]:
    """Yield networks that differ from a parent by a decision or two, within the limits."""
    limited = look.limited
    for parent in parents:
        for number in range(CHILDREN):
            try:
                child, judged = mutate(limited, parent, rng, attempts=5, changes=1 + number % 2)
            except DrawError:
                continue
            judgement = in_time(judged, look.room, look.config.all_lengths)
            if judgement.accepted:
                yield acquisition.option(child, judgement, look.config.minimise)
            else:
                look.rejected[str(judgement.reason)] += 1


def length(look: Look, past: Sequence[Observation], found: Draw, judgement: Judgement) -> Choice | None:
    """Return the length that the model thinks most of for a network; None where there is no choice."""
    if len(look.config.all_lengths) == 1:
        return None
    option = acquisition.option(found, judgement, look.config.minimise)
    return next(iter(acquisition.choices(_aim_of(look, past), [option], look.taken)), None)
