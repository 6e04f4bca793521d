"""The proposer: chooses the next network to train and the number of epochs.

A search starts with the baselines. Without prior observations, a ladder of a few sizes follows, until a network passes
the first run; on few images, a ladder of short trainings follows if no prior observation is of the same data set. Then
the surrogate model chooses; a sampler requested by the user alternates with the surrogate model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harness.searching.acquisition import NetworkOption, ScoredOption
from harness.searching.baselines import baseline_epochs
from harness.searching.finder import DRAWS, MAX_ANSWERS, Finder, Inquiry, InquiryAnswer
from harness.searching.samplers import sampler_study, seeds_of
from harness.searching.scheduler import turn_at
from harness.searching.surrogate.model import NO_PRIOR, Prior
from harness.spaces.network import Analysis, Architecture, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space import Decision, Draw, SearchSpace, draw, judge, measured, replay, uniform
from harness.studies.candidate import BASELINE, SURROGATE, Candidate, objective_of
from harness.studies.config import StudyConfig
from harness.studies.events import Event, Proposal, Rejected, Repeated, RunEnded
from harness.training.result import Purpose, Result

if TYPE_CHECKING:
    from harness.searching.optuna_sampler import SamplerStudy, Trial

_LADDER_STEPS = 7  # networks of the ladder
# Without prior observations, the best of six lengths in replays (diary 164).
_COLD_LADDER_STEPS = 4
_LADDER_DRAWS = 300  # feasible draws from which these networks are chosen, of at most ``DRAWS`` draws
_SHORTER = "shorter"  # rule of a network that is trained again (``Candidate.shorter_epochs``)
_SURROGATE_EVERY = 2  # with a requested sampler, the surrogate model proposes the trials divisible by this number
_MAX_REPORTED = 10  # rejections per proposal; more would slow the sampler down


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Parts of a search that an ablation of the bench can switch off; without rungs, a study has no pruning."""

    # Networks of evenly spread sizes after the baselines.
    ladder: bool = True
    # Every second network if the user requested a sampler.
    surrogate: bool = True
    # Only networks that cost less than the cheapest confirmed network.
    falling_budget: bool = True
    # If False, the first run suffices.
    confirmation: bool = True
    # Another seed if the sampler proposes a known network that missed the threshold.
    repeats: bool = True


ALL_ON = Switches()


class Proposing(Protocol):
    """Protocol of objects that propose networks to a search."""

    def propose(self, inquiry: Inquiry) -> InquiryAnswer:
        """Return the next network to train."""

    def tell(self, candidate: Candidate) -> None:
        """Learn the first run of a proposed candidate, which has just ended."""


