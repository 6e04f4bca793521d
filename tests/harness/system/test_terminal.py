"""Tables and facts: wide in a pipe, as wide as a terminal there, and nothing that steers one."""

from __future__ import annotations

import io
import re
import sys

import pytest

from harness.system.terminal import Column, console, counted, show_facts, show_grid, show_table

COLUMNS = (Column("network"), Column("learned", numeric=True), Column("recipe", spare=1))
ROWS = [["posed-1462", "1,462", "small"], ["plain-5102", "5,102", "fast"]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, width: int | None, *, colours: bool = False) -> io.StringIO:
    """Put a stream in the place of stdout: a terminal so wide, or a pipe where it is None."""
    stream = io.StringIO() if width is None else Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if colours:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", "1")
    return stream


def plain(text: str) -> str:
    """Return a text without looks."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_in_a_pipe_no_line_ends_in_blanks_and_none_is_folded(monkeypatch: pytest.MonkeyPatch):
    stream = shown(monkeypatch, None)
    show_table(console(), COLUMNS, ROWS)
    show_facts(console(), {"space": "word " * 60, "time": "short"})

    lines = stream.getvalue().splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[1].split() == ROWS[0]
    assert len(lines) == 5


def test_facts_are_folded_beside_their_names(monkeypatch: pytest.MonkeyPatch):
    stream = shown(monkeypatch, 40)
    show_facts(console(), {"space": "word " * 12, "time": "short"})

    lines = [line.rstrip() for line in plain(stream.getvalue()).splitlines()]
    assert max(map(len, lines)) <= 40
    assert lines[0].startswith("space  word")
    assert lines[1].startswith("       word")
    assert lines[-1] == "time   short"


@pytest.mark.parametrize(("width", "titles"), [(80, ["network", "learned", "recipe"]), (22, ["network", "learned"])])
def test_spare_columns_give_way_in_a_narrow_terminal(width: int, titles: list[str], monkeypatch: pytest.MonkeyPatch):
    stream = shown(monkeypatch, width)
    show_table(console(), COLUMNS, ROWS)

    assert plain(stream.getvalue()).splitlines()[0].split() == titles


def test_no_colour_is_used_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch):
    found = []
    for colours in (False, True):
        stream = shown(monkeypatch, 40, colours=colours)
        show_grid(console(), [["ok", "fine"]], [["green", ""]])
        found.append("\x1b[32m" in stream.getvalue())

    assert found == [False, True]


def test_what_could_steer_a_terminal_is_a_question_mark(monkeypatch: pytest.MonkeyPatch):
    stream = shown(monkeypatch, None)
    show_facts(console(), {"name": "a\x1b[2Jb"})

    assert stream.getvalue() == "name  a?[2Jb\n"


def test_columns_stay_straight_where_the_encoding_lacks_a_sign(monkeypatch: pytest.MonkeyPatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    show_table(console(), (Column("accuracy"), Column("tier")), [["99.4 \N{PLUS-MINUS SIGN} 0.1", "a"], ["\xe9", "b"]])

    stream.seek(0)
    assert stream.read().splitlines() == ["accuracy     tier", "99.4 +- 0.1  a", "\\xe9         b"]


def test_one_is_no_plural():
    assert [counted(number, "worker") for number in (0, 1, 2, 1200)] == [
        "0 workers",
        "1 worker",
        "2 workers",
        "1,200 workers",
    ]
