"""Which network is trained next, and for how long.

The surrogate chooses among many draws and their neighbours, or all of a small space; a sampler that was asked for takes
turns with it. The floor comes first, networks that cost nothing; where no earlier training is known a ladder of sizes
follows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.searching.acquisition import Choice, Option
from harness.searching.finder import DRAWS, Finder, Inquiry
from harness.searching.floor import floor_epochs
from harness.searching.optuna_sampler import SURROGATE, Index, Trial
from harness.searching.surrogate.model import NO_PAST, Past
from harness.searching.turn import turn_of
from harness.studies.candidate import FLOOR, Candidate, objective_of
from harness.studies.config import StudyConfig
from harness.studies.events import Event, Proposal, Rejected, Repeated, RunEnded
from harness.training.result import Purpose, Result
from search_spaces.network import Analysis, Architecture, analyse
from search_spaces.notation import parse_network
from search_spaces.space import Draw, SearchSpace, draw, judge, measured, replay, uniform

_LADDER_STEPS = 7
_LADDER_DRAWS = 300
# Rejected or known proposals in a row after which a network is drawn below the ceiling instead.
ASKS = 40
# With a sampler that was asked for every second network after the ladder is the model's.
_AIM_EVERY = 2
# Rejections the sampler is told about, a proposal; more would only slow it down.
_LESSONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The parts that can be left out, each by itself. Rungs are left out by naming none."""

    # Begin with networks of evenly spread sizes.
    ladder: bool = True
    # Then networks are those that the surrogate thinks most of; every second of them where another sampler is named.
    aim: bool = True
    # Propose nothing as large as the smallest network that stands.
    falling_budget: bool = True
    # A network stands on fresh seeds; without it its first run suffices.
    confirmation: bool = True
    # A proposal of a known network that missed is a further seed of it.
    repeats: bool = True


ALL_ON = Switches()


@dataclass(frozen=True, slots=True)
class Answer:
    """A network to train, and the rejected and repeated proposals before it; without a network, ``why`` there is none.

    ``lacks_time``: more time might give one. ``unproposed_counts``: rejections of networks only looked at, by reason.
    """

    proposal: Proposal | None
    skipped_events: tuple[Rejected | Repeated, ...]
    why: str = ""
    lacks_time: bool = False
    unproposed_counts: Mapping[str, int] = field(default_factory=dict)


class Proposing(Protocol):
    """Whoever proposes networks to a search."""

    def propose(self, inquiry: Inquiry) -> Answer:
        """Return the next network to train."""
        ...

    def tell(self, candidate: Candidate) -> None:
        """Hear what came of a proposal."""
        ...


