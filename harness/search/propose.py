"""Which network is trained next, and for how long.

The surrogate chooses among many draws and their neighbours (``choose``); a sampler that was asked for takes turns with
it. Where no earlier training is known a ladder of sizes comes first.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from harness.evidence.events import Proposal, Rejected, Repeated
from harness.evidence.study import StudyConfig
from harness.search import optuna_sampler
from harness.search.choose import Aimed, Choice, aimed, is_timely, length
from harness.search.clock import TimeLeft
from harness.search.optuna_sampler import SURROGATE, Index, Trial
from harness.search.proposal_step import DRAWS, ProposalStep, accepted, enumerated
from harness.search.race import Candidate, Outcome, outcome
from harness.search.surrogate import Observation
from search_spaces.cost import Analysis
from search_spaces.draw import Draw, Judgement, draw, judge, measured, uniform
from search_spaces.space import OBJECTIVES, Metric, SearchSpace

_LADDER_STEPS = 7
LADDER_DRAWS = 300
# Rejected or known proposals in a row after which a network is drawn below the ceiling instead.
ASKS = 40
# With a sampler that was asked for every second network after the ladder is the model's.
_AIM_EVERY = 2
# Rejections the sampler is told about, a proposal; more would only slow it down.
_LESSONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The parts that can be left out, each by itself. Rungs are left out by naming none.

    Attributes:
        ladder: begin with networks of evenly spread sizes.
        aim: networks after the ladder are those that a model of the errors thinks most of, or every second of them
            where another sampler takes turns with it.
        falling_budget: propose nothing as large as the smallest network that stands.
        confirmation: a network stands on fresh seeds; without it its first run suffices.
        repeats: a proposal of a known network that missed is a further seed of it; without it nothing follows.
    """

    ladder: bool = True
    aim: bool = True
    falling_budget: bool = True
    confirmation: bool = True
    repeats: bool = True


ALL_ON = Switches()


@dataclass(frozen=True, slots=True)
class Found:
    """A network to train, with what was rejected and repeated on the way to it.

    Attributes:
        proposal: None where no further network below the ceiling was found; ``why`` then says so.
        lacks_time: with more time there might be one.
        rejected: networks that were only looked at on the way and rejected, by reason.
    """

    proposal: Proposal | None
    passed: tuple[Rejected | Repeated, ...]
    why: str = ""
    lacks_time: bool = False
    rejected: Mapping[str, int] = field(default_factory=dict)


