from __future__ import annotations

import math

import pytest

from harness.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, losses
from harness.errors import UsageError
from harness.rate_curve import MOST_UPDATES, RateCurve, checked_rate, checked_target, rate_curve, remarks


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
    assert remarks(found, 0.01) == []


def test_a_target_that_no_number_of_updates_meets_is_none():
    found = curve_at(0.0, 10)

    assert (found.reached_after, found.searched) == (None, MOST_UPDATES)
    assert len(found.losses) == 11


def test_a_target_above_the_initial_loss_is_met_at_once():
    found = curve_at(0.5, target=0.3)

    assert found.reached_after == 0
    assert remarks(found, 0.3) == ["rate 0.5: the loss is below the target of 0.3 before the first update"]


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
    (said,) = remarks(curve_at(learning_rate), 0.01)

    assert said.startswith(words)


def test_overflow_is_said_and_ends_the_count():
    from dataclasses import replace

    found = rate_curve(replace(WEIGHTS, w5=1e308), replace(EXAMPLE, t1=1e200), 1e308, 5, 0.01)

    assert found.reached_after is None
    (said,) = remarks(found, 0.01)
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
