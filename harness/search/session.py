"""A search in progress: its files, its candidates, its workers, and how much of its effort is left."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.evidence import statistics
from harness.search import race, study
from harness.search.estimate import PACES, affordable_macs, slowdown, taught
from harness.search.progress import SearchReporter
from harness.search.proposer import Proposer
from harness.search.race import Candidate
from harness.search.replay import replay_journal, tell_outcome
from harness.search.study import StudyConfig
from harness.training.result import Result
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import Limits, Source, Worker
from search_spaces.resolve import parse_space


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a search may spend; not part of what it searches for.

    Attributes:
        seconds: of all sessions together, verification included; None for no end.
        trials: networks to train at most; None for no end.
        engine: ``native`` or ``torch``.
    """

    seconds: float | None
    trials: int | None
    workers: int
    device: str
    limits: Limits
    engine: str = "torch"


@dataclass(slots=True, kw_only=True)
class Session:
    """A search in progress.

    Attributes:
        began: when this session began, on the monotonic clock; ``before`` are the seconds of the earlier ones.
        finished: an earlier session came to its end with the same effort, so nothing is left to do.
        broken: how often the worker of a run has broken, by trial, purpose and seed.
        crashed: runs in a row that crashed for good.
        exhausted: why no further network is found; empty while there may be one.
        reason: why the search has ended; empty while it has not.
    """

    folder: Path
    config: StudyConfig
    effort: Effort
    source: Source
    proposer: Proposer
    candidates: dict[int, Candidate]
    reporter: SearchReporter
    began: float
    before: float
    finished: bool = False
    pool: list[Worker] = field(default_factory=list)
    waiting: list[Job] = field(default_factory=list)
    broken: dict[tuple[int, str, int], int] = field(default_factory=dict)
    crashed: int = 0
    interrupted: bool = False
    exhausted: str = ""
    reason: str = ""

    @property
    def elapsed(self) -> float:
        """Seconds that the study has been worked on, all sessions together."""
        return self.before + time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds left; infinite where there is no limit."""
        return float("inf") if self.effort.seconds is None else self.effort.seconds - self.elapsed


def open_session(
    folder: Path, config: StudyConfig, effort: Effort, source: Source, reporter: SearchReporter
) -> Session:
    """Return the search as the study's files tell it: finished runs kept, unfinished ones waiting."""
    events = study.journal(folder)
    candidates = {proposal.trial: Candidate(proposal) for proposal in study.proposals(events)}
    for event in events:
        if event["event"] == "repeated" and event["trial"] in candidates:
            candidates[event["trial"]].repeats += 1
    for found in study.finished_results(folder):
        file_result(candidates, found)
    proposer = Proposer.new(
        parse_space(config.space_text, config.space), config, _most_macs(effort, config, effort.seconds, ())
    )
    replay_journal(proposer, events, candidates)
    session = Session(
        folder=folder,
        config=config,
        effort=effort,
        source=source,
        proposer=proposer,
        candidates=candidates,
        reporter=reporter,
        began=time.monotonic(),
        before=study.elapsed_seconds(events),
        finished=_is_finished(effort, events),
    )
    reporter.trained = sum(candidate.first is not None for candidate in candidates.values())
    reporter.rejected = sum(event["event"] == "rejected" for event in events)
    _mend(session, events)
    session.waiting = [
        job_for(session, candidate, Purpose.SEARCH, 0) for candidate in candidates.values() if candidate.first is None
    ]
    return session


def most_macs(session: Session) -> int | None:
    """Return the most multiply-adds of a network that there is still time for; None where time has no end."""
    runs = [run for candidate in session.candidates.values() for run in runs_of(candidate)]
    return _most_macs(session.effort, session.config, session.left, runs)


def _most_macs(effort: Effort, config: StudyConfig, left: float | None, runs: Iterable[Result]) -> int | None:
    images = dataset(config.dataset).train_size
    # The estimate is of a CPU; how fast a GPU is shows with the first run.
    guess = 1.0 if effort.device == "cpu" else None
    pace = taught(PACES[effort.engine], config.recipe)
    slow = slowdown(runs, images, pace) or guess
    return affordable_macs(effort.seconds, left or 0.0, effort.workers, config.recipe.epochs, images, pace, slow)


