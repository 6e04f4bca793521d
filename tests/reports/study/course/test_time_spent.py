from __future__ import annotations

from typing import Any

import pytest

from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.course.effective_budget import tried
from reports.study.course.time_spent import TimeSpent, draw, time_spent
from reports.study.networks import networks
from reports.study.study_files import read_study


def found(study: Any, place: Workspace) -> TimeSpent:
    files = read_study(study.write(), place)
    return time_spent(files, networks(files))


def test_both_lengths_of_a_network_are_counted(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    runs = [study.finish(study.propose(synthetic.network(4, 8, 8), epochs=epochs), 50) for epochs in (5, 30)]
    files = read_study(study.write(), place)

    assert sum(item.seconds for item in found(study, place).spent) == sum(run.train_seconds for run in runs)
    assert [(item.number, item.cost) for item in tried(files, networks(files))] == [(0, runs[0].parameters)] * 2


def test_every_second_of_training_is_counted_once(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    whole, pruned, broken = (study.propose(synthetic.network(width, 8, 8)) for width in (4, 5, 6))
    study.finish(whole, 50)
    study.confirm(whole, [50, 50])
    study.finish(pruned, 90, status=Status.PRUNED, epochs=4)
    study.finish(broken, None, status=Status.CRASHED, epochs=2)
    study.verify(whole, [55] * 5)
    study.note("verified", 100.0)

    made = found(study, place)

    # Three seconds an epoch; a seed of a verification takes 55.
    assert {item.kind: item.seconds for item in made.spent} == {
        "whole": 45, "pruned": 12, "early": 6, "fresh": 90, "test": 275
    }  # fmt: skip
    [fresh] = [item for item in made.spent if item.kind == "fresh"]
    assert list(fresh.by_network.values()) == [90]


def test_pruning_spares_the_epochs_that_were_left(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    study.finish(study.propose(synthetic.network(4, 8, 8)), 90, status=Status.PRUNED, epochs=4)

    made = found(study, place)

    epochs = study.config.recipe.epochs
    assert made.spared_seconds == pytest.approx(3 * (epochs - 4))
    assert "Pruning stopped 1 run early" in draw(made)


def test_sessions_lend_their_workers_until_the_next_begins(new_study: Any, place: Workspace):
    study = new_study()  # begins at second 1 with two workers
    study.note("session", 100.0, command=["x"], workers=4, device="cpu")
    study.note("ended", 50.0, reason="time")

    assert found(study, place).worker_seconds == 100 * 2 + 50 * 4


@pytest.mark.parametrize("workers", ["many", None, 2.5])
def test_a_session_without_a_number_of_workers_leaves_the_rest_unknown(new_study: Any, place: Workspace, workers: Any):
    study = new_study()
    study.events[0]["workers"] = workers
    study.note("ended", 50.0, reason="time")

    made = found(study, place)

    assert made.worker_seconds is None
    assert made.rest_seconds == 0


def test_without_any_run_there_is_no_table(new_study: Any, place: Workspace):
    study = new_study()

    assert draw(found(study, place)) == ""
