"""Which network is trained next: first a ladder of sizes, then what the sampler proposes below the budget."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from harness.data.datasets import dataset
from harness.search import sampler
from harness.search.race import Candidate, Outcome, expected_errors, outcome, passed_first, refuted
from harness.search.sampler import Index, Trial
from harness.search.study import Proposal, StudyConfig
from harness.search.surrogate import best, features, fitted
from harness.training.result import Decision
from search_spaces.cost import Analysis, analyse
from search_spaces.draw import Draw, Uniform, draw
from search_spaces.judge import Judgement, Reason, judge, measured
from search_spaces.notation import parse_network
from search_spaces.space import Condition, Metric, SearchSpace

LADDER_STEPS = 7
LADDER_DRAWS = 300
# Rejected or known proposals in a row after which a network is drawn below the budget instead.
ASKS = 40
# Every second network after the ladder is aimed: the one of so many draws below the smallest that has passed that a
# model of the errors thinks most of.
AIM_EVERY = 2
AIM_DRAWS = 60
# Rejections the sampler is told about, a proposal; more would only slow it down.
LESSONS = 10
# Draws after which a space counts as searched through: some seconds.
DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Rejection:
    """A proposal that was rejected before anything was built.

    Attributes:
        origin: ``ladder`` or ``sampler``.
        violation: what the sampler was told it breaks its limits by; None where it was told nothing.
        indices: the decisions, for a later session to tell them again; empty where nothing was told.
    """

    reason: str
    parameters: int | None
    hash: str
    origin: str
    violation: float | None = None
    indices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Repeat:
    """A proposal of a network that is known already, as ``trial``; ``indices`` are the decisions made this time."""

    trial: int
    indices: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A network to train, with what was rejected and repeated on the way to it.

    Attributes:
        proposal: None where no further network below the budget was found; ``why`` then says so.
    """

    proposal: Proposal | None
    passed: tuple[Rejection | Repeat, ...]
    why: str = ""


