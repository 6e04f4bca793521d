"""Which network is trained next, and for how long.

The model of the errors (``surrogate``) chooses among many draws and their neighbours (``acquisition``); a sampler that
was asked for takes turns with it. Where no earlier training is known a ladder of sizes comes first.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from harness.search import acquisition, sampler
from harness.search.acquisition import Aim, Choice, Option
from harness.search.estimate import Room
from harness.search.features import work_of
from harness.search.parts import EVERY_PART, Parts
from harness.search.proposing import Found, Rejection, Repeat
from harness.search.race import (
    Candidate,
    Outcome,
    chance_to_stand,
    expected_errors,
    outcome,
    passed_first,
    refuted,
    stands,
)
from harness.search.roster import Entry, drawn, roster
from harness.search.sampler import SURROGATE, Index, Trial
from harness.search.study import Proposal, StudyConfig, recipe_of
from harness.search.surrogate import Model, Observation, fitted, row_of
from harness.training.result import Decision, Status
from search_spaces.cost import Analysis
from search_spaces.draw import Draw, Uniform, draw, replay
from search_spaces.errors import DrawError
from search_spaces.judge import Judgement, Reason, judge, measured
from search_spaces.mutate import mutate
from search_spaces.resolve import parse_space
from search_spaces.space import Condition, Metric, SearchSpace

LADDER_STEPS = 7
LADDER_DRAWS = 300
# Rejected or known proposals in a row after which a network is drawn below the budget instead.
ASKS = 40
# With a sampler that was asked for every second network after the ladder is the model's.
AIM_EVERY = 2
# The model chooses among so many draws, from at most so many looks, and in so many rounds among changes of those that are worth most.
AIM_DRAWS, AIM_LOOKS = 150, 400
ROUNDS, PARENTS, CHILDREN = 3, 8, 6
# What a run that was pruned would have come to is a guess: further deviation of its logarithm.
PRUNED_DOUBT = 0.15
# Rejections the sampler is told about, a proposal; more would only slow it down.
LESSONS = 10
# Draws after which a space counts as searched through: some seconds.
DRAWS = 20_000


@dataclass(slots=True)
class Proposer:
    """The sampler's study, the ladder, and what earlier trainings taught.

    Attributes:
        past: of the model's prior; other studies' trainings.
    """

    space: SearchSpace
    config: StudyConfig
    index: Index
    ladder: list[Draw]
    past: tuple[Observation, ...] = ()
    running: dict[int, Trial] = field(default_factory=dict)
    parts: Parts = EVERY_PART

    @classmethod
    def new(
        cls,
        space: SearchSpace,
        config: StudyConfig,
        at_work: Parts = EVERY_PART,
        past: Sequence[Observation] = (),
    ) -> Proposer:
        """Return a proposer at the beginning of a study."""
        has_ladder = at_work.ladder and not past
        return cls(
            space,
            config,
            sampler.new_index(config.sampler, config.seed),
            size_ladder(space, config.budget, random.Random(config.seed)) if has_ladder else [],
            past=tuple(past),
            parts=at_work,
        )

    def propose(self, budget: int, candidates: Mapping[int, Candidate], room: Room) -> Found:
        """Return the next network to train; see the function ``propose``."""
        return propose(self, budget, candidates, room)

    def enter(self, proposal: Proposal) -> None:
        """Enter a network to be trained that is not the sampler's own proposal of this session."""
        self.running[proposal.trial] = sampler.impose(self.index, proposal.decisions)

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Tell the sampler what came of a proposal."""
        sampler.tell(self.index, self.running.pop(trial), outcome)


def size_ladder(space: SearchSpace, budget: int, rng: random.Random) -> list[Draw]:
    """Return networks of many draws whose sizes are spread evenly in the logarithm, the middle ones first.

    It brackets the size at which the target becomes reachable with a handful of runs, whatever the space's
    own distribution of sizes is. Empty when nothing can be drawn: the caller finds out when it proposes.
    """
    sized: dict[int, Draw] = {}
    accepted = 0
    for _ in range(DRAWS):
        found = draw(space, Uniform(rng))
        judgement = judge(space, found.architecture, budget)
        if judgement.accepted and judgement.analysis is not None:
            sized.setdefault(judgement.analysis.parameters, found)
            accepted += 1
        if accepted == LADDER_DRAWS:
            break
    if not sized:
        return []
    low, high = math.log(min(sized)), math.log(max(sized))
    rungs: dict[int, Draw] = {}
    for step in _middle_first(LADDER_STEPS):
        wanted = low + (high - low) * step / (LADDER_STEPS - 1)
        nearest = min(sized, key=lambda size: abs(math.log(size) - wanted))
        rungs.setdefault(nearest, sized[nearest])
    return list(rungs.values())


@dataclass(frozen=True, slots=True)
class _Look:
    """One look for the next network: what it may be, and what was passed over so far.

    Attributes:
        taken: hashes and lengths that were proposed before.
    """

    proposer: Proposer
    budget: int
    candidates: Mapping[int, Candidate]
    known: Mapping[str, int]
    taken: frozenset[tuple[str, int]]
    number: int
    passed: list[Rejection | Repeat]
    room: Room

    @property
    def limited(self) -> SearchSpace:
        """The space with the budget of the moment among its conditions."""
        space = self.proposer.space
        limit = Condition(Metric.PARAMETERS, "<=", self.budget)
        return replace(space, conditions=(*space.conditions, limit))

    @property
    def lengths(self) -> tuple[int, ...]:
        """The epochs that a network may be trained for."""
        return lengths(self.proposer.config)

    def judge(self, found: Draw) -> Judgement:
        """Judge a draw by the space, the budget and the time."""
        return in_time(judge(self.proposer.space, found.architecture, self.budget), self.room, self.lengths)


def lengths(config: StudyConfig) -> tuple[int, ...]:
    """Return the epochs that a network of a study may be trained for."""
    return config.lengths or (config.recipe.epochs,)


def in_time(judgement: Judgement, room: Room, allowed: Sequence[int]) -> Judgement:
    """Return the judgement, or a rejection where there is no time for an accepted network at any of these lengths."""
    analysis = judgement.analysis
    if not judgement.accepted or analysis is None or room.has(min(allowed), work_of(analysis)):
        return judgement
    message = f"{analysis.macs:,} multiply-adds take longer than the search has time to train and verify"
    return Judgement(analysis, Reason.MACS, message)


def propose(proposer: Proposer, budget: int, candidates: Mapping[int, Candidate], room: Room) -> Found:
    """Return the next network to train, of at most ``budget`` parameters and not proposed before."""
    known = {candidate.proposal.hash: trial for trial, candidate in candidates.items()}
    taken = frozenset(
        (item.proposal.hash, item.proposal.epochs or proposer.config.recipe.epochs) for item in candidates.values()
    )
    number = max(candidates, default=-1) + 1
    look = _Look(proposer, budget, candidates, known, taken, number, [], room)
    proposal = _climb(look) or _aim(look)
    is_surrogate = proposer.parts.aim and proposer.config.sampler == SURROGATE
    if proposal is None and not is_surrogate:
        proposal = _ask(look) or _draw(look)
    if proposal is not None:
        return Found(proposal, tuple(look.passed))
    limits = f"at most {budget:,} parameters"
    if room.seconds is not None:
        limits += f" whose training takes at most {room.seconds:.0f} s, so that there is time to verify it"
    why = f"none of {DRAWS:,} further draws was a new network of {limits}"
    if roster(proposer.space) is not None:
        why = f"the space has no further network of {limits}"
    elif is_surrogate:
        why = f"no further network of {limits} has a chance to reach the target"
    return Found(None, tuple(look.passed), why, lacks_time=room.seconds is not None)


def is_aimed(sampler_name: str, trial: int) -> bool:
    """Return whether a network of that number is the model's, unless it is of the ladder."""
    return sampler_name == SURROGATE or trial % AIM_EVERY == 0


