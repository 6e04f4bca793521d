"""A search in progress: its files, its candidates, its workers, and how much of its effort is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import race, sampler, statistics, study
from harness.progress import SearchReporter
from harness.proposer import Proposer
from harness.race import Candidate
from harness.result import Result
from harness.run import Job
from harness.seeds import Purpose
from harness.study import StudyConfig
from harness.workers import Limits, Source, Worker
from search_spaces.resolve import parse_space


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a search may spend; not part of what it searches for.

    Attributes:
        seconds: of all sessions together, verification included; None for no end.
        trials: networks to train at most; None for no end.
    """

    seconds: float | None
    trials: int | None
    workers: int
    device: str
    limits: Limits


@dataclass(slots=True)
class Session:
    """A search in progress."""

    folder: Path
    config: StudyConfig
    effort: Effort
    source: Source
    proposer: Proposer
    candidates: dict[int, Candidate]
    reporter: SearchReporter
    began: float
    before: float
    pool: list[Worker] = field(default_factory=list)
    waiting: list[Job] = field(default_factory=list)
    broken: dict[tuple[int, str, int], int] = field(default_factory=dict)
    interrupted: bool = False
    exhausted: bool = False
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
    proposer = Proposer.new(parse_space(config.space_text, config.space), config)
    session = Session(
        folder,
        config,
        effort,
        source,
        proposer,
        candidates,
        reporter,
        began=time.monotonic(),
        before=study.elapsed_seconds(events),
    )
    for candidate in candidates.values():
        if candidate.first is not None:
            sampler.restore(
                proposer.index,
                candidate.proposal.decisions,
                race.outcome(candidate, session.config.threshold_pct),
            )
        else:
            proposer.resume(candidate.proposal)
            session.waiting.append(job_for(session, candidate, Purpose.SEARCH, 0))
    return session


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
        until_epoch=next_rung(session, 0) if purpose is Purpose.SEARCH else None,
        checkpoint=study.checkpoint_path(session.folder, proposal.trial, purpose, index),
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
        candidate.fresh = sorted([*candidate.fresh, found], key=lambda run: run.seed_index)


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
