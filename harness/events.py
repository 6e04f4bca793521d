"""What a search does when a worker reports: decide at a rung, file a result, try again, tell the sampler."""

from __future__ import annotations

from dataclasses import replace

from harness import race, result, study, workers
from harness.result import Result, Status
from harness.run import Job
from harness.seeds import Purpose, derive_seed
from harness.session import Session, file_result, next_rung, note, note_standing, runs_of, trial_of
from harness.workers import Broken, Event, Finished, Progress

POLL_SECONDS = 0.5


def poll(session: Session) -> None:
    """Wait a moment for the workers, act on what they report, and show where the search is."""
    for event in workers.poll(session.pool, session.effort.limits, POLL_SECONDS):
        _on_event(session, event)
    standing = race.smallest_standing(list(session.candidates.values()), session.config.threshold_pct)
    session.reporter.tick(session.elapsed, session.left, standing, session.pool)


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
    trial = trial_of(job)
    errors, size = found.validation_errors or 0, found.validation_size or 1
    ended = [run for candidate in session.candidates.values() for run in runs_of(candidate)]
    ratio = race.hopeful_ratio(ended, len(found.history), job.recipe.epochs)
    hoped = race.predicted_pct(errors, size, ratio)
    hopeless = hoped < session.config.threshold_pct
    spared = hopeless and race.exempt(found.hash)
    note(
        session,
        "rung",
        trial=trial,
        purpose=job.purpose,
        seed_index=job.seed_index,
        epoch=len(found.history),
        validation_errors=errors,
        predicted_pct=hoped,
        pruned=hopeless and not spared,
        exempt=spared,
    )
    if hopeless and not spared:
        message = f"after epoch {len(found.history)} at best {hoped:.2f} % was to be hoped for"
        _ended(session, job, replace(found, status=Status.PRUNED, message=message))
    else:
        session.waiting.insert(0, replace(job, until_epoch=next_rung(session, len(found.history))))


def _ended(session: Session, job: Job, found: Result) -> None:
    """File a finished run and draw the consequences."""
    trial = trial_of(job)
    before = race.smallest_standing(list(session.candidates.values()), session.config.threshold_pct)
    result.write(study.result_path(session.folder, trial, job.purpose, job.seed_index), found)
    file_result(session.candidates, found)
    if job.checkpoint is not None:
        job.checkpoint.unlink(missing_ok=True)
    note(
        session,
        "finished",
        trial=trial,
        purpose=job.purpose,
        seed_index=job.seed_index,
        status=found.status,
        validation_errors=found.validation_errors,
    )
    candidate = session.candidates[trial]
    if job.purpose is Purpose.SEARCH:
        session.proposer.tell(trial, race.outcome(candidate, session.config.threshold_pct))
    elif race.refuted(candidate, session.config.threshold_pct):
        note_standing(session, "refuted", candidate)
    after = race.smallest_standing(list(session.candidates.values()), session.config.threshold_pct)
    if after is not None and after is not before:
        note_standing(session, "standing", after, budget=after.proposal.parameters - 1)
    session.reporter.ended(candidate, found, is_standing=after is candidate and after is not before)


def _on_broken(session: Session, event: Broken) -> None:
    """Try a crashed run once more; any other breakage, and a second crash, is its outcome."""
    job = event.job
    key = (trial_of(job), job.purpose.value, job.seed_index)
    session.broken[key] = session.broken.get(key, 0) + 1
    if event.status is Status.CRASHED and session.broken[key] == 1:
        session.waiting.append(job)
        return
    proposal = session.candidates[trial_of(job)].proposal
    found = Result(
        architecture=proposal.architecture,
        hash=proposal.hash,
        parameters=proposal.parameters,
        macs=0,
        recipe=job.recipe,
        recipe_name=job.recipe_name,
        recipe_hash=job.recipe.hash,
        dataset=session.config.dataset,
        purpose=job.purpose,
        seed_index=job.seed_index,
        seed=derive_seed(proposal.hash, job.recipe.hash, job.purpose, job.seed_index, session.config.seed),
        status=event.status,
        message=event.message,
        study=session.folder.name,
        trial=proposal.trial,
        decisions=proposal.decisions,
    )
    _ended(session, job, found)
