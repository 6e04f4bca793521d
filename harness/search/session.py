"""A search in progress: its files, its candidates, its workers, and how much of its effort is left."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.evidence import study
from harness.evidence.events import (
    Confirmed,
    Entry,
    Event,
    FailedConfirmation,
    Repeated,
    RunEnded,
    SessionBegan,
    SessionEnded,
    WinnerChosen,
    of_kind,
)
from harness.evidence.study import StudyConfig
from harness.search import race
from harness.search.event_log import EventLog, FolderLog
from harness.search.proposals.estimate import (
    CAUTION,
    CAUTION_SECONDS,
    LEAST_VERIFY_SEEDS,
    PACES,
    VERIFY_FACTOR,
    Pace,
    Room,
    rounds,
    scaled,
    slowest,
    taught,
    training_seconds,
)
from harness.search.proposals.features import work
from harness.search.proposals.prior import kept, observations
from harness.search.proposals.proposer import Proposer
from harness.search.proposals.proposing import Proposing
from harness.search.proposals.switches import ALL_ON, Switches
from harness.search.race import STAND_SEEDS, Candidate
from harness.search.replay import replay_journal, tell_outcome
from harness.search.watcher import Watcher
from harness.system import statistics
from harness.training.result import Result, Status
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers.executor import Executor, ExecutorOf, Processes
from harness.training.workers.workers import Limits, Source
from search_spaces.spaces.resolve import parse_space


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a search may spend; not part of what it searches for.

    Attributes:
        seconds: of all sessions together, verification included; None for no end.
        trials: networks to train at most; None for no end.
        workers: networks that train at once, so many of them ``side_by_side`` in a process.
        engine: ``native`` or ``torch``.
    """

    seconds: float | None
    trials: int | None
    workers: int
    device: str
    limits: Limits
    side_by_side: int = 1
    engine: str = "torch"


@dataclass(slots=True, kw_only=True)
class Session:
    """A search in progress.

    Attributes:
        executor: who trains, and the clock of the search.
        began: when this session began, on that clock; ``before`` are the seconds of the earlier ones.
        finished: an earlier session came to its end with the same effort, so nothing is left to do.
        broken: how often the worker of a run has broken, by trial, purpose and seed.
        crashed: runs in a row that crashed for good.
        exhausted: why no further network is found; empty while there may be one.
        lacks_time: with more time there might be one.
        reason: why the search has ended; empty while it has not.
        switches: which parts of the search are at work.
        is_hopeless: the rule of the rungs, asked for each run that reaches one; None for that of ``race``.
    """

    folder: Path
    config: StudyConfig
    effort: Effort
    executor: Executor
    log: EventLog
    proposer: Proposing
    candidates: dict[int, Candidate]
    reporter: Watcher
    began: float
    before: float
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

    @property
    def elapsed(self) -> float:
        """Seconds that the study has been worked on, all sessions together."""
        return self.before + self.executor.now() - self.began

    @property
    def workers(self) -> int:
        """Networks that train at once; before any can, those planned. The nodes of a cluster come and go."""
        return len(self.executor.jobs) or self.effort.workers

    @property
    def left(self) -> float:
        """Seconds left; infinite where there is no limit."""
        return float("inf") if self.effort.seconds is None else self.effort.seconds - self.elapsed


def open_session(
    folder: Path,
    config: StudyConfig,
    effort: Effort,
    source: Source,
    reporter: Watcher,
    executor_of: ExecutorOf = Processes,
) -> Session:
    """Return the search as the study's files tell it: finished runs kept, unfinished ones waiting."""
    events = study.read_events(folder)
    candidates = {proposal.trial: race.candidate_of(config, proposal) for proposal in study.proposals(events)}
    for entry in of_kind(events, Repeated):
        if entry.event.trial in candidates:
            candidates[entry.event.trial].repeats += 1
    for found in study.finished_results(folder):
        file_result(candidates, found)
    task = dataset(config.dataset).task
    past = observations(kept(folder) or (), config.recipe, task)
    proposer = Proposer.new(parse_space(config.space_text, config.space, task), config, past=past)
    replay_journal(proposer, events, candidates)
    executor = executor_of(source, effort.limits)
    session = Session(
        folder=folder,
        config=config,
        effort=effort,
        executor=executor,
        log=FolderLog(folder),
        proposer=proposer,
        candidates=candidates,
        reporter=reporter,
        began=executor.now(),
        before=study.elapsed_seconds(events),
        finished=_is_finished(effort, events),
    )
    reporter.trained = sum(candidate.first is not None for candidate in candidates.values())
    reporter.rejected = study.rejections(events).total()
    _mend(session, proposer, events)
    session.waiting = [
        job_for(session, candidate, Purpose.SEARCH, 0) for candidate in candidates.values() if candidate.first is None
    ]
    return session


def room(session: Session) -> Room:
    """Return what there is time for: a training whose network can still be confirmed and verified."""
    pace, images, workers = pace_of(session), dataset(session.config.dataset).train_size, session.workers
    if session.effort.seconds is None:
        return Room(images, pace, workers=workers)
    confirmed = CAUTION * (1 + rounds(STAND_SEEDS, workers))
    verified = CAUTION * VERIFY_FACTOR * rounds(LEAST_VERIFY_SEEDS, workers)
    seconds = max(0.0, session.left - CAUTION_SECONDS) / (confirmed + verified)
    return Room(images, pace, seconds, session.left, workers, session.elapsed, is_over=lambda: session.left <= 0)


