"""A study in progress: what stands, what runs have taught, what there is time for.

All of it but the fields that a loop fills follows from the events, so a search that goes on has it from its log.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from harness.data.datasets import dataset
from harness.searching import clock, race
from harness.searching.clock import (
    CAUTION,
    CAUTION_SECONDS,
    LEAST_VERIFY_SEEDS,
    VERIFY_FACTOR,
    Effort,
    TimeLeft,
    rounds,
)
from harness.searching.proposer import ALL_ON, Proposing, Switches
from harness.searching.turn import turn_of
from harness.studies.candidate import CONFIRM_SEEDS, Candidate, combined_cost, final_order, standing_front
from harness.studies.config import StudyConfig
from harness.studies.events import Confirmed, Entry, Event, FailedConfirmation, Proposal, RunEnded
from harness.studies.log import StudyLog
from harness.studies.state import StudyState
from harness.system import statistics
from harness.system.files import TEACHERS
from harness.training.executor import Executor
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a search is.

    Attributes:
        elapsed: seconds of all its sessions.
        state: what has happened, which goes on changing; ``standing`` is what stands at this moment.
        jobs: what each worker trains, None for one that waits; ``nodes`` are the names of the nodes that they are on,
            empty on this machine.
    """

    elapsed: float
    state: StudyState
    standing: Candidate | None
    jobs: Sequence[Job | None]
    nodes: Sequence[str] = ()


class Watcher:
    """Sees a search go on, and says nothing."""

    def tick(self, at: Moment) -> None:
        """See where the search is, after each event."""

    def ended(self, candidate: Candidate, result: Result, decision: Confirmed | FailedConfirmation | None) -> None:
        """See how a run has ended, and what that has decided about its network."""


