"""The end of a search: the smallest networks that stand get further fresh seeds, until one is certain enough."""

from __future__ import annotations

import itertools

from harness import race, statistics, workers
from harness.estimate import CAUTION, LEAST_VERIFY_SEEDS, VERIFY_FACTOR
from harness.events import poll
from harness.race import Candidate
from harness.result import Status
from harness.seeds import Purpose
from harness.session import Session, free_indices, job_for, note_standing, runs_of, smallest_standing

# For starting processes and writing files.
CAUTION_SECONDS = 20.0


def choose(session: Session) -> None:
    """Run the smallest networks that stand on further fresh seeds until one is certain enough; note the winner.

    Where none is, the one whose bound lies highest wins; where no time is left to find out, the smallest whose
    verification still fits.
    """
    threshold_pct = session.config.threshold_pct
    refused: set[int] = set()
    while not session.interrupted:
        order = race.final_order(list(session.candidates.values()), threshold_pct)
        open_ = [candidate for candidate in order if candidate.proposal.trial not in refused]
        if not open_:
            break
        candidate = open_[0]
        lacking = race.FINAL_SEEDS - len(candidate.fresh)
        if lacking <= 0:
            if race.is_final(candidate, threshold_pct):
                note_standing(session, "winner", candidate)
                return
            refused.add(candidate.proposal.trial)
            continue
        rounds = -(-lacking // session.effort.workers)
        if CAUTION * rounds * run_seconds(session, candidate) > session.left - verify_seconds(session, candidate):
            in_time = [item for item in open_ if verify_seconds(session, item) <= session.left]
            note_standing(session, "winner", (in_time or open_)[0])
            return
        _run_fresh(session, candidate, lacking)
    standing = race.final_order(list(session.candidates.values()), threshold_pct)
    if standing and not session.interrupted:
        best = max(standing, key=lambda item: race.margin_pct(item, threshold_pct))
        note_standing(session, "winner", best)


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
    """Return the time that the remaining fresh seeds and the verification of the best network so far will take."""
    if session.effort.seconds is None:
        return 0.0
    standing = smallest_standing(session)
    if standing is None:
        return 0.0
    lacking = max(0, race.FINAL_SEEDS - len(standing.fresh))
    rounds = -(-lacking // session.effort.workers)
    # Without something to spare the choice would find, a moment later, that it lacks the time.
    return CAUTION * rounds * run_seconds(session, standing) + verify_seconds(session, standing) + CAUTION_SECONDS


def verify_seconds(session: Session, candidate: Candidate, seeds: int = LEAST_VERIFY_SEEDS) -> float:
    """Return what verifying a network on so many seeds will take, in seconds of wall-clock; rather too much."""
    rounds = -(-seeds // session.effort.workers)
    return CAUTION * rounds * VERIFY_FACTOR * run_seconds(session, candidate) + CAUTION_SECONDS


def run_seconds(session: Session, candidate: Candidate) -> float:
    """Return what one whole run of a network takes, from those it has had."""
    seconds = [run.train_seconds for run in runs_of(candidate) if run.status is Status.COMPLETE]
    return statistics.mean(seconds) if seconds else 0.0
