"""The figures of docs/backprop.md, each worked out again."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from harness.toy.backprop import BACKWARD, FORWARD, START, forward_and_backward, gradients, losses
from harness.toy.rates import central_differences, rate_curve
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "backprop.md"
KNOWN = forward_and_backward(START)
WIDTH = 1e-5


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose head begins with these words."""
    text = PAGE.read_text(encoding="utf-8")
    block = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block]


def misprinted(name: str, formula: str, **moved: float) -> dict[str, Any]:
    """Every quantity of the network in which one name has another formula, at weights some of which are moved."""
    known: dict[str, Any] = KNOWN | moved | {"exp": math.exp}
    if name not in FORWARD:
        known[name] = float(formula)
    for quantity, right in FORWARD.items():
        known[quantity] = eval(formula if quantity == name else right, {}, known)
    for quantity, right in BACKWARD.items():
        known[quantity] = eval(right, {}, known)
    return known


def test_a_misprinted_network_has_another_loss_and_agrees_with_its_own_derivative():
    table_rows = rows("misprinted")

    assert [name for name, *_ in table_rows] == ["`h1`", "`t2`"]
    for name, formula, loss, weight, derivative, given, measured in table_rows:
        changed = (name.strip("`"), formula.strip("`"))
        known = misprinted(*changed)
        up, down = (misprinted(*changed, **{weight: known[weight] + step})["E_total"] for step in (WIDTH, -WIDTH))

        assert f"{known['E_total']:.6g}" == loss
        assert abs(float(loss) - KNOWN["E_total"]) > 1e-3
        assert f"{eval(derivative.strip('`'), {}, known):.6f}" == given
        assert f"{(up - down) / (2 * WIDTH):.6f}" == measured == given


def test_every_misprinted_derivative_gives_its_number_and_central_differences_another():
    table_rows = rows("weight | as misprinted")
    differences = central_differences(START)

    assert [weight for weight, *_ in table_rows] == ["w8", "w5", "w6", "w7", "w8", "w1"]
    for weight, formula, given, correct, measured in table_rows:
        assert f"{eval(formula.strip('`'), {}, KNOWN):.9f}" == given
        assert f"{gradients(KNOWN)[weight]:.9f}" == correct
        assert f"{differences[weight]:.9f}" == measured
        assert abs(float(given) - float(measured)) > 1e-3


def test_the_learning_rates_are_those_of_the_command():
    for rate, *shown, reached in rows("rate"):
        curve = rate_curve(START, float(rate), 1_000, 0.01)

        assert shown == [f"{curve.losses[updates]:.6g}" for updates in (1, 10, 100, 1_000)]
        assert reached == f"{curve.reached_after:,}"


@pytest.mark.parametrize("name", BACKWARD)
def test_every_derivative_of_the_code_is_on_the_page(name: str):
    assert re.search(rf"^ .*\b{name} += ", PAGE.read_text(encoding="utf-8"), re.M)


def test_the_large_rates_end_as_said():
    text = PAGE.read_text(encoding="utf-8")
    best = 63.09573444801933
    ends = {rate: losses(START, rate, 1_000)[-1] for rate in (best, 200.0, 1e6)}
    assert f"{best:.1f} for 1,000 updates (loss {ends[best]:.1e}".replace("e-09", "e-9") in text
    assert (f"{ends[200.0]:.4f}", f"{ends[1e6]:.4f}") == ("0.0001", "0.2401")
