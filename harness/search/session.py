"""A search in progress: its files, candidates and workers, what it keeps of their runs, what there is time for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.data.datasets import dataset
from harness.evidence import study
from harness.evidence.events import Confirmed, Entry, Event, FailedConfirmation, RunEnded, Verified
from harness.evidence.study import StudyConfig
from harness.search import pruning, race
from harness.search.clock import (
    CAUTION,
    CAUTION_SECONDS,
    LEAST_VERIFY_SEEDS,
    PACES,
    VERIFY_FACTOR,
    Effort,
    Pace,
    TimeLeft,
    Timing,
    add_timing,
    rounds,
    scaled,
    slowdown,
    taught,
    training_seconds,
    verifying,
)
from harness.search.features import work
from harness.search.nearest_miss import NearestMiss, nearest_miss
from harness.search.propose import ALL_ON, Proposing, Switches
from harness.search.pruning import Ratios, next_rung
from harness.search.race import CONFIRM_SEEDS, Candidate
from harness.system import statistics
from harness.training import result
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
    """

    elapsed: float
    standing: Candidate | None
    nearest: NearestMiss | None
    jobs: Sequence[Job | None]
    nodes: Sequence[str] = ()


class Watcher(Protocol):
    """Whoever sees a search go on.

    Attributes:
        rejected: networks rejected so far; ``trained`` those whose first run has ended with an accuracy.
    """

    rejected: int
    trained: int

    def tick(self, at: Moment) -> None:
        """See where the search is, after each event."""
        ...

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        """See how a run has ended, and what that has decided about its network."""
        ...


@dataclass(frozen=True, slots=True)
class FolderLog:
    """The log and the results of a study."""

    folder: Path

    def note(self, event: Event, elapsed: float) -> None:
        """Append to the log."""
        study.note(self.folder, event, elapsed)

    def keep(self, trial: int, found: Result) -> None:
        """Write the run's file."""
        result.write(study.result_path(self.folder, trial, found.purpose, found.seed_index), found)


@dataclass(frozen=True, slots=True)
class MemoryLog:
    """Nothing but memory, where only the answer of a search counts; runs are with their candidates anyway."""

    entries: list[Entry[Event]] = field(default_factory=list)

    def note(self, event: Event, elapsed: float) -> None:
        """Append to the list."""
        self.entries.append(Entry(elapsed, event))

    def keep(self, trial: int, found: Result) -> None:
        """Do nothing."""


@dataclass(slots=True, kw_only=True)
class Session:
    """A search in progress.

    Attributes:
        executor: who trains, and the clock of the search.
        began: when this session began, on that clock; ``before`` are the seconds of the earlier ones.
        verdicts: what came of each winner that was verified, by trial.
        finished: an earlier session came to its end with the same effort, so nothing is left to do.
        broken: how often the worker of a run has broken, by trial, purpose and seed.
        crashed: runs in a row that crashed for good.
        exhausted: why no further network is found; empty while there may be one.
        lacks_time: with more time there might be one.
        reason: why the search has ended; empty while it has not.
        switches: which parts of the search are at work.
        is_hopeless: the rule of the rungs, asked for each run that reaches one; None for that of ``pruning``.
        contenders: the candidates that are not settled, by trial. Each event asks about these alone: of thousands of
            networks nearly all are settled.
        standing: the network of the lowest cost that stands; it can change only with the contenders, and is asked for
            several times at each event.
        nearest: what came nearest to standing, while nothing stands.
        timing: what its runs have taken.
        ratios: errors at the end per error at a rung, of its runs.
    """

    folder: Path
    config: StudyConfig
    effort: Effort
    executor: Executor
    log: FolderLog | MemoryLog
    proposer: Proposing
    candidates: dict[int, Candidate]
    reporter: Watcher
    began: float
    before: float
    verdicts: dict[int, Verified] = field(default_factory=dict)
    finished: bool = False
    waiting: list[Job] = field(default_factory=list)
    broken: dict[tuple[int, str, int], int] = field(default_factory=dict)
    crashed: int = 0
    interrupted: bool = False
    exhausted: str = ""
    lacks_time: bool = False
    reason: str = ""
    switches: Switches = ALL_ON
    is_hopeless: Callable[[Result], bool] | None = None
    contenders: dict[int, Candidate] = field(default_factory=dict, init=False)
    standing: Candidate | None = field(default=None, init=False)
    nearest: NearestMiss | None = field(default=None, init=False)
    timing: Timing = field(init=False)
    ratios: Ratios = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        data = dataset(self.config.dataset)
        pace = taught(PACES[self.effort.engine], self.config.recipe, data.task)
        self.timing = Timing(data.train_size, pace)
        for candidate in self.candidates.values():
            _keep(self, candidate)
            for run in runs_of(candidate):
                _learn(self, candidate, run)
        _look_for_standing(self)

    @property
    def elapsed(self) -> float:
        """Seconds that the study has been worked on, all sessions together."""
        return self.before + self.executor.now() - self.began

    @property
    def workers(self) -> int:
        """Networks that train at once; before any can, those planned. The nodes of a cluster come and go."""
        return len(self.executor.places()) or self.effort.workers

    @property
    def left(self) -> float:
        """Seconds left; infinite where there is no limit."""
        return float("inf") if self.effort.seconds is None else self.effort.seconds - self.elapsed


