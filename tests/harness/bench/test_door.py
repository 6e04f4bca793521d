"""Python entry points of others: found by name, asked in time, and blamed in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bench import door
from harness.bench.door import Limits, MethodError
from harness.bench.method import EntryPoint
from harness.bench.readings import TableReadings
from harness.bench.replay import replay
from harness.errors import UsageError
from tests.harness.bench import made_up_table

TABLE = made_up_table.table(made_up_table.TINY)
READINGS = TableReadings(TABLE)
ROOT = Path(__file__).resolve().parents[3]
Install = Callable[[str], EntryPoint]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a module with an entry point, as pip would leave it."""

    def made(source: str) -> EntryPoint:
        (tmp_path / "theirs_module.py").write_text(source)
        info = tmp_path / "theirs-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[harness.bench]\ntheirs = theirs_module:begin\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "theirs_module", raising=False)
        return EntryPoint(name="theirs")

    return made


def run(method: EntryPoint, limit: float = 5.0):
    task = made_up_table.task(TABLE, seconds=30.0, workers=1, target_pct=97.0)
    return replay(method, task, READINGS, 0, 2, Limits(limit))


def test_the_example_of_a_dozen_lines_is_found_and_plays_along(install: Install):
    method = install((ROOT / "benchmarks" / "methods" / "downwards.py").read_text(encoding="utf-8"))

    assert "theirs" in door.names()
    assert run(method).networks > 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return lambda tried: 1 / 0", "question 1: raised ZeroDivisionError: division by zero"),
        ("return lambda tried: tried[0]", "question 1: raised IndexError: tuple index out of range"),
        ("return lambda tried: None", "question 1: answered NoneType, but the text of a network is wanted"),
        ("return 'conv3x3(4)'", "the beginning: returned str to its brief"),
        ("raise SystemExit(3)", "the beginning: raised SystemExit: 3"),
        ("\n    while True: pass", "the beginning: gave no answer in 0.3 s"),
        (
            "\n    def ask(tried):\n        while True:\n            try:\n                import time; time.sleep(9)\n"
            "            except Exception: pass\n    return ask",
            "question 1: gave no answer in 0.3 s",
        ),
        ("return lambda tried: 'gap linear(10)'", "question 1: answered 'gap linear(10)', which the space"),
    ],
)
def test_an_entry_point_that_misbehaves_ends_in_one_line_that_says_how(install: Install, body: str, message: str):
    with pytest.raises(MethodError) as caught:
        run(install(f"def begin(brief):\n    {body}\n"), limit=0.3)

    assert caught.value.message.startswith(f"method 'theirs', repeat 2, {message}")
    assert "\n" not in caught.value.message


def test_a_module_that_cannot_be_imported_is_named(install: Install):
    with pytest.raises(UsageError, match=r"'theirs' cannot be loaded from theirs_module:begin: ModuleNotFoundError"):
        run(install("import no_such_module\n"))


def test_an_entry_point_that_is_no_function_is_named(install: Install):
    with pytest.raises(UsageError, match="which is no function"):
        run(install("begin = 3\n"))


def test_an_unknown_entry_point_is_named_with_those_that_there_are(install: Install):
    install("def begin(brief): pass\n")

    with pytest.raises(UsageError, match=r"no method 'mine' is installed; entry points of 'harness.bench': theirs"):
        door.loaded("mine")
