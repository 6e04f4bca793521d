r"""A toy network with backpropagation written by hand: two inputs, two hidden and two output units, eight weights.

    i1 --w1--> h1 -> a_h1 --w5--> o1 -> a_o1 -> E1 \
    i2 --w2--> h1    a_h2 --w6--> o1                E_total
    i1 --w3--> h2 -> a_h2 --w8--> o2 -> a_o2 -> E2 /
    i2 --w4--> h2    a_h1 --w7--> o2

All units are sigmoids without biases. The loss is half the squared error of a single example. Names follow the five
documents from which this project started: ``h1`` is the input of a unit, ``a_h1`` the output, and ``dE_dw1`` the
partial derivative of ``E_total`` with respect to ``w1``. docs/evidence/backprop.md derives each line. The module uses
neither torch nor NumPy, so that every computation is visible.

    >>> round(forward_and_backward(START)["E_total"], 9)
    0.242519857
    >>> [round(loss, 6) for loss in losses(START, learning_rate=2.0, updates=2)]
    [0.24252, 0.214902, 0.189879]
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice

# Inputs ``i1``, ``i2`` and targets ``t1``, ``t2``; these and ``WEIGHTS`` are the start of all five source documents.
EXAMPLE = {"i1": 0.05, "i2": 0.10, "t1": 0.01, "t2": 0.99}
WEIGHTS = {"w1": 0.15, "w2": 0.20, "w3": 0.25, "w4": 0.30, "w5": 0.40, "w6": 0.45, "w7": 0.50, "w8": 0.55}
START = EXAMPLE | WEIGHTS
LEARNING_RATES = (0.1, 0.2, 0.5, 0.8, 1.0, 2.0)  # of the source documents


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)), computed without overflow."""
    if x < 0:
        grown = math.exp(x)
        return grown / (1 + grown)
    return 1 / (1 + math.exp(-x))


def forward_and_backward(start: Mapping[str, float]) -> dict[str, float]:
    """Return the inputs and all quantities of a forward and a backward pass, in order of computation.

    ``_formulas`` shows the right-hand sides to users, and ``locals()`` collects the values: each local name is a
    quantity, and the spelling of each line matters.
    """
    i1, i2, t1, t2 = (start[name] for name in EXAMPLE)
    w1, w2, w3, w4, w5, w6, w7, w8 = (start[name] for name in WEIGHTS)
    h1 = w1 * i1 + w2 * i2
    h2 = w3 * i1 + w4 * i2
    a_h1 = sigmoid(h1)
    a_h2 = sigmoid(h2)
    o1 = w5 * a_h1 + w6 * a_h2
    o2 = w7 * a_h1 + w8 * a_h2
    a_o1 = sigmoid(o1)
    a_o2 = sigmoid(o2)
    E1 = 1 / 2 * (t1 - a_o1) * (t1 - a_o1)
    E2 = 1 / 2 * (t2 - a_o2) * (t2 - a_o2)
    E_total = E1 + E2
    # Backward pass from the loss to the inputs; each line applies the chain rule once.
    # E1 = 1/2 (t1 - a_o1)^2: the 2 of the square cancels the 1/2, the inner derivative is -1. E2 does not depend on
    # a_o1.
    dE_da_o1 = a_o1 - t1
    dE_da_o2 = a_o2 - t2
    # Derivative of the sigmoid as a function of the output: a' = a (1 - a).
    da_o1_do1 = a_o1 * (1 - a_o1)
    da_o2_do2 = a_o2 * (1 - a_o2)
    # dE/do1 = dE/da_o1 * da_o1/do1
    dE_do1 = dE_da_o1 * da_o1_do1
    dE_do2 = dE_da_o2 * da_o2_do2
    # dE/dw5 = dE/do1 * do1/dw5, and o1 = w5 a_h1 + w6 a_h2, so do1/dw5 is a_h1, not h1.
    dE_dw5 = dE_do1 * a_h1
    dE_dw6 = dE_do1 * a_h2
    dE_dw7 = dE_do2 * a_h1
    dE_dw8 = dE_do2 * a_h2
    # a_h1 affects the loss through o1 (weight w5) and through o2 (weight w7): the two derivatives add up.
    dE_da_h1 = dE_do1 * w5 + dE_do2 * w7
    dE_da_h2 = dE_do1 * w6 + dE_do2 * w8
    da_h1_dh1 = a_h1 * (1 - a_h1)
    da_h2_dh2 = a_h2 * (1 - a_h2)
    # dE/dh1 = dE/da_h1 * da_h1/dh1: the derivative of the sigmoid multiplies the whole sum.
    dE_dh1 = dE_da_h1 * da_h1_dh1
    dE_dh2 = dE_da_h2 * da_h2_dh2
    # h1 = w1 i1 + w2 i2, so dh1/dw1 is i1.
    dE_dw1 = dE_dh1 * i1
    dE_dw2 = dE_dh1 * i2
    dE_dw3 = dE_dh2 * i1
    dE_dw4 = dE_dh2 * i2
    quantities = dict(locals())
    del quantities["start"]
    return quantities


