"""State of a study, folded from the events.

Only modules that show or repeat single events read the events: progress lines, curves of ``--log``, rows of the mirror,
and the replayed history of a sampler.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from harness.data.datasets import Dataset, dataset, task_or_mnist
from harness.studies import events
from harness.studies.candidate import (
    TRANSITIONS,
    Candidate,
    NearestMiss,
    NetworkState,
    combined_cost,
    confirm_seeds_of,
    confirmed_by_cost,
    confirmed_front,
    costs_of,
    nearest_miss,
    objective_of,
)
from harness.studies.config import StudyConfig
from harness.studies.events import Entry, Event
from harness.studies.standing import Outcome, Standing
from harness.training.result import Purpose, Result, Status

_E = TypeVar("_E", bound=Event)
# Final errors / errors at the rung of the complete runs, sorted, by (epochs of the training, rung).
Ratios = dict[tuple[int, int], list[float]]
# Any other status is a failure.
_STATE_AFTER_RUN = {
    Status.COMPLETE: NetworkState.TRAINED,
    Status.PRUNED: NetworkState.PRUNED,
    Status.SHORTENED: NetworkState.SHORTENED,
}
_STATE_OF_VERDICT = {True: NetworkState.MET, None: NetworkState.OPEN, False: NetworkState.MISSED}
# s; a confirmation within this time after a refutation belongs to the same ended run.
_REPLACEMENT_SECONDS = 1.0


class StudyVerdict(NamedTuple):
    """Verdict on a study, and the only network to which the verdict refers.

    Attributes:
        tier: Tier of the verification; before a verification CONFIRMED or SEARCHED; MISSED if the target is not
            reached; NONE without a verdict.
        network: The network, with the accuracy on fresh seeds; None if no network was confirmed or chosen.
    """

    outcome: Outcome
    tier: Standing
    network: events.WinnerChosen | None
    verdict: events.Verified | None


class StateDecision(NamedTuple):
    """A decision about a network: a confirmation or refutation by fresh seeds, or the choice of the winner.

    Attributes:
        elapsed: Working time on the study, seconds.
        max_cost: Largest value of the first minimised metric for further networks.
    """

    elapsed: float
    hash: str
    trial: int
    cost: int
    state: NetworkState
    fresh_seeds: int
    was_confirmed: bool
    max_cost: int


class StudyState:
    """State of a study after the events so far.

    Attributes:
        folder: This class neither reads nor writes files.
        entries: Events with times, oldest first.
        rejected: Networks rejected before the first training, by reason.
        ended_runs: Results by (trial, purpose, index of the seed).
        contenders: Candidates that are confirmed or due a further run and have not missed on test, by trial.
        confirmations: Trials that the log confirmed, and neither refuted nor found to miss the target since: only the
            last, or all if two costs are minimised.
        last_decisions: Last decision on each network, by hash.
        verdicts: Verification of each winner, by trial, in order.
    """

    def __init__(
        self, folder: Path, config: StudyConfig, *, confirm_seeds: int | None = None, counts_repeats: bool = True
    ) -> None:
        """Start without events.

        Args:
            confirm_seeds: Fewest fresh seeds before a network can be confirmed; None for ``confirm_seeds_of``.
            counts_repeats: Whether a repeated proposal earns the network a further fresh seed.
        """
        self.folder = folder
        self.config = config
        self.entries: list[Entry[Event]] = []
        self.seconds = 0.0
        self.session: Entry[events.SessionBegan] | Entry[events.SessionEnded] | None = None
        self.proposals: dict[int, events.Proposal] = {}
        self.candidates: dict[int, Candidate] = {}
        self.rejected: Counter[str] = Counter()
        self.repeat_count = 0
        self.ended_runs: dict[tuple[int, Purpose, int], Result] = {}
        self.ratios: Ratios = {}
        self.contenders: dict[int, Candidate] = {}
        self.incumbent: Candidate | None = None
        self.confirmations: list[int] = []
        self.decisions: list[StateDecision] = []
        self.last_decisions: dict[str, StateDecision] = {}
        self.network_states: dict[str, NetworkState] = {}
        self.verdicts: dict[int, events.Verified] = {}
        self._confirm_seeds = confirm_seeds_of(config) if confirm_seeds is None else confirm_seeds
        self._counts_repeats = counts_repeats
        self._classes = task_or_mnist(config.dataset).classes
        self._winners: list[events.WinnerChosen] = []  # last first
        self._has_chosen = False  # whether the last session has chosen a winner
        # Whose confirmation set the present largest cost; empty if there is none.
        self._limiting_hash = ""

    @cached_property
    def data(self) -> Dataset:
        """Data set of the study; raises the errors of ``dataset``."""
        return dataset(self.config.dataset)

    def apply(self, entry: Entry[Event]) -> None:
        """Apply an entry; no other method changes the state."""
        self.entries.append(entry)
        self.seconds = max(self.seconds, entry.elapsed)
        match event := entry.event:
            case events.SessionBegan() | events.SessionEnded():
                self.session = cast("Entry[events.SessionBegan] | Entry[events.SessionEnded]", entry)
                self._has_chosen &= isinstance(event, events.SessionEnded)
            case events.Rejected():
                self.rejected[event.reason] += 1
            case events.DrawsRejected():
                self.rejected.update(event.rejected)
            case events.Proposal():
                self._on_proposal(event)
            case events.Repeated():
                self._on_repeated(event)
            case events.RungReached(purpose=Purpose.SEARCH) if event.trial in self.proposals:
                self._advance_network(self.proposals[event.trial].hash, NetworkState.TRAINING)
                self.candidates[event.trial].shorter_epochs = event.shorter_epochs
            case events.RunEnded(run=run) if run.trial is not None:
                self.ended_runs[run.trial, run.purpose, run.seed_index] = run
                if run.trial in self.candidates:
                    self._on_run_ended(self.candidates[run.trial], run)
            case events.Confirmed():
                self._on_confirmed(entry.elapsed, event)
            case events.FailedConfirmation():
                self._on_refuted(entry.elapsed, event)
            case events.WinnerChosen():
                self._winners.insert(0, event)
                self._has_chosen = True
                self._record_decision(entry.elapsed, event, None, self._max_cost)
            case events.Verified() if self._winners:
                trial = self._winners[0].trial
                self.verdicts[trial] = event
                if trial in self.proposals:
                    self._advance_network(self.proposals[trial].hash, _STATE_OF_VERDICT[event.passed])
                self._drop_missed()
            case _:
                pass

    def _on_proposal(self, proposal: events.Proposal) -> None:
        self.proposals[proposal.trial] = proposal
        self.network_states.setdefault(proposal.hash, NetworkState.WAITING)
        costs = costs_of(proposal, self.config)
        candidate = Candidate(
            proposal,
            combined_cost(costs, objective_of(self.config)),
            confirm_seeds=self._confirm_seeds,
            threshold_pct=self.config.threshold_pct,
            costs=costs,
            classes=self._classes,
            groups=self.config.groups,
            cases_of_a_run=self.config.cases_of_a_run,
        )
        self.candidates[proposal.trial] = candidate
        self._update_contender(candidate)

    def _on_repeated(self, event: events.Repeated) -> None:
        self.repeat_count += 1
        candidate = self.candidates[event.trial]
        if self._counts_repeats:
            candidate.repeats += 1
        self._update_contender(candidate)

    def _on_run_ended(self, candidate: Candidate, run: Result) -> None:
        if run.purpose is Purpose.SEARCH:
            candidate.first_run = run
            self._advance_network(candidate.proposal.hash, _STATE_AFTER_RUN.get(run.status, NetworkState.FAILED))
        elif run.purpose is Purpose.CONFIRM:
            candidate.fresh_runs = sorted([*candidate.fresh_runs, run], key=lambda each: each.seed_index)
        self._learn_ratios(run)
        self._update_contender(candidate)

    def _update_contender(self, candidate: Candidate) -> None:
        trial = candidate.proposal.trial
        if candidate.is_contender and trial not in self.missed_trials:
            self.contenders[trial] = candidate
        else:
            self.contenders.pop(trial, None)
        self._update_incumbent()

    def _advance_network(self, network_hash: str, state: NetworkState) -> None:
        if self.network_states.get(network_hash, NetworkState.WAITING) in TRANSITIONS[state]:
            self.network_states[network_hash] = state

    def _on_confirmed(self, elapsed: float, event: events.Confirmed) -> None:
        confirmations = self.confirmations if self.config.is_front else []
        self.confirmations = [*confirmations, event.trial]
        self._limiting_hash = event.hash
        last = self.decisions[-1] if self.decisions else None
        if last is not None and last.state is NetworkState.REFUTED and elapsed - last.elapsed < _REPLACEMENT_SECONDS:
            # Replaced at once, so the largest cost stays as before the refutation.
            del self.decisions[-1]
            self.decisions.append(last._replace(max_cost=self._max_cost))
        max_cost = self._max_cost if event.budget is None else event.budget
        self.decisions.append(self._record_decision(elapsed, event, NetworkState.CONFIRMED, max_cost))

    def _on_refuted(self, elapsed: float, event: events.FailedConfirmation) -> None:
        self.confirmations = [trial for trial in self.confirmations if trial != event.trial]
        max_cost = self._max_cost
        if event.hash == self._limiting_hash:
            self._limiting_hash = ""
            max_cost = self.config.limits[0]
        self.decisions.append(self._record_decision(elapsed, event, NetworkState.REFUTED, max_cost))

    @property
    def _max_cost(self) -> int:
        return self.decisions[-1].max_cost if self.decisions else self.config.limits[0]

    def _record_decision(
        self,
        elapsed: float,
        event: events.Confirmed | events.FailedConfirmation | events.WinnerChosen,
        next_state: NetworkState | None,
        max_cost: int,
    ) -> StateDecision:
        candidate = self.candidates.get(event.trial)
        # Whatever the metric is.
        cost = event.parameters if candidate is None else candidate.costs[0]
        was_confirmed = self.network_states.get(event.hash) is NetworkState.CONFIRMED
        if next_state is not None:
            self._advance_network(event.hash, next_state)
        state = self.network_states.get(event.hash, NetworkState.WAITING)
        decision = StateDecision(
            elapsed, event.hash, event.trial, cost, state, event.validation_seeds, was_confirmed, max_cost
        )
        self.last_decisions[event.hash] = decision
        return decision

    def _drop_missed(self) -> None:
        missed_trials = self.missed_trials
        self.confirmations = [trial for trial in self.confirmations if trial not in missed_trials]
        for trial in missed_trials & self.contenders.keys():
            del self.contenders[trial]
        self._update_incumbent()

    def _update_incumbent(self) -> None:
        self.incumbent = next(iter(confirmed_by_cost(self.contenders.values())), None)

    def _learn_ratios(self, run: Result) -> None:
        if run.status is not Status.COMPLETE or run.validation_errors is None:
            return
        epochs = run.recipe.epochs
        rungs = self.config.rungs_of(epochs)
        for epoch in run.history:
            if epoch.epoch in rungs and epoch.validation_errors:
                ratio = run.validation_errors / epoch.validation_errors
                insort(self.ratios.setdefault((epochs, epoch.epoch), []), ratio)

    @property
    def results(self) -> list[Result]:
        """Results of all ended runs, by trial, purpose in alphabetical order, and seed."""
        return [self.ended_runs[key] for key in sorted(self.ended_runs)]

    def of_kind(self, kind: type[_E]) -> list[Entry[_E]]:
        """Return the entries of an event class, oldest first."""
        return [cast("Entry[_E]", entry) for entry in self.entries if isinstance(entry.event, kind)]

    @property
    def trained_count(self) -> int:
        """First runs with an accuracy; ``NetworkState.TRAINED`` excludes runs that ended at a rung."""
        first_runs = [candidate.first_run for candidate in self.candidates.values() if candidate.first_run]
        return sum(run.validation_errors is not None for run in first_runs)

    @property
    def is_over(self) -> bool:
        """Whether the last session has ended and was not interrupted."""
        event = None if self.session is None else self.session.event
        return isinstance(event, events.SessionEnded) and event.reason != events.EndReason.INTERRUPTED

    @property
    def proposal_count(self) -> int:
        """Number of all proposals: of networks to train, of rejected and of known networks."""
        return len(self.proposals) + self.rejected.total() + self.repeat_count

    @property
    def missed_trials(self) -> set[int]:
        """Trials whose verification has missed the target, and which cannot become the incumbent."""
        return {trial for trial, verdict in self.verdicts.items() if verdict.passed is False}

    @property
    def result(self) -> events.WinnerChosen | None:
        """The network of the study, with the accuracy on fresh seeds; None if no network was confirmed or chosen.

        The cheapest that met the target on the test images, else the winner of the last session, else the incumbent,
        else the winner chosen last; networks that missed the target come last.
        """
        winners = [winner for winner in self._winners if winner.trial in self.candidates]
        open_winners = [winner for winner in winners if winner.trial not in self.missed_trials]
        met = [
            each for trial, each in self.candidates.items() if trial in self.verdicts and self.verdicts[trial].passed
        ]
        best = min(met, key=lambda candidate: candidate.order, default=None)
        if best is None and not (self._has_chosen and open_winners):
            best = self.incumbent
        if best is not None:
            return events.WinnerChosen(**best.on_fresh_seeds)
        return next(iter(open_winners or winners), None)

    def standing(self, later: events.Verified | None = None) -> StudyVerdict:
        """Return the verdict on the study and its network.

        ``later`` is a verification by the records of the workspace, which may have further seeds; None for the log.
        """
        network = self.result
        if network is None:
            tier = Standing.MISSED if self.is_over else Standing.NONE
            return StudyVerdict(tier.outcome, tier, None, None)
        verdict = later or self.verdicts.get(network.trial)
        if verdict is None:
            tier = Standing.CONFIRMED if self.candidates[network.trial].is_confirmed else Standing.SEARCHED
            return StudyVerdict(tier.outcome, tier, network, None)
        tier = Standing.MISSED if verdict.passed is False else verdict.tier
        outcome = verdict.outcome(self.config.target_pct)
        if outcome is Outcome.NOT_REACHED and not self.is_over:
            outcome = Outcome.NOT_YET
        return StudyVerdict(outcome, tier, network, verdict)

    @property
    def front(self) -> list[Candidate]:
        """Pareto front of the confirmed candidates that have not missed on test."""
        return confirmed_front(each for trial, each in self.candidates.items() if trial not in self.missed_trials)

    @property
    def nearest(self) -> NearestMiss | None:
        """Unconfirmed candidate with the fewest errors (``nearest_miss``); None if there is an incumbent."""
        return nearest_miss(self.candidates.values()) if self.incumbent is None else None
