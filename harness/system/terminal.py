"""Terminal output by rich, plain text if the stream is not a terminal; option values and durations such as 1h30m."""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from numbers import Integral, Real
from typing import Any, NamedTuple

import click

# Re-exported.
from harness.spaces.space_errors import counted as counted
from harness.spaces.space_errors import message_line
from harness.spaces.space_errors import printable as printable

_LONGEST = 100 * 365 * 24 * 3600  # seconds, longest duration (a hundred years)
_UNITS = ("h(?:ours?|r)?", "m(?:in(?:utes?)?)?", "s(?:ec(?:onds?)?)?")
# Durations such as "1h30m", "1.5 h" and "90 sec".
_DURATION_FORM = re.compile(" ?".join(rf"(?:(\d+(?:\.\d+)?) ?{unit})?" for unit in _UNITS))

_SILENT = ContextVar("silent", default=False)  # per thread
_PIPE_WIDTH = 400  # characters; programs read the output, so lines must not be cut or folded


def console(*, stderr: bool = False) -> Any:
    """Return a rich console on stdout or stderr."""
    from rich.console import Console

    # Both are None in a program without a console, such as a server.
    stream = (sys.stderr if stderr else sys.stdout) or io.StringIO()
    if stderr and is_silent():
        stream = io.StringIO()
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


@contextmanager
def silent() -> Iterator[None]:
    """Print nothing on stderr during the block, in this thread only."""
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


def is_silent() -> bool:
    """Return whether the block of ``silent`` is active in this thread."""
    return _SILENT.get()


def say(message: str, kind: str = "") -> None:
    """Print a message on stderr; ``kind`` is ``error``, ``warning``, ``hint`` or empty for a note."""
    output = console(stderr=True)
    line = message_line(f"{kind}: {message}" if kind else message)
    if not output.is_terminal:
        write(line, err=True)
        return
    from rich.text import Text

    text = Text(line)
    if kind:
        text.stylize({"error": "red", "warning": "yellow", "hint": "cyan"}[kind], 0, len(f"{kind}:"))
    output.print(text)


def write(text: str, *, err: bool = False) -> None:
    """Print lines, with question marks for non-printable characters except tabs, and flush."""
    lines = ["\t".join(map(printable, line.split("\t"))) for line in text.split("\n")]
    if not (err and is_silent()):
        click.echo("\n".join(lines), err=err)


@cache
def say_once(message: str, kind: str = "") -> None:
    """Same as ``say``, but print equal messages only once per process."""
    say(message, kind)


class Column(NamedTuple):
    """A column of a table; numeric columns are aligned to the right."""

    title: str
    is_numeric: bool = False


def show_table(
    output: Any, rows: Sequence[Sequence[str]], styles: Sequence[str | Sequence[str]], columns: Sequence[Column] = ()
) -> None:
    """Print a table on a rich console; non-printable characters are replaced by question marks.

    Args:
        styles: For each row the style of all cells, or a list of styles, as defined by rich.
        columns: Text columns are folded on a narrow terminal. By default there are no titles, and only the last column
            is folded.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=bool(columns))
    for title, is_numeric in columns or [Column("")] * len(rows[0]):
        table.add_column(title, justify="right" if is_numeric else "left", no_wrap=is_numeric, overflow="fold")
    if not columns:
        for column in table.columns[:-1]:
            column.no_wrap = True
            column.overflow = "ellipsis"
    for row, style in zip(rows, styles, strict=True):
        cell_styles = [style] * len(row) if isinstance(style, str) else style
        cells = [Text(printable(cell), style=cell_style) for cell, cell_style in zip(row, cell_styles, strict=True)]
        table.add_row(*cells)
    if output.is_terminal:
        output.print(table)
        return
    with output.capture() as capture:
        output.print(table)
    # A full disk or a closed pipe raises here.
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()), file=output.file)


@contextmanager
def busy(words: str) -> Iterator[None]:
    """Show a spinner with ``words`` on stderr during the block, if stderr is a terminal."""
    output = console(stderr=True)
    if not output.is_terminal or output.is_dumb_terminal:
        yield
        return
    with output.status(words):
        yield


def aligned(rows: Sequence[Sequence[str]], marks: str = ">") -> list[str]:
    """Return the rows of a table as lines; ``marks`` (``<``, ``>``) align the columns, the last mark also the rest."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    formats = [f"{mark}{width}" for mark, width in zip(marks.ljust(len(widths), marks[-1]), widths, strict=True)]
    return ["  ".join(map(format, row, formats)) for row in rows]


def text_of(value: Any, between: str = "") -> str:
    """Return a number, text, collection or mapping as the text of an option.

    A NumPy number is converted from the displayed digits: 99.4, not 99.4000015 for a float32.

    Args:
        between: Separator of the members; empty if no collection is allowed. The values of a mapping are upper limits,
            written ``name<=value``.
    """
    if between and isinstance(value, Mapping):
        return between.join(f"{name}<={text_of(most)}" for name, most in value.items())
    if between and hasattr(value, "tolist") and getattr(value, "ndim", None) != 0:
        value = value.tolist()
    if between and isinstance(value, list | tuple | range | set | frozenset):
        return between.join(map(text_of, value))
    if isinstance(value, Real) and not isinstance(value, Integral):
        number = float(str(value)) if hasattr(value, "dtype") else float(value)
        return f"{number:.12g}"
    return str(value)


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """Option type whose values are parsed from a text by a function.

    Args:
        parse: Returns the value of a text, or raises ValueError with the message to show.
        between: Separator of the members; empty if no collection is allowed.
        unit: Unit appended to a number of Python, such as ``s`` for seconds.
    """

    def __init__(self, name: str, parse: Callable[[str], Any], *, between: str = "", unit: str = "") -> None:
        self.name = name
        self._parse = parse
        self.between = between
        self._unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value of a text, or of the `text_of` a value of Python."""
        try:
            if isinstance(value, str):
                return self._parse(value)
            text = text_of(value, self.between)
            if not isinstance(value, bool) and re.fullmatch(r"\d+(\.\d+)?", text):
                text += self._unit
            return self._parse(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _duration_seconds(text: str) -> float:
    seconds = 0.0
    match = _DURATION_FORM.fullmatch(text)
    if match is not None:
        hours, minutes, last = map(float, match.groups("0"))
        seconds = hours * 3600 + minutes * 60 + last
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"{text!r} is not a duration above zero and below a hundred years, such as 90s, 45m or 1h30m")
    return seconds


DURATION = Parsed("duration", _duration_seconds, unit="s")  # value in seconds


def duration_text(seconds: float) -> str:
    """Return a duration in the two largest units: 1 h 30 min, 45 min 10 s."""
    minutes, remainder = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {remainder} s" if minutes else f"{remainder} s"


def duration_option(seconds: float) -> str:
    """Return a duration as an option value, rounded up to whole seconds: 1h30m, 1m31s."""
    minutes, remainder = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (remainder, "s")) if number]
    return "".join(parts) or "0s"
