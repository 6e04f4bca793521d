"""What people see in a terminal and type there: lines, tables and colours by rich, durations such as 1h30m.

Lines are plain where the output is no terminal. NO_COLOR and FORCE_COLOR are honoured by rich itself.
"""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from numbers import Integral, Real
from typing import Any

import click

# A hundred years; what is longer is a slip, and infinity is no number of seconds.
_LONGEST = 100 * 365 * 24 * 3600
_UNITS = ("h(?:ours?|r)?", "m(?:in(?:utes?)?)?", "s(?:ec(?:onds?)?)?")
_FORM = re.compile(" ?".join(rf"(?:(\d+(?:\.\d+)?) ?{unit})?" for unit in _UNITS))

# A pipe has no width: lines are for programs there, and none is cut or folded.
_PIPE_WIDTH = 400


def console(*, stderr: bool = False) -> Any:
    """Return rich's console on stdout or stderr, as wide as the terminal, or as long lines need in a pipe."""
    from rich.console import Console

    # A program without a console, such as a server's, has no streams.
    stream = (sys.stderr if stderr else sys.stdout) or io.StringIO()
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def say(message: str, kind: str = "") -> None:
    """Print a line on stderr, wrapped at words on a terminal: a note, or an ``error``, ``warning`` or ``hint``."""
    where = console(stderr=True)
    line = f"{kind}: {message}" if kind else message
    if not where.is_terminal:
        write(line, err=True)
        return
    from rich.text import Text

    text = Text(printable(line))
    text.stylize({"error": "red", "warning": "yellow", "hint": "cyan"}.get(kind, ""), 0, len(kind) + 1 if kind else 0)
    where.print(text)


def write(text: str, *, err: bool = False) -> None:
    """Print lines on stdout or stderr; a character that could steer a terminal becomes a question mark.

    It flushes, so that an output that takes nothing is noticed.
    """
    click.echo("\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n")), err=err)


@cache
def say_once(message: str, kind: str = "") -> None:
    """Do as ``say``, the first time that this process has something to say."""
    say(message, kind)


def show_table(
    where: Any,
    rows: Sequence[Sequence[str]],
    styles: Sequence[str | Sequence[str]],
    titles: Sequence[tuple[str, bool]] = (),
) -> None:
    """Print cells in columns, below titles where there are any; what could steer a terminal becomes a question mark.

    Args:
        styles: one a row, or one a cell, as rich names them.
        titles: and whether a column has numbers, which stand on the right; texts are folded on a narrow terminal.
            Without titles only the last column is.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=bool(titles))
    for title, numeric in titles or [("", False)] * len(rows[0]):
        table.add_column(title, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    if not titles:
        for column in table.columns[:-1]:
            column.no_wrap = True
            column.overflow = "ellipsis"
    for row, style in zip(rows, styles, strict=True):
        looks = [style] * len(row) if isinstance(style, str) else style
        table.add_row(*(Text(printable(cell), style=look) for cell, look in zip(row, looks, strict=True)))
    if where.is_terminal:
        where.print(table)
        return
    with where.capture() as captured:
        where.print(table)
    # By click, which flushes: a full disk, or a reader that has gone, is then met where it is handled.
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), file=where.file)


@contextmanager
def busy(words: str) -> Iterator[None]:
    """Show on stderr that something goes on, where it is a terminal."""
    where = console(stderr=True)
    if not where.is_terminal or where.is_dumb_terminal:
        yield
        return
    with where.status(words):
        yield


def counted(number: int, noun: str) -> str:
    """Return a number and a noun that has a plain plural: ``1 worker``, ``1,200 workers``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines, their cells at the right of columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def printable(text: str) -> str:
    """Return a text without what could steer a terminal."""
    return "".join(mark if mark.isprintable() else "?" for mark in text)


def text_of(value: Any, between: str = "") -> str:
    """Return how a value of Python is typed as an option, so that one rule reads what comes from either side.

    A number of NumPy is what it shows: 99.4, not the 99.4000015 of its 32 bits.

    Args:
        between: what stands between the members of a collection, where one is allowed; a mapping is of upper limits.
    """
    if between and isinstance(value, Mapping):
        return between.join(f"{name}<={text_of(most)}" for name, most in value.items())
    if between and hasattr(value, "tolist") and getattr(value, "ndim", None) != 0:
        value = value.tolist()
    if between and isinstance(value, list | tuple | range | set | frozenset):
        return between.join(map(text_of, value))
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{float(str(value) if hasattr(value, 'dtype') else value):.12g}"
    return str(value)


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """The type of an option whose value a function makes of a text; its ValueError says what is wrong with that.

    Args:
        between: what stands between the members of a collection, where one is allowed.
        unit: what a number of Python is a number of, as it is typed behind it.
    """

    def __init__(self, name: str, parse: Callable[[str], Any], *, between: str = "", unit: str = "") -> None:
        self.name = name
        self._parse = parse
        self._between = between
        self._unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value of a text, or of what is no text as `text_of` writes it; so it may be one of this type."""
        try:
            text = value if isinstance(value, str) else text_of(value, self._between)
            is_number = not isinstance(value, str | bool) and re.fullmatch(r"\d+(\.\d+)?", text)
            return self._parse(text + self._unit if is_number else text)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _duration_seconds(text: str) -> float:
    match = _FORM.fullmatch(text)
    seconds = (
        sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    )
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"{text!r} is not a duration above zero and below a hundred years, such as 90s, 45m or 1h30m")
    return seconds


DURATION = Parsed("duration", _duration_seconds, unit="s")


def duration_text(seconds: float) -> str:
    """Return seconds in the largest two units: 1 h 30 min, 45 min 10 s."""
    minutes, left = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def duration_option(seconds: float) -> str:
    """Return seconds as an option takes them, in whole ones and no fewer: 1h30m, 91s."""
    minutes, left = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{number}{unit}" for unit, number in (("h", hours), ("m", minutes), ("s", left)) if number) or "0s"
