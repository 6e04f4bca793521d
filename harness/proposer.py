"""Which network is trained next: first a ladder of sizes, then what the sampler proposes below the budget."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness import sampler
from harness.race import Candidate, Outcome, outcome
from harness.result import Decision
from harness.sampler import Index, Trial
from harness.study import Proposal, StudyConfig
from search_spaces.draw import Draw, draw_uniform
from search_spaces.errors import DrawError
from search_spaces.judge import judge
from search_spaces.space import SearchSpace

LADDER_STEPS = 7
LADDER_DRAWS = 300
# Rejected proposals in a row after which a network is drawn below the budget instead.
ASKS = 40
# Rejections the sampler is told about, a proposal; more would only slow it down.
LESSONS = 10
DRAWS = 20_000


class Exhausted(Exception):
    """Raise when no further network below the budget is found."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A proposal that was rejected before anything was built."""

    reason: str
    parameters: int | None
    hash: str
    origin: str


@dataclass(frozen=True, slots=True)
class Found:
    """A proposal to train, with what was rejected and repeated on the way to it."""

    proposal: Proposal
    rejections: tuple[Rejection, ...]
    repeats: tuple[int, ...]


@dataclass(slots=True)
class Proposer:
    """The sampler's study, and the ladder."""

    space: SearchSpace
    config: StudyConfig
    index: Index
    ladder: list[Draw]
    running: dict[int, Trial] = field(default_factory=dict)

    @classmethod
    def new(cls, space: SearchSpace, config: StudyConfig) -> Proposer:
        """Return a proposer at the beginning of a study."""
        return cls(
            space,
            config,
            sampler.new_index(config.sampler, config.seed),
            size_ladder(space, config.budget, random.Random(config.seed)),
        )

    def resume(self, proposal: Proposal) -> None:
        """Enter a proposal of an earlier session that is still to be trained."""
        self.running[proposal.trial] = sampler.resume(self.index, proposal.decisions)

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Tell the sampler what came of a proposal."""
        sampler.tell(self.index, self.running.pop(trial), outcome)


def size_ladder(space: SearchSpace, budget: int, rng: random.Random) -> list[Draw]:
    """Return networks of many draws whose sizes are spread evenly in the logarithm, the middle ones first.

    It brackets the size at which the target becomes reachable with a handful of runs, whatever the space's
    own distribution of sizes is.
    Empty when nothing can be drawn: the caller finds out when it proposes.
    """
    sized: dict[int, Draw] = {}
    try:
        for _ in range(LADDER_DRAWS):
            found = draw_uniform(space, rng, budget, attempts=DRAWS)
            analysis = judge(space, found.architecture, budget).analysis
            assert analysis is not None, "an accepted network has been analysed"
            sized.setdefault(analysis.parameters, found)
    except DrawError:
        return []
    low, high = math.log(min(sized)), math.log(max(sized))
    rungs: dict[int, Draw] = {}
    for step in _middle_first(LADDER_STEPS):
        wanted = low + (high - low) * step / (LADDER_STEPS - 1)
        nearest = min(sized, key=lambda size: abs(math.log(size) - wanted))
        rungs.setdefault(nearest, sized[nearest])
    return list(rungs.values())


def propose(proposer: Proposer, budget: int, candidates: Mapping[int, Candidate]) -> Found:
    """Return the next network to train, of at most ``budget`` parameters and not proposed before.

    Raises:
        Exhausted: the space has no further network below the budget, or none was found.
    """
    known = {candidate.proposal.hash: trial for trial, candidate in candidates.items()}
    number = max(candidates, default=-1) + 1
    rejections: list[Rejection] = []
    repeats: list[int] = []
    while proposer.ladder:
        found = proposer.ladder.pop(0)
        if found.architecture.hash not in known and _size(proposer, found, budget) is not None:
            proposer.running[number] = sampler.impose(proposer.index, found)
            return Found(_proposal(number, found, "ladder", proposer, budget), (), ())
    for asked in range(ASKS):
        trial, found = sampler.ask(proposer.index, proposer.space)
        judgement = judge(proposer.space, found.architecture, budget)
        if judgement.reason is not None:
            parameters = judgement.analysis.parameters if judgement.analysis else None
            rejections.append(Rejection(judgement.reason, parameters, found.architecture.hash, "sampler"))
            if asked < LESSONS and parameters is not None:
                sampler.reject(proposer.index, trial, (parameters - budget) / budget)
            else:
                sampler.forget(proposer.index, trial)
        elif found.architecture.hash in known:
            repeats.append(known[found.architecture.hash])
            _tell_repeat(proposer, trial, candidates[repeats[-1]])
        else:
            proposer.running[number] = trial
            proposal = _proposal(number, found, proposer.config.sampler, proposer, budget)
            return Found(proposal, tuple(rejections), tuple(repeats))
    found = _drawn(proposer, budget, known)
    proposer.running[number] = sampler.impose(proposer.index, found)
    return Found(_proposal(number, found, "draw", proposer, budget), tuple(rejections), tuple(repeats))


def _tell_repeat(proposer: Proposer, trial: Trial, candidate: Candidate) -> None:
    """Tell the sampler again what it could have known."""
    if candidate.first is None:
        sampler.forget(proposer.index, trial)
    else:
        sampler.tell(proposer.index, trial, outcome(candidate, proposer.config.threshold_pct))


def _drawn(proposer: Proposer, budget: int, known: Mapping[str, int]) -> Draw:
    """Return a uniform draw below the budget that is not known, where the sampler found none."""
    rng = sampler.generator(proposer.index)
    for _ in range(ASKS):
        try:
            found = draw_uniform(proposer.space, rng, budget, attempts=DRAWS)
        except DrawError as error:
            raise Exhausted(error.message) from error
        if found.architecture.hash not in known:
            return found
    raise Exhausted(f"the networks of at most {budget:,} parameters that were drawn are all known")


def _proposal(number: int, found: Draw, origin: str, proposer: Proposer, budget: int) -> Proposal:
    size = _size(proposer, found, budget)
    assert size is not None, "only accepted networks are proposed"
    return Proposal(
        trial=number,
        architecture=str(found.architecture),
        hash=found.architecture.hash,
        parameters=size,
        origin=origin,
        decisions=tuple(Decision(*decision) for decision in found.decisions),
    )


def _size(proposer: Proposer, found: Draw, budget: int) -> int | None:
    judgement = judge(proposer.space, found.architecture, budget)
    return judgement.analysis.parameters if judgement.accepted and judgement.analysis else None


def _middle_first(count: int) -> list[int]:
    """Return 0 to count - 1, those in the middle first: 3, 2, 4, 1, 5, 0, 6."""
    return sorted(range(count), key=lambda step: (abs(2 * step - (count - 1)), step))
