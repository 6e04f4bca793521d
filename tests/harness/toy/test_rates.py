from __future__ import annotations

import math
import re

import pytest

from harness.system.errors import HarnessError, UsageError
from harness.toy import rates
from harness.toy.backprop import LEARNING_RATES, START, losses
from harness.toy.rates import RateCurve, checked_gradients, rate_curve, remarks, shortest


def test_a_difference_between_the_sources_is_a_fault_of_the_program(monkeypatch: pytest.MonkeyPatch):
    right = rates.autograd(START)
    monkeypatch.setattr(rates, "autograd", lambda *_: right | {"w3": right["w3"] + 2e-12})

    with pytest.raises(HarnessError):
        checked_gradients(START)
    # A large error is allowed its rounding.
    monkeypatch.undo()
    checked_gradients(START | {"t1": 1000.0, "t2": 1e4})


def curve_at(learning_rate: float, updates: int = 100, target: float = 0.01, **changed: float) -> RateCurve:
    return rate_curve(START | changed, learning_rate, updates, target)


@pytest.mark.parametrize("learning_rate", LEARNING_RATES)
def test_the_target_is_first_met_where_the_curve_first_falls_below_it(learning_rate: float):
    long = losses(START, learning_rate, 1_300)

    found = curve_at(learning_rate)

    assert found.losses == tuple(long[:101])
    assert (reached := found.reached_after) is not None
    assert long[reached] < 0.01 <= long[reached - 1]
    assert remarks([found], 0.01) == []


@pytest.mark.parametrize(
    ("learning_rate", "target"),
    [(math.nan, 0.1), (-math.inf, 0.1), (0.5, 0.0), (0.5, -0.1), (0.5, math.nan), (0.5, math.inf)],
)
def test_a_rate_or_a_target_that_cannot_be_is_refused(learning_rate: float, target: float):
    with pytest.raises(UsageError):
        curve_at(learning_rate, target=target)


@pytest.mark.parametrize("number", [1.0, 1.0000001, 0.1, 1e300, -0.5])
def test_numbers_that_differ_are_shown_differently(number: float):
    assert float(shortest(number)) == number
    assert not re.search(r"\.\d*0$", shortest(number))