class Proposer:
    """Default proposer: baselines, ladder, surrogate model and sampler.

    Attributes:
        ladder: Networks that were not proposed yet.
        sampler_study: Stores the proposals of all origins; None if the surrogate model is the only sampler.
        running: Optuna trials of proposals without a result, by trial number of the search.
    """

    def __init__(
        self,
        space: SearchSpace,
        config: StudyConfig,
        switches: Switches = ALL_ON,
        prior: Prior = NO_PRIOR,
        baselines: Sequence[Architecture] = (),
        *,
        has_short_runs: bool = False,
    ) -> None:
        """Start without trials.

        ``has_short_runs``: a training of the fewest epochs takes about a second, so that a ladder of such trainings
        tells more about the data set than the transfer from different data sets.
        """
        self.space = space
        self.config = config
        self.switches = switches
        self.prior = prior
        self.seeds = seeds_of(config.seed)
        has_sampler = not switches.surrogate or config.sampler != SURROGATE
        self.sampler_study = sampler_study(config, self.seeds) if has_sampler else None
        self.running: dict[int, Trial] = {}
        self.baselines = [Draw(network, ()) for network in baselines]
        # Prior observations replace the ladder, except short trainings and the start networks of ``--from``.
        has_prior = prior != NO_PRIOR and not config.known
        self._has_short_ladder = has_short_runs and has_prior and not prior.is_settled
        skips_ladder = not switches.ladder or (has_prior and not self._has_short_ladder)
        self.ladder = [] if skips_ladder else _size_ladder(space, config)
        # Valid while the largest cost is unchanged.
        self._batch: list[ScoredOption] = []
        self._batch_max_cost = 0
        # Best networks of the latest ranking, from which the next starts.
        self._best_options: Sequence[NetworkOption] = ()

    def finder(self, inquiry: Inquiry) -> Finder:
        """Return a generator of candidates that starts from the best networks of the latest ranking."""
        return Finder(self.space, self.config, inquiry, self.prior, self._best_options)

    def propose(self, inquiry: Inquiry) -> InquiryAnswer:
        """Return the next network to train."""
        finder = self.finder(inquiry)
        self._shorten_ladder(inquiry.candidates.values())
        proposal = self._first_of(self.baselines, BASELINE, finder) or self._propose_shorter(finder)
        proposal = proposal or self._first_of(self.ladder, "ladder", finder)
        if proposal is None and self._is_for_surrogate(finder.trial):
            proposal = self._propose_by_surrogate(finder)
        # No random network replaces the networks that the surrogate model rejects.
        if proposal is None and self.sampler_study is not None:
            proposal = self._propose_by_sampler(self.sampler_study, finder)
        if proposal is not None:
            return InquiryAnswer(proposal, tuple(finder.rejected_proposals), rejected_draws=finder.rejected_draws)
        why, lacks_time = finder.why_nothing()
        return InquiryAnswer(None, tuple(finder.rejected_proposals), why, lacks_time, finder.rejected_draws)

    def _start(self, trial: int, decisions: tuple[Decision, ...]) -> None:
        if self.sampler_study is None:
            next(self.seeds)
        else:
            self.running[trial] = self.sampler_study.start_fixed_trial(decisions)

    def restore(self, events: Iterable[Event], candidates: Mapping[int, Candidate]) -> None:
        """Replay the events of a log into a new proposer; networks without a result count as running afterwards.

        The events must be replayed in order: NSGA-II derives the generation of a trial from the earlier trials. Each
        event must also use as many seeds as in the original search, since later seeds depend on the number of used
        seeds. Each of the following uses a seed:

        - a proposal of the surrogate model, or a proposal after a search by the surrogate model
        - an answer of the sampler, whether proposed, rejected or repeated
        - a uniform draw after the answers of the sampler
        - ``_start``, of every proposal that is not an answer of the sampler
        """
        rejected_hashes = set[str | None]()
        for event in events:
            match event:
                case Proposal():
                    if event.origin not in (_SHORTER, "ladder", BASELINE) and self._is_for_surrogate(event.trial):
                        next(self.seeds)
                    if event.origin == "draw":
                        next(self.seeds)
                    self._start(event.trial, event.decisions)
                case Rejected(origin="ladder" | "baseline"):  # ``BASELINE``; a pattern needs a literal
                    rejected_hashes.add(event.hash)
                case Repeated() | Rejected(origin="sampler") if self.sampler_study is not None:
                    self._restore_answer(self.sampler_study, event, candidates)
                case RunEnded(run=Result(purpose=Purpose.SEARCH, trial=int(trial))) if trial in self.running:
                    self.tell(candidates[trial])
                case _:
                    pass
        # ``_first_of`` skips the networks that were proposed.
        self.ladder = [network for network in self.ladder if network.architecture.hash not in rejected_hashes]
        self.baselines = [network for network in self.baselines if network.architecture.hash not in rejected_hashes]

    def _restore_answer(
        self, study: SamplerStudy, answer: Repeated | Rejected, candidates: Mapping[int, Candidate]
    ) -> None:
        if isinstance(answer, Rejected):
            is_ignored = answer.violation is None or answer.parameters is None
        else:
            is_ignored = answer.trial in self.running
        # The repeated network was in training, or the rejected network had no cost or came after ``_MAX_REPORTED``
        # rejections.
        if is_ignored:
            next(self.seeds)
            return
        # The log has all decisions, so the generator is never used.
        network = replay(self.space, answer.indices, uniform(random.Random(0)))
        trial = study.start_fixed_trial(network.decisions)
        match answer:
            case Repeated():
                study.tell(trial, candidates[answer.trial])
            case Rejected(violation=float(violation)):
                analysis = analyse(network.architecture, self.space.task, weight_bits=self.space.weight_bits)
                study.reject(trial, measured(analysis, objective_of(self.config)), violation)

    def _shorten_ladder(self, candidates: Iterable[Candidate]) -> None:
        """Empty the ladder of a search without a prior after ``_COLD_LADDER_STEPS`` networks, or if a network passed.

        The start networks of ``--from`` are all trained.
        """
        if self.prior != NO_PRIOR or self.config.known:
            return
        trainings = [each for each in candidates if each.proposal.origin not in (BASELINE, _SHORTER)]
        if len(trainings) >= _COLD_LADDER_STEPS or any(candidate.passed_first for candidate in trainings):
            self.ladder = []

    def _is_for_surrogate(self, trial: int) -> bool:
        is_turn = self.config.sampler == SURROGATE or trial % _SURROGATE_EVERY == 0
        return self.switches.surrogate and is_turn

    def tell(self, candidate: Candidate) -> None:
        """Report the result of a proposal to the sampler."""
        if self.sampler_study is not None:
            self.sampler_study.tell(self.running.pop(candidate.proposal.trial), candidate)

    def _propose_shorter(self, finder: Finder) -> Proposal | None:
        for candidate in finder.candidates.values():
            proposal = candidate.proposal
            epochs = candidate.shorter_epochs
            # A resumed search ends the run first.
            if epochs is None or candidate.first_run is None or (proposal.hash, epochs) in finder.proposed_pairs:
                continue
            option = finder.option_or_rejection(Draw(proposal.architecture, proposal.decisions))
            if isinstance(option, NetworkOption):
                self._start(finder.trial, proposal.decisions)
                return option.proposal(finder.trial, _SHORTER, epochs, proposal.chance)
        return None

    def _first_of(self, networks: list[Draw], rule: str, finder: Finder) -> Proposal | None:
        """Propose the first network that may be trained, and remove all networks up to this network."""
        while networks:
            network = networks.pop(0)
            if network.architecture.hash in finder.trials_by_hash:
                continue
            outcome = finder.option_or_rejection(network)
            if isinstance(outcome, NetworkOption):
                return self._registered(finder, outcome, rule)
            finder.note_rejected_proposal(network, outcome, rule)
        return None

    def _propose_by_surrogate(self, finder: Finder) -> Proposal | None:
        # Also for a choice of the latest batch, which ``restore`` cannot tell from a new choice.
        rng = random.Random(next(self.seeds))
        if self._batch_max_cost != finder.max_cost:
            self._batch = []
        while self._batch:
            choice = self._batch.pop(0)
            if (choice.option.hash, choice.epochs) not in finder.proposed_pairs and choice.is_timely(finder.time_left):
                return self._registered(finder, choice.option, SURROGATE, choice)
        choices = finder.choose_by_surrogate(rng)
        self._best_options = finder.best_options
        if not choices:
            return None
        first_choice, *later_choices = choices
        # The result of a single network may end the doubt.
        self._batch = [] if finder.is_in_doubt else later_choices
        self._batch_max_cost = finder.max_cost
        rule = "doubt" if finder.is_in_doubt else SURROGATE
        return self._registered(finder, first_choice.option, rule, first_choice)

    def _propose_by_sampler(self, study: SamplerStudy, finder: Finder) -> Proposal | None:
        """The sampler's proposal, else a feasible uniform draw; None if ``DRAWS`` draws have no new network."""
        limited_space = finder.limited_space
        for attempt in range(MAX_ANSWERS):
            trial, network = study.ask(limited_space, finder.trials_by_hash)
            outcome = finder.option_or_rejection(network)
            if isinstance(outcome, NetworkOption):
                if outcome.hash not in finder.trials_by_hash:
                    return self._registered(finder, outcome, self.config.sampler, optuna_trial=trial)
                candidate = finder.candidates[finder.trials_by_hash[outcome.hash]]
                repeat = Repeated(trial=candidate.proposal.trial, hash=outcome.hash, indices=network.indices)
                finder.rejected_proposals.append(repeat)
                study.tell(trial, candidate)
            elif outcome.analysis is None or attempt >= _MAX_REPORTED:
                study.forget(trial)
                finder.note_rejected_proposal(network, outcome, "sampler")
            else:
                violation = _violation(limited_space, outcome.analysis)
                # The objective of ``Candidate.cost``, so that all costs of the sampler are comparable.
                cost = measured(outcome.analysis, objective_of(self.config))
                study.reject(trial, cost, violation)
                finder.note_rejected_proposal(network, outcome, "sampler", violation=violation, indices=network.indices)
        option = next(finder.draw_options(random.Random(next(self.seeds))), None)
        return None if option is None else self._registered(finder, option, "draw")

    def _registered(
        self,
        finder: Finder,
        option: NetworkOption,
        rule: str,
        choice: ScoredOption | None = None,
        optuna_trial: Trial | None = None,
    ) -> Proposal:
        """Register a network as running and return the proposal.

        Args:
            choice: Number of epochs chosen by the surrogate model; None to decide here.
            optuna_trial: Trial in which the sampler proposed the network; None for other origins.
        """
        lengths = self.config.epoch_choices
        epochs = min(lengths)
        if rule == BASELINE:
            epochs = baseline_epochs(option, lengths, finder.time_left)
        elif choice is None and len(lengths) > 1 and not (rule == "ladder" and self._has_short_ladder):
            # The epochs with the highest acquisition value, else the fewest.
            acquisition = finder.acquisition()
            ranking = acquisition.ranked(acquisition.forecast([option]))
            choice = ranking.choices[0] if ranking.choices else None
        if optuna_trial is None:
            self._start(finder.trial, option.draw.decisions)
        else:
            self.running[finder.trial] = optuna_trial
        if choice is None:
            return option.proposal(finder.trial, rule, epochs)
        return option.proposal(finder.trial, rule, choice.epochs, choice.chance)


