"""Loss curves over learning rates, and checks of the gradients."""

from __future__ import annotations

import math
import re

import pytest

from harness.system.errors import HarnessError, UsageError
from harness.toy import rates
from harness.toy.backprop import LEARNING_RATES, START, losses
from harness.toy.rates import RateCurve, checked_gradients, rate_curve, remarks, shortest


def test_different_gradients_raise_error(monkeypatch: pytest.MonkeyPatch):
    original = rates.autograd(START)
    monkeypatch.setattr(rates, "autograd", lambda *_: original | {"w3": original["w3"] + 2e-12})

    with pytest.raises(HarnessError):
        checked_gradients(START)
    # Tolerances grow with the loss and with the gradients.
    monkeypatch.undo()
    checked_gradients(START | {"t1": 1000.0, "t2": 1e4})


def curve_at(learning_rate: float, updates: int = 100, target: float = 0.01, **values: float) -> RateCurve:
    return rate_curve(START | values, learning_rate, updates, target)


@pytest.mark.parametrize("learning_rate", LEARNING_RATES)
def test_reached_after_is_first_update_below_target(learning_rate: float):
    all_losses = losses(START, learning_rate, 1_300)

    curve = curve_at(learning_rate)

    assert curve.losses == tuple(all_losses[:101])
    assert (reached := curve.reached_after) is not None
    assert all_losses[reached] < 0.01 <= all_losses[reached - 1]
    assert remarks([curve], 0.01) == []


@pytest.mark.parametrize(
    ("learning_rate", "target"),
    [(math.nan, 0.1), (-math.inf, 0.1), (0.5, 0.0), (0.5, -0.1), (0.5, math.nan), (0.5, math.inf)],
)
def test_invalid_rate_or_target_is_refused(learning_rate: float, target: float):
    with pytest.raises(UsageError):
        curve_at(learning_rate, target=target)


@pytest.mark.parametrize("number", [1.0, 1.0000001, 0.1, 1e300, -0.5])
def test_shortest_text_is_exact(number: float):
    assert float(shortest(number)) == number
    assert not re.search(r"\.\d*0$", shortest(number))