def tell_repeat(proposer: Proposer, trial: Trial, candidate: Candidate) -> None:
    """Tell the sampler again what it could have known."""
    if candidate.first is None:
        sampler.forget(proposer.index, trial)
    else:
        sampler.tell(proposer.index, trial, outcome(candidate, proposer.config.threshold_pct))


def violation(space: SearchSpace, analysis: Analysis, budget: int) -> float:
    """Return what a network breaks its limits by, as a sum of shares of the limits."""
    shares = [max(0, analysis.parameters - budget) / budget]
    for condition in space.conditions:
        value = measured(analysis, condition.metric)
        if not condition.holds(value):
            # A strict condition is broken by its own bound.
            shares.append(max(1, abs(value - condition.bound)) / max(1, condition.bound))
    return math.fsum(shares)


def _climb(look: _Look) -> Proposal | None:
    """Take the next network of the ladder that is new and within the budget."""
    ladder = look.proposer.ladder
    while ladder:
        found = ladder.pop(0)
        if found.architecture.hash in look.known:
            continue
        judgement = look.judge(found)
        if judgement.accepted:
            return _entered(look, found, judgement, "ladder", _length(look, found, judgement))
        look.passed.append(_rejection(found, judgement, "ladder"))
    return None


def _ask(look: _Look) -> Proposal | None:
    """Ask the sampler until it proposes a new network within the budget, ``ASKS`` times at most."""
    proposer, limited = look.proposer, look.limited
    for asked in range(ASKS):
        trial, found = sampler.ask(proposer.index, limited, look.known)
        judgement = look.judge(found)
        if not judgement.accepted:
            look.passed.append(_reject(look, trial, found, judgement, lesson=asked < LESSONS))
        elif found.architecture.hash in look.known:
            repeat = Repeat(look.known[found.architecture.hash], found.indices)
            look.passed.append(repeat)
            tell_repeat(proposer, trial, look.candidates[repeat.trial])
        else:
            proposer.running[look.number] = trial
            choice = _length(look, found, judgement)
            return _proposal(look, found, judgement, proposer.config.sampler, choice)
    return None


