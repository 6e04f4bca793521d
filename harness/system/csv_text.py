"""Rows as CSV that a spreadsheet opens safely: raw numbers in their shortest exact form, no text that is a formula."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

# A spreadsheet takes a text that begins so for a formula. An apostrophe makes it text again; so that it can be taken
# off without doubt, texts that begin with one get another.
_GUARDED = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a head and its rows; None is an empty cell."""
    lines = [[*columns], *([_cell(value) for value in row] for row in rows)]
    return "".join(",".join(map(_quoted, line)) + "\n" for line in lines)


def unguarded(cell: str) -> str:
    """Return a text as it was before it was guarded."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_GUARDED) else cell


def finite(cell: str) -> float:
    """Return the number of a cell.

    Raises:
        ValueError: it holds none, or one that is not finite.
    """
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(f"{cell!r} is not a finite number")
    return number


def _quoted(cell: str) -> str:
    # Not csv.writer: it leaves a carriage return bare, at which csv.reader then ends the row.
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str) and value.startswith(_GUARDED):
        return "'" + value
    return str(value)
