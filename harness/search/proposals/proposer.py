"""Which network is trained next, and for how long.

The model of the errors (``surrogate``) chooses among many draws and their neighbours (``aim``, ``acquisition``); a
sampler that was asked for takes turns with it. Where no earlier training is known a ladder of sizes comes first.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.evidence.events import Proposal, Rejected, Repeated
from harness.evidence.study import StudyConfig
from harness.search.proposals import sampler
from harness.search.proposals.acquisition import Choice
from harness.search.proposals.aim import Aimed, aimed, length
from harness.search.proposals.enumeration import enumerated
from harness.search.proposals.estimate import Room
from harness.search.proposals.look import DRAWS, Look, accepted
from harness.search.proposals.proposing import Found
from harness.search.proposals.sampler import SURROGATE, Index, Trial
from harness.search.proposals.surrogate import Observation
from harness.search.proposals.switches import ALL_ON, Switches
from harness.search.race import (
    Candidate,
    Outcome,
    outcome,
)
from search_spaces.cost import Analysis
from search_spaces.spaces.draw import Draw, Uniform, draw
from search_spaces.spaces.judge import Judgement, judge, measured
from search_spaces.spaces.space import OBJECTIVES, Metric, SearchSpace

LADDER_STEPS = 7
LADDER_DRAWS = 300
# Rejected or known proposals in a row after which a network is drawn below the limit instead.
ASKS = 40
# With a sampler that was asked for every second network after the ladder is the model's.
AIM_EVERY = 2
# Rejections the sampler is told about, a proposal; more would only slow it down.
LESSONS = 10


@dataclass(slots=True)
class Proposer:
    """The sampler's study, the ladder, and what earlier trainings taught.

    Attributes:
        past: of the model's prior; other studies' trainings.
        ahead: what the model's last look has left for the next proposals, as long as the limit is ``ahead_limit``.
    """

    space: SearchSpace
    config: StudyConfig
    index: Index
    ladder: list[Draw]
    past: tuple[Observation, ...] = ()
    running: dict[int, Trial] = field(default_factory=dict)
    switches: Switches = ALL_ON
    ahead: list[Choice] = field(default_factory=list)
    ahead_limit: int = 0

    @classmethod
    def new(
        cls,
        space: SearchSpace,
        config: StudyConfig,
        switches: Switches = ALL_ON,
        past: Sequence[Observation] = (),
    ) -> Proposer:
        """Return a proposer at the beginning of a study."""
        has_ladder = switches.ladder and not past
        return cls(
            space,
            config,
            sampler.new_index(config.sampler, config.seed),
            size_ladder(space, config.bound, config.minimise, random.Random(config.seed)) if has_ladder else [],
            past=tuple(past),
            switches=switches,
        )

    def propose(self, limit: int, candidates: Mapping[int, Candidate], room: Room) -> Found:
        """Return the next network to train; see the function ``propose``."""
        return propose(self, limit, candidates, room)

    def enter(self, proposal: Proposal) -> None:
        """Enter a network to be trained that is not the sampler's own proposal of this session."""
        self.running[proposal.trial] = sampler.impose(self.index, proposal.decisions)

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Tell the sampler what came of a proposal."""
        sampler.tell(self.index, self.running.pop(trial), outcome)


def size_ladder(space: SearchSpace, limit: int, metric: Metric, rng: random.Random) -> list[Draw]:
    """Return networks of many draws whose costs are spread evenly in the logarithm, those above the middle first.

    It brackets the cost at which the target becomes reachable with a handful of runs, whatever the space's
    own distribution of costs is; as an answer comes before a small one, it begins with networks that rather reach.
    Empty when nothing can be drawn: the caller finds out when it proposes.
    """
    sized: dict[int, Draw] = {}
    accepted = 0
    for _ in range(DRAWS):
        found = draw(space, Uniform(rng))
        judgement = judge(space, found.architecture, limit, metric)
        if judgement.accepted and judgement.analysis is not None:
            sized.setdefault(measured(judgement.analysis, metric), found)
            accepted += 1
        if accepted == LADDER_DRAWS:
            break
    if not sized:
        return []
    low, high = math.log(min(sized)), math.log(max(sized))
    rungs: dict[int, Draw] = {}
    for step in _upper_middle_first(LADDER_STEPS):
        wanted = low + (high - low) * step / (LADDER_STEPS - 1)
        nearest = min(sized, key=lambda size: abs(math.log(size) - wanted))
        rungs.setdefault(nearest, sized[nearest])
    return list(rungs.values())


def propose(proposer: Proposer, limit: int, candidates: Mapping[int, Candidate], room: Room) -> Found:
    """Return the next network to train, of at most ``limit`` of what is minimised and not proposed before."""
    known = {candidate.proposal.hash: trial for trial, candidate in candidates.items()}
    taken = frozenset(
        (item.proposal.hash, item.proposal.epochs or proposer.config.recipe.epochs) for item in candidates.values()
    )
    number = max(candidates, default=-1) + 1
    look = Look(proposer.space, proposer.config, limit, candidates, known, taken, number, [], room)
    proposal = _climb(proposer, look) or _aim(proposer, look)
    # The model's word is the last one where no other sampler takes turns with it.
    hopeless = proposal if isinstance(proposal, Aimed) and proposer.config.sampler == SURROGATE else None
    if hopeless is None and not isinstance(proposal, Proposal):
        proposal = _ask(proposer, look) or _draw(proposer, look)
    if isinstance(proposal, Proposal):
        return Found(proposal, tuple(look.passed), rejected=look.rejected)
    return replace(_nothing(look, hopeless), passed=tuple(look.passed), rejected=look.rejected)


def _nothing(look: Look, aimed: Aimed | None) -> Found:
    """Return why there is no further network: none was found, there is no time, or the model has no hope."""
    if look.room.is_over():
        return Found(None, (), "the time was over before a further network was found", lacks_time=True)
    limits = f"at most {look.limit:,} {OBJECTIVES[look.config.minimise]}"
    if look.room.seconds is not None:
        limits += f" whose training takes at most {look.room.seconds:.0f} s, so that there is time to verify it"
    if aimed is not None and aimed.looked_at:
        why = f"of {aimed.looked_at:,} networks of {limits} none has a chance to reach the target"
        return Found(None, (), why, lacks_time=aimed.lacks_time)
    endless = replace(look, room=replace(look.room, seconds=None))
    lacks_time = look.room.seconds is not None and next(accepted(endless, random.Random(0)), None) is not None
    if enumerated(look.space) is not None:
        return Found(None, (), f"the space has no further network of {limits}", lacks_time)
    return Found(None, (), f"none of {DRAWS:,} further draws was a new network of {limits}", lacks_time)


def is_aimed(sampler_name: str, trial: int) -> bool:
    """Return whether a network of that number is the model's, unless it is of the ladder."""
    return sampler_name == SURROGATE or trial % AIM_EVERY == 0


