"""What the model of the errors proposes: fitted to all that is known, it chooses among draws and their neighbours."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache

from harness.search import acquisition
from harness.search.acquisition import Aim, Choice, Option
from harness.search.look import Look, accepted
from harness.search.race import Candidate, chance_to_stand, expected_errors, passed_first, refuted, stands
from harness.search.roster import roster
from harness.search.study import Proposal, StudyConfig, recipe_of
from harness.search.surrogate import Observation, fitted, row_of
from harness.training.result import Status
from search_spaces.draw import Draw, Uniform, replay
from search_spaces.errors import DrawError
from search_spaces.judge import Judgement
from search_spaces.mutate import mutate
from search_spaces.resolve import parse_space

# The model chooses among so many draws, from at most so many looks, and among changes of those that are worth most and
# have not been changed yet: so many at once, so many changes each.
AIM_DRAWS, AIM_LOOKS = 150, 400
PARENTS, CHILDREN = 12, 8
# The rounds end when so many have not raised the highest worth by this share, and after so many in all: some seconds.
PATIENCE, RISE, MOST_ROUNDS = 3, 0.01, 25
# What was worth most is looked at again next time.
REMEMBERED = 100
# What a run that was pruned would have come to is a guess: further deviation of its logarithm.
PRUNED_DOUBT = 0.15


def aimed(
    look: Look, past: Sequence[Observation], rng: random.Random, remembered: Sequence[Option] = ()
) -> tuple[Choice | None, tuple[Option, ...]]:
    """Return what the model of the errors thinks is worth most, of many draws and of changes of the best of them.

    None where there is nothing new that there is time for, or nothing that has a chance to improve the answer. Besides,
    return what is to be remembered until the next time.

    Args:
        past: earlier trainings that the model begins with.
        remembered: of the last time.
    """
    aim = _aim_of(look, past)
    options = {each.hash: each for each in (*remembered, *_listed(look, rng)) if each.parameters <= look.budget}
    ranked = acquisition.choices(aim, list(options.values()), look.taken)
    if roster(look.space) is None:
        ranked = _climbed(look, aim, options, ranked, rng)
    worthiest = tuple(choice.option for choice in ranked[:REMEMBERED])
    if not ranked or (aim.stands and ranked[0].chance < acquisition.LEAST_CHANCE and not math.isinf(look.room.left)):
        return None, worthiest
    return ranked[0], worthiest


def _climbed(
    look: Look, aim: Aim, options: dict[str, Option], ranked: list[Choice], rng: random.Random
) -> list[Choice]:
    """Return the choices among networks and changes of the best of them, until these are no better; add to options."""
    parents, changed, worths = _parents(look), set[str](), [0.0]
    while len(worths) <= MOST_ROUNDS and (len(worths) <= PATIENCE or worths[-1] > (1 + RISE) * worths[-1 - PATIENCE]):
        worthiest = [each.option for each in ranked if each.option.hash not in changed][:PARENTS]
        changed |= {each.hash for each in worthiest}
        for child in _children(look, [*(each.found for each in worthiest), *parents], rng):
            options.setdefault(child.hash, child)
        parents = []
        ranked = acquisition.choices(aim, list(options.values()), look.taken)
        worths.append(ranked[0].worth if ranked else 0.0)
    return ranked


def _aim_of(look: Look, past: Sequence[Observation]) -> Aim:
    """Return what the model is asked for, fitted to all that is known at the moment."""
    config, candidates = look.config, list(look.candidates.values())
    observed = [seen for candidate in candidates for seen in _observed(candidate, config)]
    return Aim(
        model=fitted([*past, *observed]),
        recipe=config.recipe,
        lengths=look.lengths,
        allowed=(100 - config.threshold_pct) * 100,
        limit=look.budget + 1,
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
    return candidate.proposal.parameters, chance


def _observed(candidate: Candidate, config: StudyConfig) -> list[Observation]:
    """Return what a trained network teaches the model; nothing where it failed."""
    errors, first = expected_errors(candidate), candidate.first
    if errors is None or first is None or not first.validation_size:
        return []
    recipe, _ = recipe_of(config, candidate.proposal.epochs)
    doubt = 0.0 if first.status is Status.COMPLETE else PRUNED_DOUBT
    scaled = errors * 10_000 / first.validation_size
    return [Observation(row_of(candidate.proposal.architecture, recipe), scaled, 1 + len(candidate.fresh), doubt)]


def _listed(look: Look, rng: random.Random) -> list[Option]:
    """Return what the model looks at first: all that is open of a small space, else draws."""
    entries = roster(look.space)
    if entries is None:
        draws = itertools.islice(accepted(look, rng, AIM_LOOKS), AIM_DRAWS)
        return [acquisition.option(found, judgement) for found, judgement in draws]
    found = (_option_of(look.space.text, look.space.name, at) for at in range(len(entries)))
    return [each for each in found if each.parameters <= look.budget]


@lru_cache(maxsize=20_000)
def _option_of(text: str, name: str, at: int) -> Option:
    # Every aim at a small space asks for all of its networks.
    entry = (roster(parse_space(text, name)) or ())[at]
    return acquisition.option(entry.found, entry.judgement)


def _parents(look: Look) -> list[Draw]:
    """Return the smallest networks of this search that passed once: their neighbours may be smaller still."""
    passed = [
        candidate.proposal
        for candidate in look.candidates.values()
        if passed_first(candidate, look.config.threshold_pct)
    ]
    smallest = sorted(passed, key=lambda proposal: (proposal.parameters, proposal.trial))[:PARENTS]
    return [replay(look.space, _indices(proposal), Uniform(random.Random(0))) for proposal in smallest]


def _indices(proposal: Proposal) -> dict[str, int]:
    return {decision.name: decision.index for decision in proposal.decisions}


def _children(look: Look, parents: Sequence[Draw], rng: random.Random) -> Iterator[Option]:
    """Yield networks that differ from a parent by a decision or two, within the limits."""
    for parent in parents:
        for number in range(CHILDREN):
            try:
                child = mutate(look.limited, parent.indices, rng, attempts=5, changes=1 + number % 2)
            except DrawError:
                continue
            judgement = look.judge(child)
            if judgement.accepted:
                yield acquisition.option(child, judgement)


def length(look: Look, past: Sequence[Observation], found: Draw, judgement: Judgement) -> Choice | None:
    """Return the length that the model thinks most of for a network; None where there is no choice."""
    if len(look.lengths) == 1:
        return None
    option = acquisition.option(found, judgement)
    return next(iter(acquisition.choices(_aim_of(look, past), [option], look.taken)), None)
