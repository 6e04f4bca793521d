"""Python entry points of others: found by name, run in a process of their own, and blamed in one line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bench.methods import external_method
from harness.bench.methods.external_method import MethodError
from harness.bench.methods.method import EntryPoint
from harness.bench.simulation.readings import TableReadings
from harness.bench.simulation.replay import replay
from tests.harness.bench import made_up_table

TABLE = made_up_table.table(made_up_table.TINY)
READINGS = TableReadings(TABLE)
ROOT = Path(__file__).resolve().parents[4]
# Nothing to be found fault with.
GOOD = "def begin(problem):\n    return lambda tried: problem.networks[len(tried)]\n"
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
        return EntryPoint(name="theirs")

    return made


def run(method: EntryPoint, limit: float = 60.0, repeat: int = 2):
    task = made_up_table.task(TABLE, seconds=30.0, workers=1, target_pct=97.0)
    return replay(method, task, READINGS, 0, repeat, limit)


def test_the_example_of_a_dozen_lines_is_found_and_plays_along(install: Install):
    method = install((ROOT / "benchmarks" / "methods" / "downwards.py").read_text(encoding="utf-8"))

    assert external_method.installed()["theirs"] == ("theirs_module:begin",)
    assert run(method).networks > 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return lambda tried: 1 / 0", "ended with exit code 1 before it answered; its last words: ZeroDivisionError:"),
        ("return lambda tried: None", "last words: TypeError: answered NoneType, but the text of a network is wanted"),
        ("return 'conv3x3(4)'", "last words: TypeError: 'str' object is not callable"),
        ("raise SystemExit(3)", "ended with exit code 3 before it answered"),
        ("\n    import os; os._exit(5)", "ended with exit code 5 before it answered"),
        ("\n    import os; os.kill(os.getpid(), 9)", "ended with signal 9 before it answered"),
        ("return lambda tried: 'gap linear(10)'", "answered 'gap linear(10)', which the space"),
    ],
)
def test_an_entry_point_that_misbehaves_ends_in_one_line_that_says_how(install: Install, body: str, message: str):
    with pytest.raises(MethodError) as caught:
        run(install(f"def begin(problem):\n    {body}\n"))

    assert caught.value.message.startswith("method 'theirs', repeat 2, question 1: ")
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4


def test_an_entry_point_that_lets_nothing_end_it_is_ended_in_time(install: Install):
    method = install(
        "import time\ndef begin(problem):\n    while True:\n        try:\n            time.sleep(60)\n"
        "        except BaseException:\n            pass\n"
    )
    began = time.monotonic()

    with pytest.raises(MethodError, match="'theirs', repeat 2, question 1: gave no answer in 2 s"):
        run(method, limit=2.0)

    assert time.monotonic() - began < 20


def test_what_an_entry_point_prints_and_reads_is_no_part_of_the_talk(
    install: Install, capfd: pytest.CaptureFixture[str]
):
    chatty = (
        "import os, sys\nprint('hello')\ndef begin(problem):\n    assert not sys.stdin.read()\n"
        "    def ask(tried):\n        print('asked')\n        os.write(1, b'{}\\n')\n"
        "        return problem.networks[len(tried)]\n    return ask\n"
    )

    found = run(install(chatty))

    assert found.networks > 2
    assert capfd.readouterr().out == ""


def test_nothing_is_carried_over_from_one_repeat_to_another(install: Install):
    """Else what a repeat gives would depend on which repeats its process had done before."""
    method = install(
        f"BEFORE = []\n{GOOD.replace('return', 'BEFORE.append(problem); assert len(BEFORE) == 1; return')}"
    )

    assert [run(method, repeat=repeat).repeat for repeat in range(2)] == [0, 1]


def test_an_entry_point_is_told_its_brief_and_what_it_has_tried_as_the_dataclasses_say(install: Install):
    checks = (
        "from harness.bench.methods.external_method import Problem, Trial\ndef begin(problem):\n"
        "    assert type(problem) is Problem and type(problem.networks) is tuple and hash(problem)\n"
        "    def ask(tried):\n        assert type(tried) is tuple and hash(tried)\n"
        "        assert all(type(item) is Trial for item in tried)\n"
        "        return problem.networks[len(tried)]\n    return ask\n"
    )

    assert run(install(checks)).networks > 2


def test_a_module_that_cannot_be_imported_is_named(install: Install):
    with pytest.raises(
        MethodError, match=r"'theirs', .* its last words: ModuleNotFoundError: No module named 'no_such"
    ):
        run(install("import no_such_module\n"))