def job_for(session: Session, candidate: Candidate, purpose: Purpose, index: int) -> Job:
    """Return the job of one run of a network; the first run stops at every rung."""
    proposal = candidate.proposal
    recipe, recipe_name = session.config.recipe_of(proposal.epochs)
    return Job(
        architecture=proposal.architecture,
        recipe=recipe,
        recipe_name=recipe_name,
        purpose=purpose,
        seed_index=index,
        study_seed=session.config.run_seed,
        device=session.effort.device,
        engine=session.effort.engine,
        until_epoch=next_rung(session.config, recipe.epochs, 0) if purpose is Purpose.SEARCH else None,
        checkpoint=study.checkpoint_path(session.folder, proposal.trial, purpose, index),
        teachers=study.teachers_path(session.folder),
        study=session.folder.name,
        trial=proposal.trial,
        decisions=proposal.decisions,
    )


def jobs_at_work(session: Session) -> list[Job]:
    """Return what is being trained."""
    return [place.job for place in session.executor.places() if place.job is not None]


def enter_result(session: Session, found: Result) -> None:
    """Put a run that has ended where it belongs, and learn from it how fast runs are and what a rung promises."""
    candidate = file_result(session.candidates, found)
    if candidate is not None:
        _learn(session, candidate, found)


def file_result(candidates: dict[int, Candidate], found: Result) -> Candidate | None:
    """Put a finished run where it belongs; return its network.

    None for an unknown trial, and for a run that takes the place of an equal one, which has been learned from.
    """
    candidate = candidates.get(found.trial if found.trial is not None else -1)
    if candidate is None:
        return None
    before = len(list(runs_of(candidate)))
    if found.purpose is Purpose.SEARCH:
        candidate.first = found
    else:
        others = [run for run in candidate.fresh if run.seed_index != found.seed_index]
        candidate.fresh = sorted([*others, found], key=lambda run: run.seed_index)
    return candidate if len(list(runs_of(candidate))) > before else None


def _learn(session: Session, candidate: Candidate, run: Result) -> None:
    task = dataset(session.config.dataset).task
    pruning.add_run(session.ratios, run, pruning.rungs_of(session.config, run.recipe.epochs))
    add_timing(session.timing, run, work(candidate.proposal.architecture, task), run.node)


def update_contenders(session: Session, candidate: Candidate) -> None:
    """Keep a network among the contenders unless it is settled; it is new, has had a run, or is to have another."""
    _keep(session, candidate)
    _look_for_standing(session)


def _keep(session: Session, candidate: Candidate) -> None:
    if race.settled(candidate, session.config.threshold_pct):
        session.contenders.pop(candidate.proposal.trial, None)
    else:
        session.contenders[candidate.proposal.trial] = candidate


def _look_for_standing(session: Session) -> None:
    session.standing = race.smallest_standing(list(session.contenders.values()), session.config.threshold_pct)


def look_for_nearest(session: Session) -> None:
    """Note what came nearest to standing, while nothing stands; it can change when a run ends."""
    known = session.candidates.values()
    session.nearest = nearest_miss(known, session.config.threshold_pct) if session.standing is None else None


def free_index(session: Session, candidate: Candidate) -> int:
    """Return the lowest fresh seed of a network that has neither been run nor is being run."""
    used = {run.seed_index for run in candidate.fresh}
    for job in jobs_at_work(session):
        if job.purpose is Purpose.CONFIRM and job.trial == candidate.proposal.trial:
            used.add(job.seed_index)
    return next(index for index in itertools.count() if index not in used)


def runs_of(candidate: Candidate) -> Iterator[Result]:
    """Yield all finished runs of a network."""
    if candidate.first is not None:
        yield candidate.first
    yield from candidate.fresh


def trial_of(job: Job) -> int:
    """Return the trial that a job belongs to."""
    assert job.trial is not None, "every run of a search belongs to a trial"
    return job.trial


def note(session: Session, event: Event) -> None:
    """Append an event to the log of the study."""
    session.log.note(event, session.elapsed)


