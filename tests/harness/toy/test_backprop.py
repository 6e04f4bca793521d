"""The toy network: losses, gradients and formulas, compared with PyTorch and the source documents."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.toy.backprop import (
    BACKWARD,
    EXAMPLE,
    FORWARD,
    GRADIENTS,
    LEARNING_RATES,
    START,
    UPDATE,
    WEIGHTS,
    forward_and_backward,
    gradients,
    losses,
    sigmoid,
    train,
    update,
    with_numbers,
)
from harness.toy.rates import checked_gradients

start_values = st.fixed_dictionaries(dict.fromkeys(START, st.floats(-2, 2)))


def torch_losses(start: dict[str, float], learning_rate: float, updates: int) -> list[float]:
    """Return the losses of the same training in PyTorch, in float64 with autograd and ``torch.optim.SGD``."""
    flat = torch.tensor([start[name] for name in WEIGHTS], dtype=torch.float64)
    hidden = torch.nn.Parameter(flat[:4].reshape(2, 2).clone())
    output = torch.nn.Parameter(flat[4:].reshape(2, 2).clone())
    inputs = torch.tensor([start["i1"], start["i2"]], dtype=torch.float64)
    targets = torch.tensor([start["t1"], start["t2"]], dtype=torch.float64)
    optimizer = torch.optim.SGD([hidden, output], lr=learning_rate)
    rows = []
    for _ in range(updates + 1):
        optimizer.zero_grad()
        loss = 0.5 * torch.nn.functional.mse_loss(
            torch.sigmoid(output @ torch.sigmoid(hidden @ inputs)), targets, reduction="sum"
        )
        rows.append(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        optimizer.step()
    return rows


def test_network_and_first_values_equal_source_documents(seed_documents: dict[str, Any]):
    toy, values = seed_documents["toy"], forward_and_backward(START)

    assert toy["weights"] == WEIGHTS
    assert toy["inputs"] | toy["targets"] == EXAMPLE
    assert list(LEARNING_RATES) == toy["learning_rates"]
    # The spreadsheet of the source documents shows nine digits.
    assert [round(values[name], 9) for name in ("E_total", "dE_dw1", "dE_dw5")] == [
        0.242519857,
        0.000188256,
        0.072157073,
    ]


@pytest.mark.parametrize("learning_rate", LEARNING_RATES)
def test_losses_of_thousand_updates_equal_torch(learning_rate: float):
    curve = losses(START, learning_rate, 1_000)

    assert curve == pytest.approx(torch_losses(START, learning_rate, 1_000), rel=0, abs=1e-9)


@settings(max_examples=30)
@given(start_values, st.floats(0, 1))
def test_random_networks_train_as_in_torch_with_checked_gradients(start: dict[str, float], learning_rate: float):
    assert losses(start, learning_rate, 4) == pytest.approx(torch_losses(start, learning_rate, 4), rel=1e-11, abs=1e-12)
    # ``checked_gradients`` raises an error if autograd or differences disagree.
    assert checked_gradients(start)["chain_rule"] == gradients(forward_and_backward(start))


@pytest.mark.parametrize("x", [-1e308, -1000.0, -30.0, -0.5, 0.0, 0.5, 30.0, 1000.0, 1e308])
def test_sigmoid_equals_torch_without_overflow(x: float):
    assert sigmoid(x) == pytest.approx(torch.sigmoid(torch.tensor(x, dtype=torch.float64)).item(), rel=1e-15)


def test_huge_learning_rate_overflows_without_error():
    curve = losses(START | {"w5": 1e308, "t1": 1e200}, 1e308, 5)

    assert not all(map(math.isfinite, curve))


def test_formulas_give_all_quantities():
    # After 300 updates, no two quantities are equal by accident.
    values, next_values = islice(train(START, 2.0), 300, 302)

    assert list(values) == [*START, *FORWARD, *BACKWARD]
    for name, formula in (FORWARD | BACKWARD).items():
        assert eval(formula, {"exp": math.exp}, values) == pytest.approx(values[name], rel=1e-14), name
    for name, slope in gradients(values).items():
        assert eval(GRADIENTS[name], {}, values) == pytest.approx(slope, rel=1e-13), name
        weight = eval(UPDATE[name], {}, values | {"learning_rate": 2.0})
        assert weight == next_values[name] == update(values, 2.0)[name]
    assert with_numbers("1 / (1 + exp(-h1)) - w1", {"h1": -0.5, "w1": 1e-7}) == "1 / (1 + exp(-(-0.5))) - 1e-07"