def _mend(session: Session, events: list[dict[str, Any]]) -> None:
    """Draw the consequences of results that were written just before the search was killed."""
    ends = [event for event in events if event["event"] == "finished"]
    noted = {(event["trial"], event["purpose"], event["seed_index"]) for event in ends}
    for candidate in session.candidates.values():
        for found in runs_of(candidate):
            if (found.trial, found.purpose, found.seed_index) not in noted:
                note_finished(session, found)
        tell_outcome(session.proposer, candidate)
    stood = [event["trial"] for event in events if event["event"] == "standing"]
    standing = smallest_standing(session)
    if standing is not None and standing.proposal.trial not in stood[-1:]:
        note_standing(session, "standing", standing, budget=standing.proposal.parameters - 1)


def _is_finished(effort: Effort, events: list[dict[str, Any]]) -> bool:
    """Return whether the last session came to its end, with no less effort than is allowed now."""
    ends = [event for event in events if event["event"] in ("session", "ended")]
    if not ends or ends[-1]["event"] == "session":
        return False
    last = ends[-1]
    match last["reason"]:
        case "exhausted" if last["seconds"] is None:
            return True
        case "exhausted" | "time":
            # With more time there may be networks that were too slow to be trained before.
            return effort.seconds is not None and effort.seconds <= (last["seconds"] or 0)
        case "trials":
            return effort.trials is not None and effort.trials <= (last["trials"] or 0)
        case _:
            return False


def job_for(session: Session, candidate: Candidate, purpose: Purpose, index: int) -> Job:
    """Return the job of one run of a network; the first run stops at every rung."""
    proposal = candidate.proposal
    return Job(
        architecture=proposal.architecture,
        recipe=session.config.recipe,
        recipe_name=session.config.recipe_name,
        purpose=purpose,
        seed_index=index,
        study_seed=session.config.seed,
        device=session.effort.device,
        engine=session.effort.engine,
        until_epoch=next_rung(session, 0) if purpose is Purpose.SEARCH else None,
        checkpoint=study.checkpoint_path(session.folder, proposal.trial, purpose, index),
        teachers=study.teachers_path(session.folder),
        study=session.folder.name,
        trial=proposal.trial,
        decisions=proposal.decisions,
    )


def next_rung(session: Session, epoch: int) -> int | None:
    """Return the next rung after an epoch, None where the run then goes to its end."""
    return next((rung for rung in session.config.rungs if rung > epoch), None)


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
    """Return the smallest network that stands."""
    return race.smallest_standing(list(session.candidates.values()), session.config.threshold_pct)


def free_indices(session: Session, candidate: Candidate) -> Iterator[int]:
    """Yield the fresh seeds of a network that have neither been run nor are being run, lowest first."""
    jobs = [worker.job for worker in session.pool if worker.job is not None]
    used = {job.seed_index for job in jobs if job.purpose is Purpose.CONFIRM and job.trial == candidate.proposal.trial}
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


def note(session: Session, event: str, **values: Any) -> None:
    """Append an event to the journal of the study."""
    study.note(session.folder, event, session.elapsed, **values)


def note_finished(session: Session, found: Result) -> None:
    """Append that a run has ended; its result is on disk."""
    note(
        session,
        "finished",
        trial=found.trial,
        purpose=found.purpose,
        seed_index=found.seed_index,
        status=found.status,
        validation_errors=found.validation_errors,
    )


def note_standing(session: Session, event: str, candidate: Candidate, **more: Any) -> None:
    """Append an event about a network and what is known of it on fresh seeds."""
    note(
        session,
        event,
        trial=candidate.proposal.trial,
        hash=candidate.proposal.hash,
        parameters=candidate.proposal.parameters,
        validation_accuracy_pct=statistics.mean(candidate.fresh_pct),
        validation_seeds=len(candidate.fresh),
        **more,
    )
