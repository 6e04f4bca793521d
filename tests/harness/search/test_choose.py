"""What the surrogate chooses: worth and chances against simulation, looks at draws and neighbours."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search import choose as acquisition
from harness.search.choose import (
    _MOST_ATTEMPTS,
    _SELECTION_BIAS_SD,
    LEAST_CHANCE,
    UNLIKELY,
    Option,
    _Aim,
    _expected_falls,
    _margins_to_stand,
    choices,
    is_timely,
)
from harness.search.clock import Pace, TimeLeft
from harness.search.race import needed_share
from harness.search.surrogate import _SCALES, Observation, fitted, predicted, training_row
from harness.training.recipe import Recipe
from search_spaces.draw import enumerate_draws, judge
from search_spaces.notation import parse_space
from search_spaces.space import Metric
from search_spaces.task import MNIST

# 10 + 19 a channel, and 7,056 multiply-adds a channel.
WIDTHS = (4, 8, 16, 32, 64)
SPACE = parse_space(f"net = conv3x3({{{', '.join(map(str, WIDTHS))}}}) gap linear(10);")
RECIPE = Recipe(epochs=8)
# A second for a million units of work, an image and epoch.
ROOM = TimeLeft(images=1, pace=Pace(0.0, 1e-6), workers=2)


def options(metric: Metric = Metric.PARAMETERS) -> list[Option]:
    """Return the networks, smallest first."""
    return [acquisition.option(found, judge(SPACE, found.architecture), metric) for found in enumerate_draws(SPACE)]


def known(errors: Sequence[float], epochs: int = 8) -> list[Observation]:
    """Return what many runs of the networks of ``options`` have shown, smallest first."""
    return [
        Observation(
            training_row(each.found.architecture, epochs, RECIPE.batch_size, RECIPE.augmented_share, MNIST), value, 50
        )
        for each, value in zip(options(), errors, strict=True)
    ]


def aim(errors: Sequence[float] = (400, 200, 100, 50, 25), **changes: object) -> _Aim:
    """Return an aim at 100 errors below 20,000 parameters, where such errors are known."""
    plain = _Aim(
        model=fitted(known(errors)),
        recipe=RECIPE,
        lengths=(8,),
        allowed=100.0,
        below=20_001,
        open=(),
        stands=False,
        time_left=ROOM,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def chances(asked: _Aim, trainings: list[tuple[tuple[float, ...], int]]) -> list[float]:
    return [NormalDist().cdf(margin) for margin in _margins_to_stand(asked, trainings)]


def sizes(found: Sequence[acquisition.Choice]) -> list[int]:
    return [choice.option.cost for choice in found]


# Falls ------------------------------------------------------------------------------------------------------


def fall_by_outcomes(parameters: int, limit: int, open_: Sequence[tuple[int, float]]) -> float:
    """Return the mean fall over everything that may come of the others: each stands or does not."""
    mean = 0.0
    for outcome in itertools.product((False, True), repeat=len(open_)):
        odds = math.prod(chance if stood else 1 - chance for stood, (_, chance) in zip(outcome, open_, strict=True))
        lowest = min([limit, *(size for stood, (size, _) in zip(outcome, open_, strict=True) if stood)])
        mean += odds * max(0.0, math.log(lowest / parameters))
    return mean


@given(
    st.integers(100, 1_000),
    st.lists(st.tuples(st.integers(100, 2_000), st.floats(0, 1)), max_size=5),
)
def test_the_expected_fall_is_the_mean_over_all_outcomes(parameters: int, open_: list[tuple[int, float]]):
    found = _expected_falls([parameters], 1_000, open_)

    assert found == {parameters: pytest.approx(fall_by_outcomes(parameters, 1_000, open_))}


@pytest.mark.parametrize(("metric", "limit"), [(Metric.PARAMETERS, 3_000), (Metric.MACS, 1_100_000)])
@pytest.mark.parametrize(("errors", "stands"), [((150, 90, 60, 60, 40), True), ((100, 90, 80, 70, 50), False)])
def test_several_choices_are_those_that_asking_again_would_give(
    errors: Sequence[float], stands: bool, metric: Metric, limit: int
):
    """Each is put among the open ones, and the whole order is worked out anew."""
    asked = aim(errors, stands=stands, below=limit)
    ranked = choices(asked, options(metric))
    expected: list[str] = []
    again = asked
    while len(expected) < 4:
        best = next(each for each in choices(again, options(metric)) if each.option.hash not in expected)
        expected.append(best.option.hash)
        again = replace(again, open=(*again.open, (best.option.cost, best.chance)))

    found = acquisition._one_by_one(asked, ranked, 4)

    assert [each.option.hash for each in found] == expected
    assert expected != [each.option.hash for each in ranked[:4]]


# Chances ----------------------------------------------------------------------------------------------------


def test_the_chance_to_stand_is_how_often_two_seeds_make_few_enough_errors():
    asked = aim(stands=True)
    rows = [(each.row, 8) for each in options()]
    draw = np.random.default_rng(4)

    means, deviations = predicted(asked.model, [item.row for item in known((1,) * 5)])
    logs = draw.normal(means, deviations, (200_000, 5)) + draw.normal(0, _SCALES.seed, (2, 200_000, 5)).mean(axis=0)

    expected = (logs + _SELECTION_BIAS_SD * deviations <= math.log(100 * needed_share())).mean(axis=0)
    found = chances(asked, rows)
    assert found == pytest.approx(expected, abs=0.005)
    assert found == sorted(found)


# Order ------------------------------------------------------------------------------------------------------


def test_each_network_is_chosen_once_with_its_best_length():
    found = choices(aim(lengths=(5, 8, 30)), options())

    assert sorted(sizes(found)) == [10 + 19 * width for width in WIDTHS]
    every = [choices(aim(lengths=(epochs,)), options()) for epochs in (5, 8, 30)]
    for choice in found:
        alone = {each.epochs: each for each in itertools.chain(*every) if each.option.hash == choice.option.hash}
        assert choice.worth == pytest.approx(max(each.worth for each in alone.values()))
        assert choice == replace(alone[choice.epochs], worth=choice.worth, chance=choice.chance)
        assert choice.chance == pytest.approx(alone[choice.epochs].chance)


def test_the_worth_is_chance_and_fall_by_the_seconds_of_first_run_and_fresh_seeds():
    # Two workers run both fresh seeds at once, one worker one after the other; they run where the first one passes.
    for workers, rounds in ((1, 2), (2, 1), (5, 1)):
        time_left = replace(ROOM, workers=workers)
        for choice in choices(aim(time_left=time_left, stands=True), options()):
            seconds = 8 * 1e-6 * choice.option.work
            fall = math.log(20_001 / choice.option.cost)
            worth = choice.chance * fall / (seconds * (1 + rounds * choice.chance))
            assert choice.worth == pytest.approx(worth)


def test_what_was_proposed_with_a_length_is_not_chosen_with_it_again():
    first = options()[0]
    lengths = (5, 8)

    both = choices(aim(lengths=lengths), [first])
    other = choices(aim(lengths=lengths), [first], frozenset({(first.hash, both[0].epochs)}))
    none = choices(aim(lengths=lengths), [first], frozenset((first.hash, epochs) for epochs in lengths))

    assert len(both) == len(other) == 1
    assert {both[0].epochs, other[0].epochs} == set(lengths)
    assert none == []


def test_only_networks_and_lengths_that_there_is_time_for_are_chosen():
    # 8 epochs of the network of 16 channels.
    enough = replace(ROOM, seconds=ROOM.takes(8, options()[2].work))

    assert sorted(sizes(choices(aim(time_left=enough), options()))) == [10 + 19 * width for width in (4, 8, 16)]
    lengths = {
        choice.option.cost: choice.epochs for choice in choices(aim(time_left=enough, lengths=(4, 8)), options())
    }
    assert set(lengths) == {10 + 19 * width for width in (4, 8, 16, 32)}
    assert lengths[10 + 19 * 32] == 4
    assert choices(aim(time_left=replace(ROOM, seconds=0.0)), options()) == []


@pytest.mark.parametrize(
    ("passed", "left", "workers", "seconds"),
    [
        (0.0, math.inf, 2, 150.0),
        (0.0, 3_600.0, 1, 75.0),
        (5.0, 3_600.0, 1, 70.0),
        (900.0, 2_000.0, 2, 120.0),
        (0.0, 150.0, 2, 99.0),
        (900.0, 30.0, 1, 9.9),
    ],
)
def test_while_nothing_stands_the_worth_is_the_chance_that_one_of_several_attempts_stands(
    passed: float, left: float, workers: int, seconds: float
):
    # Worker seconds within which something is to stand: 75 seconds, later sixty, or a third of what is left.
    time_left = replace(ROOM, workers=workers, left=left, passed=passed)
    for work in (1e6, 1e7, 1e8):
        network = replace(options()[3], work=work)
        (choice,) = choices(aim(time_left=time_left), [network])

        # Each attempt is a first run and, where that passes, two fresh seeds.
        attempts = min(_MOST_ATTEMPTS, seconds / (8e-6 * work * (1 + 2 * choice.chance)))
        sure = min(1, attempts) * (1 - (1 - choice.chance) ** max(1, attempts))
        # Five seeds on a fifth more images, in rounds of all workers, a tenth of caution and twelve seconds.
        verification = 1.1 * 1.2 * math.ceil(5 / workers) * 8e-6 * work + 12
        free = max(0, 1 - verification / left)
        assert choice.worth == pytest.approx(sure**4 * math.log(20_001 / network.cost) * free)


def test_once_something_stands_a_small_network_without_a_chance_does_not_hide_a_larger_one_with_one():
    # The small one is worth more by its size, but has less than three chances in a hundred.
    time_left = replace(ROOM, left=1_000.0)
    hopeless = replace(options()[0], hash="hopeless", cost=2)
    even = replace(options()[2], hash="even", cost=19_000)
    for errors in range(100, 400, 5):
        asked = aim(errors=(errors, 150, 95, 50, 25), stands=True, time_left=time_left)
        (chance,) = chances(asked, [(hopeless.row, 8)])
        if chance < LEAST_CHANCE:
            break

    endless = choices(replace(asked, time_left=ROOM), [hopeless, even])
    assert {choice.option.hash for choice in endless} == {"hopeless", "even"}
    assert [choice.option.hash for choice in choices(asked, [hopeless, even])] == ["even"]


def test_an_unlikely_network_does_not_take_the_time_of_a_second_verification():
    # 92 errors where 100 are allowed; a training takes 8 seconds, and 8.8 with a tenth of caution.
    unlikely, even = (replace(options()[at], hash=str(at), cost=90, work=1e6) for at in (2, 3))
    asked = aim(errors=(400, 200, 92, 80, 25), stands=True)
    (small,), (large,) = (chances(asked, [(each.row, 8)]) for each in (unlikely, even))
    assert LEAST_CHANCE < small < UNLIKELY < large

    for spare, expected in ((8.9, {"2", "3"}), (8.7, {"3"}), (-50.0, {"3"})):
        time_left = replace(ROOM, left=1_000.0, spare=spare)
        found = choices(replace(asked, time_left=time_left), [unlikely, even])
        assert {choice.option.hash for choice in found} == expected
        # An earlier choice is asked about again.
        earlier = choices(replace(asked, time_left=replace(time_left, spare=math.inf)), [unlikely, even])
        assert {choice.option.hash for choice in earlier if is_timely(choice, time_left)} == expected


def test_where_all_chances_are_as_good_as_none_what_comes_nearest_is_first():
    for stands in (False, True):
        found = choices(aim(allowed=1e-6, stands=stands), options())

        assert found[0].option is not options()[0]
        assert found[0].option.cost == 10 + 19 * WIDTHS[-1]
