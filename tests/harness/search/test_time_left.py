"""What a run takes, what there is room for, and the time that is kept for the verification of the winner."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness.evidence.events import Verified
from harness.search import session
from harness.search import session as time_left
from harness.search.features import work
from harness.search.race import Candidate
from harness.search.session import Session
from harness.training.result import Purpose, Status
from search_spaces.task import MNIST
from tests.harness import scripted
from tests.harness.scripted import Made, Trainer
from tests.harness.search.conftest import PROPOSAL

STANDS = (99.4, 99.4)


def file(opened: Session, *seconds: float) -> Candidate:
    """Let the network have so many fresh runs, which took so long."""
    candidate = opened.candidates[0]
    for index, each in enumerate(seconds):
        job = session.job_for(opened, candidate, Purpose.CONFIRM, index)
        run = scripted.made_result(job, scripted.by_size, 8)
        session.enter_result(opened, replace(run, train_seconds=each))
    return candidate


def test_a_run_takes_what_the_whole_ones_before_took(opened: Session):
    candidate = file(opened, 7.0, 9.0)
    candidate.first = replace(candidate.fresh[0], status=Status.PRUNED, train_seconds=1.0)

    assert time_left.run_seconds(opened, candidate) == 8.0


def test_a_run_of_a_network_that_was_not_trained_takes_the_pace_of_the_others(opened: Session):
    estimated = time_left.run_seconds(opened, opened.candidates[0])
    pace = time_left.pace_of(opened)

    slow = file(opened, 3 * estimated)
    other = Candidate(replace(PROPOSAL, trial=1, epochs=16), PROPOSAL.parameters)

    assert time_left.run_seconds(opened, other) == pytest.approx(3 * 2 * estimated)
    assert time_left.run_seconds(opened, slow) == pytest.approx(3 * estimated)
    assert time_left.pace_of(opened).seconds_an_image == pytest.approx(3 * pace.seconds_an_image)
    # 8 epochs of 50,000 images by the figures of torch.
    assert estimated == pytest.approx(8 * 50_000 * (1.85e-4 + 3.35e-11 * work(PROPOSAL.architecture, MNIST)))


def test_without_an_end_there_is_room_for_any_training(opened: Session):
    found = time_left.time_left(opened)

    assert (found.seconds, found.left, found.images, found.workers) == (None, float("inf"), 50_000, 1)
    assert found.pace == time_left.pace_of(opened)


@pytest.mark.parametrize(
    ("workers", "rounds"),
    # The first run, two fresh seeds, and five of 1.2 times the length to verify; the workers share what they can.
    [(1, 1 + 2 + 5 * 1.2), (2, 1 + 1 + 3 * 1.2), (5, 1 + 1 + 1.2)],
)
def test_a_training_has_room_if_its_network_can_be_confirmed_and_verified(workers: int, rounds: float, opened: Session):
    opened.effort = scripted.effort(seconds=1_000.0, workers=workers)

    found = time_left.time_left(opened)

    # Raised by 15 %, and 20 s for what is no training.
    assert found.seconds == pytest.approx((1_000 - 12) / (1.1 * rounds), rel=1e-3)
    assert found.left == pytest.approx(1_000, rel=1e-3)
    opened.before = 990.0
    assert time_left.time_left(opened).seconds == 0.0


# The end ----------------------------------------------------------------------------------------------------


def test_no_time_is_kept_for_the_end_while_nothing_stands_or_time_has_no_end(trainer: Trainer, tmp_path: Path):
    one, two = Made(4, fresh=(99.4,)), Made(4, fresh=STANDS)

    assert time_left.closing_seconds(scripted.opened(tmp_path / "a", [one], seconds=1000.0)) == 0.0
    assert time_left.closing_seconds(scripted.opened(tmp_path / "b", [two], seconds=None)) == 0.0


# Each made-up run takes 8 s; a verification trains on a fifth more images. All is raised by 10 %, and 12 s are kept for
# what is no training.
@pytest.mark.parametrize(("workers", "rounds"), [(1, 5), (2, 3), (5, 1)])
def test_the_time_for_the_end_is_that_of_five_seeds_of_the_smallest_that_stands(
    workers: int, rounds: int, trainer: Trainer, tmp_path: Path
):
    networks = [Made(12, fresh=STANDS), Made(8, fresh=STANDS)]
    opened = scripted.opened(tmp_path, networks, seconds=1000.0, workers=workers)
    large = opened.candidates[0]
    large.fresh = [replace(run, train_seconds=1_000.0) for run in large.fresh]

    assert time_left.closing_seconds(opened) == pytest.approx(1.1 * 1.2 * rounds * 8 + 12)
    assert time_left.verify_seconds(opened, opened.candidates[1], 4) == pytest.approx(
        1.1 * 1.2 * -(-4 // workers) * 8 + 12
    )


def test_what_is_spare_leaves_time_for_the_winner_and_for_the_quickest_of_the_others(trainer: Trainer, tmp_path: Path):
    networks = [Made(20), Made(16, fresh=STANDS), Made(12, fresh=STANDS), Made(8, fresh=STANDS)]
    opened = scripted.opened(tmp_path, networks, seconds=1000.0)
    for trial, seconds in ((1, 30.0), (2, 20.0), (3, 40.0)):
        each = opened.candidates[trial]
        assert each.first is not None
        each.first = replace(each.first, train_seconds=seconds)
        each.fresh = [replace(run, train_seconds=seconds) for run in each.fresh]

    two_verifications = 1.1 * 1.2 * 5 * (40 + 20) + 2 * 12
    assert time_left.time_left(opened).spare == pytest.approx(1000 - two_verifications, abs=0.5)
    alone = scripted.opened(tmp_path / "alone", [Made(8, fresh=STANDS)], seconds=1000.0)
    assert time_left.time_left(alone).spare == pytest.approx(1000 - (1.1 * 1.2 * 5 * 8 + 12), abs=0.5)


def test_all_time_is_spare_while_nothing_stands_or_time_has_no_end(trainer: Trainer, tmp_path: Path):
    assert math.isinf(time_left.time_left(scripted.opened(tmp_path / "a", [Made(8)], seconds=1000.0)).spare)
    assert math.isinf(time_left.time_left(scripted.opened(tmp_path / "b", [Made(8, fresh=STANDS)])).spare)


def test_time_is_kept_for_the_smallest_that_has_not_missed_and_for_none_above_one_that_has_met_the_target(
    trainer: Trainer, tmp_path: Path
):
    networks = [Made(16, fresh=STANDS), Made(12, fresh=STANDS), Made(8, fresh=STANDS)]
    opened = scripted.opened(tmp_path, networks, seconds=1000.0)
    for trial, seconds in ((0, 10.0), (1, 40.0), (2, 20.0)):
        each = opened.candidates[trial]
        assert each.first is not None
        each.first = replace(each.first, train_seconds=seconds)
        each.fresh = [replace(run, train_seconds=seconds) for run in each.fresh]
    one = 1.1 * 1.2 * 5

    opened.verdicts[2] = Verified(passed=False)
    assert time_left.closing_seconds(opened) == pytest.approx(one * 40 + 12)
    assert time_left.time_left(opened).spare == pytest.approx(1000 - one * (40 + 10) - 24, abs=0.5)
    opened.verdicts[1] = Verified(passed=True)
    assert time_left.closing_seconds(opened) == 0.0
    del opened.verdicts[2]
    assert time_left.closing_seconds(opened) == pytest.approx(one * 20 + 12)
    assert time_left.time_left(opened).spare == pytest.approx(1000 - one * 20 - 12, abs=0.5)


def test_a_verification_trains_a_teacher_of_its_own(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [Made(4, fresh=STANDS)], workers=5)
    candidate = opened.candidates[0]
    candidate.fresh[1] = replace(candidate.fresh[1], teacher_seconds=50.0)

    assert time_left.verify_seconds(opened, candidate) == pytest.approx(1.1 * 1.2 * (8 + 50) + 12)


@pytest.mark.parametrize(
    ("made", "workers", "rounds"),
    [
        (Made(4, fresh=STANDS), 1, 0),
        (Made(4, fresh=(99.4,)), 1, 1),
        (Made(4), 1, 2),
        (Made(4), 2, 1),
        (Made(4, fresh=(99.4,)), 2, 1),
    ],
)
def test_a_network_still_takes_its_lacking_runs_and_the_verification(
    made: Made, workers: int, rounds: int, trainer: Trainer, tmp_path: Path
):
    opened = scripted.opened(tmp_path, [made], workers=workers, seconds=10_000.0)

    found = time_left.remaining_seconds(opened, opened.candidates[0], workers)

    assert found == pytest.approx(1.1 * rounds * 8 + 1.1 * 1.2 * -(-5 // workers) * 8 + 12)