def _violation(space: SearchSpace, analysis: Analysis) -> float:
    violations = []
    for condition in space.conditions:
        value = measured(analysis, condition.metric)
        if not condition.holds(value):
            # A strict condition is violated at the bound, and a bound may be 0 or negative (a chip without room).
            violations.append(max(1, abs(value - condition.bound)) / max(1, condition.bound))
    return math.fsum(violations)


def _size_ladder(space: SearchSpace, config: StudyConfig) -> list[Draw]:
    """Return up to ``_LADDER_STEPS`` networks with costs evenly spaced on a log scale.

    The networks are chosen from random draws, or from the start networks of ``--from``. A handful of runs brackets the
    cost at which the target becomes reachable, for any distribution of costs in the space. The order is by distance
    from two thirds of the log range: an early answer matters more than a small answer, and these costs probably reach
    the target. Empty if no network is feasible.
    """
    rng = random.Random(config.seed)
    feasible_count = 0
    network_by_cost: dict[int, Draw] = {}
    first_turn = turn_at(config, trial=0)
    networks: Iterable[Draw] = (draw(space, uniform(rng)) for _ in range(DRAWS))
    if config.known:
        networks = (Draw(parse_network(text, space.task), ()) for text in config.known)
    for network in networks:
        feasibility = judge(space, network.architecture, first_turn.limit, first_turn.objective)
        if feasibility.analysis is not None and feasibility.accepted:
            network_by_cost.setdefault(measured(feasibility.analysis, first_turn.objective), network)
            feasible_count += 1
        if feasible_count == _LADDER_DRAWS:
            break
    if not network_by_cost:
        return []
    low = math.log(min(network_by_cost))
    high = math.log(max(network_by_cost))
    ladder: dict[int, Draw] = {}
    last = _LADDER_STEPS - 1
    for step in sorted(range(_LADDER_STEPS), key=lambda step: (abs(3 * step - 2 * last), step)):
        log_cost = low + (high - low) * step / last
        nearest = min(network_by_cost, key=lambda cost: abs(math.log(cost) - log_cost))
        ladder.setdefault(nearest, network_by_cost[nearest])
    return list(ladder.values())
