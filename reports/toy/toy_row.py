"""The toy's row of the report: a table of its own, because it solves another task than the networks beside it."""

from __future__ import annotations

from harness.toy.backprop import PARAMETERS
from reports.html.page import Column, Html, element, joined, numeric, paragraph, table, text
from reports.numbers import count, short
from reports.toy.toy_curves import UPDATES, references

_COLUMNS = (
    Column("network"),
    *numeric("parameters", "learning rate", "loss at the start", f"loss after {UPDATES:,} updates"),
)


def toy_table() -> Html:
    """Return the table with a sentence on what it is; it is computed anew, which takes some milliseconds."""
    words = paragraph(
        "Two inputs, two sigmoid hidden units, two sigmoid outputs, one example: the network on which the source "
        "documents explain backpropagation. It sees no image, so it has no accuracy and no rank. harness toy --out toy "
        "writes a page, a workbook and figures of it."
    )
    curves = references()
    best = min(curves, key=lambda rate: curves[rate][-1])
    cells = [
        element("code", text("toy")),
        text(count(PARAMETERS)),
        text(best),
        text(short(curves[best][0])),
        text(short(curves[best][-1])),
    ]
    caption = "The smallest model of the bench, at the best of the documents' learning rates"
    return joined([words, table(caption, _COLUMNS, [cells], identifier="toy-caption")])