def _aim(look: _Look) -> Proposal | None:
    """Take what the model of the errors thinks is worth most, of many draws and of changes of the best of them."""
    config = look.proposer.config
    if not look.proposer.parts.aim or not is_aimed(config.sampler, look.number):
        return None
    rng = sampler.generator(look.proposer.index)
    aim = _aim_of(look)
    options = {each.hash: each for each in _listed(look, rng)}
    ranked = acquisition.choices(aim, list(options.values()), look.taken)
    if roster(look.proposer.space) is None:
        parents = _parents(look)
        for _ in range(ROUNDS):
            worthiest = [choice.option.found for choice in ranked[:PARENTS]]
            for child in _children(look, [*worthiest, *parents], rng):
                options.setdefault(child.hash, child)
            parents = []
            ranked = acquisition.choices(aim, list(options.values()), look.taken)
    if not ranked or (aim.stands and ranked[0].chance < acquisition.LEAST_CHANCE and not math.isinf(look.room.left)):
        return None
    best = ranked[0]
    return _entered(look, best.option.found, best.option.judgement, "aim", best)


def _aim_of(look: _Look) -> Aim:
    """Return what the model is asked for, fitted to all that is known at the moment."""
    config, candidates = look.proposer.config, list(look.candidates.values())
    return Aim(
        model=_model(look),
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


def _model(look: _Look) -> Model:
    observed = [seen for candidate in look.candidates.values() for seen in _observed(candidate, look.proposer.config)]
    return fitted([*look.proposer.past, *observed])


def _observed(candidate: Candidate, config: StudyConfig) -> list[Observation]:
    """Return what a trained network teaches the model; nothing where it failed."""
    errors, first = expected_errors(candidate), candidate.first
    if errors is None or first is None or not first.validation_size:
        return []
    recipe, _ = recipe_of(config, candidate.proposal.epochs)
    doubt = 0.0 if first.status is Status.COMPLETE else PRUNED_DOUBT
    scaled = errors * 10_000 / first.validation_size
    return [Observation(row_of(candidate.proposal.architecture, recipe), scaled, 1 + len(candidate.fresh), doubt)]


def _listed(look: _Look, rng: random.Random) -> list[Option]:
    """Return what the model looks at first: all that is open of a small space, else draws."""
    entries = roster(look.proposer.space)
    if entries is None:
        accepted = itertools.islice(_accepted(look, rng, AIM_LOOKS), AIM_DRAWS)
        return [acquisition.option(found, judgement) for found, judgement in accepted]
    found = (_option_of(look.proposer.space.text, look.proposer.space.name, at) for at in range(len(entries)))
    return [each for each in found if each.parameters <= look.budget]


@lru_cache(maxsize=20_000)
def _option_of(text: str, name: str, at: int) -> Option:
    # Every aim at a small space asks for all of its networks.
    entry = (roster(parse_space(text, name)) or ())[at]
    return acquisition.option(entry.found, entry.judgement)


def _parents(look: _Look) -> list[Draw]:
    """Return the smallest networks of this search that passed once: their neighbours may be smaller still."""
    passed = [
        candidate.proposal
        for candidate in look.candidates.values()
        if passed_first(candidate, look.proposer.config.threshold_pct)
    ]
    smallest = sorted(passed, key=lambda proposal: (proposal.parameters, proposal.trial))[:PARENTS]
    return [replay(look.proposer.space, _indices(proposal), Uniform(random.Random(0))) for proposal in smallest]


def _indices(proposal: Proposal) -> dict[str, int]:
    return {decision.name: decision.index for decision in proposal.decisions}


def _children(look: _Look, parents: Sequence[Draw], rng: random.Random) -> Iterator[Option]:
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


def _accepted(look: _Look, rng: random.Random, draws: int = DRAWS) -> Iterator[tuple[Draw, Judgement]]:
    """Yield new networks within the limits from so many uniform draws; of a small space without looking in vain."""
    entries = roster(look.proposer.space)
    if entries is not None:
        yield from drawn(entries, lambda entry: _may_be(look, entry), rng)
        return
    for _ in range(draws):
        found = draw(look.proposer.space, Uniform(rng))
        judgement = look.judge(found)
        if judgement.accepted and found.architecture.hash not in look.known:
            yield found, judgement


def _may_be(look: _Look, entry: Entry) -> bool:
    analysis = entry.judgement.analysis
    assert analysis is not None, "an accepted network has been analysed"
    within_limits = analysis.parameters <= look.budget and in_time(entry.judgement, look.room, look.lengths).accepted
    return within_limits and entry.hash not in look.known


def _draw(look: _Look) -> Proposal | None:
    """Draw uniformly until there is a new network within the budget, where the sampler found none."""
    for found, judgement in _accepted(look, sampler.generator(look.proposer.index)):
        return _entered(look, found, judgement, "draw", _length(look, found, judgement))
    return None


def _reject(look: _Look, trial: Trial, found: Draw, judgement: Judgement, *, lesson: bool) -> Rejection:
    rejection = _rejection(found, judgement, "sampler")
    if judgement.analysis is None or not lesson:
        sampler.forget(look.proposer.index, trial)
        return rejection
    broken = violation(look.proposer.space, judgement.analysis, look.budget)
    sampler.reject(look.proposer.index, trial, judgement.analysis.parameters, broken)
    return replace(rejection, violation=broken, indices=found.indices)


def _rejection(found: Draw, judgement: Judgement, origin: str) -> Rejection:
    size = judgement.analysis.parameters if judgement.analysis else None
    return Rejection(str(judgement.reason), size, found.architecture.hash, origin)


def _length(look: _Look, found: Draw, judgement: Judgement) -> Choice | None:
    """Return the length that the model thinks most of for a network; None where there is no choice."""
    if len(look.lengths) == 1:
        return None
    return next(iter(acquisition.choices(_aim_of(look), [acquisition.option(found, judgement)], look.taken)), None)


def _entered(look: _Look, found: Draw, judgement: Judgement, origin: str, choice: Choice | None) -> Proposal:
    proposal = _proposal(look, found, judgement, origin, choice)
    look.proposer.enter(proposal)
    return proposal


def _proposal(look: _Look, found: Draw, judgement: Judgement, origin: str, choice: Choice | None) -> Proposal:
    assert judgement.analysis is not None, "an accepted network has been analysed"
    return Proposal(
        trial=look.number,
        architecture=str(found.architecture),
        hash=found.architecture.hash,
        parameters=judgement.analysis.parameters,
        origin=origin,
        decisions=tuple(Decision(*decision) for decision in found.decisions),
        epochs=choice.epochs if choice else min(look.lengths),
        chance=choice.chance if choice else None,
    )


def _middle_first(count: int) -> list[int]:
    """Return 0 to count - 1, those in the middle first: 3, 2, 4, 1, 5, 0, 6."""
    return sorted(range(count), key=lambda step: (abs(2 * step - (count - 1)), step))