class Proposing(Protocol):
    """Whoever proposes networks to a search."""

    def propose(self, ceiling: int, candidates: Mapping[int, Candidate], time_left: TimeLeft) -> Found:
        """Return the next network to train, of at most ``ceiling`` of what is minimised and not proposed before."""
        ...

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Hear what came of a proposal."""
        ...


@dataclass(slots=True)
class Proposer:
    """The sampler's study, the ladder, and what earlier trainings taught.

    Attributes:
        past: of the model's prior; other studies' trainings.
        ahead: what the model's last look has left for the next proposals, as long as the ceiling is ``ahead_ceiling``.
    """

    space: SearchSpace
    config: StudyConfig
    index: Index
    ladder: list[Draw]
    past: tuple[Observation, ...] = ()
    running: dict[int, Trial] = field(default_factory=dict)
    switches: Switches = ALL_ON
    ahead: list[Choice] = field(default_factory=list)
    ahead_ceiling: int = 0

    @classmethod
    def new(
        cls, space: SearchSpace, config: StudyConfig, switches: Switches = ALL_ON, past: Sequence[Observation] = ()
    ) -> Proposer:
        """Return a proposer at the beginning of a study."""
        has_ladder = switches.ladder and not past
        return cls(
            space,
            config,
            optuna_sampler.new_index(config.sampler, config.seed),
            _size_ladder(space, config.ceiling, config.minimise, random.Random(config.seed)) if has_ladder else [],
            past=tuple(past),
            switches=switches,
        )

    def propose(self, ceiling: int, candidates: Mapping[int, Candidate], time_left: TimeLeft) -> Found:
        """Return the next network to train, of at most ``ceiling`` of what is minimised and not proposed before."""
        known = {candidate.proposal.hash: trial for trial, candidate in candidates.items()}
        taken = frozenset(
            (item.proposal.hash, item.proposal.epochs or self.config.recipe.epochs) for item in candidates.values()
        )
        number = max(candidates, default=-1) + 1
        step = ProposalStep(self.space, self.config, ceiling, candidates, known, taken, number, [], time_left)
        proposal = _climb(self, step) or _aim(self, step)
        # The model's word is the last one where no other sampler takes turns with it.
        hopeless = proposal if isinstance(proposal, Aimed) and self.config.sampler == SURROGATE else None
        if hopeless is None and not isinstance(proposal, Proposal):
            proposal = _ask(self, step) or _draw(self, step)
        if isinstance(proposal, Proposal):
            return Found(proposal, tuple(step.passed), rejected=step.rejected)
        why, lacks_time = _why_nothing(step, hopeless)
        return Found(None, tuple(step.passed), why, lacks_time, step.rejected)

    def enter(self, proposal: Proposal) -> None:
        """Enter a network to be trained that is not the sampler's own proposal of this session."""
        self.running[proposal.trial] = optuna_sampler.impose(self.index, proposal.decisions)

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Tell the sampler what came of a proposal."""
        optuna_sampler.tell(self.index, self.running.pop(trial), outcome)


def _size_ladder(space: SearchSpace, ceiling: int, metric: Metric, rng: random.Random) -> list[Draw]:
    """Return networks of many draws whose costs are spread evenly in the logarithm, those above the middle first.

    It brackets the cost at which the target becomes reachable with a handful of runs, whatever the space's
    own distribution of costs is; as an answer comes before a small one, it begins with networks that rather reach.
    Empty when nothing can be drawn: the caller finds out when it proposes.
    """
    sized: dict[int, Draw] = {}
    accepted = 0
    for _ in range(DRAWS):
        found = draw(space, uniform(rng))
        judgement = judge(space, found.architecture, ceiling, metric)
        if judgement.accepted and judgement.analysis is not None:
            sized.setdefault(measured(judgement.analysis, metric), found)
            accepted += 1
        if accepted == LADDER_DRAWS:
            break
    if not sized:
        return []
    low, high = math.log(min(sized)), math.log(max(sized))
    rungs: dict[int, Draw] = {}
    for step in _upper_middle_first(_LADDER_STEPS):
        wanted = low + (high - low) * step / (_LADDER_STEPS - 1)
        nearest = min(sized, key=lambda size: abs(math.log(size) - wanted))
        rungs.setdefault(nearest, sized[nearest])
    return list(rungs.values())


def _why_nothing(step: ProposalStep, aimed: Aimed | None) -> tuple[str, bool]:
    if step.time_left.is_over():
        return "the time was over before a further network was found", True
    limits, in_time = f"at most {step.ceiling:,} {OBJECTIVES[step.config.minimise]}", ""
    if step.time_left.seconds is not None:
        in_time = f" and at most {step.time_left.seconds:.0f} s of training, which leaves time for the verification"
    if aimed is not None and aimed.looked_at:
        networks = f"none of {aimed.looked_at:,} networks that were looked at has a chance to reach the target"
        return f"{networks}, with {limits}{in_time}", aimed.lacks_time
    endless = replace(step, time_left=replace(step.time_left, seconds=None))
    lacks_time = step.time_left.seconds is not None and next(accepted(endless, random.Random(0)), None) is not None
    # With endless time there is none either: then it is the conditions that stand in the way.
    limits += in_time if lacks_time else "".join(f" and {each}" for each in step.space.conditions)
    if enumerated(step.space) is not None:
        return f"the space has no further network with {limits}", lacks_time
    return f"none of {DRAWS:,} further draws was a new network with {limits}", lacks_time


def is_aimed(sampler_name: str, trial: int) -> bool:
    """Return whether a network of that number is the model's, unless it is of the ladder."""
    return sampler_name == SURROGATE or trial % _AIM_EVERY == 0


def tell_repeat(proposer: Proposer, trial: Trial, candidate: Candidate) -> None:
    """Tell the sampler again what it could have known."""
    if candidate.first is None:
        optuna_sampler.forget(proposer.index, trial)
    else:
        optuna_sampler.tell(proposer.index, trial, outcome(candidate, proposer.config.threshold_pct))


def violation(space: SearchSpace, analysis: Analysis) -> float:
    """Return what a network breaks the conditions of a space by, as a sum of shares of their bounds."""
    broken = ((measured(analysis, each.metric), each) for each in space.conditions)
    # A strict condition is broken by its own bound.
    return math.fsum(
        max(1, abs(value - each.bound)) / max(1, each.bound) for value, each in broken if not each.holds(value)
    )


