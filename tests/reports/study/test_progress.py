from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.evidence.study import owned
from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.course.accounting import accounting
from reports.study.course.worker_lanes import worker_lanes
from reports.study.networks import networks
from reports.study.progress import Progress, cards, progress, running_table, time_bar
from reports.study.study_files import read_study


def facts(study: Any, place: Workspace) -> Progress:
    """Where a search stands while a program works on it, of 100 seconds."""
    study.events[0]["seconds"] = 100.0
    study.write()
    with owned(study.folder):
        files = read_study(study.folder, place)
    of = networks(files)
    return progress(files, of, worker_lanes(files, of), accounting(files, of))


@pytest.fixture
def running(new_study: Any, synthetic: Any) -> Any:
    """A study with two trained networks, one in training, and seven rejections."""
    study = new_study()
    study.finish(study.propose(synthetic.network(8, 8, 8)), 70)
    study.note("looked", rejected={"macs": 4, "shape": 2})
    study.note("rejected", reason="parameters")
    study.finish(study.propose(synthetic.network(9, 8, 8)), 90)
    study.propose(synthetic.network(7, 8, 8))
    study.note("rung", 5.0, trial=2, purpose="search", epoch=4, validation_errors=120)
    return study


def test_everything_is_counted_once(running: Any, place: Workspace):
    found = facts(running, place)

    assert (found.counts.proposed, found.counts.rejected, found.counts.trained, len(found.running)) == (10, 7, 2, 1)
    assert found.smallest is None
    assert found.searching


def test_a_training_that_was_broken_off_is_not_counted_as_trained(running: Any, place: Workspace, synthetic: Any):
    running.finish(running.propose(synthetic.network(6, 8, 8)), None, status=Status.OUT_OF_MEMORY)

    assert facts(running, place).counts.trained == 2


def test_the_nearest_miss_is_told_in_images(running: Any, place: Workspace):
    found = facts(running, place)

    assert ">70 errors; 55 allowed<" in cards(found)


def test_a_line_a_worker_says_what_it_trains(running: Any, place: Workspace):
    [training] = facts(running, place).running

    assert training.look is not None
    assert (training.look.epoch, training.look.validation_errors, training.epochs) == (4, 120, 15)
    assert training.bar.end - training.bar.begin == pytest.approx(5.0)
    made = running_table(facts(running, place))
    assert made.count("<tr><td") == 1
    assert "epoch 4 of 15: 120 errors" in made


def test_a_network_that_stands_is_no_miss(running: Any, place: Workspace, synthetic: Any):
    proposal = running.propose(synthetic.network(6, 8, 8))
    running.finish(proposal, 50)
    running.standing("standing", proposal, [50, 50], budget=proposal["parameters"] - 1)

    found = facts(running, place)

    assert found.smallest == proposal["parameters"]
    assert found.nearest is None  # the others are larger


def test_the_bar_is_as_full_as_the_time_is_spent(running: Any, place: Workspace):
    found = facts(running, place)

    assert 'value="0.25"' in time_bar(replace(found, elapsed=25.0))
    assert 'value="1"' in time_bar(replace(found, elapsed=250.0))
    assert "<progress" not in time_bar(replace(found, limit_seconds=None))


def test_a_study_that_nobody_works_on_has_no_running_training(running: Any, place: Workspace):
    running.write()
    files = read_study(running.folder, place)
    of = networks(files)

    found = progress(files, of, worker_lanes(files, of), accounting(files, of))

    assert not found.searching
    assert found.running == ()
    assert running_table(found) == ""
