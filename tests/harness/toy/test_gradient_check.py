from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.system.errors import HarnessError
from harness.toy import gradient_check
from harness.toy.backprop import EXAMPLE, WEIGHTS, Example, Weights
from harness.toy.gradient_check import central_differences, checked

numbers = st.floats(-2, 2)


def test_the_three_sources_agree():
    found = checked(WEIGHTS, EXAMPLE)

    assert found.autograd_difference <= 1e-12
    assert found.central_differences_difference <= 1e-10
    assert list(found.chain_rule) == list(found.autograd) == list(found.central_differences)
    assert list(found.chain_rule) == ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"]


@settings(max_examples=30)
@given(st.builds(Weights, *[numbers] * 8), st.builds(Example, *[numbers] * 4))
def test_they_agree_for_any_network(weights: Weights, example: Example):
    # It raises where they do not.
    assert len(checked(weights, example).autograd) == 8


def test_a_large_error_is_allowed_its_rounding():
    checked(WEIGHTS, Example(0.05, 0.1, 1000.0, 1e4))


def test_a_difference_is_a_fault_of_the_program(monkeypatch: pytest.MonkeyPatch):
    right = gradient_check.autograd(WEIGHTS, EXAMPLE)
    monkeypatch.setattr(gradient_check, "autograd", lambda *_: right | {"w3": right["w3"] + 2e-12})

    with pytest.raises(HarnessError, match=r"differs from autograd by 2.0e-12 \(allowed 1e-12\)") as error:
        checked(WEIGHTS, EXAMPLE)

    assert error.value.exit_code == 1


def test_central_differences_see_a_wrong_slope():
    flat = dataclasses.replace(EXAMPLE, i1=0.0)

    assert central_differences(WEIGHTS, flat)["w1"] == 0.0