def update(quantities: Mapping[str, float], learning_rate: float) -> dict[str, float]:
    """Return the start values after a step of gradient descent; all weights change at the same time."""
    new_weights = {name: quantities[name] - learning_rate * quantities[f"dE_d{name}"] for name in WEIGHTS}
    return {name: new_weights.get(name, quantities[name]) for name in START}


def train(start: Mapping[str, float], learning_rate: float) -> Iterator[dict[str, float]]:
    """Yield the result of ``forward_and_backward`` before the first update and after each update, endlessly."""
    while True:
        quantities = forward_and_backward(start)
        yield quantities
        start = update(quantities, learning_rate)


def losses(start: Mapping[str, float], learning_rate: float, updates: int) -> list[float]:
    """Return ``E_total`` before the first update and after each update: ``updates`` + 1 numbers."""
    return [quantities["E_total"] for quantities in islice(train(start, learning_rate), updates + 1)]


def gradients(quantities: Mapping[str, float]) -> dict[str, float]:
    """Return the eight partial derivatives of the loss, by name of the weight."""
    return {name: quantities[f"dE_d{name}"] for name in WEIGHTS}


def with_names(formula: str, names: Mapping[str, str]) -> str:
    """Return the formula with each name replaced; names missing in ``names`` are kept."""
    return re.sub(r"[A-Za-z_]\w*", lambda match: names.get(match.group(), match.group()), formula)


def with_numbers(formula: str, numbers: Mapping[str, float]) -> str:
    """Return the formula with numbers in place of names, to five digits, negative numbers in parentheses."""
    texts = {name: f"({number:.5g})" if number < 0 else f"{number:.5g}" for name, number in numbers.items()}
    return with_names(formula, texts)


def _formulas() -> dict[str, str]:
    """Return the formula of each quantity in mathematical notation, from the source of ``forward_and_backward``."""
    tree = ast.parse(inspect.getsource(forward_and_backward))
    lines = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    # Without the two lines that unpack the start values.
    formulas = {line.targets[0].id: ast.unparse(line.value) for line in lines if isinstance(line.targets[0], ast.Name)}
    del formulas["quantities"]
    return {
        name: re.sub(r"sigmoid\((\w+)\)", r"1 / (1 + exp(-\1))", formula).replace("1 / 2 *", "1/2 *")
        for name, formula in formulas.items()
    }


# The command, the workbook and the page show these formulas, which are extracted from the code that computes.
_ALL = _formulas()
FORWARD = {name: formula for name, formula in _ALL.items() if not name.startswith("d")}
BACKWARD = {name: formula for name, formula in _ALL.items() if name.startswith("d")}
UPDATE = {name: f"{name} - learning_rate * dE_d{name}" for name in WEIGHTS}

_OUTPUT_1 = "(a_o1 - t1) * a_o1 * (1 - a_o1)"
_OUTPUT_2 = "(a_o2 - t2) * a_o2 * (1 - a_o2)"
_HIDDEN_1 = f"({_OUTPUT_1} * w5 + {_OUTPUT_2} * w7) * a_h1 * (1 - a_h1)"
_HIDDEN_2 = f"({_OUTPUT_1} * w6 + {_OUTPUT_2} * w8) * a_h2 * (1 - a_h2)"
# The formulas of BACKWARD with all intermediate derivatives substituted: derivative of the unit times its input.
GRADIENTS = {
    "w1": f"{_HIDDEN_1} * i1",
    "w2": f"{_HIDDEN_1} * i2",
    "w3": f"{_HIDDEN_2} * i1",
    "w4": f"{_HIDDEN_2} * i2",
    "w5": f"{_OUTPUT_1} * a_h1",
    "w6": f"{_OUTPUT_1} * a_h2",
    "w7": f"{_OUTPUT_2} * a_h1",
    "w8": f"{_OUTPUT_2} * a_h2",
}
