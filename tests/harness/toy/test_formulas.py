from __future__ import annotations

import dataclasses
import math
from itertools import islice

import pytest

from harness.toy.backprop import EXAMPLE, WEIGHTS, Backward, Forward, Step, train
from harness.toy.formulas import (
    BACKWARD,
    FORWARD,
    GRADIENTS,
    UPDATE,
    WEIGHT_NAMES,
    gradients,
    values,
    with_names,
    with_numbers,
)


@pytest.fixture
def step() -> Step:
    """After 300 updates, where no two quantities are equal by accident."""
    return next(islice(train(WEIGHTS, EXAMPLE, 2.0), 300, None))


def names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def test_every_quantity_has_its_formula_in_the_order_of_computation():
    assert list(FORWARD) == names(Forward)
    assert list(BACKWARD) == names(Backward)
    assert list(GRADIENTS) == list(UPDATE) == list(WEIGHT_NAMES)


@pytest.mark.parametrize("name", [*FORWARD, *BACKWARD])
def test_each_formula_gives_what_the_arithmetic_gives(name: str, step: Step):
    known = values(EXAMPLE, step)

    found = eval((FORWARD | BACKWARD)[name], {"exp": math.exp}, known)

    assert found == pytest.approx(known[name], rel=1e-14)


@pytest.mark.parametrize("name", WEIGHT_NAMES)
def test_the_written_out_gradient_is_the_chain(name: str, step: Step):
    assert eval(GRADIENTS[name], {}, values(EXAMPLE, step)) == pytest.approx(gradients(step)[name], rel=1e-13)


@pytest.mark.parametrize("name", WEIGHT_NAMES)
def test_the_update_formula_is_the_next_weight(name: str):
    before, after = islice(train(WEIGHTS, EXAMPLE, 0.8), 2)

    found = eval(UPDATE[name], {}, values(EXAMPLE, before) | {"learning_rate": 0.8})

    assert found == getattr(after.weights, name)


def test_names_are_replaced_whole_and_once():
    assert with_names("exp(-h1) + a_h1 * h1", {"h1": "a_h1", "a_h1": "x"}) == "exp(-a_h1) + x * a_h1"


def test_negative_numbers_are_put_in_parentheses():
    assert with_numbers("1 / (1 + exp(-h1)) - w1", {"h1": -0.5, "w1": 1e-7}) == "1 / (1 + exp(-(-0.5))) - 1e-07"
