"""The open part of a search: propose, train, prune and confirm until time, trials or the space run out."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from harness.search import race
from harness.search.events import poll
from harness.search.finals import closing_seconds
from harness.search.proposer import Rejection, Repeat, propose
from harness.search.race import Candidate
from harness.search.session import Session, free_indices, job_for, most_macs, note, smallest_standing, trial_of
from harness.training import workers
from harness.training.run import Job
from harness.training.seeds import Purpose


def explore(session: Session) -> None:
    """Propose, train, prune and confirm until something runs out."""
    while not session.interrupted:
        session.reason = _stop_reason(session)
        if session.reason == "time":
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
        return
    # Fresh seeds of the network that stands are wanted for the choice, and have no rung to go on from.
    while not session.interrupted and any(_is_for_the_choice(session, worker.job) for worker in session.pool):
        poll(session)
    # What else is in flight has its last rung on disk, or is not needed for what follows.
    for worker in session.pool:
        if worker.job is not None:
            workers.abandon(worker)


def _is_for_the_choice(session: Session, job: Job | None) -> bool:
    standing = smallest_standing(session)
    return (
        job is not None
        and standing is not None
        and job.purpose is Purpose.CONFIRM
        and trial_of(job) == standing.proposal.trial
    )


def _stop_reason(session: Session) -> str:
    """Return why no new network is begun: time for the closing runs has come, or the trials are used up."""
    if session.left <= closing_seconds(session):
        return "time"
    if session.effort.trials is not None and len(session.candidates) >= session.effort.trials:
        return "trials"
    return ""


def _next_job(session: Session) -> Job | None:
    """Return what a free worker does next: what is waiting, then a fresh seed, then a new network."""
    if session.waiting:
        return session.waiting.pop(0)
    # Of several workers the first may have taken the last trial.
    explored = _stop_reason(session) == "trials" or bool(session.exhausted)
    if (candidate := _confirmable(session, explored=explored)) is not None:
        return job_for(session, candidate, Purpose.CONFIRM, next(free_indices(session, candidate)))
    return None if explored else _propose(session)


def _confirmable(session: Session, *, explored: bool) -> Candidate | None:
    """Return the network whose fresh seeds are wanted, those in flight counted.

    While there are networks to propose, half of the workers go on with those: a smaller one that passes makes the
    seeds of a larger one superfluous.
    """
    jobs = [worker.job for worker in session.pool if worker.job is not None]
    flying = Counter(trial_of(job) for job in jobs if job.purpose is Purpose.CONFIRM)
    if not explored and flying.total() >= max(1, session.effort.workers // 2):
        return None
    candidates, threshold_pct = list(session.candidates.values()), session.config.threshold_pct
    # A smaller network that may come to stand is worth more than certainty about the one that does.
    wanted = race.next_to_confirm(candidates, threshold_pct, flying)
    return wanted or race.next_finalist(candidates, threshold_pct, flying)


def _propose(session: Session) -> Job | None:
    """Return the first run of a new network; None when the space has no further one."""
    budget = _effective_budget(session)
    found = propose(session.proposer, budget, session.candidates, most_macs(session))
    for passed in found.passed:
        match passed:
            case Rejection():
                note(session, "rejected", budget=budget, **asdict(passed))
                session.reporter.rejected += 1
            case Repeat(trial):
                session.candidates[trial].repeats += 1
                note(session, "repeated", hash=session.candidates[trial].proposal.hash, **asdict(passed))
    if found.proposal is None:
        # The budget and the time only fall, so there is no use in asking again.
        session.exhausted = found.why
        return None
    candidate = Candidate(found.proposal)
    session.candidates[found.proposal.trial] = candidate
    note(session, "proposed", **asdict(found.proposal))
    return job_for(session, candidate, Purpose.SEARCH, 0)


def _effective_budget(session: Session) -> int:
    """Return the largest size worth proposing: below the smallest network that stands."""
    standing = smallest_standing(session)
    return session.config.budget if standing is None else min(session.config.budget, standing.proposal.parameters - 1)