class Search:
    """A study that is worked on.

    Attributes:
        state: what has happened to the study; ``config`` is its configuration.
        log: where events are written; None for a search in memory.
        executor: who trains, and the clock of the search; ``began`` is when this session began on that clock, and
            ``before`` are the seconds of the earlier ones.
        is_hopeless: the rule of the rungs, asked for each run that reaches one; None for that of ``race``.
        switches: which parts of the search are at work.
        watcher: sees the search go on.
        timing: what its runs have taken.
        turn: what the next network is to have little of.
        waiting: jobs that go on at a rung or are run again; ``broken`` counts the workers that broke at a run, and
            ``crashed`` runs in a row that crashed for good.
        exhausted: why no further network is found; empty while there may be one; ``lacks_time`` if there might be one
            with more time.
        reason: why the search has ended; empty while it has not.
    """

    def __init__(
        self,
        config: StudyConfig,
        effort: Effort,
        executor: Executor,
        proposer: Proposing,
        *,
        folder: Path,
        in_memory: bool = False,
        switches: Switches = ALL_ON,
        is_hopeless: Callable[[Result], bool] | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            folder: of the study, which gives it its name; nothing is written there where the search is ``in_memory``.
        """
        self.config = config
        self.folder = folder
        self.log = None if in_memory else StudyLog(folder)
        self.state = StudyState(
            folder,
            config,
            confirm_seeds=CONFIRM_SEEDS if switches.confirmation else 0,
            counts_repeats=switches.repeats,
        )
        self.effort = effort
        self.executor = executor
        self.proposer = proposer
        self.watcher = Watcher()
        self.switches = switches
        self.is_hopeless = is_hopeless
        self.began = executor.now()
        self.before = 0.0
        data = dataset(config.dataset)
        self.timing = clock.Timing(data.train_size, clock.PACES[effort.engine].taught(config.recipe, data.task))
        self.turn = turn_of(config, 0)
        self.waiting: list[Job] = []
        self.broken: Counter[tuple[int | None, Purpose, int]] = Counter()
        self.crashed = 0
        self.interrupted = False
        self.finished = False
        self.lacks_time = False
        self.exhausted = ""
        self.reason = ""

    def take_up(self) -> Self:
        """Take in the log to go on with it; time counts from here."""
        if self.log is not None:
            self.log.take_up(self.state)
        self.turn = turn_of(self.config, len(self.state.candidates))
        for entry in self.state.of_kind(RunEnded):
            self._time(entry.event.run)
        self.began = self.executor.now()
        self.before = self.state.seconds
        return self

    def add(self, event: Event) -> None:
        """Append an event to the log, then apply it."""
        entry = Entry(self.elapsed, event, datetime.now(UTC).isoformat(timespec="seconds"))
        if self.log is not None:
            self.log.append(entry)
        self.take(entry)

    def take(self, entry: Entry[Event]) -> None:
        """Apply an event that is in the log, and learn from a run how long runs take; a proposal ends a turn."""
        self.state.apply(entry)
        if isinstance(entry.event, Proposal):
            self.turn = turn_of(self.config, len(self.state.candidates))
        if isinstance(entry.event, RunEnded):
            self._time(entry.event.run)

    def _time(self, run: Result) -> None:
        if run.trial in self.state.candidates:
            self.timing.add(run, clock.work(run.architecture, dataset(self.config.dataset).task), run.node)

    def moment(self) -> Moment:
        """Return where the search is."""
        slots = self.executor.places()
        return Moment(
            elapsed=self.elapsed,
            state=self.state,
            standing=self.state.standing,
            jobs=tuple(slot.job for slot in slots),
            nodes=tuple(slot.node for slot in slots),
        )

    @property
    def ceiling(self) -> int:
        """The most that the next network may cost in this turn."""
        if not self.switches.falling_budget:
            return self.turn.ceiling
        standing = standing_front(self.state.contenders.values())
        costs = [combined_cost(candidate.costs, self.turn.objective) for candidate in standing]
        return min([self.turn.ceiling, *(cost - 1 for cost in costs)])

    # Jobs -----------------------------------------------------------------------------------------------------

    def job(self, candidate: Candidate, purpose: Purpose, index: int) -> Job:
        """Return the job of one run of a network; the first run stops at every rung."""
        proposal = candidate.proposal
        recipe, recipe_name = self.config.recipe_of(proposal.epochs)
        is_first = purpose is Purpose.SEARCH
        return Job(
            architecture=proposal.architecture,
            recipe=recipe,
            recipe_name=recipe_name,
            purpose=purpose,
            seed_index=index,
            study_seed=self.config.run_seed,
            device=self.effort.device,
            engine=self.effort.engine,
            until_epoch=race.next_rung(self.config, recipe.epochs, 0) if is_first else None,
            checkpoint=self.checkpoint(proposal.trial, purpose, index),
            teachers=self.folder.parent / TEACHERS,
            study=self.folder.name,
            trial=proposal.trial,
            decisions=proposal.decisions,
        )

    @property
    def at_work(self) -> list[Job]:
        """What is being trained."""
        return [slot.job for slot in self.executor.places() if slot.job is not None]

    def checkpoint(self, trial: int, purpose: Purpose, seed_index: int) -> Path:
        """Return where an unfinished run keeps its state."""
        return StudyLog(self.folder).checkpoint(trial, purpose, seed_index)

    def free_index(self, candidate: Candidate) -> int:
        """Return the lowest fresh seed of a network that has neither been run nor is being run."""
        trial, used = candidate.proposal.trial, {run.seed_index for run in candidate.fresh}
        used |= {job.seed_index for job in self.at_work if (job.purpose, job.trial) == (Purpose.CONFIRM, trial)}
        return next(index for index in itertools.count() if index not in used)

    # Time -----------------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds that the study has been worked on, all sessions together."""
        return self.before + self.executor.now() - self.began

    @property
    def left(self) -> float:
        """Seconds left; infinite where there is no limit."""
        return float("inf") if self.effort.seconds is None else self.effort.seconds - self.elapsed

    @property
    def workers(self) -> int:
        """Networks that train at once; before any can, those planned. The nodes of a cluster come and go."""
        return len(self.executor.places()) or self.effort.workers

    def time_left(self) -> TimeLeft:
        """Return what there is time for: a training whose network can still be confirmed and verified."""
        images = self.timing.images
        pace = self.timing.measured_pace
        workers = self.workers
        if self.effort.seconds is None:
            return TimeLeft(images, pace, workers=workers)
        confirmed = CAUTION * (1 + rounds(CONFIRM_SEEDS, workers))
        verified = CAUTION * VERIFY_FACTOR * rounds(LEAST_VERIFY_SEEDS, workers)
        seconds = max(0.0, self.left - CAUTION_SECONDS) / (confirmed + verified)
        spare = float("inf")
        if waiting := self._to_verify():
            winner, *others = map(self.verify_seconds, waiting)
            spare = self.left - winner - (sum(others) if self.config.is_front else min(others, default=0.0))
        return TimeLeft(images, pace, seconds, self.left, workers, self.elapsed, spare, is_over=lambda: self.left <= 0)

    def _to_verify(self) -> list[Candidate]:
        waiting = []
        if self.config.is_front:
            return [
                candidate
                for candidate in standing_front(self.state.contenders.values())
                if candidate.proposal.trial not in self.state.verdicts
            ]
        for candidate in final_order(self.state.contenders.values()):
            verdict = self.state.verdicts.get(candidate.proposal.trial)
            if verdict is None:
                waiting.append(candidate)
            elif verdict.passed:
                break
        return waiting

    def closing_seconds(self) -> float:
        """Return the time that is kept for verifying the smallest network that stands, or all of a front."""
        waiting = [] if self.effort.seconds is None else self._to_verify()
        return sum(map(self.verify_seconds, waiting[: None if self.config.is_front else 1]), 0.0)

    def run_seconds(self, candidate: Candidate) -> float:
        """Return what one whole run of a network takes: from those it has had, else estimated."""
        if seconds := [run.train_seconds for run in candidate.runs if run.status is Status.COMPLETE]:
            return statistics.mean(seconds)
        proposal, data = candidate.proposal, dataset(self.config.dataset)
        epochs = proposal.epochs or self.config.recipe.epochs
        work = clock.work(proposal.architecture, data.task)
        return self.timing.measured_pace.seconds(epochs, data.train_size, work)

    def verify_seconds(self, candidate: Candidate, seeds: int = LEAST_VERIFY_SEEDS) -> float:
        """Return what verifying a network on so many seeds will take, in seconds of wall-clock; rather too much."""
        # The teacher of the search has not seen all training images, so a verification has one of its own.
        teaching = max((run.teacher_seconds for run in candidate.runs), default=0.0)
        return clock.verifying(self.run_seconds(candidate), self.workers, seeds) + CAUTION * VERIFY_FACTOR * teaching

    def least_verify_seconds(self, candidate: Candidate, seeds: int = LEAST_VERIFY_SEEDS) -> float:
        """Return ``verify_seconds`` without its margin; a verification is begun when so much time is left."""
        return (self.verify_seconds(candidate, seeds) - CAUTION_SECONDS) / CAUTION

    def remaining_seconds(self, candidate: Candidate, confirming: int) -> float:
        """Return what a network that passed takes until it is verified, if it comes to stand; 0 where time has no end.

        ``confirming`` workers run its fresh seeds.
        """
        if self.effort.seconds is None:
            return 0.0
        one = self.run_seconds(candidate)
        lacking = max(0, CONFIRM_SEEDS - len(candidate.fresh))
        return CAUTION * rounds(lacking, confirming) * one + clock.verifying(one, self.workers)