def tell_repeat(proposer: Proposer, trial: Trial, candidate: Candidate) -> None:
    """Tell the sampler again what it could have known."""
    if candidate.first is None:
        sampler.forget(proposer.index, trial)
    else:
        sampler.tell(proposer.index, trial, outcome(candidate, proposer.config.threshold_pct))


def violation(space: SearchSpace, analysis: Analysis, limit: int, metric: Metric) -> float:
    """Return what a network breaks its limits by, as a sum of shares of the limits."""
    shares = [max(0, measured(analysis, metric) - limit) / limit]
    for condition in space.conditions:
        value = measured(analysis, condition.metric)
        if not condition.holds(value):
            # A strict condition is broken by its own bound.
            shares.append(max(1, abs(value - condition.bound)) / max(1, condition.bound))
    return math.fsum(shares)


def _climb(proposer: Proposer, look: Look) -> Proposal | None:
    """Take the next network of the ladder that is new and within the limit."""
    ladder = proposer.ladder
    while ladder:
        found = ladder.pop(0)
        if found.architecture.hash in look.known:
            continue
        judgement = look.judge(found)
        if judgement.accepted:
            return _entered(proposer, look, found, judgement, "ladder", length(look, proposer.past, found, judgement))
        look.passed.append(_rejection(found, judgement, "ladder"))
    return None


