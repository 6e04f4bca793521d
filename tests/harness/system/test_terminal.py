"""Tables, durations and control characters in terminal output."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.system.terminal import DURATION, Column, console, duration_option, duration_text, say, show_table, write

COLUMNS = (Column("network"), Column("learned", is_numeric=True), Column("recipe"))
ROWS = [["posed-1462", "1,462", "small"], ["plain-5102", "5,102", "fast"]]
FACTS = [["space", "word " * 60], ["time", "short"]]
STYLES = [["green", ""]] * 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(
    monkeypatch: pytest.MonkeyPatch, width: int | None, *, colours: bool = False, name: str = "stdout"
) -> io.StringIO:
    """Replace stdout or stderr by a terminal of this width, or by a pipe if the width is None."""
    stream = io.StringIO() if width is None else Terminal()
    monkeypatch.setattr(sys, name, stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if colours:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", "1")
    return stream


def test_pipe_output_has_no_trailing_blanks_folds_or_control_characters(monkeypatch: pytest.MonkeyPatch):
    stream = terminal(monkeypatch, None)
    show_table(console(), ROWS, ["", ""], COLUMNS)
    show_table(console(), FACTS, STYLES)
    show_table(console(), [["name", "a\x1b[2Jb"]], STYLES[:1])

    lines = stream.getvalue().splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[1].split() == ROWS[0]
    assert lines[-1] == "name  a?[2Jb"
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90s", 90.0), ("45m", 2700.0), ("1h30m15s", 5415.0), ("1h5s", 3605.0), ("1.5h", 5400.0), ("0h1s", 1.0)),
        *((90, 90), ("5 m", 300.0), ("5min", 300.0), ("3 minutes", 180.0), ("1 hour 2 min", 3720.0), ("90 sec", 90.0)),
    ],
)
def test_duration_is_sum_of_hours_minutes_and_seconds(text: str, seconds: float):
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("45", "", "m", "0s", "0h0m", "-5m", "30m1h", "1m1m", "1e3s", ".5m", "5.m", "nan", "inf", "1d"),
        *("876001h", "9" * 400 + "h"),
    ],
)
def test_invalid_duration_is_refused(text: str):
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (5415, "1 h 30 min")],
)
def test_duration_text_has_two_largest_units(seconds: float, text: str):
    assert duration_text(seconds) == text


@given(st.one_of(st.integers(1, 10**9), st.floats(1e-6, 1e6)))
def test_duration_option_is_read_as_seconds_rounded_up(seconds: float):
    assert DURATION.convert(duration_option(seconds), None, None) == math.ceil(seconds)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_output_has_no_control_characters(text: str):
    for output in (output_of(lambda: write(text)), output_of(lambda: say(text, "warning"))):
        assert all(mark.isprintable() or mark in "\n\t" for mark in output)
        # Line breaks, tabs and printable characters are unchanged.
        assert output.count("\n") == text.count("\n") + 1
        expected = "".join(mark if mark.isprintable() or mark in "\n\t" else "?" for mark in text)
        assert output.removeprefix("warning: ") == expected + "\n"


def output_of(action: Callable[[], None]) -> str:
    """Return the output of an action on stdout and stderr."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        action()
    return out.getvalue()
