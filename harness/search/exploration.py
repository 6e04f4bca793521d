"""The open part of a search: propose, train, prune and confirm until time, trials or the space run out."""

from __future__ import annotations

from collections import Counter

from harness.evidence.events import Looked, Rejected, Repeated
from harness.search import race
from harness.search.race import STAND_SEEDS, Candidate
from harness.search.reactions import poll
from harness.search.session import (
    Session,
    free_indices,
    job_for,
    jobs_at_work,
    note,
    smallest_standing,
    trial_of,
    update_contenders,
)
from harness.search.time_left import closing_seconds, remaining_seconds, room, run_seconds
from harness.training.result import Purpose
from harness.training.run import Job


def explore(session: Session) -> None:
    """Propose, train, prune and confirm until something runs out."""
    while not session.interrupted:
        session.reason = _stop_reason(session)
        if session.reason == "time":
            break
        begun = _begin(session)
        if not begun and not jobs_at_work(session):
            session.reason = session.reason or ("time" if session.lacks_time else "exhausted")
            break
        poll(session)
    if session.interrupted:
        session.reason = "interrupted"
        return
    # What is in flight has its last rung on disk, or is not needed for what follows.
    for place, running in session.executor.jobs.items():
        if running is not None:
            session.executor.abandon(place)


def _begin(session: Session) -> bool:
    """Give every idle worker what there is to do; return whether there was something."""
    begun = False
    for place, running in session.executor.jobs.items():
        if running is not None or (job := _next_job(session)) is None:
            continue
        session.executor.assign(place, job)
        begun = True
        # A proposal takes seconds: those at work are heard in between, and so is whoever ends the search.
        poll(session, seconds=0.0)
        if session.interrupted:
            break
    return begun


def _stop_reason(session: Session) -> str:
    """Return why no new network is begun: time for the verification has come, or the trials are used up."""
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
    """Return the network whose fresh seeds are wanted, those in flight counted, if there is time for them.

    Once something stands half of the workers go on with new networks, unless it is likely to stand or time is short: a
    smaller one that passes makes the seeds of a larger one superfluous.
    """
    workers, half = session.workers, max(1, session.workers // 2)
    flying = Counter(trial_of(job) for job in jobs_at_work(session) if job.purpose is Purpose.CONFIRM)
    stands = smallest_standing(session) is not None
    # One that is still in its first training wants no fresh seeds yet.
    candidates = [each for each in session.contenders.values() if each.first is not None]
    in_time = [item for item in candidates if remaining_seconds(session, item, workers) <= session.left]
    candidate = _next(session, in_time, flying)
    if candidate is None and not stands:
        # What stands without being verified is still an answer: the same command with more time verifies it.
        candidate = _next(session, candidates, flying)
    if candidate is None or explored or not stands:
        return candidate
    is_likely = race.chance_to_stand(candidate, session.config.threshold_pct) >= race.LIKELY
    is_late = remaining_seconds(session, candidate, half) > session.left
    return candidate if flying.total() < half or is_likely or is_late else None


def _next(session: Session, candidates: list[Candidate], flying: Counter[int]) -> Candidate | None:
    threshold_pct, ceiling = session.config.threshold_pct, session.config.ceiling
    return race.next_to_confirm(candidates, threshold_pct, ceiling, flying, lambda each: run_seconds(session, each))


def _propose(session: Session) -> Job | None:
    """Return the first run of a new network; None when the space has no further one."""
    found = session.proposer.propose(_ceiling(session), session.candidates, room(session))
    for passed in found.passed:
        match passed:
            case Rejected():
                session.reporter.rejected += 1
            case Repeated(trial=trial):
                session.candidates[trial].repeats += session.switches.repeats
                update_contenders(session, session.candidates[trial])
        note(session, passed)
    if found.proposal is None:
        # There is no use in asking again before another run has ended.
        session.exhausted, session.lacks_time = found.why, found.lacks_time
        return None
    candidate = race.candidate_of(session.config, found.proposal, STAND_SEEDS if session.switches.confirmation else 0)
    session.candidates[found.proposal.trial] = candidate
    update_contenders(session, candidate)
    note(session, found.proposal)
    if found.rejected:
        note(session, Looked(rejected=dict(found.rejected)))
        session.reporter.rejected += sum(found.rejected.values())
    return job_for(session, candidate, Purpose.SEARCH, 0)


def _ceiling(session: Session) -> int:
    """Return the highest cost worth proposing: below the lowest of a network that stands."""
    standing = smallest_standing(session) if session.switches.falling_budget else None
    return session.config.ceiling if standing is None else min(session.config.ceiling, standing.cost - 1)