def _aim(proposer: Proposer, look: Look) -> Proposal | Aimed | None:
    """Take the model's choice, where it is its turn; where it has none, return what it says of that."""
    if not proposer.switches.aim or not is_aimed(proposer.config.sampler, look.number):
        return None
    # One question a proposal, whether its look was taken before or not: so they are counted after a stop.
    rng = sampler.generator(proposer.index)
    choice = _ahead(proposer, look)
    if choice is None:
        found = aimed(look, proposer.past, rng)
        if found.choice is None:
            return found
        choice, proposer.ahead, proposer.ahead_limit = found.choice, list(found.further), look.limit
    return _entered(proposer, look, choice.option.found, choice.option.judgement, "aim", choice)


def _ahead(proposer: Proposer, look: Look) -> Choice | None:
    """Return the next network that the last look has left and that is still new and in time.

    Once another network stands something else is worth most, so all of it is dropped.
    """
    if proposer.ahead_limit != look.limit:
        proposer.ahead.clear()
    while proposer.ahead:
        choice = proposer.ahead.pop(0)
        is_new = (choice.option.hash, choice.epochs) not in look.taken
        if is_new and look.room.has(choice.epochs, choice.option.work):
            return choice
    return None


def _ask(proposer: Proposer, look: Look) -> Proposal | None:
    """Ask the sampler until it proposes a new network within the limit, ``ASKS`` times at most."""
    limited = look.limited
    for asked in range(ASKS):
        trial, found = sampler.ask(proposer.index, limited, look.known)
        judgement = look.judge(found)
        if not judgement.accepted:
            look.passed.append(_reject(proposer, look, trial, found, judgement, lesson=asked < LESSONS))
        elif found.architecture.hash in look.known:
            repeat = Repeated(trial=look.known[found.architecture.hash], indices=found.indices)
            look.passed.append(repeat)
            tell_repeat(proposer, trial, look.candidates[repeat.trial])
        else:
            proposer.running[look.number] = trial
            choice = length(look, proposer.past, found, judgement)
            return _proposal(look, found, judgement, proposer.config.sampler, choice)
    return None


def _draw(proposer: Proposer, look: Look) -> Proposal | None:
    """Draw uniformly until there is a new network within the limit, where the sampler found none."""
    for found, judgement in accepted(look, sampler.generator(proposer.index)):
        return _entered(proposer, look, found, judgement, "draw", length(look, proposer.past, found, judgement))
    return None


def _reject(
    proposer: Proposer, look: Look, trial: Trial, found: Draw, judgement: Judgement, *, lesson: bool
) -> Rejected:
    rejection = _rejection(found, judgement, "sampler")
    if judgement.analysis is None or not lesson:
        sampler.forget(proposer.index, trial)
        return rejection
    metric = look.config.minimise
    broken = violation(proposer.space, judgement.analysis, look.limit, metric)
    sampler.reject(proposer.index, trial, measured(judgement.analysis, metric), broken)
    return replace(rejection, violation=broken, indices=found.indices)


def _rejection(found: Draw, judgement: Judgement, origin: str) -> Rejected:
    size = judgement.analysis.parameters if judgement.analysis else None
    return Rejected(reason=str(judgement.reason), parameters=size, hash=found.architecture.hash, origin=origin)


def _entered(
    proposer: Proposer, look: Look, found: Draw, judgement: Judgement, origin: str, choice: Choice | None
) -> Proposal:
    proposal = _proposal(look, found, judgement, origin, choice)
    proposer.enter(proposal)
    return proposal


def _proposal(look: Look, found: Draw, judgement: Judgement, origin: str, choice: Choice | None) -> Proposal:
    assert judgement.analysis is not None, "an accepted network has been analysed"
    return Proposal(
        trial=look.number,
        architecture=found.architecture,
        hash=found.architecture.hash,
        parameters=judgement.analysis.parameters,
        origin=origin,
        decisions=found.decisions,
        epochs=choice.epochs if choice else min(look.lengths),
        chance=choice.chance if choice else None,
    )


def _upper_middle_first(count: int) -> list[int]:
    """Return 0 to count - 1, those at two thirds first: of seven 4, 3, 5, 2, 6, 1, 0."""
    return sorted(range(count), key=lambda step: (abs(3 * step - 2 * (count - 1)), step))
