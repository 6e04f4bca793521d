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
from typing import Protocol

from harness.data.datasets import Dataset
from harness.searching import race
from harness.searching.proposer import ALL_ON, Proposing, Switches
from harness.searching.time_budget import (
    CAUTION,
    CAUTION_SECONDS,
    LEAST_VERIFY_SEEDS,
    VERIFY_FACTOR,
    Effort,
    TimeLeft,
    Timing,
    is_spent,
    pace_of,
    rounds,
    verifying,
    work,
)
from harness.searching.turn import turn_of
from harness.studies.candidate import (
    CONFIRM_SEEDS,
    FLOOR,
    Candidate,
    combined_cost,
    final_order,
    likeliest,
    standing_front,
)
from harness.studies.events import Entry, Event, Proposal, RunEnded
from harness.studies.log import StudyLog
from harness.studies.state import StudyState
from harness.system import statistics
from harness.system.files import TEACHERS
from harness.training.executors.base import Executor
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


class Observer(Protocol):
    """Looks on at a search."""

    def on_entry(self, state: StudyState, entry: Entry[Event]) -> None:
        """See what has just happened; the state has it already."""

    def on_tick(self, moment: Moment) -> None:
        """See where the search is, each time that it has heard its workers."""


class Search:
    """A study that is worked on.

    Attributes:
        state: what has happened to the study; ``config`` is its configuration, ``folder`` its folder.
        data: the data set that its networks are trained on.
        log: where events are written; None for a search in memory, and then the folder is a name only.
        executor: who trains, and the clock of the search; ``began`` is when this session began on that clock, and
            ``before`` are the seconds of the earlier ones.
        is_hopeless: the rule of the rungs, asked for each run that reaches one; None for that of ``race``.
        switches: which parts of the search are at work.
        is_quoted: what is to be expected is said once its first networks have been trained.
        observers: who looks on.
        timing: what its runs have taken.
        turn: what the next network is to have little of.
        waiting: jobs that go on at a rung or are run again; ``broken`` counts the workers that broke at a run, and
            ``crashes_in_a_row`` the last runs that crashed for good.
        finished: the study had come to its end before, with no less effort.
        exhausted: why no further network is found; empty while there may be one; ``lacks_time`` if there might be one
            with more time.
        reason: why the search has ended; empty while it has not.
    """

    def __init__(
        self,
        state: StudyState,
        effort: Effort,
        executor: Executor,
        proposer: Proposing,
        *,
        data: Dataset,
        log: StudyLog | None,
        observers: Sequence[Observer] = (),
        switches: Switches = ALL_ON,
        is_hopeless: Callable[[Result], bool] | None = None,
        planned_seconds: float = 0.0,
        is_quoted: bool = False,
    ) -> None:
        """Go on from a state; its unfinished runs wait, and time counts from here, after the seconds of planning."""
        config = state.config
        self.state = state
        self.config = config
        self.data = data
        self.folder = state.folder
        self.log = log
        self.effort = effort
        self.executor = executor
        self.proposer = proposer
        self.observers = observers
        self.switches = switches
        self.is_quoted = is_quoted
        self.is_hopeless = is_hopeless
        self.began = executor.now() - planned_seconds
        self.before = state.seconds
        self.timing = Timing(data.train_size, pace_of(effort.engine, effort.device).of_recipe(config.recipe, data.task))
        for entry in state.of_kind(RunEnded):
            self._time(entry.event.run)
        self.turn = turn_of(config, len(state.candidates))
        self.waiting = [self.job(each, Purpose.SEARCH, 0) for each in state.candidates.values() if each.first is None]
        self.broken: Counter[tuple[int | None, Purpose, int]] = Counter()
        self.crashes_in_a_row = 0
        self.interrupted = False
        self.finished = is_spent(effort, state.entries) or not race.may_look(state)
        self.lacks_time = False
        self.exhausted = ""
        self.reason = ""

    def add(self, event: Event) -> None:
        """Append an event to the log, apply it, and show it to those who look on."""
        entry = Entry(self.elapsed, event, datetime.now(UTC).isoformat(timespec="seconds"))
        if self.log is not None:
            self.log.append(entry)
        self.take(entry)
        for observer in self.observers:
            observer.on_entry(self.state, entry)

    def tick(self) -> None:
        """Show where the search is to those who look on."""
        moment = self.moment()
        for observer in self.observers:
            observer.on_tick(moment)

    def take(self, entry: Entry[Event]) -> None:
        """Apply an event that is in the log, and learn from a run how long runs take; a proposal ends a turn."""
        self.state.apply(entry)
        if isinstance(entry.event, Proposal):
            self.turn = turn_of(self.config, len(self.state.candidates))
        if isinstance(entry.event, RunEnded):
            self._time(entry.event.run)

    def _time(self, run: Result) -> None:
        if run.trial in self.state.candidates:
            self.timing.add(run, work(run.architecture, self.data.task), run.node)

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
        # What costs nothing is trained to its end: its accuracy is what others are compared with.
        has_rungs = purpose is Purpose.SEARCH and proposal.origin != FLOOR
        return Job(
            architecture=proposal.architecture,
            recipe=recipe,
            recipe_name=recipe_name,
            purpose=purpose,
            seed_index=index,
            study_seed=self.config.run_seed,
            device=self.effort.device,
            engine=self.effort.engine,
            until_epoch=race.next_rung(self.config, recipe.epochs, 0) if has_rungs else None,
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
        factors = {form: self.timing.form_factor(form) for form in self.timing.forms}
        if self.effort.seconds is None:
            return TimeLeft(images, pace, workers=workers, form_factors=factors)
        confirmed = CAUTION * (1 + rounds(CONFIRM_SEEDS, workers))
        verified = CAUTION * VERIFY_FACTOR * rounds(LEAST_VERIFY_SEEDS, workers)
        seconds = max(0.0, self.left - CAUTION_SECONDS) / (confirmed + verified)
        spare = float("inf")
        if waiting := self._to_verify():
            winner, *others = map(self.verify_seconds, waiting)
            spare = self.left - winner - (sum(others) if self.config.is_front else min(others, default=0.0))
        return TimeLeft(
            images, pace, seconds, self.left, workers, self.elapsed, factors, spare, is_over=lambda: self.left <= 0
        )

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
        """Return the time that is kept for verifying the smallest network that stands, or all of a front.

        Where none stands it is for the likeliest one.
        """
        waiting = [] if self.effort.seconds is None else self._to_verify() or self.likeliest()
        return sum(map(self.verify_seconds, waiting[: None if self.config.is_front else 1]), 0.0)

    def likeliest(self) -> list[Candidate]:
        """Return networks that may be verified though none stands: none of a front, nor once one has passed."""
        verdicts = self.state.verdicts
        if self.config.is_front or any(verdict.passed for verdict in verdicts.values()):
            return []
        unseen = [each for each in self.state.candidates.values() if each.proposal.trial not in verdicts]
        return likeliest(unseen, self.config.target_pct)

    def run_seconds(self, candidate: Candidate) -> float:
        """Return the seconds of one whole run of a network at the present pace: from its own runs, else estimated."""
        if seconds := [run.train_seconds for run in candidate.runs if run.status is Status.COMPLETE]:
            return statistics.mean(seconds) * self.timing.change_since(candidate.proposal.trial)
        proposal = candidate.proposal
        epochs = proposal.epochs or self.config.recipe.epochs
        factor = self.timing.form_factor(proposal.architecture.form)
        network_work = work(proposal.architecture, self.data.task)
        return factor * self.timing.measured_pace.seconds(epochs, self.data.train_size, network_work)

    def verify_seconds(self, candidate: Candidate, seeds: int = LEAST_VERIFY_SEEDS) -> float:
        """Return what verifying a network on so many seeds will take, in seconds of wall-clock; rather too much."""
        # The teacher of the search has not seen all training images, so a verification has one of its own.
        teaching = max((run.teacher_seconds for run in candidate.runs), default=0.0)
        return verifying(self.run_seconds(candidate), self.workers, seeds) + CAUTION * VERIFY_FACTOR * teaching

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
        return CAUTION * rounds(lacking, confirming) * one + verifying(one, self.workers)