class Proposer:
    """The sampler's study, the ladder, and what earlier trainings taught.

    Attributes:
        floor: networks to begin with, which cost nothing to train.
        ladder: networks to go on with, of evenly spread sizes.
        running: the sampler's trials of networks that are trained, by trial.
    """

    def __init__(
        self,
        space: SearchSpace,
        config: StudyConfig,
        switches: Switches = ALL_ON,
        past: Past = NO_PAST,
        floor: Sequence[Architecture] = (),
    ) -> None:
        """Begin a study with a floor; ``past`` is what the surrogate learns from besides."""
        self.space = space
        self.config = config
        self.switches = switches
        self.past = past
        self.index = Index(config.sampler, config.seed)
        self.running: dict[int, Trial] = {}
        self.floor = [Draw(network, ()) for network in floor]
        is_lost = not switches.ladder or (past != NO_PAST and not config.known)
        self.ladder = [] if is_lost else _size_ladder(space, config)
        # Choices that the surrogate has made ahead for the next proposals, good as long as the ceiling is the same.
        self._ahead: list[Choice] = []
        self._ahead_ceiling = 0
        # The best networks of the latest look, where the next one begins.
        self._best_options: Sequence[Option] = ()

    def propose(self, inquiry: Inquiry) -> Answer:
        """Return the next network to train."""
        finder = Finder(self.space, self.config, inquiry, self.past, self._best_options)
        proposal = self._first_of(self.floor, FLOOR, finder) or self._first_of(self.ladder, "ladder", finder)
        if proposal is None and self.switches.aim and self._is_aimed(finder.trial):
            proposal = self._aim(finder)
        # The surrogate's word is the last one where no other sampler takes turns with it.
        if proposal is None and not (self.switches.aim and self.config.sampler == SURROGATE):
            proposal = self._ask(finder)
        if proposal is not None:
            return Answer(proposal, tuple(finder.refused_proposals), unproposed_counts=finder.refused_draws)
        why, lacks_time = finder.why_nothing()
        return Answer(None, tuple(finder.refused_proposals), why, lacks_time, finder.refused_draws)

    def enter(self, proposal: Proposal) -> None:
        """Enter a network to be trained that is not the sampler's own proposal of this session."""
        self.running[proposal.trial] = self.index.impose(proposal.decisions)

    def retell(self, events: Iterable[Event], candidates: Mapping[int, Candidate]) -> None:
        """Ask and tell what a log says, as a new proposer; networks without a result are running afterwards.

        One by one, in order: NSGA-II numbers the generation of a trial when it is asked for.
        """

        def imposed(indices: Mapping[str, int]) -> tuple[Draw, Trial]:
            again = replay(self.space, indices, uniform(random.Random(0)))
            return again, self.index.impose(again.decisions)

        taken = set[str | None]()
        for event in events:
            match event:
                case Proposal():
                    # Draws beside the sampler were questions of their own, an aim that found nothing included.
                    is_of_list = event.origin in ("ladder", FLOOR)
                    self.index.asked += not is_of_list and self._is_aimed(event.trial)
                    self.index.asked += event.origin == "draw"
                    self.enter(event)
                case Rejected(origin="ladder" | "floor"):
                    taken.add(event.hash)
                case Rejected(origin="sampler", violation=float(violation)) if event.parameters is not None:
                    again, trial = imposed(event.indices)
                    analysis = analyse(again.architecture, self.space.task)
                    self.index.reject(trial, measured(analysis, objective_of(self.config)), violation)
                case Repeated(trial=known) if known not in self.running:
                    self.index.tell(imposed(event.indices)[1], candidates[known])
                case Rejected(origin="sampler") | Repeated():
                    self.index.asked += 1
                case RunEnded(run=Result(purpose=Purpose.SEARCH, trial=int(trial))) if trial in self.running:
                    self.tell(candidates[trial])
                case _:
                    pass
        self.ladder = [network for network in self.ladder if network.architecture.hash not in taken]
        self.floor = [network for network in self.floor if network.architecture.hash not in taken]

    def _is_aimed(self, trial: int) -> bool:
        """Whether a network of that number is the surrogate's, unless it is of the floor or the ladder."""
        return self.config.sampler == SURROGATE or trial % _AIM_EVERY == 0

    def tell(self, candidate: Candidate) -> None:
        """Tell the sampler what came of a proposal."""
        self.index.tell(self.running.pop(candidate.proposal.trial), candidate)

    def _first_of(self, networks: list[Draw], origin: str, finder: Finder) -> Proposal | None:
        """Take networks from a list until one may be trained, and propose it; None when the list is used up."""
        while networks:
            network = networks.pop(0)
            if network.architecture.hash in finder.trials_by_hash:
                continue
            if isinstance(judged := finder.option_or_refusal(network), Option):
                return self._proposed(finder, judged, origin)
            finder.note_refused_proposal(network, judged, origin)
        return None

    def _aim(self, finder: Finder) -> Proposal | None:
        # A proposal takes a generator even if its choice was made ahead, so that they can be counted after a stop.
        rng = self.index.generator()
        if self._ahead_ceiling != finder.ceiling:
            self._ahead = []
        while self._ahead:
            choice = self._ahead.pop(0)
            if (choice.option.hash, choice.epochs) not in finder.taken and choice.is_timely(finder.time_left):
                return self._proposed(finder, choice.option, "aim", choice)
        choices = finder.choose_by_surrogate(rng)
        self._best_options = finder.best_options
        if not choices:
            return None
        # What is proposed in doubt is proposed alone: its result may end the doubt.
        self._ahead = [] if finder.doubts else choices[1:]
        self._ahead_ceiling = finder.ceiling
        return self._proposed(finder, choices[0].option, "doubt" if finder.doubts else "aim", choices[0])

    def _ask(self, finder: Finder) -> Proposal | None:
        """Return the sampler's proposal, or a draw where it has none that is new and may be trained."""
        limited_space = finder.limited_space
        for attempt in range(ASKS):
            trial, network = self.index.ask(limited_space, finder.trials_by_hash)
            outcome = finder.option_or_refusal(network)
            if isinstance(outcome, Option):
                if outcome.hash not in finder.trials_by_hash:
                    return self._proposed(finder, outcome, self.config.sampler, trial=trial)
                candidate = finder.candidates[finder.trials_by_hash[outcome.hash]]
                repeat = Repeated(trial=candidate.proposal.trial, hash=outcome.hash, indices=network.indices)
                finder.refused_proposals.append(repeat)
                self.index.tell(trial, candidate)
            elif outcome.analysis is None or attempt >= _LESSONS:
                self.index.forget(trial)
                finder.note_refused_proposal(network, outcome, "sampler")
            else:
                broken = _violation(limited_space, outcome.analysis)
                self.index.reject(trial, measured(outcome.analysis, finder.objective), broken)
                finder.note_refused_proposal(network, outcome, "sampler", violation=broken, indices=network.indices)
        option = next(finder.draw_options(self.index.generator()), None)
        return None if option is None else self._proposed(finder, option, "draw")

    def _proposed(
        self, finder: Finder, option: Option, origin: str, choice: Choice | None = None, trial: Trial | None = None
    ) -> Proposal:
        lengths = self.config.all_lengths
        epochs = min(lengths)
        if origin == FLOOR:
            epochs = floor_epochs(option.work, lengths, finder.time_left)
        elif choice is None and len(lengths) > 1:
            # For as long as the surrogate thinks most of.
            aim = finder.aim()
            choice = next(iter(aim.ranked(aim.forecast([option])).choices), None)
        self.running[finder.trial] = trial or self.index.impose(option.draw.decisions)
        return Proposal(
            trial=finder.trial,
            architecture=option.draw.architecture,
            hash=option.hash,
            parameters=option.analysis.parameters,
            origin=origin,
            decisions=option.draw.decisions,
            epochs=choice.epochs if choice else epochs,
            chance=choice.chance if choice else None,
        )


