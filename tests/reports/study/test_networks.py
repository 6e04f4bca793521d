from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.system.files import Workspace
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Status
from reports.study.networks import Network, State, front_of, networks
from reports.study.study_files import read_study

NewStudy = Callable[..., Any]


@pytest.fixture
def architecture(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The builder of networks, from three widths."""
    from search_spaces.notation import parse_network

    return lambda first, second=8, third=8: parse_network(
        f"conv3x3({first}) bn relu | maxpool | conv3x3({second}) bn relu | maxpool | conv3x3({third}) bn relu "
        "| gap | conv1x1(10)"
    )


def found(study: Any, place: Workspace) -> list[Network]:
    return networks(read_study(study.write(), place))


def test_a_network_is_known_by_its_fresh_seeds_not_by_the_draw_that_chose_it(
    new_study: NewStudy, place: Workspace, architecture: Any
):
    study = new_study()
    proposal = study.propose(architecture(8))
    study.finish(proposal, 40)
    study.confirm(proposal, [60, 62, 64])

    [network] = found(study, place)

    assert network.validation_accuracies_pct == (99.40, 99.38, 99.36)
    assert network.fresh
    assert network.state is State.TRAINED


def test_without_fresh_seeds_the_run_of_the_search_counts(new_study: NewStudy, place: Workspace, architecture: Any):
    study = new_study()
    study.finish(study.propose(architecture(8)), 40)

    [network] = found(study, place)

    assert (network.validation_accuracies_pct, network.fresh) == ((99.6,), False)


def test_a_network_of_two_lengths_is_known_by_the_longer_one(new_study: NewStudy, place: Workspace, architecture: Any):
    study = new_study()
    long, short = (study.propose(architecture(8), epochs=epochs) for epochs in (30, 5))
    study.finish(long, 40)
    study.finish(short, 90)
    study.confirm(short, [80, 82])

    [network] = found(study, place)

    assert (network.epochs, network.trial, network.validation_accuracies_pct) == (30, long["trial"], (99.6,))
    assert network.first is not None
    assert network.first.recipe.epochs == 30
    assert [run.recipe.epochs for run in network.all_runs] == [30, 5, 5, 5]


def test_of_two_lengths_the_one_that_was_decided_about_counts(new_study: NewStudy, place: Workspace, architecture: Any):
    study = new_study()
    long, short = (study.propose(architecture(8), epochs=epochs) for epochs in (30, 5))
    study.finish(long, 40)
    study.finish(short, 50)
    study.confirm(short, [52, 54])
    study.standing("standing", short, [52, 54], budget=100)

    [network] = found(study, place)

    assert (network.epochs, network.trial, network.state) == (5, short["trial"], State.CONFIRMED)
    assert network.validation_accuracies_pct == (99.48, 99.46)


def test_a_pruned_longer_training_does_not_speak_for_a_whole_shorter_one(
    new_study: NewStudy, place: Workspace, architecture: Any
):
    study = new_study()
    long, short = (study.propose(architecture(8), epochs=epochs) for epochs in (30, 5))
    study.finish(long, 400, status=Status.PRUNED, epochs=8)
    study.finish(short, 90)

    [network] = found(study, place)

    assert (network.epochs, network.state) == (5, State.TRAINED)
    # Whoever looks for the trial finds it.
    assert network.remark == f"(pruned in trial {long['trial']} at epoch 8 of 30)"


def test_the_epochs_of_a_network_in_training_are_those_of_the_journal(
    new_study: NewStudy, place: Workspace, architecture: Any
):
    study = new_study()
    for size, epochs in ((8, 12), (9, None)):
        study.propose(architecture(size), epochs=epochs)

    assert {network.trial: network.epochs for network in found(study, place)} == {0: 12, 1: None}


def test_a_diverged_fresh_seed_counts_with_its_errors(new_study: NewStudy, place: Workspace, architecture: Any):
    study = new_study()
    proposal = study.propose(architecture(8))
    study.finish(proposal, 40)
    study.confirm(proposal, [60])
    study.finish(proposal, 9_000, purpose=Purpose.CONFIRM, seed_index=1, status=Status.DIVERGED)

    [network] = found(study, place)

    assert network.validation_accuracies_pct == (99.4, 10.0)
    assert network.remark == "(1 of 3 runs ended early)"


@pytest.mark.parametrize(
    ("fresh", "stood", "why"), [(2, False, "below 25 %"), (6, False, "6 seeds are the most"), (3, True, "took")]
)
def test_a_failed_confirmation_names_its_seeds_and_the_rule(
    fresh: int, stood: bool, why: str, new_study: NewStudy, place: Workspace, architecture: Any
):
    study = new_study()
    proposal = study.propose(architecture(8))
    study.finish(proposal, 40)
    study.confirm(proposal, [60] * fresh)
    if stood:
        study.standing("standing", proposal, [50] * (fresh - 1))
    study.standing("refuted", proposal, [60] * fresh)

    [network] = found(study, place)

    assert network.state is State.REFUTED
    assert f"{fresh} fresh seeds" in network.remark
    assert why in network.remark


def test_a_pruned_network_says_what_was_predicted(new_study: NewStudy, place: Workspace, architecture: Any):
    study = new_study()
    proposal = study.propose(architecture(8))
    study.note("rung", trial=proposal["trial"], epoch=4, pruned=True, predicted_pct=98.76)
    study.finish(proposal, 300, status=Status.PRUNED, epochs=4)

    [network] = found(study, place)

    assert network.remark == "in trial 0 at epoch 4 of 15: 300 errors then; one training in ten ends below 124"


@pytest.mark.parametrize(
    ("status", "state", "remark", "accuracies"),
    [
        (Status.PRUNED, State.PRUNED, "in trial 0 at epoch 4 of 15", (97.0,)),
        (Status.DIVERGED, State.FAILED, "diverged", ()),
        (Status.OUT_OF_MEMORY, State.FAILED, "out of memory", ()),
        (Status.TIMED_OUT, State.FAILED, "timed out", ()),
    ],
)
def test_a_run_that_ended_early_says_how(
    new_study: NewStudy,
    place: Workspace,
    architecture: Any,
    status: Status,
    state: State,
    remark: str,
    accuracies: tuple[float, ...],
):
    study = new_study()
    study.finish(study.propose(architecture(8)), 300, status=status, epochs=4)

    [network] = found(study, place)

    assert (network.state, network.remark) == (state, remark)
    assert network.validation_accuracies_pct == accuracies
    assert not network.complete


def test_a_network_without_a_run_is_unfinished(new_study: NewStudy, place: Workspace, architecture: Any):
    study = new_study()
    study.propose(architecture(8))

    [network] = found(study, place)

    assert (network.state, network.accuracy_pct) == (State.UNFINISHED, None)


def test_a_network_that_was_measured_with_several_recipes_shows_the_best_row(
    new_study: NewStudy, place: Workspace, architecture: Any, synthetic: Any
):
    study = new_study()
    proposal = study.propose(architecture(8))
    for epochs, errors in ((20, 90), (30, 50), (40, 80)):
        recipe = Recipe(epochs=epochs)
        seeds = tuple(synthetic.seed_run(architecture(8), recipe.hash, index, errors) for index in range(5))
        study.verify(proposal, [], recipe=recipe, recipe_hash=recipe.hash, seeds=seeds)

    [network] = found(study, place)

    assert network.row is not None
    assert (network.row.epochs, network.row.test_errors_mean) == (30, 50)


def test_the_last_word_on_a_network_counts_and_there_is_one_winner(
    new_study: NewStudy, place: Workspace, architecture: Any
):
    study = new_study()
    proposals = [study.propose(architecture(width)) for width in (4, 5, 6)]
    for proposal in proposals:
        study.finish(proposal, 50)
    study.standing("standing", proposals[2], [50], budget=1)
    study.standing("winner", proposals[2], [50])
    study.standing("winner", proposals[1], [50])
    study.standing("standing", proposals[0], [50], budget=1)
    study.standing("refuted", proposals[0], [70])

    states = {network.parameters: network.state for network in found(study, place)}

    assert states == {
        proposals[0]["parameters"]: State.REFUTED,
        proposals[1]["parameters"]: State.WINNER,
        proposals[2]["parameters"]: State.CONFIRMED,
    }


def test_the_order_is_reached_then_threshold_then_accuracy_then_the_rest(
    new_study: NewStudy, place: Workspace, architecture: Any
):
    study = new_study()
    proposals = {width: study.propose(architecture(width)) for width in range(3, 11)}
    study.finish(proposals[3], 70)
    study.finish(proposals[4], 65)
    study.finish(proposals[5], 54)
    study.finish(proposals[6], 40)
    study.finish(proposals[7], 200, status=Status.PRUNED, epochs=4)
    study.finish(proposals[8], 50)
    study.verify(proposals[8], [50] * 5)
    study.finish(proposals[9], None, status=Status.CRASHED)

    order = [network.trial for network in found(study, place)]

    # Trials count from 0, widths from 3.
    assert [trial + 3 for trial in order if trial is not None] == [8, 5, 6, 4, 3, 7, 9, 10]


def test_no_network_of_equal_or_smaller_size_is_as_accurate_as_one_on_the_front(realistic_study: Any, place: Workspace):
    trained = [
        network
        for network in networks(read_study(realistic_study.folder, place))
        if network.complete and network.accuracy_pct is not None
    ]

    # Every pair is compared, which the sweep of the program does not do.
    expected = {
        network.hash
        for network in trained
        if not any(
            other.hash != network.hash
            and other.parameters <= network.parameters
            and (other.accuracy_pct or 0) >= (network.accuracy_pct or 0)
            for other in trained
        )
    }

    assert {network.hash for network in front_of(trained)} == expected
    assert len(expected) > 3
