"""The toy's row of the report: a table of its own, because it solves another task than the networks beside it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.toy.backprop import EXAMPLE, LEARNING_RATES, PARAMETERS, WEIGHTS, losses
from reports.html.numbers import count, short
from reports.html.page import Column, Html, element, joined, numeric, paragraph, table, text

UPDATES = 1_000
_COLUMNS = (
    Column("network"),
    *numeric("parameters", "learning rate", "loss at the start", f"loss after {UPDATES:,} updates"),
)


@dataclass(frozen=True, slots=True)
class ToyRow:
    """The toy at the learning rate that its documents do best with."""

    parameters: int
    learning_rate: float
    first_loss: float
    last_loss: float


def toy_row() -> ToyRow:
    """Return the row; it is computed anew, which takes some milliseconds."""
    curves = {rate: losses(WEIGHTS, EXAMPLE, rate, UPDATES) for rate in LEARNING_RATES}
    best = min(curves, key=lambda rate: curves[rate][-1])
    return ToyRow(PARAMETERS, best, curves[best][0], curves[best][-1])


def toy_table(row: ToyRow) -> Html:
    """Return the table with a sentence on what it is."""
    words = paragraph(
        "Two inputs, two sigmoid hidden units, two sigmoid outputs, one example: the network on which the source "
        "documents explain backpropagation. It sees no image, so it has no accuracy and no rank. harness toy --out toy "
        "writes a page, a workbook and figures of it."
    )
    cells = [
        element("code", text("toy")),
        text(count(row.parameters)),
        text(row.learning_rate),
        text(short(row.first_loss)),
        text(short(row.last_loss)),
    ]
    caption = "The smallest model of the bench, at the best of the documents' learning rates"
    return joined([words, table(caption, _COLUMNS, [cells], identifier="toy-caption")])
