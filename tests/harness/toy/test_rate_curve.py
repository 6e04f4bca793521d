from __future__ import annotations

import dataclasses
import math
import tracemalloc

import pytest

from harness.system.errors import UsageError
from harness.toy.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, losses
from harness.toy.rate_curve import MOST_UPDATES, RateCurve, checked_rate, checked_target, rate_curve, remarks, shortest


def curve_at(learning_rate: float, updates: int = 100, target: float = 0.01) -> RateCurve:
    return rate_curve(WEIGHTS, EXAMPLE, learning_rate, updates, target)


@pytest.mark.parametrize("learning_rate", LEARNING_RATES)
def test_the_target_is_first_met_where_the_curve_first_falls_below_it(learning_rate: float):
    long = losses(WEIGHTS, EXAMPLE, learning_rate, 1_300)

    found = curve_at(learning_rate)

    assert found.losses == tuple(long[:101])
    reached = found.reached_after
    assert reached is not None
    assert long[reached] < 0.01 <= long[reached - 1]
    assert remarks([found], 0.01) == []


def test_a_target_that_no_number_of_updates_meets_is_none():
    found = curve_at(0.0, 10)

    assert (found.reached_after, found.searched) == (None, MOST_UPDATES)
    assert len(found.losses) == 11


def test_a_target_above_the_initial_loss_is_met_at_once():
    found = curve_at(0.5, target=0.3)

    assert found.reached_after == 0
    assert remarks([found], 0.3) == ["target 0.3: the loss is below it before the first update"]


def test_a_target_that_is_met_at_once_is_remarked_upon_once():
    curves = [curve_at(learning_rate, target=0.3) for learning_rate in (0.5, 1.0, 0.0)]

    assert [said.partition(":")[0] for said in remarks(curves, 0.3)] == ["target 0.3", "rate 0"]


@pytest.mark.parametrize(
    ("learning_rate", "words"),
    [
        (0.0, "rate 0: a rate of 0 takes no step: the loss stays at 0.24252"),
        (-0.5, "rate -0.5: a negative rate walks uphill: the loss rises from 0.24252 to 0.85"),
        (1000.0, "rate 1000: too large: the first update throws the outputs to 9.8e-32 and 1 "),
        (1e300, "rate 1e+300: too large: the first update throws the outputs to 0.5 and 0.5 (hidden units 0 and 0)"),
        (1e-9, "rate 1e-09: so small a rate takes 5.8e-07 % off the loss in 100 updates"),
    ],
)
def test_what_is_out_of_the_ordinary_is_said(learning_rate: float, words: str):
    (said,) = remarks([curve_at(learning_rate)], 0.01)

    assert said.startswith(words)


@pytest.mark.parametrize("updates", [1, 2, 5, 1_000])
def test_a_rate_is_too_large_where_no_slope_is_left_however_many_updates_are_shown(updates: int):
    too_large = [
        learning_rate
        for learning_rate in range(10, 261, 5)
        if any("too large" in said for said in remarks([curve_at(learning_rate, updates, target=0.3)], 0.3))
    ]

    # At 195 to 197 the steepest slope falls below 0.00005 of the error: 1,000 updates change the loss by 0.2 %.
    assert set(range(200, 261, 5)) <= set(too_large) <= set(range(195, 261, 5))


def test_the_best_rates_are_not_remarked_upon():
    assert remarks([curve_at(89, updates=1), curve_at(63, updates=1_000)], 0.01) == []


def test_a_network_that_has_learned_its_example_is_no_failure():
    easy = dataclasses.replace(EXAMPLE, t1=0.6, t2=0.6)
    found = rate_curve(WEIGHTS, easy, 60.0, 500, 1e-4)

    assert found.losses[-1] < 1e-25
    assert remarks([found], 1e-4) == []


def test_a_useful_rate_is_not_called_small_because_few_updates_are_shown():
    assert remarks([curve_at(0.5, updates=1, target=1e-6)], 1e-6) == []


def test_overflow_is_said_and_ends_the_count():
    found = rate_curve(dataclasses.replace(WEIGHTS, w5=1e308), dataclasses.replace(EXAMPLE, t1=1e200), 1e308, 5, 0.01)

    assert found.reached_after is None
    (said,) = remarks([found], 0.01)
    assert "the weights overflow: from update " in said
    assert said.endswith("on the loss is not a number")


@pytest.mark.parametrize("learning_rate", [math.nan, math.inf, -math.inf])
def test_a_rate_that_is_no_number_is_refused(learning_rate: float):
    with pytest.raises(UsageError, match=r"learning rate (nan|inf|-inf): .* must be a finite number"):
        checked_rate(learning_rate)


@pytest.mark.parametrize("target", [0.0, -0.1, math.nan, math.inf])
def test_a_target_that_no_loss_can_be_below_is_refused(target: float):
    with pytest.raises(UsageError, match=r"must be a finite number above 0; the default is 0.01"):
        checked_target(target)


def test_a_long_curve_keeps_its_losses_and_no_step_between_first_and_last():
    tracemalloc.start()
    try:
        found = curve_at(0.5, updates=10_000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # A list and a tuple of floats are 40 bytes an update; a step is over a thousand.
    assert peak_bytes < 100 * 10_000
    assert found.first.forward.E_total == found.losses[1]
    assert found.last.forward.E_total == found.losses[-1]


@pytest.mark.parametrize("updates", [0, -1])
def test_a_curve_without_an_update_is_refused(updates: int):
    with pytest.raises(UsageError, match=rf"^updates {updates}: a curve needs at least one update$"):
        curve_at(0.5, updates=updates)


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.0, "1"), (1.0000001, "1.0000001"), (1.0000002, "1.0000002"), (0.1, "0.1"), (1e300, "1e+300"), (-0.5, "-0.5")],
)
def test_numbers_that_differ_are_shown_differently(number: float, text: str):
    assert shortest(number) == text
