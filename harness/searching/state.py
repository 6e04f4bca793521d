"""A study in progress: what stands, what runs have taught, what there is time for.

All of it but the fields that a loop fills follows from the events, so a search that goes on has it from its log.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.data.datasets import dataset
from harness.evidence.events import Confirmed, Entry, Event, FailedConfirmation, RunEnded
from harness.evidence.study import StudyConfig
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
from harness.searching.propose import ALL_ON, Proposing, Switches
from harness.searching.race import CONFIRM_SEEDS, Candidate, NearestMiss, Trials
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
        standing: the smallest confirmed network; ``nearest`` is looked for while there is none.
        jobs: what each worker trains, None for one that waits; ``nodes`` are the names of the nodes that they are on,
            empty on this machine.
        trained: first runs that have ended with an accuracy; ``rejected`` networks were not built.
    """

    elapsed: float
    standing: Candidate | None
    nearest: NearestMiss | None
    jobs: Sequence[Job | None]
    nodes: Sequence[str] = ()
    trained: int = 0
    rejected: int = 0


class Watcher:
    """Sees a search go on, and says nothing."""

    def tick(self, at: Moment) -> None:
        """See where the search is, after each event."""

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        """See how a run has ended, and what that has decided about its network."""


class Search(Trials):
    """A study that is worked on.

    Attributes:
        executor: who trains, and the clock of the search; ``began`` is when this session began on that clock, and
            ``before`` are the seconds of the earlier ones.
        is_hopeless: the rule of the rungs, asked for each run that reaches one; None for that of ``race``.
        switches: which parts of the search are at work.
        timing: what its runs have taken.
        waiting: jobs that go on at a rung or are run again; ``broken`` counts the workers that broke at a run, and
            ``crashed`` runs in a row that crashed for good.
        exhausted: why no further network is found; empty while there may be one; ``lacks_time`` if there might be one
            with more time.
        reason: why the search has ended; empty while it has not.
    """

    def __init__(
        self,
        folder: Path,
        config: StudyConfig,
        effort: Effort,
        executor: Executor,
        proposer: Proposing,
        *,
        switches: Switches = ALL_ON,
        is_hopeless: Callable[[Result], bool] | None = None,
        in_memory: bool = False,
    ) -> None:
        super().__init__(folder, config, in_memory=in_memory)
        self.confirm_seeds = CONFIRM_SEEDS if switches.confirmation else 0
        self.counts_repeats = switches.repeats
        self.effort, self.executor, self.proposer = effort, executor, proposer
        self.watcher = Watcher()
        self.switches, self.is_hopeless = switches, is_hopeless
        self.began, self.before = executor.now(), 0.0
        data = dataset(config.dataset)
        self.timing = clock.Timing(data.train_size, clock.PACES[effort.engine].taught(config.recipe, data.task))
        self.waiting: list[Job] = []
        self.broken: Counter[tuple[int | None, Purpose, int]] = Counter()
        self.crashed = 0
        self.interrupted = self.finished = self.lacks_time = False
        self.exhausted = self.reason = ""

    def take_up(self) -> Self:
        """Take in the log to go on with it; time counts from here."""
        super().take_up()
        self.began, self.before = self.executor.now(), self.seconds
        return self

    def apply(self, entry: Entry[Event]) -> None:
        """Change the state by what has happened."""
        super().apply(entry)
        if isinstance(entry.event, RunEnded) and (run := entry.event.run).trial in self.candidates:
            self.timing.add(run, clock.work(run.architecture, dataset(self.config.dataset).task), run.node)

    def moment(self) -> Moment:
        """Return where the search is."""
        places = self.executor.places()
        return Moment(
            elapsed=self.elapsed,
            standing=self.standing,
            nearest=self.nearest,
            jobs=tuple(place.job for place in places),
            nodes=tuple(place.node for place in places),
            trained=self.trained,
            rejected=self.rejected.total(),
        )

    @property
    def ceiling(self) -> int:
        """The most that the next network may cost."""
        standing = self.standing if self.switches.falling_budget else None
        return self.highest if standing is None else min(self.highest, standing.cost - 1)

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
        return [place.job for place in self.executor.places() if place.job is not None]

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
        images, pace, workers = self.timing.images, self.timing.measured_pace, self.workers
        if self.effort.seconds is None:
            return TimeLeft(images, pace, workers=workers)
        confirmed = CAUTION * (1 + rounds(CONFIRM_SEEDS, workers))
        verified = CAUTION * VERIFY_FACTOR * rounds(LEAST_VERIFY_SEEDS, workers)
        seconds = max(0.0, self.left - CAUTION_SECONDS) / (confirmed + verified)
        spare = float("inf")
        if waiting := self._to_verify():
            winner, *others = map(self.verify_seconds, waiting)
            spare = self.left - winner - (min(others, default=0.0) if self.config.second is None else sum(others))
        return TimeLeft(images, pace, seconds, self.left, workers, self.elapsed, spare, is_over=lambda: self.left <= 0)

    def _to_verify(self) -> list[Candidate]:
        waiting = []
        if self.config.second is not None:
            return [each for each in race.front(self.contenders.values()) if each.proposal.trial not in self.verdicts]
        for each in race.final_order(self.contenders.values()):
            verdict = self.verdicts.get(each.proposal.trial)
            if verdict is None:
                waiting.append(each)
            elif verdict.passed:
                break
        return waiting

    def closing_seconds(self) -> float:
        """Return the time that is kept for verifying the smallest network that stands, or all of a front."""
        waiting = [] if self.effort.seconds is None else self._to_verify()
        return sum(map(self.verify_seconds, waiting[: 1 if self.config.second is None else None]), 0.0)

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
        """Do as ``verify_seconds`` without what that is raised by: what fits so is begun."""
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
