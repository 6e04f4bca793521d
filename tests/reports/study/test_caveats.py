from __future__ import annotations

from typing import Any

import pytest

from harness.evidence.record import path_of
from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.answer import CONFIRMED_LABEL_ERRORS, binomial_error, caveats, errors_outside, winner
from reports.study.networks import networks
from reports.study.study_files import read_study


@pytest.fixture
def verified(new_study: Any, synthetic: Any) -> Any:
    """A study whose winner has five seeds, ten of whose errors are on mislabelled images."""
    study = new_study()
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50])
    study.verify(proposal, [50, 52, 54, 56, 58])
    return study


def facts(study: Any, place: Workspace) -> Any:
    files = read_study(study.write(), place)
    return caveats(files, networks(files), winner(files))


def test_the_standard_error_is_that_of_the_literature():
    assert binomial_error(99.4, 10_000) == pytest.approx(0.0772, abs=5e-5)
    assert binomial_error(50.0, 100) == pytest.approx(5.0)


def test_there_are_fifteen_confirmed_label_errors_and_only_of_mnist():
    assert {name: len(images) for name, images in CONFIRMED_LABEL_ERRORS.items()} == {"mnist": 15}


def test_errors_outside_the_mislabelled_images_are_counted_a_seed(verified: Any, place: Workspace):
    found = facts(verified, place)
    suspects = CONFIRMED_LABEL_ERRORS["mnist"]

    assert [(seed.test_errors, errors_outside(seed, suspects)) for seed in found.seeds] == [
        (50, 40), (52, 42), (54, 44), (56, 46), (58, 48)
    ]  # fmt: skip
    assert found.label_errors.errors_among == 10
    assert found.label_errors.errors_outside == 44
    # 9,985 images have a label that nobody doubts.
    assert found.label_errors.accuracy_outside_pct == pytest.approx(100 * (9985 - 44) / 9985)


def test_reads_of_the_test_set_are_those_for_the_answer_and_all(verified: Any, place: Workspace, synthetic: Any):
    verified.verify(verified.propose(synthetic.network(9, 9, 9)), [70] * 3)
    with place.test_log.open("a", encoding="utf-8") as log:
        log.write("not JSON, but a read all the same\n\n")
        log.write('{"dataset": "mnist-5k", "purpose": "of other images"}\n')

    found = facts(verified, place)

    assert (found.winner_reads, found.workspace_reads) == (5, 9)


def test_diverged_runs_are_counted_apart(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.finish(proposal, 9_000, status=Status.DIVERGED)
    study.standing("winner", proposal, [50])
    made = study.verify(proposal, [50] * 4)
    path = path_of(place.records, made)
    path.write_text(path.read_text(encoding="utf-8").replace('"complete"', '"diverged"', 1), encoding="utf-8")

    found = facts(study, place)

    assert (found.diverged_seeds, found.diverged_in_search) == (1, 1)


def test_without_an_answer_there_is_nothing_to_count(new_study: Any, place: Workspace):
    found = facts(new_study(), place)

    assert (found.winner_reads, found.workspace_reads, found.seeds, found.label_errors) == (0, 0, (), None)


def test_the_fall_from_the_first_run_is_the_mean_over_networks_that_passed(
    new_study: Any, place: Workspace, synthetic: Any
):
    study = new_study()
    for width, first, fresh in ((8, 50, [56, 58]), (9, 40, [44]), (10, 90, [10])):
        proposal = study.propose(synthetic.network(width, 8, 8))
        study.finish(proposal, first)
        study.confirm(proposal, fresh)

    found = facts(study, place)

    # The third missed the threshold at first, so its first run chose nothing.
    assert found.fallen == 2
    assert found.fall_points == pytest.approx(0.055)