def pace_of(session: Session) -> Pace:
    """Return the pace as it was measured, that of the slowest node of a cluster; a guess until a run has ended."""
    data = dataset(session.config.dataset)
    pace = taught(PACES[session.effort.engine], session.config.recipe, data.task)
    runs = [run for candidate in session.candidates.values() for run in runs_of(candidate)]
    return scaled(pace, slowest(runs, data.train_size, pace, data.task) or 1.0)


def run_seconds(session: Session, candidate: Candidate) -> float:
    """Return what one whole run of a network takes: from those it has had, else estimated."""
    seconds = [run.train_seconds for run in runs_of(candidate) if run.status is Status.COMPLETE]
    if seconds:
        return statistics.mean(seconds)
    proposal, data = candidate.proposal, dataset(session.config.dataset)
    epochs = proposal.epochs or session.config.recipe.epochs
    return training_seconds(epochs, data.train_size, work(proposal.architecture, data.task), pace_of(session))


def _mend(session: Session, proposer: Proposer, events: list[Entry[Event]]) -> None:
    """Draw the consequences of results that were written just before the search was killed."""
    ends = [entry.event for entry in of_kind(events, RunEnded)]
    noted = {(event.trial, event.purpose, event.seed_index) for event in ends}
    for candidate in session.candidates.values():
        for found in runs_of(candidate):
            if (found.trial, found.purpose, found.seed_index) not in noted:
                note_finished(session, found)
        tell_outcome(proposer, candidate)
    stood = [entry.event.trial for entry in of_kind(events, Confirmed)]
    standing = smallest_standing(session)
    if standing is not None and standing.proposal.trial not in stood[-1:]:
        note(session, confirmed(standing))


def _is_finished(effort: Effort, events: list[Entry[Event]]) -> bool:
    """Return whether the last session came to its end, with no less effort than is allowed now."""
    ends = [entry.event for entry in events if isinstance(entry.event, SessionBegan | SessionEnded)]
    if not ends or not isinstance(last := ends[-1], SessionEnded):
        return False
    match last.reason:
        case "exhausted" if last.seconds is None:
            return True
        case "exhausted" | "time":
            # With more time there may be networks that were too slow to be trained before.
            return effort.seconds is not None and effort.seconds <= (last.seconds or 0)
        case "trials":
            return effort.trials is not None and effort.trials <= (last.trials or 0)
        case _:
            return False


def job_for(session: Session, candidate: Candidate, purpose: Purpose, index: int) -> Job:
    """Return the job of one run of a network; the first run stops at every rung."""
    proposal = candidate.proposal
    recipe, recipe_name = study.recipe_of(session.config, proposal.epochs)
    return Job(
        architecture=proposal.architecture,
        recipe=recipe,
        recipe_name=recipe_name,
        purpose=purpose,
        seed_index=index,
        study_seed=session.config.seed,
        device=session.effort.device,
        engine=session.effort.engine,
        until_epoch=next_rung(session, recipe.epochs, 0) if purpose is Purpose.SEARCH else None,
        checkpoint=study.checkpoint_path(session.folder, proposal.trial, purpose, index),
        teachers=study.teachers_path(session.folder),
        study=session.folder.name,
        trial=proposal.trial,
        decisions=proposal.decisions,
    )


def jobs_at_work(session: Session) -> list[Job]:
    """Return what is being trained."""
    return [job for job in session.executor.jobs.values() if job is not None]


def next_rung(session: Session, epochs: int, epoch: int) -> int | None:
    """Return the next rung after an epoch of a training of so many, None where the run then goes to its end."""
    return next((rung for rung in study.rungs_of(session.config, epochs) if rung > epoch), None)


def file_result(candidates: dict[int, Candidate], found: Result) -> None:
    """Put a finished run where it belongs; a run of an unknown trial is passed over."""
    candidate = candidates.get(found.trial if found.trial is not None else -1)
    if candidate is None:
        return
    if found.purpose is Purpose.SEARCH:
        candidate.first = found
    else:
        others = [run for run in candidate.fresh if run.seed_index != found.seed_index]
        candidate.fresh = sorted([*others, found], key=lambda run: run.seed_index)


def smallest_standing(session: Session) -> Candidate | None:
    """Return the network of the lowest cost that stands."""
    return race.smallest_standing(list(session.candidates.values()), session.config.threshold_pct)


def free_indices(session: Session, candidate: Candidate) -> Iterator[int]:
    """Yield the fresh seeds of a network that have neither been run nor are being run, lowest first."""
    used = {
        job.seed_index
        for job in jobs_at_work(session)
        if job.purpose is Purpose.CONFIRM and job.trial == candidate.proposal.trial
    }
    used |= {run.seed_index for run in candidate.fresh}
    return (index for index in itertools.count() if index not in used)


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
    return Confirmed(**_known(candidate), budget=candidate.cost - 1)


def failed_confirmation(candidate: Candidate) -> FailedConfirmation:
    """Return the event that a network has missed the threshold on fresh seeds."""
    return FailedConfirmation(**_known(candidate))


def chosen(candidate: Candidate) -> WinnerChosen:
    """Return the event that a network is the search's answer."""
    return WinnerChosen(**_known(candidate))


def _known(candidate: Candidate) -> dict[str, Any]:
    """Return what is known of a network on fresh seeds."""
    return {
        "trial": candidate.proposal.trial,
        "hash": candidate.proposal.hash,
        "parameters": candidate.proposal.parameters,
        "validation_accuracy_pct": statistics.mean(candidate.fresh_pct),
        "validation_seeds": len(candidate.fresh),
    }
