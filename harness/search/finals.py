"""The end of a search: the smallest network that stands is named, if its verification still fits into the time."""

from __future__ import annotations

from harness.search import race
from harness.search.proposals.estimate import (
    CAUTION,
    CAUTION_SECONDS,
    LEAST_VERIFY_SEEDS,
    VERIFY_FACTOR,
    rounds,
    verifying,
)
from harness.search.race import Candidate
from harness.search.session import Session, chosen, note, run_seconds, runs_of, smallest_standing


def choose(session: Session) -> None:
    """Note the winner: the smallest network that stands and can still be verified; the smallest where none can."""
    if session.interrupted:
        return
    standing = race.final_order(list(session.candidates.values()), session.config.threshold_pct)
    in_time = [item for item in standing if least_verify_seconds(session, item) <= session.left]
    if standing:
        note(session, chosen((in_time or standing)[0]))


def closing_seconds(session: Session) -> float:
    """Return the time that is kept for verifying the smallest network that stands; 0 while none does."""
    standing = smallest_standing(session)
    if session.effort.seconds is None or standing is None:
        return 0.0
    return verify_seconds(session, standing)


def verify_seconds(session: Session, candidate: Candidate, seeds: int = LEAST_VERIFY_SEEDS) -> float:
    """Return what verifying a network on so many seeds will take, in seconds of wall-clock; rather too much."""
    # The teacher of the search has not seen all training images, so a verification has one of its own.
    teaching = max((run.teacher_seconds for run in runs_of(candidate)), default=0.0)
    return verifying(run_seconds(session, candidate), session.workers, seeds) + CAUTION * VERIFY_FACTOR * teaching


def least_verify_seconds(session: Session, candidate: Candidate, seeds: int = LEAST_VERIFY_SEEDS) -> float:
    """Do as ``verify_seconds`` without what that is raised by: what fits so is begun."""
    return (verify_seconds(session, candidate, seeds) - CAUTION_SECONDS) / CAUTION


def remaining_seconds(session: Session, candidate: Candidate, confirming: int) -> float:
    """Return what a network that passed still takes until it is verified, if it comes to stand.

    Args:
        confirming: workers that run its fresh seeds.

    Returns:
        seconds; 0 where time has no end.
    """
    if session.effort.seconds is None:
        return 0.0
    one = run_seconds(session, candidate)
    lacking = max(0, race.STAND_SEEDS - len(candidate.fresh))
    return CAUTION * rounds(lacking, confirming) * one + verifying(one, session.workers)
