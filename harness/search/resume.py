"""A session as it is opened: the search as the study's files tell it, and what a kill left undone in them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from harness.data.datasets import dataset
from harness.evidence import study
from harness.evidence.events import Confirmed, Entry, Event, Proposal, Rejected, Repeated, RunEnded, of_kind, verdicts
from harness.evidence.study import StudyConfig
from harness.search import optuna_sampler, race
from harness.search.clock import Effort, is_spent
from harness.search.prior import kept, observations
from harness.search.propose import Proposer, is_aimed, tell_repeat
from harness.search.race import Candidate
from harness.search.session import (
    FolderLog,
    Session,
    Watcher,
    confirmed,
    file_result,
    job_for,
    look_for_nearest,
    note,
    note_finished,
    runs_of,
)
from harness.training.executor import ExecutorOf, Source
from harness.training.processes import Processes
from harness.training.result import Purpose
from search_spaces.cost import analyse
from search_spaces.draw import Draw, measured, replay, uniform
from search_spaces.notation import parse_space


def _replay_journal(proposer: Proposer, events: list[Entry[Event]], candidates: Mapping[int, Candidate]) -> None:
    """Ask and tell a new proposer what the journal says; networks without a result are running afterwards."""
    for event in (entry.event for entry in events):
        match event:
            case Proposal() as proposal:
                # Draws beside the sampler were questions of their own, an aim that found nothing included.
                aimed = proposal.origin != "ladder" and is_aimed(proposer.config.sampler, proposal.trial)
                proposer.index.asked += aimed + (proposal.origin == "draw")
                proposer.enter(proposal)
            case Rejected(origin="sampler"):
                _reject(proposer, event)
            case Repeated(trial=trial) if trial in candidates:
                _repeat(proposer, event, candidates[trial])
            case RunEnded(trial=int(trial), purpose=Purpose.SEARCH) if trial in candidates:
                _tell_outcome(proposer, candidates[trial])
    taken = {entry.event.hash for entry in of_kind(events, Rejected) if entry.event.origin == "ladder"}
    proposer.ladder = [found for found in proposer.ladder if found.architecture.hash not in taken]


def _tell_outcome(proposer: Proposer, candidate: Candidate) -> None:
    """Tell what came of a network's first run, where it has ended and that is news."""
    if candidate.first is not None and candidate.proposal.trial in proposer.running:
        proposer.tell(candidate.proposal.trial, race.outcome(candidate, proposer.config.threshold_pct))


def _reject(proposer: Proposer, event: Rejected) -> None:
    if event.violation is None or event.parameters is None:
        proposer.index.asked += 1
        return
    again = _drawn(proposer, event.indices)
    trial = optuna_sampler.impose(proposer.index, again.decisions)
    cost = measured(analyse(again.architecture, proposer.space.task), proposer.config.minimise)
    optuna_sampler.reject(proposer.index, trial, cost, event.violation)


def _repeat(proposer: Proposer, event: Repeated, candidate: Candidate) -> None:
    if candidate.proposal.trial in proposer.running:
        proposer.index.asked += 1
        return
    trial = optuna_sampler.impose(proposer.index, _drawn(proposer, event.indices).decisions)
    tell_repeat(proposer, trial, candidate)


def _drawn(proposer: Proposer, indices: Mapping[str, int]) -> Draw:
    return replay(proposer.space, indices, uniform(random.Random(0)))


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
    _replay_journal(proposer, events, candidates)
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
    ends = [entry.event for entry in of_kind(events, RunEnded)]
    noted = {(event.trial, event.purpose, event.seed_index) for event in ends}
    for candidate in session.candidates.values():
        for found in runs_of(candidate):
            if (found.trial, found.purpose, found.seed_index) not in noted:
                note_finished(session, found)
        _tell_outcome(proposer, candidate)
    stood = [entry.event.trial for entry in of_kind(events, Confirmed)]
    standing = session.standing
    if standing is not None and standing.proposal.trial not in stood[-1:]:
        note(session, confirmed(standing))
