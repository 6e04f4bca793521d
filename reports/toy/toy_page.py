"""``toy.html``: one offline page on which a person trains the toy and sees every number of it.

What the page shows before the script has run, Python has computed; the script does the same arithmetic again at each
step, and tests compare the two in a browser.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from harness.toy.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, train
from harness.toy.formulas import BACKWARD, EXAMPLE_NAMES, FORWARD, UPDATE, WEIGHT_NAMES, values, with_numbers
from reports.html.page import Column, Html, data_block, document, element, joined, paragraph, resource, table, text
from reports.numbers import count, short
from reports.toy import toy_curves, toy_network

FIRST_RATE = 0.5
# The documents' numbers, also for the script.
_START = dataclasses.asdict(EXAMPLE) | dataclasses.asdict(WEIGHTS)
_COLUMNS = (Column("quantity"), Column("formula"), Column("with the numbers put in"), Column("value", numeric=True))


def contents() -> dict[str, bytes]:
    """Return the file by its name."""
    return {"toy.html": render().encode()}


def render() -> str:
    """Return the page."""
    numbers = values(EXAMPLE, next(train(WEIGHTS, EXAMPLE, FIRST_RATE))) | {"learning_rate": FIRST_RATE}
    main = element("main", joined(_parts(numbers)), id="content", tabindex=-1)
    start = data_block("numbers", _START)
    scripts = [resource("toy/toy.js")]
    return document("Backpropagation on eight weights", resource("toy/toy.css"), "", scripts, main, start)


def _parts(numbers: Mapping[str, float]) -> list[Html]:
    curves = toy_curves.references()
    pictures = [toy_curves.draw(curves, logarithmic=logarithmic) for logarithmic in (False, True)]
    return [
        element("h1", text("Backpropagation on eight weights")),
        paragraph(
            "Two inputs, two sigmoid hidden units, two sigmoid outputs, no biases, one example, half the squared "
            "error. Choose a learning rate, step or run, and watch every number of the forward and the backward pass."
        ),
        element("noscript", paragraph("Without scripts the page shows the network before the first update.")),
        _controls(numbers["E_total"]),
        element("h2", text("The network"), id="network-heading"),
        toy_network.draw(numbers),
        element("h2", text("The loss")),
        element("div", joined(pictures), class_="pictures"),
        toy_curves.legend(curves),
        element("h2", text("Every number")),
        paragraph(
            "dE_dw1 is the partial derivative of E_total with respect to w1, and so on; h1 is the input of a "
            "unit, a_h1 its output."
        ),
        _table("Forward pass", "forward-caption", FORWARD, numbers),
        _table(
            "Backward pass: the chain rule, from the loss back to the inputs", "backward-caption", BACKWARD, numbers
        ),
        _table("The next update: all weights at once, each from its old value", "update-caption", UPDATE, numbers),
        element("h2", text("Begin with other numbers"), class_="others"),
        _other_numbers(),
    ]


def _controls(loss: float) -> Html:
    slider = element(
        "input",
        type="range",
        id="slider",
        min=-3,
        max=3,
        step="0.01",
        value="-0.3",
        aria_label="Learning rate, 0.001 to 1,000",
    )
    box = element("input", type="number", id="rate", step="any", value=FIRST_RATE, aria_describedby="remark")
    presets = [
        element("button", text(rate), type="button", data_rate=str(rate), aria_label=f"Learning rate {rate}")
        for rate in LEARNING_RATES
    ]
    actions = [
        element("button", text(words), type="button", id=name)
        for name, words in (("step", "Step"), ("ten", "10 steps"), ("run", "Run"), ("reset", "Reset"))
    ]
    return element(
        "div",
        element("div", element("label", text("Learning rate"), for_="rate"), box, slider, class_="row"),
        element(
            "div",
            element("span", joined(presets), role="group", aria_label="The documents' learning rates"),
            element("span", joined(actions), role="group", aria_label="Training"),
            class_="row",
        ),
        element(
            "p",
            text(f"Learning rate {FIRST_RATE}, before the first update: loss {short(loss)}."),
            id="status",
            role="status",
        ),
        element("p", id="remark", class_="note", aria_live="polite"),
        class_="controls",
        role="region",
        aria_label="Controls",
    )


def _table(caption: str, identifier: str, formulas: Mapping[str, str], numbers: Mapping[str, float]) -> Html:
    rows = [
        [
            element("code", text(name)),
            element("code", text(formula)),
            element("code", text(with_numbers(formula, numbers)), data_formula=formula),
            _value(name, numbers),
        ]
        for name, formula in formulas.items()
    ]
    return table(caption, _COLUMNS, rows, identifier=identifier)


def _value(name: str, numbers: Mapping[str, float]) -> Html:
    if name in UPDATE:  # The next weight has no name of its own.
        updated = numbers[name] - numbers["learning_rate"] * numbers[f"dE_d{name}"]
        return element("span", text(f"{updated:.9g}"), data_next=name, data_digits=9)
    return element("span", text(f"{numbers[name]:.9g}"), data_value=name, data_digits=9)


def _other_numbers() -> Html:
    boxes = [
        element(
            "label",
            text(f"{name} "),
            element("input", type="number", step="any", value=_START[name], data_start=name),
        )
        for name in (*EXAMPLE_NAMES, *WEIGHT_NAMES)
    ]
    back = element("button", text("The documents' numbers"), type="button", id="documents")
    note = paragraph(
        "A changed number starts the training again. The thin curves always show the documents' numbers, over "
        f"{count(toy_curves.UPDATES)} updates.",
        class_="note",
    )
    return element(
        "div", element("div", joined(boxes), class_="boxes"), element("div", back, class_="row"), note, class_="others"
    )
