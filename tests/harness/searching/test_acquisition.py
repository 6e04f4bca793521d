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
    form_calibration,
)
from harness.searching.surrogate.features import row_of, training_row
from harness.searching.surrogate.model import Observation, Surrogate
from harness.searching.time_budget import Pace, TimeLeft
from harness.studies.candidate import Candidate, needed_share
from harness.training.recipe import Recipe
from search_spaces.network import MNIST
from search_spaces.notation import parse_network, parse_space
from search_spaces.space import Metric, enumerate_draws, judge
from tests.factories import make_candidate

# 10 + 19 a channel, and 7,056 multiply-adds a channel.
WIDTHS = (4, 8, 16, 32, 64)
SPACE = parse_space(f"net = conv3x3({{{', '.join(map(str, WIDTHS))}}}) gap linear(10);")
RECIPE = Recipe(epochs=8)
TRAINING = (RECIPE.batch_size, RECIPE.augmented_share)
# A second for a million units of work, an image and epoch.
# A number of images for which no longer trainings are due; a training takes as long as a training on a single image.
ROOM = TimeLeft(images=5_000, pace=Pace(0.0, 2e-10), workers=2)
LEAST_CHANCE, UNLIKELY = 0.03, 0.2


def options(metric: Metric = Metric.PARAMETERS) -> list[NetworkOption]:
    """Return the networks, smallest first."""
    return [NetworkOption.of(found, judge(SPACE, found.architecture), metric) for found in enumerate_draws(SPACE)]


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
        time_left=ROOM,
    )
    return replace(plain, **changes)


def choices_of(question: Acquisition, networks: Sequence[NetworkOption]) -> list[ScoredOption]:
    """Return the networks as the acquisition function ranks them."""
    return question.ranked(question.forecast(networks)).choices


