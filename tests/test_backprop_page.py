"""The figures of docs/backprop.md, each worked out again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.backprop import EXAMPLE, WEIGHTS, losses, train
from harness.formulas import BACKWARD, WEIGHT_NAMES, gradients, values
from harness.gradient_check import central_differences
from harness.rate_curve import rate_curve

PAGE = Path(__file__).resolve().parent.parent / "docs" / "backprop.md"
START = next(train(WEIGHTS, EXAMPLE, 0.0))


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose head begins with these words."""
    text = PAGE.read_text(encoding="utf-8")
    block = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block]


def test_every_misprint_gives_its_number_and_central_differences_another():
    found = rows("weight")
    differences = central_differences(WEIGHTS, EXAMPLE)

    assert {weight for weight, *_ in found} == set(WEIGHT_NAMES)
    for weight, formula, given, correct, measured in found:
        assert f"{eval(formula.strip('`'), {}, values(EXAMPLE, START)):.9f}" == given
        assert f"{gradients(START)[weight]:.9f}" == correct
        assert f"{differences[weight]:.9f}" == measured
        assert abs(float(given) - float(measured)) > 1e-3


def test_the_learning_rates_are_those_of_the_command():
    for rate, *shown, reached in rows("rate"):
        curve = rate_curve(WEIGHTS, EXAMPLE, float(rate), 1_000, 0.01)

        assert shown == [f"{curve.losses[updates]:.6g}" for updates in (1, 10, 100, 1_000)]
        assert reached == f"{curve.reached_after:,}"


def test_every_derivative_of_the_code_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")

    missing = [name for name in BACKWARD if name.startswith("dE_") and name not in text]
    # Its twin for o2 is said once, in words.
    assert missing == ["dE_da_o2"]


@pytest.mark.parametrize(
    ("rate", "updates", "loss"),
    [(63.09573444801933, 1_000, "6.5e-09"), (89.12509381337455, 1, "3.3e-05"), (1e6, 9, "0.24")],
)
def test_the_figures_beyond_the_documents_are_right(rate: float, updates: int, loss: str):
    assert f"{losses(WEIGHTS, EXAMPLE, rate, updates)[-1]:.2g}" == loss


def test_the_page_names_no_file_that_is_not_there():
    names = set(re.findall(r"`((?:harness|tests|docs)/[\w/]+\.\w+)`", PAGE.read_text(encoding="utf-8")))

    assert names
    assert [name for name in names if not (PAGE.parent.parent / name).exists()] == []
