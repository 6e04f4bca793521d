from __future__ import annotations

import dataclasses
import math
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.toy.backprop import (
    EXAMPLE,
    LEARNING_RATES,
    PARAMETERS,
    WEIGHTS,
    Example,
    Weights,
    backward,
    forward,
    losses,
    sigmoid,
    train,
    update,
)

numbers = st.floats(-4, 4)
some_weights = st.builds(Weights, *[numbers] * 8)
some_example = st.builds(Example, *[numbers] * 4)


def torch_losses(weights: Weights, example: Example, learning_rate: float, updates: int) -> list[float]:
    """The same training by torch in float64: two matrices, autograd and its own SGD."""
    flat = torch.tensor(dataclasses.astuple(weights), dtype=torch.float64)
    hidden = torch.nn.Parameter(flat[:4].reshape(2, 2).clone())
    output = torch.nn.Parameter(flat[4:].reshape(2, 2).clone())
    inputs = torch.tensor([example.i1, example.i2], dtype=torch.float64)
    targets = torch.tensor([example.t1, example.t2], dtype=torch.float64)
    optimizer = torch.optim.SGD([hidden, output], lr=learning_rate)
    found = []
    for _ in range(updates + 1):
        optimizer.zero_grad()
        loss = 0.5 * torch.nn.functional.mse_loss(
            torch.sigmoid(output @ torch.sigmoid(hidden @ inputs)), targets, reduction="sum"
        )
        found.append(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]  # as torch ships it
        optimizer.step()
    return found


def test_the_network_is_that_of_the_documents(seed_documents: dict[str, Any]):
    toy = seed_documents["toy"]

    assert dataclasses.asdict(WEIGHTS) == toy["weights"]
    assert dataclasses.asdict(EXAMPLE) == toy["inputs"] | toy["targets"]
    assert list(LEARNING_RATES) == toy["learning_rates"]
    assert len(dataclasses.fields(Weights)) == PARAMETERS


def test_the_initial_loss_is_the_published_one():
    # To nine digits as the documents' spreadsheet shows it; the sixteen of a float are torch's.
    found = forward(WEIGHTS, EXAMPLE).E_total

    assert round(found, 9) == 0.242519857
    assert found == pytest.approx(torch_losses(WEIGHTS, EXAMPLE, 0.1, 0)[0], abs=1e-16)


def test_the_first_gradients_are_the_published_ones():
    slope = backward(WEIGHTS, EXAMPLE, forward(WEIGHTS, EXAMPLE))

    assert round(slope.dE_dw1, 9) == 0.000188256
    assert round(slope.dE_dw5, 9) == 0.072157073


@pytest.mark.parametrize("learning_rate", LEARNING_RATES)
def test_a_curve_of_a_thousand_updates_is_that_of_torch(learning_rate: float):
    found = losses(WEIGHTS, EXAMPLE, learning_rate, 1_000)

    assert len(found) == 1_001
    assert found == pytest.approx(torch_losses(WEIGHTS, EXAMPLE, learning_rate, 1_000), rel=0, abs=1e-9)


@settings(max_examples=30)
@given(some_weights, some_example, st.floats(0, 1))
def test_any_network_trains_as_in_torch(weights: Weights, example: Example, learning_rate: float):
    found = losses(weights, example, learning_rate, 4)

    assert found == pytest.approx(torch_losses(weights, example, learning_rate, 4), rel=1e-11, abs=1e-12)


@given(some_weights, some_example)
def test_a_step_downhill_is_never_uphill(weights: Weights, example: Example):
    before, after = losses(weights, example, 1e-6, 1)

    assert after <= before + 1e-15


def test_all_weights_move_at_once_from_the_old_ones():
    passed = forward(WEIGHTS, EXAMPLE)
    slope = backward(WEIGHTS, EXAMPLE, passed)

    moved = update(WEIGHTS, slope, 0.5)

    for name, old in dataclasses.asdict(WEIGHTS).items():
        assert getattr(moved, name) == old - 0.5 * getattr(slope, f"dE_d{name}")


def test_training_begins_before_the_first_update_and_holds_matching_passes():
    first, second = islice(train(WEIGHTS, EXAMPLE, 0.5), 2)

    assert first.weights == WEIGHTS
    for step in (first, second):
        assert step.forward == forward(step.weights, EXAMPLE)
        assert step.backward == backward(step.weights, EXAMPLE, step.forward)
    assert second.weights == update(first.weights, first.backward, 0.5)


def test_the_same_numbers_give_the_same_bits():
    assert losses(WEIGHTS, EXAMPLE, 2.0, 200) == losses(WEIGHTS, EXAMPLE, 2.0, 200)


@pytest.mark.parametrize("x", [-1e308, -1000.0, -30.0, -0.5, 0.0, 0.5, 30.0, 1000.0, 1e308])
def test_the_sigmoid_neither_overflows_nor_leaves_its_range(x: float):
    found = sigmoid(x)

    assert 0 <= found <= 1
    assert found == pytest.approx(torch.sigmoid(torch.tensor(x, dtype=torch.float64)).item(), rel=1e-15)


def test_a_rate_beyond_all_measure_overflows_to_not_a_number_and_raises_nothing():
    found = losses(dataclasses.replace(WEIGHTS, w5=1e308), dataclasses.replace(EXAMPLE, t1=1e200), 1e308, 5)

    assert not all(map(math.isfinite, found))
