"""The figures of docs/evidence/backprop.md equal recomputed values."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from harness.toy.backprop import BACKWARD, FORWARD, START, forward_and_backward, gradients, losses
from harness.toy.rates import central_differences, rate_curve
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "evidence" / "backprop.md"
KNOWN = forward_and_backward(START)
WIDTH = 1e-5


def rows(head: str) -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8")
    block = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block]


def with_misprint(name: str, formula: str, **weights: float) -> dict[str, Any]:
    """Return all quantities of the network with a changed formula for ``name``; ``weights`` replaces weights."""
    values: dict[str, Any] = KNOWN | weights | {"exp": math.exp}
    if name not in FORWARD:
        values[name] = float(formula)
    for quantity, correct in FORWARD.items():
        values[quantity] = eval(formula if quantity == name else correct, {}, values)
    for quantity, correct in BACKWARD.items():
        values[quantity] = eval(correct, {}, values)
    return values


def test_misprinted_network_has_different_loss_and_consistent_derivative():
    table_rows = rows("misprinted")

    assert [name for name, *_ in table_rows] == ["`h1`", "`t2`"]
    for name, formula, loss, weight, derivative, printed, measured in table_rows:
        misprint = (name.strip("`"), formula.strip("`"))
        values = with_misprint(*misprint)
        up, down = (with_misprint(*misprint, **{weight: values[weight] + step})["E_total"] for step in (WIDTH, -WIDTH))

        assert f"{values['E_total']:.6g}" == loss
        assert abs(float(loss) - KNOWN["E_total"]) > 1e-3
        assert f"{eval(derivative.strip('`'), {}, values):.6f}" == printed
        assert f"{(up - down) / (2 * WIDTH):.6f}" == measured == printed


def test_misprinted_derivative_differs_from_central_difference():
    table_rows = rows("weight | as misprinted")
    differences = central_differences(START)

    assert [weight for weight, *_ in table_rows] == ["w8", "w5", "w6", "w7", "w8", "w1"]
    for weight, formula, printed, correct, measured in table_rows:
        assert f"{eval(formula.strip('`'), {}, KNOWN):.9f}" == printed
        assert f"{gradients(KNOWN)[weight]:.9f}" == correct
        assert f"{differences[weight]:.9f}" == measured
        assert abs(float(printed) - float(measured)) > 1e-3


def test_table_of_learning_rates_equals_rate_curves():
    for rate, *loss_cells, updates_cell in rows("rate"):
        curve = rate_curve(START, float(rate), 1_000, 0.01)

        assert loss_cells == [f"{curve.losses[updates]:.6g}" for updates in (1, 10, 100, 1_000)]
        assert updates_cell == f"{curve.reached_after:,}"


@pytest.mark.parametrize("name", BACKWARD)
def test_page_contains_every_derivative_of_the_code(name: str):
    assert re.search(rf"^ .*\b{name} += ", PAGE.read_text(encoding="utf-8"), re.M)


def test_final_losses_of_large_rates_equal_page():
    text = PAGE.read_text(encoding="utf-8")
    best = 63.09573444801933
    ends = {rate: losses(START, rate, 1_000)[-1] for rate in (best, 200.0, 1e6)}
    assert f"{best:.1f} for 1,000 updates (loss {ends[best]:.1e}".replace("e-09", "e-9") in text
    assert (f"{ends[200.0]:.4f}", f"{ends[1e6]:.4f}") == ("0.0001", "0.2401")