def _violation(space: SearchSpace, analysis: Analysis) -> float:
    """Return what a network breaks the conditions of a space by, as a sum of shares of their bounds."""
    broken = ((measured(analysis, each.metric), each) for each in space.conditions)
    # A strict condition is broken by its own bound.
    return math.fsum(
        max(1, abs(value - each.bound)) / max(1, each.bound) for value, each in broken if not each.holds(value)
    )


def _size_ladder(space: SearchSpace, config: StudyConfig) -> list[Draw]:
    """Return networks whose costs are spread evenly in the logarithm, those above the middle first.

    They are some of many draws, or of those that are known.

    It brackets the cost at which the target becomes reachable with a handful of runs, whatever the space's
    own distribution of costs is; as an answer comes before a small one, it begins with networks that rather reach.
    Empty when nothing can be drawn: the caller finds out when it proposes.
    """
    rng, accepted = random.Random(config.seed), 0
    sized: dict[int, Draw] = {}
    known = (Draw(parse_network(text, space.task), ()) for text in config.known)
    first = turn_of(config, 0)
    for network in known if config.known else (draw(space, uniform(rng)) for _ in range(DRAWS)):
        judgement = judge(space, network.architecture, first.ceiling, first.objective)
        if judgement.analysis is not None and judgement.accepted:
            sized.setdefault(measured(judgement.analysis, first.objective), network)
            accepted += 1
        if accepted == _LADDER_DRAWS:
            break
    if not sized:
        return []
    low, high = math.log(min(sized)), math.log(max(sized))
    rungs: dict[int, Draw] = {}
    last = _LADDER_STEPS - 1
    for step in sorted(range(_LADDER_STEPS), key=lambda step: (abs(3 * step - 2 * last), step)):
        wanted = low + (high - low) * step / last
        nearest = min(sized, key=lambda size: abs(math.log(size) - wanted))
        rungs.setdefault(nearest, sized[nearest])
    return list(rungs.values())