def _climb(proposer: Proposer, step: ProposalStep) -> Proposal | None:
    while proposer.ladder:
        found = proposer.ladder.pop(0)
        if found.architecture.hash in step.known:
            continue
        judgement = step.judge(found)
        if judgement.accepted:
            return _entered(proposer, step, found, judgement, "ladder")
        step.passed.append(_rejection(step, found, judgement, "ladder"))
    return None


def _aim(proposer: Proposer, step: ProposalStep) -> Proposal | Aimed | None:
    if not proposer.switches.aim or not is_aimed(proposer.config.sampler, step.number):
        return None
    # One question a proposal, whether its look was taken before or not: so they are counted after a stop.
    rng = optuna_sampler.generator(proposer.index)
    choice = _ahead(proposer, step)
    if choice is None:
        found = aimed(step, proposer.past, rng)
        if found.choice is None:
            return found
        choice, proposer.ahead, proposer.ahead_ceiling = found.choice, list(found.further), step.ceiling
    return _entered(proposer, step, choice.option.found, choice.option.judgement, "aim", choice)


def _ahead(proposer: Proposer, step: ProposalStep) -> Choice | None:
    if proposer.ahead_ceiling != step.ceiling:
        proposer.ahead.clear()
    while proposer.ahead:
        choice = proposer.ahead.pop(0)
        is_new = (choice.option.hash, choice.epochs) not in step.taken
        if is_new and is_timely(choice, step.time_left):
            return choice
    return None


def _ask(proposer: Proposer, step: ProposalStep) -> Proposal | None:
    limited = step.limited
    for asked in range(ASKS):
        trial, found = optuna_sampler.ask(proposer.index, limited, step.known)
        judgement = step.judge(found)
        if not judgement.accepted:
            step.passed.append(_reject(proposer, step, trial, found, judgement, lesson=asked < _LESSONS))
        elif found.architecture.hash in step.known:
            known = step.candidates[step.known[found.architecture.hash]]
            repeat = Repeated(trial=known.proposal.trial, hash=known.proposal.hash, indices=found.indices)
            step.passed.append(repeat)
            tell_repeat(proposer, trial, known)
        else:
            proposer.running[step.number] = trial
            return _proposal(proposer, step, found, judgement, proposer.config.sampler)
    return None


def _draw(proposer: Proposer, step: ProposalStep) -> Proposal | None:
    for found, judgement in accepted(step, optuna_sampler.generator(proposer.index)):
        return _entered(proposer, step, found, judgement, "draw")
    return None


def _reject(
    proposer: Proposer, step: ProposalStep, trial: Trial, found: Draw, judgement: Judgement, *, lesson: bool
) -> Rejected:
    rejection = _rejection(step, found, judgement, "sampler")
    if judgement.analysis is None or not lesson:
        optuna_sampler.forget(proposer.index, trial)
        return rejection
    broken = violation(step.limited, judgement.analysis)
    optuna_sampler.reject(proposer.index, trial, measured(judgement.analysis, step.config.minimise), broken)
    return replace(rejection, violation=broken, indices=found.indices)


def _rejection(step: ProposalStep, found: Draw, judgement: Judgement, origin: str) -> Rejected:
    return Rejected(
        reason=str(judgement.reason),
        parameters=judgement.analysis.parameters if judgement.analysis else None,
        hash=found.architecture.hash,
        origin=origin,
        budget=step.ceiling,
    )


def _entered(
    proposer: Proposer, step: ProposalStep, found: Draw, judgement: Judgement, origin: str, choice: Choice | None = None
) -> Proposal:
    proposal = _proposal(proposer, step, found, judgement, origin, choice)
    proposer.enter(proposal)
    return proposal


def _proposal(
    proposer: Proposer, step: ProposalStep, found: Draw, judgement: Judgement, origin: str, choice: Choice | None = None
) -> Proposal:
    assert judgement.analysis is not None, "an accepted network has been analysed"
    choice = choice or length(step, proposer.past, found, judgement)
    return Proposal(
        trial=step.number,
        architecture=found.architecture,
        hash=found.architecture.hash,
        parameters=judgement.analysis.parameters,
        origin=origin,
        decisions=found.decisions,
        epochs=choice.epochs if choice else min(step.config.all_lengths),
        chance=choice.chance if choice else None,
    )


def _upper_middle_first(count: int) -> list[int]:
    return sorted(range(count), key=lambda step: (abs(3 * step - 2 * (count - 1)), step))
