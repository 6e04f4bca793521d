"""What has happened to a study, and what follows from it: the only reader of events.

The search, pages, the mirror and the leaderboard look things up here and derive nothing of their own.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from harness.studies.candidate import (
    CONFIRM_SEEDS,
    TRANSITIONS,
    Candidate,
    NearestMiss,
    NetworkState,
    Step,
    combined_cost,
    costs_of,
    final_order,
    nearest_miss,
    objective_of,
)
from harness.studies.config import StudyConfig
from harness.studies.events import (
    Confirmed,
    Entry,
    Event,
    FailedConfirmation,
    Looked,
    Proposal,
    Rejected,
    Repeated,
    RunEnded,
    Verified,
    WinnerChosen,
)
from harness.training.result import Purpose, Result, Status

_E = TypeVar("_E", bound=Event)
# Errors at the end per error at a rung, of the runs that went to their end, the least first; by length and rung.
Ratios = dict[tuple[int, int], list[float]]
_FIRST_RUN_STEPS = {Status.COMPLETE: Step.COMPLETED, Status.PRUNED: Step.PRUNED}
# A network that falls and another one that takes its place are noted within this time.
_AT_ONCE_SECONDS = 1.0


class Decision(NamedTuple):
    """What fresh seeds have decided about a network.

    Attributes:
        was_confirmed: it was confirmed before.
        limit: the most that the next network may cost from then on.
    """

    elapsed: float
    hash: str
    trial: int
    cost: int
    state: NetworkState
    fresh_seeds: int
    was_confirmed: bool
    limit: int


class StudyState:
    """What has happened to a study.

    Attributes:
        folder: where the study is kept; nothing is read or written here.
        entries: its events with their times, oldest first.
        seconds: that it had been worked on at its last event, all sessions together.
        proposals: networks that were chosen for training, by trial; ``candidates`` are these with their runs.
        rejected: networks that were rejected before anything was built, by reason: a sampler's proposals, and networks
            that the surrogate would have chosen among; ``repeated`` counts proposals of known networks.
        ended: the runs that have ended, by trial, purpose and seed.
        trained: first runs that have ended with an accuracy.
        ratios: errors at the end per error at a rung, of its runs that went to their end.
        contenders: candidates that are contenders and have not missed on test. Each event asks about these alone: of
            thousands of networks nearly all are none.
        standing: the network of the lowest cost that stands.
        confirmations: the trial that the log named last as the confirmed one, unless that was taken back; all of them
            with two costs.
        decisions: what fresh seeds have decided, oldest first; ``last_decisions`` has the last one on each network
            by its hash.
        network_states: how far each network got, by its hash; one is the winner at most.
        verdicts: what came of each winner that was verified, by trial, in the order of the winners.
    """

    def __init__(
        self, folder: Path, config: StudyConfig, *, confirm_seeds: int = CONFIRM_SEEDS, counts_repeats: bool = True
    ) -> None:
        """Begin with nothing.

        Args:
            confirm_seeds: fresh seeds that a network stands on at the least.
            counts_repeats: a proposal of a known network counts for it.
        """
        self.folder = folder
        self.config = config
        self.entries: list[Entry[Event]] = []
        self.seconds = 0.0
        self.proposals: dict[int, Proposal] = {}
        self.candidates: dict[int, Candidate] = {}
        self.rejected: Counter[str] = Counter()
        self.repeated = 0
        self.ended: dict[tuple[int, Purpose, int], Entry[RunEnded]] = {}
        self.trained = 0
        self.ratios: Ratios = {}
        self.contenders: dict[int, Candidate] = {}
        self.standing: Candidate | None = None
        self.confirmations: list[int] = []
        self.decisions: list[Decision] = []
        self.last_decisions: dict[str, Decision] = {}
        self.network_states: dict[str, NetworkState] = {}
        self.verdicts: dict[int, Verified] = {}
        self._confirm_seeds = confirm_seeds
        self._counts_repeats = counts_repeats
        self._winner: int | None = None
        # The hash of the network that set the limit; empty where none does.
        self._lowest = ""

    def apply(self, entry: Entry[Event]) -> None:
        """Take in what has happened; nothing else changes the state."""
        self.entries.append(entry)
        self.seconds = max(self.seconds, entry.elapsed)
        match event := entry.event:
            case Rejected():
                self.rejected[event.reason] += 1
            case Looked():
                self.rejected.update(event.rejected)
            case Proposal():
                self._propose(event)
            case Repeated():
                self._repeat(event)
            case RunEnded(run=run) if run.trial is not None:
                self.ended[run.trial, run.purpose, run.seed_index] = cast("Entry[RunEnded]", entry)
                if run.trial in self.candidates:
                    self._end_run(self.candidates[run.trial], run)
            case Confirmed():
                self._confirm(entry.elapsed, event)
            case FailedConfirmation():
                self._refute(entry.elapsed, event)
            case WinnerChosen():
                self._choose(entry.elapsed, event)
            case Verified() if self._winner is not None:
                self.verdicts[self._winner] = event
                self._drop_missed()
            case _:
                pass

    def _propose(self, proposal: Proposal) -> None:
        self.proposals[proposal.trial] = proposal
        costs = costs_of(proposal, self.config)
        candidate = Candidate(
            proposal,
            combined_cost(costs, objective_of(self.config)),
            confirm_seeds=self._confirm_seeds,
            threshold_pct=self.config.threshold_pct,
            costs=costs,
        )
        self.candidates[proposal.trial] = candidate
        self._sort(candidate)

    def _repeat(self, event: Repeated) -> None:
        self.repeated += 1
        if event.trial in self.candidates:
            candidate = self.candidates[event.trial]
            candidate.repeats += 1 if self._counts_repeats else 0
            self._sort(candidate)

    def _end_run(self, candidate: Candidate, run: Result) -> None:
        if run.purpose is Purpose.SEARCH:
            candidate.first = run
            self._step(candidate.proposal.hash, _FIRST_RUN_STEPS.get(run.status, Step.FAILED))
            self.trained += 1 if run.validation_errors is not None else 0
        elif run.purpose is Purpose.CONFIRM:
            candidate.fresh = sorted([*candidate.fresh, run], key=lambda other: other.seed_index)
        self._learn_ratios(run)
        self._sort(candidate)

    def _sort(self, candidate: Candidate) -> None:
        trial = candidate.proposal.trial
        if candidate.is_contender and trial not in self.missed:
            self.contenders[trial] = candidate
        else:
            self.contenders.pop(trial, None)
        self._stand()

    def _step(self, network_hash: str, step: Step) -> None:
        state = self.network_states.get(network_hash, NetworkState.UNFINISHED)
        self.network_states[network_hash] = TRANSITIONS.get((state, step), state)

    def _confirm(self, elapsed: float, event: Confirmed) -> None:
        others = self.confirmations if self.config.is_front else []
        self.confirmations = [*others, event.trial]
        self._lowest = event.hash
        limit = self._limit_to_replace(elapsed)
        self.decisions.append(self._decide(elapsed, event, Step.CONFIRMED, event.budget or limit))

    def _refute(self, elapsed: float, event: FailedConfirmation) -> None:
        self.confirmations = [trial for trial in self.confirmations if trial != event.trial]
        limit = self._limit
        if event.hash == self._lowest:
            self._lowest = ""
            limit = self.config.ceilings[0]
        self.decisions.append(self._decide(elapsed, event, Step.REFUTED, limit))

    def _choose(self, elapsed: float, event: WinnerChosen) -> None:
        self._winner = event.trial
        for network_hash in self.network_states.keys() - {event.hash}:
            self._step(network_hash, Step.REPLACED)
        self._decide(elapsed, event, Step.CHOSEN, self._limit)

    @property
    def _limit(self) -> int:
        return self.decisions[-1].limit if self.decisions else self.config.ceilings[0]

    def _limit_to_replace(self, elapsed: float) -> int:
        last = self.decisions[-1] if self.decisions else None
        if last is None or last.state is not NetworkState.REFUTED or elapsed - last.elapsed >= _AT_ONCE_SECONDS:
            return self._limit
        # Another network takes the place of the one that fell, so the limit was never that of the study.
        del self.decisions[-1]
        self.decisions.append(last._replace(limit=self._limit))
        return self._limit

    def _decide(
        self, elapsed: float, event: Confirmed | FailedConfirmation | WinnerChosen, step: Step, limit: int
    ) -> Decision:
        candidate = self.candidates.get(event.trial)
        cost = event.parameters if candidate is None else candidate.costs[0]
        was_confirmed = self.network_states.get(event.hash) is NetworkState.CONFIRMED
        self._step(event.hash, step)
        state = self.network_states[event.hash]
        seeds = event.validation_seeds or 0
        decision = Decision(elapsed, event.hash, event.trial, cost, state, seeds, was_confirmed, limit)
        self.last_decisions[event.hash] = decision
        return decision

    def _drop_missed(self) -> None:
        missed = self.missed
        self.confirmations = [trial for trial in self.confirmations if trial not in missed]
        for trial in missed & self.contenders.keys():
            del self.contenders[trial]
        self._stand()

    def _stand(self) -> None:
        self.standing = next(iter(final_order(self.contenders.values())), None)

    def _learn_ratios(self, run: Result) -> None:
        if run.status is not Status.COMPLETE or run.validation_errors is None:
            return
        epochs = run.recipe.epochs
        rungs = self.config.rungs_of(epochs)
        for look in run.history:
            if look.epoch in rungs and look.validation_errors:
                ratio = run.validation_errors / look.validation_errors
                insort(self.ratios.setdefault((epochs, look.epoch), []), ratio)

    @property
    def results(self) -> list[Result]:
        """All finished runs, in order of trial, purpose and seed."""
        return [self.ended[key].event.run for key in sorted(self.ended)]

    def of_kind(self, kind: type[_E]) -> list[Entry[_E]]:
        """Return the entries of one kind of event, oldest first."""
        return [cast("Entry[_E]", entry) for entry in self.entries if isinstance(entry.event, kind)]

    @property
    def missed(self) -> set[int]:
        """The trials whose verification has missed the target: they stand nowhere."""
        return {trial for trial, verdict in self.verdicts.items() if verdict.passed is False}

    @property
    def answer(self) -> Candidate | None:
        """The network that the study answers with: the smallest that met the target on test, else what stands."""
        passed = [self.candidates[trial] for trial, verdict in self.verdicts.items() if verdict.passed]
        return min(passed, key=lambda candidate: candidate.order, default=self.standing)

    @property
    def nearest(self) -> NearestMiss | None:
        """What came nearest to standing, while nothing stands."""
        return nearest_miss(self.candidates.values()) if self.standing is None else None
