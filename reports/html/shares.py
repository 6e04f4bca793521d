"""A table of parts of a whole, each with a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.html.page import Column, Html, element, foreign, numeric, paragraph, table, text
from reports.numbers import count, pct


@dataclass(frozen=True, slots=True)
class Share:
    """A part: how often it came, or how much it is.

    Attributes:
        shown: the amount in words; empty for the count itself.
    """

    name: str
    count: float
    shown: str = ""


def shares_table(
    caption: str,
    name: str,
    amount: str,
    shares: Sequence[Share],
    identifier: str,
    row_identifiers: Sequence[str] = (),
) -> Html:
    """Return the table; ``name`` and ``amount`` are the titles of its first columns."""
    total = sum(share.count for share in shares)
    if not total:
        return paragraph(f"{caption}: none.")
    largest = max(share.count for share in shares)
    rows = [
        [
            foreign(share.name),
            text(share.shown or count(share.count)),
            text(pct(100 * share.count / total, 1)),
            bar(share.count / largest),
        ]
        for share in shares
    ]
    columns = (Column(name), *numeric(amount, "share"), Column("of the largest"))
    return table(caption, columns, rows, identifier=identifier, row_identifiers=row_identifiers)


def bar(length: float) -> Html:
    """Return a bar, ``length`` from 0 to 1."""
    inside = element("rect", width=max(round(100 * length, 1), 0.5), height=10, class_="share-bar")
    image = element("svg", inside, viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")
    return element("div", image, class_="share")
