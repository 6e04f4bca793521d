"""The runtime state of a search: the state of its study, jobs, measured pace and remaining time.

A resumed search rebuilds the state from the log; only the fields that ``loop.py`` sets belong to a single session.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from harness.data.datasets import Dataset
from harness.evidence.bounds import VERIFIED_SEEDS
from harness.searching import scheduler, time_budget
from harness.searching.finder import Inquiry
from harness.searching.proposer import ALL_ON, Proposing, Switches
from harness.searching.scheduler import turn_at
from harness.searching.time_budget import CAUTION, Effort, TimeLeft, Timing
from harness.studies.candidate import (
    BASELINE,
    Candidate,
    combined_cost,
    confirm_seeds_of,
    confirmed_by_cost,
    confirmed_front,
    likeliest,
)
from harness.studies.events import EndReason, Entry, Event, Proposal, RunEnded
from harness.studies.log import StudyLog
from harness.studies.study_state import StudyState
from harness.system import statistics
from harness.training.executors.base import Executor
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job


@dataclass(frozen=True, slots=True)
class Moment:
    """A snapshot of a search, for observers.

    Attributes:
        state: State of the study, which keeps changing.
        jobs: Job of each worker; None for an idle worker.
        nodes: Cluster node of each job; an empty name on this machine.
    """

    elapsed: float
    state: StudyState
    incumbent: Candidate | None
    jobs: Sequence[Job | None]
    nodes: Sequence[str] = ()

    @property
    def running(self) -> int:
        """Number of workers with a job."""
        return sum(job is not None for job in self.jobs)


class Observer(Protocol):
    """Protocol of objects that watch a search."""

    def on_entry(self, state: StudyState, entry: Entry[Event]) -> None:
        """Handle a new log entry, already applied to the state."""

    def on_tick(self, moment: Moment) -> None:
        """Handle a snapshot, taken after each poll of the workers."""


@dataclass(eq=False, repr=False)
class Search:
    """A running search on a study.

    Attributes:
        log: None for a search in memory, which writes no files.
        executor: Also the clock of the search.
        observers: Receive each log entry and each snapshot.
        session_start: Start on the executor's clock, in seconds.
        is_hopeless: Pruning rule of an external method; None for the rule of ``scheduler.at_rung``.
        logs_forecast: Whether to log a forecast (``SearchForecast``) after the first networks.
        waiting: Jobs to continue after a rung, to resume or to retry.
        failures: Crashes or exceeded limits, by run (trial, purpose, index of the seed).
        interrupted: Whether the user has asked to stop.
        finished: Whether an earlier session ended with at least this effort, or no further verification is allowed.
        why_no_proposal: Reason why the proposer finds no network; empty otherwise.
        lacks_time: Whether more time might yield a proposal, if ``why_no_proposal`` is not empty.
    """

    state: StudyState
    effort: Effort
    executor: Executor
    proposer: Proposing
    _: KW_ONLY
    data: Dataset
    log: StudyLog | None
    observers: Sequence[Observer] = ()
    switches: Switches = ALL_ON
    is_hopeless: Callable[[Result], bool] | None = None
    planning_seconds: InitVar[float] = 0.0
    logs_forecast: bool = False
    failures: Counter[tuple[int | None, Purpose, int]] = field(default_factory=Counter, init=False)
    crashes_in_a_row: int = field(default=0, init=False)
    interrupted: bool = field(default=False, init=False)
    lacks_time: bool = field(default=False, init=False)
    why_no_proposal: str = field(default="", init=False)
    end_reason: EndReason | None = field(default=None, init=False)

    def __post_init__(self, planning_seconds: float) -> None:
        """Resume from the state; unfinished runs wait, and ``planning_seconds`` count as time of this session."""
        self.config = self.state.config
        self.folder = self.state.folder
        self.session_start = self.executor.now() - planning_seconds
        self.earlier_seconds = self.state.seconds
        pace = time_budget.pace_of(self.effort.engine, self.effort.device).of_recipe(self.config.recipe)
        self.timing = Timing(self.data.train_size, pace)
        for entry in self.state.of_kind(RunEnded):
            self._add_timing(entry.event.run)
        candidates = self.state.candidates.values()
        self.turn = turn_at(self.config, len(candidates))
        self.waiting = [self.job(each, Purpose.SEARCH, 0) for each in candidates if each.first_run is None]
        self.finished = self.effort.is_spent(self.state) or not scheduler.may_look(self.state)

    def observe(self, observer: Observer) -> None:
        """Add an observer of the following entries and snapshots."""
        self.observers = (*self.observers, observer)

    def add(self, event: Event, elapsed: float | None = None) -> None:
        """Append an event to the log, apply it and inform the observers; ``elapsed`` is by default now."""
        seconds = self.elapsed if elapsed is None else elapsed
        entry = Entry(seconds, event, datetime.now(UTC).isoformat(timespec="seconds"))
        if self.log is not None:
            self.log.write_entry(entry)
        self.take(entry)
        for observer in self.observers:
            observer.on_entry(self.state, entry)

    def tick(self) -> None:
        """Send a snapshot of the search to the observers."""
        slots = self.executor.slots()
        jobs = [slot.job for slot in slots]
        nodes = [slot.node for slot in slots]
        moment = Moment(self.elapsed, self.state, self.state.incumbent, jobs, nodes)
        for observer in self.observers:
            observer.on_tick(moment)

    def take(self, entry: Entry[Event]) -> None:
        """Apply an entry of the log; a proposal starts the next turn, an ended run updates the timing."""
        self.state.apply(entry)
        if isinstance(entry.event, Proposal):
            self.turn = turn_at(self.config, len(self.state.candidates))
        if isinstance(entry.event, RunEnded):
            self._add_timing(entry.event.run)

    def _add_timing(self, run: Result) -> None:
        if run.trial in self.state.candidates:
            self.timing.add(run, time_budget.step_macs(run.architecture, self.data.task), run.node)

    @property
    def max_cost(self) -> int:
        """Largest allowed cost of the next proposal; falls with the lowest confirmed cost."""
        if not self.switches.falling_budget:
            return self.turn.limit
        front = confirmed_front(self.state.contenders.values())
        costs = [combined_cost(candidate.costs, self.turn.objective) for candidate in front]
        return min([self.turn.limit, *(cost - 1 for cost in costs)])

    def inquiry(self, max_cost: int) -> Inquiry:
        """Return the request for a network of at most the cost ``max_cost``."""
        state = self.state
        return Inquiry(max_cost, state.candidates, self.time_left(), self.turn.objective, state.missed_trials)

    # Jobs -----------------------------------------------------------------------------------------------------

    def job(self, candidate: Candidate, purpose: Purpose, seed_index: int) -> Job:
        """Return the first job of a run; a run with purpose SEARCH stops at every rung."""
        proposal = candidate.proposal
        recipe, recipe_name = self.config.recipe_of(proposal.epochs)
        # Baselines are cheap and serve as a comparison.
        has_rungs = purpose is Purpose.SEARCH and proposal.origin != BASELINE
        return Job(
            architecture=proposal.architecture,
            recipe=recipe,
            recipe_name=recipe_name,
            purpose=purpose,
            seed_index=seed_index,
            study_seed=self.config.run_seed,
            device=self.effort.device,
            engine=self.effort.engine,
            until_epoch=scheduler.next_rung(self.config, recipe.epochs, 0) if has_rungs else None,
            checkpoint=StudyLog(self.folder).checkpoint(proposal.trial, purpose, seed_index),
            study=self.folder.name,
            trial=proposal.trial,
            decisions=proposal.decisions,
        )

    @property
    def at_work(self) -> list[Job]:
        """Jobs in training."""
        return [slot.job for slot in self.executor.slots() if slot.job is not None]

    def free_index(self, candidate: Candidate) -> int:
        """Return the lowest index of a fresh seed that is neither finished nor in training."""
        key = (Purpose.CONFIRM, candidate.proposal.trial)
        used_indices = {run.seed_index for run in candidate.fresh_runs}
        used_indices |= {job.seed_index for job in self.at_work if (job.purpose, job.trial) == key}
        return next(index for index in itertools.count() if index not in used_indices)

    # Time -----------------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds of all sessions of the study."""
        return self.earlier_seconds + self.executor.now() - self.session_start

    @property
    def seconds_left(self) -> float:
        """Remaining seconds; infinite without a time limit."""
        return math.inf if self.effort.seconds is None else self.effort.seconds - self.elapsed

    @property
    def workers(self) -> int:
        """Number of workers now (cluster nodes come and go); before the start, the planned number."""
        return len(self.executor.slots()) or self.effort.workers

    def time_left(self) -> TimeLeft:
        """Return the time limits of the next training, whose network can still be confirmed and verified."""
        workers = self.workers
        factors = {family: self.timing.family_factor(family) for family in self.timing.families}
        time_left = TimeLeft(self.timing.images, self.timing.measured_pace, workers=workers, family_factors=factors)
        if self.effort.seconds is None:
            return time_left
        seconds_left = self.seconds_left
        closing_seconds = self.closing_seconds()
        spare = math.inf
        verify_seconds = [self.verify_seconds(candidate) for candidate in self._to_verify()]
        if verify_seconds:
            further_seconds = sum(verify_seconds[1:]) if self.config.is_front else min(verify_seconds[1:], default=0.0)
            spare = seconds_left - verify_seconds[0] - further_seconds
        return replace(
            time_left,
            longest_training=time_budget.longest_training(
                seconds_left, workers, self.timing.images, confirm_seeds_of(self.config)
            ),
            seconds_left=seconds_left,
            elapsed=self.elapsed,
            spare_seconds=spare,
            is_over=lambda: self.seconds_left <= closing_seconds,
        )

    def _to_verify(self) -> list[Candidate]:
        """Return the front, or the candidates by cost up to the first that passed; only candidates still in time."""
        if self.config.is_front:
            front = confirmed_front(self.state.contenders.values())
            candidates = [each for each in front if each.proposal.trial not in self.state.verdicts]
            return list(filter(self.is_in_time, candidates))
        candidates = []
        for candidate in confirmed_by_cost(self.state.contenders.values()):
            verdict = self.state.verdicts.get(candidate.proposal.trial)
            if verdict is None and self.is_in_time(candidate):
                candidates.append(candidate)
            elif verdict is not None and verdict.passed:
                break
        return candidates

    def closing_seconds(self) -> float:
        """Return the seconds reserved for verifying the smallest confirmed candidate, or a whole front.

        Without a confirmed candidate whose verification still fits, the seconds are for the first network of
        ``likeliest`` whose verification does.
        """
        if self.effort.seconds is None:
            return 0.0
        candidates = self._to_verify() or list(filter(self.is_in_time, self.likeliest()))
        count = len(candidates) if self.config.is_front else 1
        return sum(map(self.verify_seconds, candidates[:count]), 0.0)

    def likeliest(self) -> list[Candidate]:
        """Return candidates that may be verified without a confirmation, the likeliest to pass first.

        Empty for a front, and as soon as a verification has passed.
        """
        verdicts = self.state.verdicts
        if self.config.is_front or any(verdict.passed for verdict in verdicts.values()):
            return []
        candidates = [each for each in self.state.candidates.values() if each.proposal.trial not in verdicts]
        return likeliest(candidates, self.config.target_pct)

    def run_seconds(self, candidate: Candidate) -> float:
        """Return the seconds of a whole run at the present pace: the mean of complete runs, else an estimate."""
        seconds = [run.train_seconds for run in candidate.runs if run.status is Status.COMPLETE]
        if seconds:
            return statistics.mean(seconds) * self.timing.change_since(candidate.proposal.trial)
        proposal = candidate.proposal
        epochs = proposal.epochs or self.config.recipe.epochs
        factor = self.timing.family_factor(proposal.architecture.family)
        step_macs = time_budget.step_macs(proposal.architecture, self.data.task)
        return factor * self.timing.measured_pace.seconds(epochs, self.data.train_size, step_macs)

    def verify_seconds(self, candidate: Candidate, seeds: int = VERIFIED_SEEDS) -> float:
        """Return the seconds of verifying a candidate, with a safety margin."""
        return time_budget.verification_seconds(self.run_seconds(candidate), self.workers, self.timing.images, seeds)

    def least_verify_seconds(self, candidate: Candidate, seeds: int = VERIFIED_SEEDS) -> float:
        """Return ``verify_seconds`` without the margin: the least time left at which a verification may start."""
        return (self.verify_seconds(candidate, seeds) - time_budget.caution_seconds(self.timing.images)) / CAUTION

    def is_in_time(self, candidate: Candidate) -> bool:
        """Return whether a verification of all seeds may still start."""
        return self.least_verify_seconds(candidate) <= self.seconds_left

    def remaining_seconds(self, candidate: Candidate, seed_workers: int) -> float:
        """Return the seconds to confirm and verify a candidate with a safety margin; 0 without a time limit."""
        if self.effort.seconds is None:
            return 0.0
        seconds = self.run_seconds(candidate)
        missing_seeds = max(0, confirm_seeds_of(self.config) - len(candidate.fresh_runs))
        verify_seconds = time_budget.verification_seconds(seconds, self.workers, self.timing.images)
        return CAUTION * time_budget.rounds(missing_seeds, seed_workers) * seconds + verify_seconds
