"""The end of a search: the smallest networks that stand get further fresh seeds, until one is certain enough."""

from __future__ import annotations

import itertools

from harness.evidence import statistics
from harness.search import race
from harness.search.estimate import CAUTION, LEAST_VERIFY_SEEDS, VERIFY_FACTOR
from harness.search.events import poll
from harness.search.race import Candidate
from harness.search.session import Session, free_indices, job_for, note_standing, runs_of
from harness.training import workers
from harness.training.result import Status
from harness.training.seeds import Purpose

# For starting processes and writing files.
CAUTION_SECONDS = 20.0


def choose(session: Session) -> None:
    """Run the smallest networks that stand on further fresh seeds until one is certain enough; note the winner.

    Only networks whose verification still fits into the time are looked at, as long as there are such. Where none is
    certain enough the one whose bound lies highest wins; where no time is left to find out, the smallest.
    """
    threshold_pct = session.config.threshold_pct
    refused: set[int] = set()
    while not session.interrupted:
        open_ = [candidate for candidate in _eligible(session) if candidate.proposal.trial not in refused]
        if not open_:
            break
        candidate = open_[0]
        lacking = race.FINAL_SEEDS - len(candidate.fresh)
        if lacking <= 0 and not race.is_final(candidate, threshold_pct):
            refused.add(candidate.proposal.trial)
            continue
        needed = _seeds_seconds(session, candidate) + verify_seconds(session, candidate)
        if lacking <= 0 or needed > session.left:
            note_standing(session, "winner", candidate)
            return
        _run_fresh(session, candidate, lacking)
    standing = _eligible(session)
    if standing and not session.interrupted:
        best = max(standing, key=lambda item: race.margin_pct(item, threshold_pct))
        note_standing(session, "winner", best)


def _eligible(session: Session) -> list[Candidate]:
    """Return the networks that stand and can still be verified, smallest first; all that stand where none can."""
    standing = race.final_order(list(session.candidates.values()), session.config.threshold_pct)
    return [item for item in standing if verify_seconds(session, item) <= session.left] or standing


def _run_fresh(session: Session, candidate: Candidate, count: int) -> None:
    """Run so many further fresh seeds of one network to their end."""
    indices = itertools.islice(free_indices(session, candidate), count)
    session.waiting = [job_for(session, candidate, Purpose.CONFIRM, index) for index in indices]
    while (session.waiting or any(worker.job for worker in session.pool)) and not session.interrupted:
        for worker in session.pool:
            if worker.job is None and session.waiting:
                workers.assign(worker, session.waiting.pop(0))
        poll(session)


def closing_seconds(session: Session) -> float:
    """Return the time that the remaining fresh seeds and the verification of the winner will take.

    That is the time of every network that may have to be looked at: from the smallest that stands to the first that is
    certain enough.
    """
    if session.effort.seconds is None:
        return 0.0
    seeds, verification = 0.0, 0.0
    for candidate in race.final_order(list(session.candidates.values()), session.config.threshold_pct):
        seeds += _seeds_seconds(session, candidate)
        verification = max(verification, verify_seconds(session, candidate))
        if race.is_final(candidate, session.config.threshold_pct):
            break
    # Without something to spare the choice would find, a moment later, that it lacks the time.
    return seeds + verification + CAUTION_SECONDS if verification else 0.0


def _seeds_seconds(session: Session, candidate: Candidate) -> float:
    """Return what the fresh seeds take that a network lacks for the choice; rather too much."""
    rounds = -(-max(0, race.FINAL_SEEDS - len(candidate.fresh)) // session.effort.workers)
    return CAUTION * rounds * run_seconds(session, candidate)


def verify_seconds(session: Session, candidate: Candidate, seeds: int = LEAST_VERIFY_SEEDS) -> float:
    """Return what verifying a network on so many seeds will take, in seconds of wall-clock; rather too much."""
    rounds = -(-seeds // session.effort.workers)
    # The teacher of the search has not seen all training images, so a verification has one of its own.
    teaching = max((run.teacher_seconds for run in runs_of(candidate)), default=0.0)
    return CAUTION * VERIFY_FACTOR * (rounds * run_seconds(session, candidate) + teaching) + CAUTION_SECONDS


def run_seconds(session: Session, candidate: Candidate) -> float:
    """Return what one whole run of a network takes, from those it has had."""
    seconds = [run.train_seconds for run in runs_of(candidate) if run.status is Status.COMPLETE]
    return statistics.mean(seconds) if seconds else 0.0
