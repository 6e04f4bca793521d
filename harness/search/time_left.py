"""What there is time for in a search, by the pace of its workers: runs, fresh seeds, the verification of its winner."""

from __future__ import annotations

from harness.data.datasets import dataset
from harness.search import race
from harness.search.proposals.estimate import (
    CAUTION,
    CAUTION_SECONDS,
    LEAST_VERIFY_SEEDS,
    VERIFY_FACTOR,
    Pace,
    Room,
    rounds,
    scaled,
    slowdown,
    training_seconds,
    verifying,
)
from harness.search.proposals.features import work
from harness.search.race import STAND_SEEDS, Candidate
from harness.search.session import Session, runs_of
from harness.system import statistics
from harness.training.result import Status


def room(session: Session) -> Room:
    """Return what there is time for: a training whose network can still be confirmed and verified."""
    pace, images, workers = pace_of(session), dataset(session.config.dataset).train_size, session.workers
    if session.effort.seconds is None:
        return Room(images, pace, workers=workers)
    confirmed = CAUTION * (1 + rounds(STAND_SEEDS, workers))
    verified = CAUTION * VERIFY_FACTOR * rounds(LEAST_VERIFY_SEEDS, workers)
    seconds = max(0.0, session.left - CAUTION_SECONDS) / (confirmed + verified)
    return Room(
        images,
        pace,
        seconds,
        session.left,
        workers,
        session.elapsed,
        _spare_seconds(session),
        is_over=lambda: session.left <= 0,
    )


def _spare_seconds(session: Session) -> float:
    """Return the time that is left besides two verifications: the winner's, and the quickest other one should it miss.

    Infinite where nothing is to be verified.
    """
    waiting = _to_verify(session)
    if not waiting:
        return float("inf")
    winner, *others = (verify_seconds(session, each) for each in waiting)
    return session.left - winner - min(others, default=0.0)


def _to_verify(session: Session) -> list[Candidate]:
    """Return the networks that may be verified at the end, in order.

    They stand, they have not missed, and none smaller has met the target.
    """
    waiting = []
    for each in race.final_order(list(session.contenders.values()), session.config.threshold_pct):
        verdict = session.verdicts.get(each.proposal.trial)
        if verdict is None:
            waiting.append(each)
        elif verdict.passed:
            break
    return waiting


def pace_of(session: Session) -> Pace:
    """Return the pace as it was measured, that of the slowest node of a cluster; a guess until a run has ended."""
    return scaled(session.timing.pace, slowdown(session.timing) or 1.0)


def run_seconds(session: Session, candidate: Candidate) -> float:
    """Return what one whole run of a network takes: from those it has had, else estimated."""
    seconds = [run.train_seconds for run in runs_of(candidate) if run.status is Status.COMPLETE]
    if seconds:
        return statistics.mean(seconds)
    proposal, data = candidate.proposal, dataset(session.config.dataset)
    epochs = proposal.epochs or session.config.recipe.epochs
    return training_seconds(epochs, data.train_size, work(proposal.architecture, data.task), pace_of(session))


def closing_seconds(session: Session) -> float:
    """Return the time that is kept for verifying the smallest network that stands; 0 while none is to be verified."""
    waiting = [] if session.effort.seconds is None else _to_verify(session)
    return verify_seconds(session, waiting[0]) if waiting else 0.0


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
    lacking = max(0, STAND_SEEDS - len(candidate.fresh))
    return CAUTION * rounds(lacking, confirming) * one + verifying(one, session.workers)
