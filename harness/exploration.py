"""The open part of a search: propose, train, prune and confirm until time, trials or the space run out."""

from __future__ import annotations

from harness import race, study, workers
from harness.events import poll
from harness.finals import closing_seconds
from harness.proposer import Exhausted, propose
from harness.race import Candidate
from harness.run import Job
from harness.seeds import Purpose
from harness.session import Session, job_for, note, trial_of


def explore(session: Session) -> None:
    """Propose, train, prune and confirm until something runs out."""
    while not session.interrupted:
        session.reason = _stop_reason(session)
        if session.reason and session.reason != "trials":
            break
        if session.reason == "trials" and not _unfinished(session) and not _confirmable(session):
            break
        for worker in session.pool:
            if worker.job is None and (job := _next_job(session)) is not None:
                workers.assign(worker, job)
        if not any(worker.job for worker in session.pool):
            session.reason = session.reason or "exhausted"
            break
        poll(session)
    if session.interrupted:
        session.reason = "interrupted"
    # What is still in flight has its last rung on disk and is not needed for what follows.
    for worker in session.pool:
        if worker.job is not None:
            workers.abandon(worker)


def _next_job(session: Session) -> Job | None:
    """Return what a free worker does next: what is waiting, then a fresh seed, then a new network."""
    if session.waiting:
        return session.waiting.pop(0)
    if (candidate := _confirmable(session)) is not None:
        return job_for(session, candidate, Purpose.CONFIRM, _next_index(session, candidate))
    if session.reason == "trials" or session.exhausted:
        return None
    return _propose(session)


def _propose(session: Session) -> Job | None:
    """Return the first run of a new network; None when the space has no further one."""
    try:
        found = propose(session.proposer, _effective_budget(session), session.candidates)
    except Exhausted:
        # The budget only falls, so there is no use in asking again.
        session.exhausted = True
        return None
    for rejection in found.rejections:
        note(
            session,
            "rejected",
            reason=rejection.reason,
            parameters=rejection.parameters,
            hash=rejection.hash,
            origin=rejection.origin,
        )
        session.reporter.rejected += 1
    for trial in found.repeats:
        session.candidates[trial].repeats += 1
        note(session, "repeated", trial=trial, hash=session.candidates[trial].proposal.hash)
    candidate = Candidate(found.proposal)
    session.candidates[found.proposal.trial] = candidate
    note(session, "proposed", **study.proposal_document(found.proposal))
    return job_for(session, candidate, Purpose.SEARCH, 0)


def _stop_reason(session: Session) -> str:
    """Return why no new network is begun: time for the closing runs has come, or the trials are used up."""
    if session.left <= closing_seconds(session):
        return "time"
    if session.effort.trials is not None and len(session.candidates) >= session.effort.trials:
        return "trials"
    return ""


def _confirmable(session: Session) -> Candidate | None:
    """Return the network whose fresh seeds are wanted, those in flight counted."""
    flying: dict[int, int] = {}
    for worker in session.pool:
        if worker.job is not None and worker.job.purpose is Purpose.CONFIRM:
            flying[trial_of(worker.job)] = flying.get(trial_of(worker.job), 0) + 1
    busy = {
        trial
        for trial, count in flying.items()
        if count + len(session.candidates[trial].fresh)
        >= max(race.STAND_SEEDS, len(session.candidates[trial].fresh) + 1)
    }
    return race.next_to_confirm(list(session.candidates.values()), session.config.threshold_pct, busy)


def _next_index(session: Session, candidate: Candidate) -> int:
    """Return the next fresh seed of a network that is neither run nor in flight."""
    used = {run.seed_index for run in candidate.fresh}
    for worker in session.pool:
        job = worker.job
        if job is not None and job.purpose is Purpose.CONFIRM and job.trial == candidate.proposal.trial:
            used.add(job.seed_index)
    return next(index for index in range(len(used) + 1) if index not in used)


def _effective_budget(session: Session) -> int:
    """Return the largest size worth proposing: below the smallest network that stands."""
    standing = race.smallest_standing(list(session.candidates.values()), session.config.threshold_pct)
    return session.config.budget if standing is None else min(session.config.budget, standing.proposal.parameters - 1)


def _unfinished(session: Session) -> bool:
    return bool(session.waiting) or any(worker.job for worker in session.pool)
