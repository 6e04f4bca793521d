"""The networks of a study, and what is read of its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.evidence.events import SessionBegan, SessionEnded
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training.result import Status
from reports.study_facts import Network, State, StudyFacts, front_of, read_study
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_network
from search_spaces.space import Metric
from tests.reports.conftest import CONFIG, network


@pytest.fixture
def study(new_study: Callable[..., Any]) -> Any:
    return new_study()


def found(study: Any) -> tuple[Network, ...]:
    return read_study(study.write(), study.place).networks


@pytest.mark.parametrize("case", ["longer", "decided", "pruned"])
def test_of_two_lengths_the_one_that_was_decided_about_counts_else_the_longer_whole_one(study: Any, case: str):
    long, short = (study.propose(network(8, 8, 8), epochs=epochs) for epochs in (30, 5))
    study.finish(long, 40, **({"status": Status.PRUNED, "epochs": 8} if case == "pruned" else {}))
    study.finish(short, 90)
    if case == "decided":
        study.confirm(short, [52, 54])
        study.standing("standing", short, [52, 54], budget=100)

    [known] = found(study)

    assert (known.epochs, known.trial) == ((30, long["trial"]) if case == "longer" else (5, short["trial"]))
    assert len(known.runs) == (4 if case == "decided" else 2)
    # Whoever looks for the pruned trial finds it.
    assert ("trial 0 at epoch 8 of 30" in known.remark) == (case == "pruned")


@pytest.mark.parametrize(
    ("status", "state", "remark", "accuracies"),
    [
        (Status.PRUNED, State.PRUNED, "in trial 0 at epoch 4 of 15: 300 errors then; one training in ten", (97.0,)),
        (Status.DIVERGED, State.FAILED, "diverged", ()),
        (Status.OUT_OF_MEMORY, State.FAILED, "out of memory", ()),
        (None, State.UNFINISHED, "", ()),
    ],
)
def test_a_run_that_ended_early_says_how(study: Any, status: Any, state: State, remark: str, accuracies: Any):
    proposal = study.propose(network(8, 8, 8))
    if status:
        study.note("rung", trial=0, epoch=4, pruned=True, predicted_pct=98.76)
        study.finish(proposal, 300, status=status, epochs=4)

    [known] = found(study)

    assert (known.state, known.validation_accuracies_pct, known.complete) == (state, accuracies, False)
    assert known.remark.startswith(remark)


def test_the_order_is_reached_then_threshold_then_accuracy_then_the_rest(study: Any):
    proposals = [study.propose(network(width, 8, 8)) for width in range(3, 11)]
    for number, errors in ((0, 70), (1, 65), (2, 54), (3, 40), (5, 50)):
        study.finish(proposals[number], errors)
    study.finish(proposals[4], 200, status=Status.PRUNED, epochs=4)
    study.verify(proposals[5], [50] * 5)
    study.finish(proposals[6], None, status=Status.CRASHED)

    assert [known.trial for known in found(study)] == [5, 2, 3, 1, 0, 4, 6, 7]


def test_no_network_of_equal_or_smaller_size_is_as_accurate_as_one_on_the_front(realistic_facts: StudyFacts):
    trained = [item for item in realistic_facts.networks if item.complete and item.accuracy_pct is not None]

    # Every pair is compared, which the sweep of the program does not do.
    expected = {
        item.hash
        for item in trained
        if not any(
            other.hash != item.hash
            and other.parameters <= item.parameters
            and (other.accuracy_pct or 0) >= (item.accuracy_pct or 0)
            for other in trained
        )
    }
    assert {item.hash for item in front_of(trained)} == expected
    assert len(expected) > 3


def test_what_a_study_minimises_orders_its_networks(new_study: Callable[..., Any]):
    few_parameters = parse_network("conv3x3(8) bn relu gap linear(10)")
    few_macs = parse_network("conv3x3(16, stride=2) bn relu gap linear(10)")
    counted = [analyse(item, MNIST) for item in (few_parameters, few_macs)]
    assert [(item.parameters, item.macs) for item in counted] == [(178, 56_528), (346, 28_384)]
    study = new_study(config=replace(CONFIG, minimise=Metric.MACS, most=60_000))
    for architecture in (few_parameters, few_macs):
        study.finish(study.propose(architecture), 40)

    known = found(study)

    assert [(item.hash, item.cost) for item in known] == [(few_macs.hash, 28_384), (few_parameters.hash, 56_528)]
    assert [item.hash for item in front_of(known)] == [few_macs.hash]


# What is read ---------------------------------------------------------------------------------------------------------


def test_a_study_that_was_just_begun_is_read_without_a_log(new_study: Callable[..., Any], place: Workspace):
    study = new_study()

    files = read_study(study.folder, place)

    assert not any((files.study.entries, files.results, files.measured, files.standings.rows, files.networks))
    assert (files.name, files.elapsed) == (study.name, 0.0)
    with pytest.raises(ContentError):
        read_study(place.runs / "nothing", place)


def test_a_line_in_the_making_is_passed_over(study: Any, place: Workspace):
    study.note("ended", 5.0, reason="time")
    with (study.write() / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"event":')

    files = read_study(study.folder, place)

    assert [type(entry.event) for entry in files.study.entries] == [SessionBegan, SessionEnded]
    assert files.elapsed == 6.0


def test_evidence_comes_with_the_row_that_it_makes_and_of_this_target_alone(study: Any, place: Workspace):
    proposal = study.propose(network(8, 8, 8))
    for changes in ({}, {"target_pct": 99.0}, {"dataset": "kmnist"}):
        study.verify(proposal, [50] * 5, **changes)

    files = read_study(study.write(), place)

    [measured] = files.measured
    assert (measured.row.hash, measured.row.seeds) == (measured.record.hash, 5)
    assert len(files.standings.rows) == 3
