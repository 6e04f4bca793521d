"""Every method beside every other as a matrix of ratios, in place of a row a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.bench.scores import Pair
from reports.html.page import Column, Html, element, foreign, joined, numeric, table, text
from reports.numbers import decimal


@dataclass(frozen=True, slots=True)
class Cell:
    """One method beside another.

    Attributes:
        ratio: sizes of the row's method over those of the column's; below 1 the row's is better.
        differs: the difference holds among all pairs.
    """

    ratio: float
    differs: bool


def matrix(pairs: Sequence[Pair], names: Sequence[str], when: str) -> tuple[tuple[Cell | None, ...], ...]:
    """Return the cells of one score, a row and a column a method; None on the diagonal and for untested pairs."""
    found = {(pair.first, pair.second): Cell(pair.ratio, pair.differs) for pair in pairs if pair.when == when}
    for (first, second), cell in [*found.items()]:
        found[second, first] = Cell(1 / cell.ratio, cell.differs)
    return tuple(tuple(found.get((row, column)) for column in names) for row in names)


def draw(cells: Sequence[Sequence[Cell | None]], names: Sequence[str], caption: str, identifier: str) -> Html:
    """Return the matrix as a table; cells of differences that hold have a tag."""
    rows = [[foreign(name), *map(_cell, line)] for name, line in zip(names, cells, strict=True)]
    columns = (Column("method"), *numeric(*names))
    return element("div", table(caption, columns, rows, identifier=identifier), class_="ratios")


def _cell(cell: Cell | None) -> Html:
    if cell is None:
        return text("\N{MIDDLE DOT}")
    words = text(decimal(cell.ratio, 2))
    if not cell.differs:
        return words
    better = cell.ratio < 1
    arrow = text("\N{DOWNWARDS ARROW}" if better else "\N{UPWARDS ARROW}")
    return element("span", joined([words, arrow], " "), class_=f"tag {'good' if better else 'bad'}")