def widths(found: Sequence[ScoredOption]) -> list[int]:
    return [(choice.option.analysis.parameters - 10) // 19 for choice in found]


def fall_by_outcomes(parameters: int, limit: int, open_: Sequence[tuple[int, float]]) -> float:
    """Return the mean reduction over all outcomes of the rivals: each is confirmed or not."""
    mean = 0.0
    for outcome in itertools.product((False, True), repeat=len(open_)):
        odds = math.prod(chance if stood else 1 - chance for stood, (_, chance) in zip(outcome, open_, strict=True))
        lowest = min([limit, *(size for stood, (size, _) in zip(outcome, open_, strict=True) if stood)])
        mean += odds * max(0.0, math.log(lowest / parameters))
    return mean


@given(st.integers(100, 1_000), st.lists(st.tuples(st.integers(100, 2_000), st.floats(0, 1)), max_size=5))
def test_the_expected_fall_is_the_mean_over_all_outcomes(parameters: int, open_: list[tuple[int, float]]):
    found = _expected_improvements([parameters], 1_000, open_)

    assert found == {parameters: pytest.approx(fall_by_outcomes(parameters, 1_000, open_))}


@pytest.mark.parametrize(("metric", "limit"), [(Metric.PARAMETERS, 3_000), (Metric.MACS, 1_100_000)])
@pytest.mark.parametrize(("errors", "has_incumbent"), [((150, 90, 60, 60, 40), True), ((100, 90, 80, 70, 50), False)])
def test_several_choices_are_those_that_asking_again_would_give(
    errors: Sequence[float], has_incumbent: bool, metric: Metric, limit: int
):
    """Add each choice to the open rivals, and compute the whole order again."""
    question = acquisition(errors, has_incumbent=has_incumbent, cost_bound=limit)
    ranked, again = choices_of(question, options(metric)), question
    expected: list[str] = []
    while len(expected) < 4:
        best = next(each for each in choices_of(again, options(metric)) if each.option.hash not in expected)
        expected.append(best.option.hash)
        again = replace(again, open_candidates=(*again.open_candidates, (best.option.cost, best.chance)))

    assert [each.option.hash for each in question.select_batch(ranked, 4)] == expected
    assert expected != [each.option.hash for each in ranked[:4]]


def test_the_chance_to_be_confirmed_is_how_often_two_seeds_make_few_enough_errors():
    question = acquisition(has_incumbent=True)
    draw = np.random.default_rng(4)
    ends = training_row(8, *TRAINING)
    means, deviations = question.model.predict([each.row + ends for each in options()])
    logs = draw.normal(means, deviations, (200_000, 5)) + draw.normal(0, 0.08, (2, 200_000, 5)).mean(axis=0)

    # The prediction is raised by a whole deviation.
    expected = (logs + deviations <= math.log(100 * needed_share())).mean(axis=0)
    chances = {choice.option.hash: choice.chance for choice in choices_of(question, options())}
    values = [chances[each.hash] for each in options()]
    assert values == pytest.approx(expected, abs=0.005)
    assert values == sorted(values)
    assert values[-1] > 0.9


def test_each_network_is_chosen_once_with_its_best_length():
    found = choices_of(acquisition(lengths=(5, 8, 30)), options())

    assert sorted(widths(found)) == [*WIDTHS]
    every = [choices_of(acquisition(lengths=(epochs,)), options()) for epochs in (5, 8, 30)]
    for choice in found:
        alone = {each.epochs: each for each in itertools.chain(*every) if each.option.hash == choice.option.hash}
        assert choice.value == pytest.approx(max(each.value for each in alone.values()))
        assert choice == replace(alone[choice.epochs], value=choice.value, chance=choice.chance)
        assert choice.chance == pytest.approx(alone[choice.epochs].chance)


def test_once_something_stands_the_worth_is_chance_and_fall_by_the_seconds_of_first_run_and_fresh_seeds():
    # Two workers run both fresh seeds at once, one worker one after the other; they run where the first one passes. A
    # twentieth of the time left, by the rounds of a network, is added to the time of every training.
    for workers, rounds, left in ((1, 2, math.inf), (2, 1, math.inf), (5, 1, 900.0)):
        time_left = replace(ROOM, workers=workers, seconds_left=left)
        found = choices_of(acquisition(time_left=time_left, has_incumbent=True), options())
        assert len(found) >= 3
        for choice in found:
            seconds = 8e-6 * choice.option.work + (0.05 * left / (1 + rounds) if left < math.inf else 0)
            improvement = math.log(20_001 / choice.option.cost)
            assert choice.value == pytest.approx(choice.chance * improvement / (seconds * (1 + rounds * choice.chance)))


@pytest.mark.parametrize(
    ("passed", "left", "workers", "seconds"),
    [
        (0.0, math.inf, 2, 150.0),
        (5.0, 3_600.0, 1, 70.0),
        (900.0, 2_000.0, 2, 120.0),
        (0.0, 150.0, 2, 99.0),
        (900.0, 30.0, 1, 9.9),
    ],
)
def test_while_nothing_stands_the_worth_is_the_chance_that_one_of_several_attempts_stands(
    passed: float, left: float, workers: int, seconds: float
):
    # Worker seconds until the first confirmed network: 75, later 60, or a third of the time left.
    time_left = replace(ROOM, workers=workers, seconds_left=left, elapsed=passed)
    for work in (1e6, 1e7, 1e8):
        network = replace(options()[3], work=work)
        (choice,) = choices_of(acquisition(time_left=time_left), [network])

        # Each attempt is a first run and, if this run passes, two fresh seeds; at most four attempts.
        attempts = min(4, seconds / (8e-6 * work * (1 + 2 * choice.chance)))
        sure = min(1, attempts) * (1 - (1 - choice.chance) ** max(1, attempts))
        # Five seeds on a fifth more images, in rounds of all workers, a tenth of caution and twelve seconds.
        verification = 1.1 * 1.2 * math.ceil(5 / workers) * 8e-6 * work + 12
        free = max(0, 1 - verification / left)
        assert choice.value == pytest.approx(sure**4 * math.log(20_001 / network.cost) * free)


def test_only_new_networks_and_lengths_that_there_is_time_for_are_chosen():
    # 8 epochs of the network of 16 channels.
    first, enough = options()[0], replace(ROOM, longest_training=ROOM.training_seconds(8, options()[2].work))

    assert sorted(widths(choices_of(acquisition(time_left=enough), options()))) == [4, 8, 16]
    lengths = {
        choice.option.hash: choice.epochs
        for choice in choices_of(acquisition(time_left=enough, lengths=(4, 8)), options())
    }
    assert len(lengths) == 4
    assert lengths[options()[3].hash] == 4
    assert choices_of(acquisition(time_left=replace(ROOM, longest_training=0.0)), options()) == []
    (best,) = choices_of(acquisition(lengths=(5, 8)), [first])
    (other,) = choices_of(acquisition(lengths=(5, 8), proposed_pairs=frozenset({(first.hash, best.epochs)})), [first])
    assert {best.epochs, other.epochs} == {5, 8}
    assert choices_of(acquisition(proposed_pairs=frozenset({(first.hash, 8)})), [first]) == []


def test_once_something_stands_a_small_network_without_a_chance_does_not_hide_a_larger_one_with_one():
    # The small network is worth more by size, but has a probability below 3 %.
    hopeless = replace(options()[0], hash="hopeless", cost=2)
    even = replace(options()[2], hash="even", cost=19_000)
    question = acquisition(errors=(150, 150, 95, 50, 25), has_incumbent=True)

    endless = {choice.option.hash: choice for choice in choices_of(question, [hopeless, even])}
    assert endless["hopeless"].chance < LEAST_CHANCE < endless["even"].chance
    ended = replace(question, time_left=replace(ROOM, seconds_left=1_000.0))
    assert [choice.option.hash for choice in choices_of(ended, [hopeless, even])] == ["even"]


def test_an_unlikely_network_does_not_take_the_time_of_a_second_verification():
    # 92 errors of 100 allowed errors; a training takes 8 seconds, and 8.8 with a tenth of caution.
    both = [replace(options()[at], hash=str(at), cost=90, work=1e6) for at in (2, 3)]
    question = acquisition(errors=(400, 200, 92, 80, 25), has_incumbent=True)
    chances = {choice.option.hash: choice.chance for choice in choices_of(question, both)}
    assert LEAST_CHANCE < chances["2"] < UNLIKELY < chances["3"]

    for spare, expected in ((8.9, {"2", "3"}), (8.7, {"3"}), (-50.0, {"3"})):
        time_left = replace(ROOM, seconds_left=1_000.0, spare_seconds=spare)
        assert {choice.option.hash for choice in choices_of(replace(question, time_left=time_left), both)} == expected
        # An earlier choice is asked about again.
        earlier = choices_of(replace(question, time_left=replace(time_left, spare_seconds=math.inf)), both)
        assert {choice.option.hash for choice in earlier if choice.is_timely(time_left)} == expected


@pytest.mark.parametrize("has_incumbent", [False, True])
def test_where_all_chances_are_as_good_as_none_what_comes_nearest_is_first(has_incumbent: bool):
    assert widths(choices_of(acquisition(allowed_errors=1e-6, has_incumbent=has_incumbent), options()))[0] == WIDTHS[-1]


def test_where_nothing_has_a_chance_what_comes_nearest_is_first_if_a_second_verification_has_time():
    # The larger a network, the nearer to the target; each smaller network is worth more by size.
    little_time = replace(ROOM, seconds_left=1_000.0, spare_seconds=100.0)
    question = acquisition(errors=(900, 800, 700, 600, 500), has_incumbent=True, time_left=little_time)
    ranking = question.ranked(question.forecast(options()))

    assert ranking.is_doubted
    assert widths(ranking.choices) == [*reversed(WIDTHS)]
    assert max(choice.chance for choice in ranking.choices) < LEAST_CHANCE
    short = replace(question, time_left=replace(question.time_left, spare_seconds=0.0))
    assert short.ranked(short.forecast(options())).choices == []


def test_nothing_is_trained_in_doubt_where_only_trainings_far_from_the_target_leave_time():
    small, *_, large = options()
    seconds = [ROOM.training_seconds(8, each.work) for each in (small, large)]
    question = acquisition(errors=(900, 800, 700, 600, 500), has_incumbent=True)
    between = replace(ROOM, seconds_left=1_000.0, spare_seconds=1.1 * seconds[0])
    both = replace(ROOM, seconds_left=1_000.0, spare_seconds=1.1 * seconds[1])

    assert choices_of(replace(question, time_left=between), [small, large]) == []
    assert widths(choices_of(replace(question, time_left=both), [small, large])) == [WIDTHS[-1], WIDTHS[0]]
    # Of two networks that are about as near, the network that leaves the time is trained.
    alike = replace(large, hash="short", work=small.work)
    assert [each.option for each in choices_of(replace(question, time_left=between), [alike, large])] == [alike]


def ended(trial: int, chance: float | None, first: int, *fresh: int) -> Candidate:
    """Return a network of a form by trial, with the errors of 100 allowed errors."""
    form = "plain" if trial % 2 else "tied"
    text = {"plain": "conv3x3(8) relu gap linear(10)", "tied": "conv3x3(1, tie=a) conv3x3(1, tie=a) gap linear(10)"}
    candidate = make_candidate(*fresh, first=first, trial=trial)
    network = parse_network(text[form])
    assert network.form == form
    candidate.proposal = replace(candidate.proposal, architecture=network, chance=chance)
    return candidate


def test_a_form_is_calibrated_by_its_confirmed_over_its_predicted_networks():
    missed = [ended(2 * number, 0.25, 150) for number in range(8)]
    confirmed = [ended(1, 0.5, 80, 80, 80), ended(3, None, 150), ended(5, 0.5, 150, 150, 150)]

    # Mean of a gamma distribution of shape and rate 1 after these events and this exposure.
    assert form_calibration(missed) == {"tied": pytest.approx(1 / (1 + 8 * 0.25))}
    assert form_calibration([*missed, *confirmed])["plain"] == pytest.approx(1.0)
    assert form_calibration(confirmed[1:])["plain"] == pytest.approx(1 / 1.5)
    open_ = ended(7, 0.6, 90)
    assert form_calibration([open_])["plain"] == pytest.approx(min(1.0, (1 + open_.chance_to_confirm) / 1.6))


def test_chances_of_a_form_are_scaled_by_its_calibration():
    plain = choices_of(acquisition(has_incumbent=True), options())
    scaled = choices_of(acquisition(has_incumbent=True, calibration={"plain": 0.25, "tied": 0.5}), options())

    assert {each.option.form for each in plain} == {"plain"}
    chances = {each.option.hash: each.chance for each in plain}
    assert {each.option.hash: each.chance for each in scaled} == {
        key: pytest.approx(0.25 * chance) for key, chance in chances.items()
    }