@dataclass(slots=True)
class Proposer:
    """The sampler's study, and the ladder."""

    space: SearchSpace
    config: StudyConfig
    index: Index
    ladder: list[Draw]
    running: dict[int, Trial] = field(default_factory=dict)

    @classmethod
    def new(cls, space: SearchSpace, config: StudyConfig, most_macs: int | None = None) -> Proposer:
        """Return a proposer at the beginning of a study; its ladder keeps to ``most_macs``, where that is given."""
        return cls(
            space,
            config,
            sampler.new_index(config.sampler, config.seed),
            size_ladder(space, config.budget, random.Random(config.seed), most_macs),
        )

    def enter(self, proposal: Proposal) -> None:
        """Enter a network to be trained that is not the sampler's own proposal of this session."""
        self.running[proposal.trial] = sampler.impose(self.index, proposal.decisions)

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Tell the sampler what came of a proposal."""
        sampler.tell(self.index, self.running.pop(trial), outcome)


def size_ladder(space: SearchSpace, budget: int, rng: random.Random, most_macs: int | None = None) -> list[Draw]:
    """Return networks of many draws whose sizes are spread evenly in the logarithm, the middle ones first.

    It brackets the size at which the target becomes reachable with a handful of runs, whatever the space's
    own distribution of sizes is. Empty when nothing can be drawn: the caller finds out when it proposes.
    """
    sized: dict[int, Draw] = {}
    accepted = 0
    for _ in range(DRAWS):
        found = draw(space, Uniform(rng))
        judgement = within(judge(space, found.architecture, budget), most_macs)
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
    """One look for the next network: what it may be, and what was passed over so far."""

    proposer: Proposer
    budget: int
    candidates: Mapping[int, Candidate]
    known: Mapping[str, int]
    number: int
    passed: list[Rejection | Repeat]
    most_macs: int | None

    @property
    def limited(self) -> SearchSpace:
        """The space with the limits of the moment among its conditions."""
        limits = [Condition(Metric.PARAMETERS, "<=", self.budget)]
        if self.most_macs is not None:
            limits.append(Condition(Metric.MACS, "<=", self.most_macs))
        space = self.proposer.space
        return replace(space, conditions=(*space.conditions, *limits))

    def judge(self, found: Draw) -> Judgement:
        return within(judge(self.proposer.space, found.architecture, self.budget), self.most_macs)


def within(judgement: Judgement, most_macs: int | None) -> Judgement:
    """Return the judgement, or a rejection where an accepted network has more than ``most_macs`` multiply-adds."""
    analysis = judgement.analysis
    if not judgement.accepted or analysis is None or most_macs is None or analysis.macs <= most_macs:
        return judgement
    message = f"{analysis.macs:,} multiply-adds take longer than the search has time to train and verify"
    return Judgement(analysis, Reason.MACS, message)


def propose(
    proposer: Proposer, budget: int, candidates: Mapping[int, Candidate], most_macs: int | None = None
) -> Found:
    """Return the next network to train, of at most ``budget`` parameters and not proposed before.

    Args:
        most_macs: the most multiply-adds that there is time for; None where time has no end.
    """
    known = {candidate.proposal.hash: trial for trial, candidate in candidates.items()}
    look = _Look(proposer, budget, candidates, known, max(candidates, default=-1) + 1, [], most_macs)
    proposal = _climb(look) or _aim(look) or _ask(look) or _draw(look)
    if proposal is not None:
        return Found(proposal, tuple(look.passed))
    limits = f"{budget:,} parameters" + (f" and {most_macs:,} multiply-adds" if most_macs is not None else "")
    return Found(None, tuple(look.passed), f"none of {DRAWS:,} further draws was a new network of at most {limits}")


def is_aimed(trial: int) -> bool:
    """Return whether a network of that number is aimed at a size, unless it is of the ladder."""
    return trial % AIM_EVERY == 0


def tell_repeat(proposer: Proposer, trial: Trial, candidate: Candidate) -> None:
    """Tell the sampler again what it could have known."""
    if candidate.first is None:
        sampler.forget(proposer.index, trial)
    else:
        sampler.tell(proposer.index, trial, outcome(candidate, proposer.config.threshold_pct))


def violation(space: SearchSpace, analysis: Analysis, budget: int, most_macs: int | None = None) -> float:
    """Return what a network breaks its limits by, as a sum of shares of the limits."""
    shares = [max(0, analysis.parameters - budget) / budget]
    if most_macs is not None:
        shares.append(max(0, analysis.macs - most_macs) / max(1, most_macs))
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
            return _entered(look, found, judgement, "ladder")
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
            return _proposal(look.number, found, judgement, proposer.config.sampler)
    return None


def _aim(look: _Look) -> Proposal | None:
    """Draw networks below the smallest that has passed once, and take the most promising one.

    One lucky pass aims too low for a while, but rules nothing out; the budget falls on fresh seeds alone.
    """
    if not is_aimed(look.number):
        return None
    config = look.proposer.config
    trained = [candidate for candidate in look.candidates.values() if candidate.first is not None]
    passed = [
        candidate.proposal.parameters - 1
        for candidate in trained
        if passed_first(candidate, config.threshold_pct) and not refuted(candidate, config.threshold_pct)
    ]
    below = replace(look, budget=min([look.budget, *passed]))
    rng = sampler.generator(look.proposer.index)
    found = list(itertools.islice(_accepted(below, rng), AIM_DRAWS))
    if not found:
        return None
    belief = fitted([observed for candidate in trained for observed in _observed(candidate, config)])
    networks = [
        (features(drawn.architecture, judgement.analysis), judgement.analysis.parameters)
        for drawn, judgement in found
        if judgement.analysis is not None
    ]
    most_errors = (1 - config.threshold_pct / 100) * dataset(config.dataset).validation_size
    drawn, judgement = found[best(belief, networks, below.budget, most_errors, rng)]
    return _entered(look, drawn, judgement, "aim")


def _observed(candidate: Candidate, config: StudyConfig) -> list[tuple[tuple[float, ...], float]]:
    """Return what a trained network teaches the model: its features and its errors; nothing where it failed."""
    errors = expected_errors(candidate, config.recipe.epochs)
    if errors is None:
        return []
    architecture = parse_network(candidate.proposal.architecture)
    return [(features(architecture, analyse(architecture)), errors)]


def _accepted(look: _Look, rng: random.Random) -> Iterator[tuple[Draw, Judgement]]:
    """Yield new networks within the limits from ``DRAWS`` uniform draws."""
    for _ in range(DRAWS):
        found = draw(look.proposer.space, Uniform(rng))
        judgement = look.judge(found)
        if judgement.accepted and found.architecture.hash not in look.known:
            yield found, judgement


def _draw(look: _Look) -> Proposal | None:
    """Draw uniformly until there is a new network within the budget, where the sampler found none."""
    for found, judgement in _accepted(look, sampler.generator(look.proposer.index)):
        return _entered(look, found, judgement, "draw")
    return None


def _reject(look: _Look, trial: Trial, found: Draw, judgement: Judgement, *, lesson: bool) -> Rejection:
    rejection = _rejection(found, judgement, "sampler")
    if judgement.analysis is None or not lesson:
        sampler.forget(look.proposer.index, trial)
        return rejection
    broken = violation(look.proposer.space, judgement.analysis, look.budget, look.most_macs)
    sampler.reject(look.proposer.index, trial, judgement.analysis.parameters, broken)
    return replace(rejection, violation=broken, indices=found.indices)


def _rejection(found: Draw, judgement: Judgement, origin: str) -> Rejection:
    size = judgement.analysis.parameters if judgement.analysis else None
    return Rejection(str(judgement.reason), size, found.architecture.hash, origin)


def _entered(look: _Look, found: Draw, judgement: Judgement, origin: str) -> Proposal:
    proposal = _proposal(look.number, found, judgement, origin)
    look.proposer.enter(proposal)
    return proposal


def _proposal(number: int, found: Draw, judgement: Judgement, origin: str) -> Proposal:
    assert judgement.analysis is not None, "an accepted network has been analysed"
    return Proposal(
        trial=number,
        architecture=str(found.architecture),
        hash=found.architecture.hash,
        parameters=judgement.analysis.parameters,
        origin=origin,
        decisions=tuple(Decision(*decision) for decision in found.decisions),
    )


def _middle_first(count: int) -> list[int]:
    """Return 0 to count - 1, those in the middle first: 3, 2, 4, 1, 5, 0, 6."""
    return sorted(range(count), key=lambda step: (abs(2 * step - (count - 1)), step))
