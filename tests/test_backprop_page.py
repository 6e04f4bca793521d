"""The figures of docs/backprop.md, each worked out again."""

from __future__ import annotations

import math
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from harness.toy.backprop import EXAMPLE, WEIGHTS, losses, train
from harness.toy.formulas import BACKWARD, FORWARD, WEIGHT_NAMES, gradients, values
from harness.toy.gradient_check import central_differences
from harness.toy.rate_curve import rate_curve

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "backprop.md"
START = next(train(WEIGHTS, EXAMPLE, 0.0))
WIDTH = 1e-5


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose head begins with these words."""
    text = PAGE.read_text(encoding="utf-8")
    block = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block]


def misprinted(name: str, formula: str, **moved: float) -> dict[str, Any]:
    """Every quantity of the network in which one name has another formula, at weights some of which are moved."""
    known: dict[str, Any] = values(EXAMPLE, START) | moved | {"exp": math.exp}
    if name not in FORWARD:
        known[name] = float(formula)
    for quantity, right in FORWARD.items():
        known[quantity] = eval(formula if quantity == name else right, {}, known)
    for quantity, right in BACKWARD.items():
        known[quantity] = eval(right, {}, known)
    return known


def test_a_misprinted_network_has_another_loss_and_agrees_with_its_own_derivative():
    found = rows("misprinted")

    assert [name for name, *_ in found] == ["`h1`", "`t2`"]
    for name, formula, loss, weight, derivative, given, measured in found:
        changed = (name.strip("`"), formula.strip("`"))
        known = misprinted(*changed)
        up, down = (misprinted(*changed, **{weight: known[weight] + step})["E_total"] for step in (WIDTH, -WIDTH))

        assert f"{known['E_total']:.6g}" == loss
        assert abs(float(loss) - START.forward.E_total) > 1e-3
        assert f"{eval(derivative.strip('`'), {}, known):.6f}" == given
        assert f"{(up - down) / (2 * WIDTH):.6f}" == measured == given


def test_every_misprinted_derivative_gives_its_number_and_central_differences_another():
    found = rows("weight | as misprinted")
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


def test_the_large_learning_rates_give_what_is_said():
    found = rows("large rate")

    assert [rate for rate, *_ in found] == ["63.1", "67.6", "89", "95", "100", "120", "200", "1000", "1000000"]
    for rate, *shown in found:
        steps = [step.forward for step in islice(train(WEIGHTS, EXAMPLE, float(rate)), 1_001)]
        figures = (steps[1].a_o1, steps[1].a_o2, steps[1].E_total, steps[-1].E_total)
        assert shown == [f"{figure:.3g}" for figure in figures]


@pytest.mark.parametrize("name", BACKWARD)
def test_every_derivative_of_the_code_is_on_the_page(name: str):
    assert re.search(rf"^ .*\b{name} += ", PAGE.read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize(
    ("rate", "updates", "loss", "words"),
    [
        (63.09573444801933, 1_000, "6.5e-09", "63.1 (loss 6.5e-9)"),
        (67.6, 1_000, "4.2e-09", "67.6 is better still (4.2e-9)"),
        (89.12509381337455, 1, "3.3e-05", "89.1 (3.3e-5)"),
    ],
)
def test_the_best_rates_are_right(rate: float, updates: int, loss: str, words: str):
    assert f"{losses(WEIGHTS, EXAMPLE, rate, updates)[-1]:.2g}" == loss
    assert words in PAGE.read_text(encoding="utf-8")


def test_the_page_names_no_file_that_is_not_there():
    names = set(re.findall(r"`((?:harness|tests|docs)/[\w/]+\.\w+)`", PAGE.read_text(encoding="utf-8")))

    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_the_page_and_the_files_of_the_toy_are_found_from_the_top():
    readme, architecture = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "ARCHITECTURE.md"))

    assert "(docs/backprop.md)" in readme
    assert "docs/backprop.md" in architecture
    for path in [*ROOT.glob("reports/toy/toy*"), ROOT / "benchmarks" / "toy_update.py"]:
        assert f"`{path.name}`" in architecture
