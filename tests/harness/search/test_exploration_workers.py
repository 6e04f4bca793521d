"""What a free worker does next: fresh seeds of a network that passed, or a new network."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.search import loop as exploration
from harness.search import race, session
from tests.harness import scripted
from tests.harness.scripted import Made, Trainer


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


# 70, 92 and 60 errors where a hundred are allowed: likely to stand, not so likely, and standing.
LIKELY, UNLIKELY = 99.30, 99.08
STANDING = Made(30, fresh=(99.4, 99.4))


def begun(opened: session.Session) -> list[tuple[int | None, str]]:
    """Give each worker what it does next; return trials and purposes."""
    for place in opened.executor.jobs:
        job = exploration._next_job(opened)
        assert job is not None
        opened.executor.assign(place, job)
    return [(job.trial, job.purpose.value) for job in session.jobs_at_work(opened)]


def test_while_nothing_stands_all_workers_run_the_fresh_seeds_of_one_that_passed(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [Made(20, first=UNLIKELY)], workers=2)

    assert begun(opened) == [(0, "confirm"), (0, "confirm")]


def test_once_something_stands_half_of_the_workers_go_on_searching(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [STANDING, Made(20, first=UNLIKELY)], workers=2)
    assert race.LEAST_CHANCE < race.chance_to_stand(opened.candidates[1], 99.0) < race.LIKELY

    assert begun(opened) == [(1, "confirm"), (2, "search")]


def test_the_fresh_seeds_of_a_network_that_is_likely_to_stand_take_all_workers(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [STANDING, Made(20, first=LIKELY)], workers=2)
    assert race.chance_to_stand(opened.candidates[1], 99.0) >= race.LIKELY

    assert begun(opened) == [(1, "confirm"), (1, "confirm")]


def test_where_nothing_is_left_to_propose_all_workers_run_fresh_seeds(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [STANDING, Made(20, first=UNLIKELY)], workers=2, trials=2)

    assert begun(opened) == [(1, "confirm"), (1, "confirm")]


# A run takes 8 s: both fresh seeds on two workers 1.1 * 8, the verification in three rounds 1.1 * 1.2 * 3 * 8 + 12.
@pytest.mark.parametrize(("spare", "confirmed"), [(-1.0, False), (1.0, True)])
def test_a_network_that_could_not_be_verified_any_more_is_not_confirmed(
    spare: float, confirmed: bool, trainer: Trainer, tmp_path: Path
):
    seconds = 8.8 + 31.68 + 12 + spare
    opened = scripted.opened(tmp_path, [STANDING, Made(20, first=LIKELY)], workers=2, seconds=seconds)
    opened.began = opened.executor.now()

    assert (exploration._confirmable(opened, explored=False) is not None) is confirmed


def test_where_nothing_stands_a_network_is_confirmed_even_if_its_verification_must_wait(
    trainer: Trainer, tmp_path: Path
):
    opened = scripted.opened(tmp_path, [Made(20, first=LIKELY)], workers=2, seconds=30.0)
    opened.began = opened.executor.now()

    assert exploration._confirmable(opened, explored=False) is opened.candidates[0]