def note_finished(session: Session, found: Result) -> None:
    """Append that a run has ended; its result is on disk."""
    ended = RunEnded(
        trial=found.trial,
        purpose=found.purpose,
        seed_index=found.seed_index,
        status=found.status,
        validation_errors=found.validation_errors,
    )
    note(session, ended)


def confirmed(candidate: Candidate) -> Confirmed:
    """Return the event that a network is the confirmed one of the lowest cost."""
    return Confirmed(**summary_of(candidate), budget=candidate.cost - 1)


def summary_of(candidate: Candidate) -> dict[str, Any]:
    """Return what is known of a network on fresh seeds, as fields of an event."""
    return {
        "trial": candidate.proposal.trial,
        "hash": candidate.proposal.hash,
        "parameters": candidate.proposal.parameters,
        "validation_accuracy_pct": statistics.mean(candidate.fresh_pct),
        "validation_seeds": len(candidate.fresh),
    }


def time_left(session: Session) -> TimeLeft:
    """Return what there is time for: a training whose network can still be confirmed and verified."""
    pace, images, workers = _pace_of(session), dataset(session.config.dataset).train_size, session.workers
    if session.effort.seconds is None:
        return TimeLeft(images, pace, workers=workers)
    confirmed = CAUTION * (1 + rounds(CONFIRM_SEEDS, workers))
    verified = CAUTION * VERIFY_FACTOR * rounds(LEAST_VERIFY_SEEDS, workers)
    seconds = max(0.0, session.left - CAUTION_SECONDS) / (confirmed + verified)
    return TimeLeft(
        images,
        pace,
        seconds,
        session.left,
        workers,
        session.elapsed,
        _spare_seconds(session),
        is_over=lambda: session.left <= 0,
    )


def _spare_seconds(session: Session) -> float:
    waiting = _to_verify(session)
    if not waiting:
        return float("inf")
    winner, *others = (verify_seconds(session, each) for each in waiting)
    return session.left - winner - min(others, default=0.0)


def _to_verify(session: Session) -> list[Candidate]:
    waiting = []
    for each in race.final_order(list(session.contenders.values()), session.config.threshold_pct):
        verdict = session.verdicts.get(each.proposal.trial)
        if verdict is None:
            waiting.append(each)
        elif verdict.passed:
            break
    return waiting


def _pace_of(session: Session) -> Pace:
    """Return the pace as it was measured, that of the slowest node of a cluster; a guess until a run has ended."""
    return scaled(session.timing.pace, slowdown(session.timing) or 1.0)


def run_seconds(session: Session, candidate: Candidate) -> float:
    """Return what one whole run of a network takes: from those it has had, else estimated."""
    seconds = [run.train_seconds for run in runs_of(candidate) if run.status is Status.COMPLETE]
    if seconds:
        return statistics.mean(seconds)
    proposal, data = candidate.proposal, dataset(session.config.dataset)
    epochs = proposal.epochs or session.config.recipe.epochs
    return training_seconds(epochs, data.train_size, work(proposal.architecture, data.task), _pace_of(session))


def closing_seconds(session: Session) -> float:
    """Return the time that is kept for verifying the smallest network that stands; 0 while none is to be verified."""
    waiting = [] if session.effort.seconds is None else _to_verify(session)
    return verify_seconds(session, waiting[0]) if waiting else 0.0


def verify_seconds(session: Session, candidate: Candidate, seeds: int = LEAST_VERIFY_SEEDS) -> float:
    """Return what verifying a network on so many seeds will take, in seconds of wall-clock; rather too much."""
    # The teacher of the search has not seen all training images, so a verification has one of its own.
    teaching = max((run.teacher_seconds for run in runs_of(candidate)), default=0.0)
    return verifying(run_seconds(session, candidate), session.workers, seeds) + CAUTION * VERIFY_FACTOR * teaching


def least_verify_seconds(session: Session, candidate: Candidate, seeds: int = LEAST_VERIFY_SEEDS) -> float:
    """Do as ``verify_seconds`` without what that is raised by: what fits so is begun."""
    return (verify_seconds(session, candidate, seeds) - CAUTION_SECONDS) / CAUTION


def remaining_seconds(session: Session, candidate: Candidate, confirming: int) -> float:
    """Return what a network that passed still takes until it is verified, if it comes to stand.

    Args:
        confirming: workers that run its fresh seeds.

    Returns:
        seconds; 0 where time has no end.
    """
    if session.effort.seconds is None:
        return 0.0
    one = run_seconds(session, candidate)
    lacking = max(0, CONFIRM_SEEDS - len(candidate.fresh))
    return CAUTION * rounds(lacking, confirming) * one + verifying(one, session.workers)
