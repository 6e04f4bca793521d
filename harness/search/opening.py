"""A session as it is opened: the search as the study's files tell it, and what a kill left undone in them."""

from __future__ import annotations

from pathlib import Path

from harness.data.datasets import dataset
from harness.evidence import study
from harness.evidence.events import Confirmed, Entry, Event, Repeated, RunEnded, of_kind, verdicts
from harness.evidence.study import StudyConfig
from harness.search import race
from harness.search.effort import Effort, is_spent
from harness.search.proposals.prior import kept, observations
from harness.search.proposals.proposer import Proposer
from harness.search.replay import replay_journal, tell_outcome
from harness.search.session import (
    FolderLog,
    Session,
    confirmed,
    file_result,
    job_for,
    look_for_nearest,
    note,
    note_finished,
    runs_of,
    smallest_standing,
)
from harness.search.watcher import Watcher
from harness.training.result import Purpose
from harness.training.workers import ExecutorOf, Processes, Source
from search_spaces.resolve import parse_space


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
        verdicts=verdicts(events),
        finished=is_spent(effort, events),
    )
    firsts = [candidate.first for candidate in candidates.values() if candidate.first is not None]
    reporter.trained = sum(first.validation_errors is not None for first in firsts)
    reporter.rejected = study.rejections(events).total()
    _mend(session, proposer, events)
    look_for_nearest(session)
    session.waiting = [
        job_for(session, candidate, Purpose.SEARCH, 0) for candidate in candidates.values() if candidate.first is None
    ]
    return session


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
