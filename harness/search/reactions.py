"""What a search does when a worker reports: decide at a rung, file a result, try again, tell the sampler."""

from __future__ import annotations

from dataclasses import replace

from harness.data.datasets import dataset
from harness.evidence.events import Confirmed, FailedConfirmation
from harness.search import pruning, race
from harness.search.race import Candidate
from harness.search.session import (
    Session,
    confirmed,
    enter_result,
    known_of,
    look_for_nearest,
    note,
    note_finished,
    smallest_standing,
    trial_of,
    update_contenders,
)
from harness.search.watcher import Moment
from harness.system.errors import HarnessError
from harness.training.result import Purpose, Result, Status, derive_seed
from harness.training.run import Job
from harness.training.workers import Broken, Event, Finished, Progress
from search_spaces.cost import analyse

# Runs that crash one after the other tell of the machine, not of the networks.
MOST_CRASHES = 10
POLL_SECONDS = 0.5


def poll(session: Session, seconds: float = POLL_SECONDS) -> None:
    """Wait a moment for the workers, act on what they report, and show where the search is."""
    for event in session.executor.poll(seconds):
        _on_event(session, event)
    show(session)


def show(session: Session) -> None:
    """Show where the search is to whoever watches it."""
    jobs = session.executor.jobs
    at = Moment(
        elapsed=session.elapsed,
        standing=smallest_standing(session),
        nearest=session.nearest,
        jobs=tuple(jobs.values()),
        nodes=tuple(map(session.executor.node, jobs)),
    )
    session.reporter.tick(at)


def _on_event(session: Session, event: Event) -> None:
    match event:
        case Progress():
            pass
        case Finished(job, found) if found.status is Status.RUNNING:
            _at_rung(session, job, found)
        case Finished(job, found):
            _ended(session, job, found)
        case Broken():
            _on_broken(session, event)


def _at_rung(session: Session, job: Job, found: Result) -> None:
    """Decide at a rung whether a run goes on."""
    rung = pruning.at_rung(found, session.ratios, session.config.threshold_pct, session.is_hopeless)
    note(session, rung)
    if rung.pruned:
        own_rule = session.is_hopeless is not None
        why = "by another rule" if own_rule else pruning.why_pruned(rung, session.config.threshold_pct)
        _ended(session, job, replace(found, status=Status.PRUNED, message=why))
    else:
        until = pruning.next_rung(session.config, job.recipe.epochs, rung.epoch)
        session.waiting.insert(0, replace(job, until_epoch=until, spent_seconds=found.train_seconds))


def _ended(session: Session, job: Job, found: Result) -> None:
    """File a finished run and draw the consequences."""
    candidate = session.candidates[trial_of(job)]
    before = smallest_standing(session)
    open_before = not race.refuted(candidate, session.config.threshold_pct)
    session.log.keep(trial_of(job), found)
    enter_result(session, found)
    update_contenders(session, candidate)
    look_for_nearest(session)
    if job.checkpoint is not None:
        job.checkpoint.unlink(missing_ok=True)
    note_finished(session, found)
    # What is known has changed, so there may be another network worth training after all.
    session.exhausted = ""
    session.crashed = session.crashed + 1 if found.status is Status.CRASHED else 0
    if job.purpose is Purpose.SEARCH:
        session.proposer.tell(candidate.proposal.trial, race.outcome(candidate, session.config.threshold_pct))
    decided = _note_decision(session, candidate, before, open_before=open_before)
    session.reporter.ended(candidate, found, decided)
    if session.crashed == MOST_CRASHES:
        raise HarnessError(f"{MOST_CRASHES} runs in a row crashed, the last one with: {found.message}")


def _note_decision(
    session: Session, candidate: Candidate, before: Candidate | None, *, open_before: bool
) -> Confirmed | FailedConfirmation | None:
    """Note what a further run of a network has changed; return what it has decided about this network."""
    threshold_pct = session.config.threshold_pct
    decided: Confirmed | FailedConfirmation | None = None
    has_fallen = candidate is before and not race.stands(candidate, threshold_pct)
    if has_fallen or (open_before and race.refuted(candidate, threshold_pct)):
        decided = FailedConfirmation(**known_of(candidate))
        note(session, decided)
    after = smallest_standing(session)
    if after is None or after is before:
        return decided
    note(session, smaller := confirmed(after))
    return smaller if after is candidate else decided


def _on_broken(session: Session, event: Broken) -> None:
    """Try a crashed run once more; any other breakage, and a second crash, is its outcome."""
    job = event.job
    key = (trial_of(job), job.purpose.value, job.seed_index)
    session.broken[key] = session.broken.get(key, 0) + 1
    if event.status is Status.CRASHED and session.broken[key] == 1:
        session.waiting.append(job)
        return
    proposal = session.candidates[trial_of(job)].proposal
    task = dataset(session.config.dataset).task
    found = Result(
        architecture=proposal.architecture,
        hash=proposal.hash,
        parameters=proposal.parameters,
        macs=analyse(proposal.architecture, task).macs,
        recipe=job.recipe,
        recipe_name=job.recipe_name,
        recipe_hash=job.recipe.hash,
        dataset=session.config.dataset,
        purpose=job.purpose,
        seed_index=job.seed_index,
        seed=derive_seed(proposal.hash, job.recipe.hash, job.purpose, job.seed_index, job.study_seed),
        status=event.status,
        message=event.message,
        study=session.folder.name,
        trial=proposal.trial,
        decisions=proposal.decisions,
    )
    _ended(session, job, found)
