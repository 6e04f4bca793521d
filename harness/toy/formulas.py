"""Each quantity of the toy network as a formula in the documents' names: one text for the table, workbook and page.

The arithmetic itself is in ``harness.toy.backprop``; a test evaluates every formula and compares.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from harness.toy.backprop import Example, Step, Weights

FORWARD = {
    "h1": "w1 * i1 + w2 * i2",
    "h2": "w3 * i1 + w4 * i2",
    "a_h1": "1 / (1 + exp(-h1))",
    "a_h2": "1 / (1 + exp(-h2))",
    "o1": "w5 * a_h1 + w6 * a_h2",
    "o2": "w7 * a_h1 + w8 * a_h2",
    "a_o1": "1 / (1 + exp(-o1))",
    "a_o2": "1 / (1 + exp(-o2))",
    "E1": "1/2 * (t1 - a_o1) * (t1 - a_o1)",
    "E2": "1/2 * (t2 - a_o2) * (t2 - a_o2)",
    "E_total": "E1 + E2",
}
BACKWARD = {
    "dE_da_o1": "a_o1 - t1",
    "dE_da_o2": "a_o2 - t2",
    "da_o1_do1": "a_o1 * (1 - a_o1)",
    "da_o2_do2": "a_o2 * (1 - a_o2)",
    "dE_do1": "dE_da_o1 * da_o1_do1",
    "dE_do2": "dE_da_o2 * da_o2_do2",
    "dE_dw5": "dE_do1 * a_h1",
    "dE_dw6": "dE_do1 * a_h2",
    "dE_dw7": "dE_do2 * a_h1",
    "dE_dw8": "dE_do2 * a_h2",
    "dE_da_h1": "dE_do1 * w5 + dE_do2 * w7",
    "dE_da_h2": "dE_do1 * w6 + dE_do2 * w8",
    "da_h1_dh1": "a_h1 * (1 - a_h1)",
    "da_h2_dh2": "a_h2 * (1 - a_h2)",
    "dE_dh1": "dE_da_h1 * da_h1_dh1",
    "dE_dh2": "dE_da_h2 * da_h2_dh2",
    "dE_dw1": "dE_dh1 * i1",
    "dE_dw2": "dE_dh1 * i2",
    "dE_dw3": "dE_dh2 * i1",
    "dE_dw4": "dE_dh2 * i2",
}
WEIGHT_NAMES = tuple(field.name for field in dataclasses.fields(Weights))
EXAMPLE_NAMES = tuple(field.name for field in dataclasses.fields(Example))
UPDATE = {name: f"{name} - learning_rate * dE_d{name}" for name in WEIGHT_NAMES}

_OUTPUT_1 = "(a_o1 - t1) * a_o1 * (1 - a_o1)"
_OUTPUT_2 = "(a_o2 - t2) * a_o2 * (1 - a_o2)"
_HIDDEN_1 = f"({_OUTPUT_1} * w5 + {_OUTPUT_2} * w7) * a_h1 * (1 - a_h1)"
_HIDDEN_2 = f"({_OUTPUT_1} * w6 + {_OUTPUT_2} * w8) * a_h2 * (1 - a_h2)"
# The chain of BACKWARD with everything but the activations put in, as the documents print it.
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

_NAME = re.compile(r"[A-Za-z_]\w*")


def values(example: Example, step: Step) -> dict[str, float]:
    """Return every quantity of one step by its name, in the order of computation."""
    parts = (example, step.weights, step.forward, step.backward)
    return {field.name: getattr(part, field.name) for part in parts for field in dataclasses.fields(part)}


def gradients(step: Step) -> dict[str, float]:
    """Return the eight partial derivatives of the loss by the name of their weight."""
    return {name: getattr(step.backward, f"dE_d{name}") for name in WEIGHT_NAMES}


def with_names(formula: str, names: Mapping[str, str]) -> str:
    """Return the formula with each name replaced; names that are not in ``names`` stay."""
    return _NAME.sub(lambda found: names.get(found.group(), found.group()), formula)


def with_numbers(formula: str, numbers: Mapping[str, float]) -> str:
    """Return the formula with the numbers put in, to five digits, negative ones in parentheses."""
    shown = {name: f"({number:.5g})" if number < 0 else f"{number:.5g}" for name, number in numbers.items()}
    return with_names(formula, shown)
