"""Choices of the acquisition function: value, improvement and probability against simulation and enumeration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.searching.acquisition import (
    Acquisition,
    NetworkOption,
    ScoredOption,
    _expected_improvements,
    calibration_of,
)
from harness.searching.surrogate.features import row_of, training_row
from harness.searching.surrogate.model import Observation, Surrogate
from harness.searching.time_budget import Pace, TimeLeft
from harness.spaces.network import MNIST
from harness.spaces.notation import parse_network, parse_space
from harness.spaces.space import Metric, enumerate_draws, judge
from harness.studies.candidate import Candidate, needed_share
from harness.training.recipe import Recipe
from tests.factories import make_candidate

# 10 parameters plus 19 per channel, and 7,056 multiply-adds per channel.
WIDTHS = (4, 8, 16, 32, 64)
SPACE = parse_space(f"net = conv3x3({{{', '.join(map(str, WIDTHS))}}}) gap linear(10);")
RECIPE = Recipe(epochs=8)
TRAINING = (RECIPE.batch_size, RECIPE.augmented_share)
# An epoch of a million units of work takes a second; with 5,000 images no longer trainings are due.
NO_LIMIT = TimeLeft(images=5_000, pace=Pace(0.0, 2e-10), workers=2)
_MIN_CHANCE, UNLIKELY = 0.03, 0.2


def options(metric: Metric = Metric.PARAMETERS) -> list[NetworkOption]:
    """Return the networks, smallest first."""
    return [NetworkOption.of(draw, judge(SPACE, draw.architecture), metric) for draw in enumerate_draws(SPACE)]


def acquisition(errors: Sequence[float] = (400, 200, 100, 50, 25), **changes: Any) -> Acquisition:
    """Return an acquisition function for 100 errors below 20,000 parameters, after many runs of ``options``."""
    rows = [row_of(each.draw.architecture, MNIST, 8, *TRAINING) for each in options()]
    known = [Observation(row, count, 50) for row, count in zip(rows, errors, strict=True)]
    plain = Acquisition(
        model=Surrogate(known),
        recipe=RECIPE,
        lengths=(8,),
        proposed_pairs=frozenset(),
        confirmed_share=needed_share(),
        allowed_errors=100.0,
        images=10_000,
        calibration={},
        cost_bound=20_001,
        open_candidates=(),
        has_incumbent=False,
        time_left=NO_LIMIT,
    )
    return replace(plain, **changes)


def choices_of(function: Acquisition, networks: Sequence[NetworkOption]) -> list[ScoredOption]:
    """Return the networks as the acquisition function ranks them."""
    return function.ranked(function.forecast(networks)).choices


def widths(choices: Sequence[ScoredOption]) -> list[int]:
    return [(choice.option.analysis.parameters - 10) // 19 for choice in choices]


def improvement_by_outcomes(parameters: int, limit: int, open_: Sequence[tuple[int, float]]) -> float:
    """Return the mean improvement over all outcomes: each open candidate is confirmed or not."""
    mean = 0.0
    for outcome in itertools.product((False, True), repeat=len(open_)):
        odds = math.prod(chance if passes else 1 - chance for passes, (_, chance) in zip(outcome, open_, strict=True))
        lowest = min([limit, *(size for passes, (size, _) in zip(outcome, open_, strict=True) if passes)])
        mean += odds * max(0.0, math.log(lowest / parameters))
    return mean


@given(st.integers(100, 1_000), st.lists(st.tuples(st.integers(100, 2_000), st.floats(0, 1)), max_size=5))
def test_expected_improvement_equals_mean_over_all_outcomes(parameters: int, open_: list[tuple[int, float]]):
    improvements = _expected_improvements([parameters], 1_000, open_)

    assert improvements == {parameters: pytest.approx(improvement_by_outcomes(parameters, 1_000, open_))}


@pytest.mark.parametrize(("metric", "limit"), [(Metric.PARAMETERS, 3_000), (Metric.MACS, 1_100_000)])
@pytest.mark.parametrize(("errors", "has_incumbent"), [((150, 90, 60, 60, 40), True), ((100, 90, 80, 70, 50), False)])
def test_batch_equals_successive_single_choices(
    errors: Sequence[float], has_incumbent: bool, metric: Metric, limit: int
):
    """Add each choice to the open candidates, and compute the ranking again."""
    original = acquisition(errors, has_incumbent=has_incumbent, cost_bound=limit)
    ranked, extended = choices_of(original, options(metric)), original
    expected: list[str] = []
    while len(expected) < 4:
        best = next(each for each in choices_of(extended, options(metric)) if each.option.hash not in expected)
        expected.append(best.option.hash)
        extended = replace(extended, open_candidates=(*extended.open_candidates, (best.option.cost, best.chance)))

    assert [each.option.hash for each in original.select_batch(ranked, 4)] == expected
    assert expected != [each.option.hash for each in ranked[:4]]


def test_chance_equals_simulated_share_of_confirmations_by_two_seeds():
    function = acquisition(has_incumbent=True)
    rng = np.random.default_rng(4)
    training = training_row(8, *TRAINING)
    means, deviations = function.model.predict([each.row + training for each in options()])
    logs = rng.normal(means, deviations, (200_000, 5)) + rng.normal(0, 0.08, (2, 200_000, 5)).mean(axis=0)

    # The predicted mean is raised by a full deviation.
    expected = (logs + deviations <= math.log(100 * needed_share())).mean(axis=0)
    chances = {choice.option.hash: choice.chance for choice in choices_of(function, options())}
    values = [chances[each.hash] for each in options()]
    assert values == pytest.approx(expected, abs=0.005)
    assert values == sorted(values)
    assert values[-1] > 0.9


def test_each_network_is_chosen_once_with_best_length():
    choices = choices_of(acquisition(lengths=(5, 8, 30)), options())

    assert sorted(widths(choices)) == [*WIDTHS]
    rankings = [choices_of(acquisition(lengths=(epochs,)), options()) for epochs in (5, 8, 30)]
    for choice in choices:
        by_epochs = {each.epochs: each for each in itertools.chain(*rankings) if each.option.hash == choice.option.hash}
        assert choice.value == pytest.approx(max(each.value for each in by_epochs.values()))
        assert choice == replace(by_epochs[choice.epochs], value=choice.value, chance=choice.chance)
        assert choice.chance == pytest.approx(by_epochs[choice.epochs].chance)


def test_acquisition_value_with_incumbent_is_chance_times_improvement_per_second():
    # Fresh seeds run if the first run passes: in a round on two workers, in two rounds on a single worker. A twentieth
    # of the time left, divided by the rounds of a network, is added to the time of every training.
    for workers, rounds, seconds_left in ((1, 2, math.inf), (2, 1, math.inf), (5, 1, 900.0)):
        time_left = replace(NO_LIMIT, workers=workers, seconds_left=seconds_left)
        choices = choices_of(acquisition(time_left=time_left, has_incumbent=True), options())
        assert len(choices) >= 3
        for choice in choices:
            seconds = 8e-6 * choice.option.step_macs + (
                0.05 * seconds_left / (1 + rounds) if seconds_left < math.inf else 0
            )
            improvement = math.log(20_001 / choice.option.cost)
            assert choice.value == pytest.approx(choice.chance * improvement / (seconds * (1 + rounds * choice.chance)))


@pytest.mark.parametrize(
    ("elapsed", "seconds_left", "workers", "seconds"),
    [
        (0.0, math.inf, 2, 150.0),
        (5.0, 3_600.0, 1, 70.0),
        (900.0, 2_000.0, 2, 120.0),
        (0.0, 150.0, 2, 99.0),
        (900.0, 30.0, 1, 9.9),
    ],
)
def test_acquisition_value_without_incumbent_follows_chance_of_success_in_several_attempts(
    elapsed: float, seconds_left: float, workers: int, seconds: float
):
    # Worker seconds until the first confirmed network: 75, later 60, or a third of the time left.
    time_left = replace(NO_LIMIT, workers=workers, seconds_left=seconds_left, elapsed=elapsed)
    for step_macs in (1e6, 1e7, 1e8):
        network = replace(options()[3], step_macs=step_macs)
        (choice,) = choices_of(acquisition(time_left=time_left), [network])

        # Each attempt is a first run and, if this run passes, two fresh seeds; at most four attempts.
        attempts = min(4, seconds / (8e-6 * step_macs * (1 + 2 * choice.chance)))
        success = min(1, attempts) * (1 - (1 - choice.chance) ** max(1, attempts))
        # Five seeds on a fifth more images, in rounds of all workers, a tenth of caution and six seconds.
        verification = 1.1 * 1.2 * math.ceil(5 / workers) * 8e-6 * step_macs + 6
        free = max(0, 1 - verification / seconds_left)
        assert choice.value == pytest.approx(success**4 * math.log(20_001 / network.cost) * free)


def test_only_unproposed_networks_and_lengths_within_time_are_chosen():
    # The time of 8 epochs of the network of 16 channels.
    first, limit = (
        options()[0],
        replace(NO_LIMIT, longest_training=NO_LIMIT.training_seconds(8, options()[2].step_macs)),
    )

    assert sorted(widths(choices_of(acquisition(time_left=limit), options()))) == [4, 8, 16]
    lengths = {
        choice.option.hash: choice.epochs
        for choice in choices_of(acquisition(time_left=limit, lengths=(4, 8)), options())
    }
    assert len(lengths) == 4
    assert lengths[options()[3].hash] == 4
    assert choices_of(acquisition(time_left=replace(NO_LIMIT, longest_training=0.0)), options()) == []
    (best,) = choices_of(acquisition(lengths=(5, 8)), [first])
    (second,) = choices_of(acquisition(lengths=(5, 8), proposed_pairs=frozenset({(first.hash, best.epochs)})), [first])
    assert {best.epochs, second.epochs} == {5, 8}
    assert choices_of(acquisition(proposed_pairs=frozenset({(first.hash, 8)})), [first]) == []


def test_with_incumbent_improbable_small_network_does_not_displace_probable_larger_network():
    # The small network is a larger improvement, but has a probability below 3 %.
    hopeless = replace(options()[0], hash="hopeless", cost=2)
    larger = replace(options()[2], hash="even", cost=19_000)
    function = acquisition(errors=(150, 150, 95, 50, 25), has_incumbent=True)

    unlimited = {choice.option.hash: choice for choice in choices_of(function, [hopeless, larger])}
    assert unlimited["hopeless"].chance < _MIN_CHANCE < unlimited["even"].chance
    limited = replace(function, time_left=replace(NO_LIMIT, seconds_left=1_000.0))
    assert [choice.option.hash for choice in choices_of(limited, [hopeless, larger])] == ["even"]


def test_unlikely_network_is_chosen_only_with_sufficient_spare_time():
    # 92 errors of 100 allowed errors; a training takes 8 seconds, and 8.8 with a tenth of caution.
    pair = [replace(options()[at], hash=str(at), cost=90, step_macs=1e6) for at in (2, 3)]
    function = acquisition(errors=(400, 200, 92, 80, 25), has_incumbent=True)
    chances = {choice.option.hash: choice.chance for choice in choices_of(function, pair)}
    assert _MIN_CHANCE < chances["2"] < UNLIKELY < chances["3"]

    for spare_seconds, expected in ((8.9, {"2", "3"}), (8.7, {"3"}), (-50.0, {"3"})):
        time_left = replace(NO_LIMIT, seconds_left=1_000.0, spare_seconds=spare_seconds)
        assert {choice.option.hash for choice in choices_of(replace(function, time_left=time_left), pair)} == expected
        # Earlier choices are checked against the time left.
        earlier = choices_of(replace(function, time_left=replace(time_left, spare_seconds=math.inf)), pair)
        assert {choice.option.hash for choice in earlier if choice.is_timely(time_left)} == expected


@pytest.mark.parametrize("has_incumbent", [False, True])
def test_network_nearest_to_target_is_first_if_all_chances_are_zero(has_incumbent: bool):
    assert widths(choices_of(acquisition(allowed_errors=1e-6, has_incumbent=has_incumbent), options()))[0] == WIDTHS[-1]


def test_nearest_network_is_chosen_in_doubt_if_second_verification_has_time():
    # The larger a network, the nearer to the target, and the smaller the improvement.
    little_time = replace(NO_LIMIT, seconds_left=1_000.0, spare_seconds=100.0)
    function = acquisition(errors=(900, 800, 700, 600, 500), has_incumbent=True, time_left=little_time)
    ranking = function.ranked(function.forecast(options()))

    assert ranking.is_doubted
    assert widths(ranking.choices) == [*reversed(WIDTHS)]
    assert max(choice.chance for choice in ranking.choices) < _MIN_CHANCE
    without_spare = replace(function, time_left=replace(function.time_left, spare_seconds=0.0))
    assert without_spare.ranked(without_spare.forecast(options())).choices == []


def test_no_network_is_chosen_in_doubt_if_only_networks_far_from_target_leave_time():
    small, *_, large = options()
    seconds = [NO_LIMIT.training_seconds(8, each.step_macs) for each in (small, large)]
    function = acquisition(errors=(900, 800, 700, 600, 500), has_incumbent=True)
    time_for_small = replace(NO_LIMIT, seconds_left=1_000.0, spare_seconds=1.1 * seconds[0])
    time_for_large = replace(NO_LIMIT, seconds_left=1_000.0, spare_seconds=1.1 * seconds[1])

    assert choices_of(replace(function, time_left=time_for_small), [small, large]) == []
    assert widths(choices_of(replace(function, time_left=time_for_large), [small, large])) == [WIDTHS[-1], WIDTHS[0]]
    # Of two equally near networks, the network that leaves enough time is chosen.
    near = replace(large, hash="short", step_macs=small.step_macs)
    assert [each.option for each in choices_of(replace(function, time_left=time_for_small), [near, large])] == [near]


def candidate_of(trial: int, chance: float | None, first: int, *fresh: int) -> Candidate:
    """Return a candidate whose family depends on the trial, with these errors; 100 errors are allowed."""
    family = "plain" if trial % 2 else "tied"
    text = {"plain": "conv3x3(8) relu gap linear(10)", "tied": "conv3x3(1, tie=a) conv3x3(1, tie=a) gap linear(10)"}
    candidate = make_candidate(*fresh, first=first, trial=trial)
    network = parse_network(text[family])
    assert network.family == family
    candidate.proposal = replace(candidate.proposal, architecture=network, chance=chance)
    return candidate


def test_family_calibration_follows_confirmed_and_predicted_networks():
    missed_networks = [candidate_of(2 * number, 0.25, 150) for number in range(8)]
    plain_networks = [candidate_of(1, 0.5, 80, 80, 80), candidate_of(3, None, 150), candidate_of(5, 0.5, 150, 150, 150)]

    # Mean of a gamma distribution of shape and rate 1 after these events and this exposure.
    assert calibration_of(missed_networks) == {"tied": pytest.approx(1 / (1 + 8 * 0.25))}
    assert calibration_of([*missed_networks, *plain_networks])["plain"] == pytest.approx(1.0)
    assert calibration_of(plain_networks[1:])["plain"] == pytest.approx(1 / 1.5)
    undecided = candidate_of(7, 0.6, 90)
    assert calibration_of([undecided])["plain"] == pytest.approx(min(1.0, (1 + undecided.chance_to_confirm) / 1.6))


def test_chances_are_scaled_by_calibration_of_family():
    unscaled = choices_of(acquisition(has_incumbent=True), options())
    scaled = choices_of(acquisition(has_incumbent=True, calibration={"plain": 0.25, "tied": 0.5}), options())

    assert {each.option.family for each in unscaled} == {"plain"}
    chances = {each.option.hash: each.chance for each in unscaled}
    assert {each.option.hash: each.chance for each in scaled} == {
        key: pytest.approx(0.25 * chance) for key, chance in chances.items()
    }
