"""Methods of others: found by name, run in a process of their own, and blamed in one line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bench import external
from harness.bench.external import _MethodError
from harness.bench.methods import EntryPoint, Method, Program
from harness.bench.replay import _TableReadings, replay
from harness.bench.scores import Trace
from tests.harness.bench import made_up_table

pytestmark = pytest.mark.nightly
TABLE = made_up_table.table(made_up_table.TINY)
READINGS = _TableReadings(TABLE)
NETWORKS = [runs[0][8].architecture for runs in TABLE.runs.values()]
ROOT = Path(__file__).resolve().parents[3]
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


def program(*arguments: str) -> Program:
    return Program(name="theirs", command=(sys.executable, *arguments))


def run(method: Method, limit: float = 60.0, repeat: int = 2, seconds: float = 30.0) -> Trace:
    task = made_up_table.task(TABLE, seconds=seconds, workers=1, target_pct=97.0)
    return replay(method, task, READINGS, 0, repeat, limit)


def test_the_examples_play_along(install: Install, monkeypatch: pytest.MonkeyPatch):
    # A checkout need not be installed to be tested.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    examples = ROOT / "benchmarks" / "methods"
    method = install((examples / "downwards.py").read_text(encoding="utf-8"))

    assert external.installed()["theirs"] == ("theirs_module:begin",)
    assert run(method).networks > 2
    assert run(program(str(examples / "optuna_user.py"))).networks > 2


def blamed(method: Method, words: str, limit: float = 20.0) -> None:
    began = time.monotonic()
    with pytest.raises(_MethodError) as caught:
        run(method, limit)
    assert caught.value.message.startswith("method 'theirs', repeat 2, question ")
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return lambda tried: 1 / 0", "ZeroDivisionError"),
        ("return lambda tried: None", "NoneType"),
        ("return 'conv3x3(4)'", "TypeError"),
        ("raise SystemExit(3)", "exit code 3"),
        ("\n    import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("return lambda tried: 'gap linear(10)'", "gap linear(10)"),
        ("import no_such_module", "no_such_module"),
    ],
)
def test_an_entry_point_that_misbehaves_ends_in_one_line_that_says_how(install: Install, body: str, words: str):
    blamed(install(f"def begin(problem):\n    {body}\n"), words)


def test_an_entry_point_that_lets_nothing_end_it_is_ended_in_time(install: Install):
    endless = (
        "import time\ndef begin(problem):\n    while True:\n        try:\n            time.sleep(60)\n"
        "        except BaseException:\n            pass\n"
    )
    blamed(install(endless), "2 s", limit=2.0)


def test_what_an_entry_point_prints_and_reads_is_no_part_of_the_talk(
    install: Install, capfd: pytest.CaptureFixture[str]
):
    chatty = (
        "import os, sys\nprint('hello')\ndef begin(problem):\n    assert not sys.stdin.read()\n"
        "    def ask(tried):\n        print('asked')\n        os.write(1, b'{}\\n')\n"
        "        return problem.networks[len(tried)]\n    return ask\n"
    )

    assert run(install(chatty)).networks > 2
    assert capfd.readouterr().out == ""


def test_nothing_is_carried_over_from_one_repeat_to_another(install: Install):
    """Else what a repeat gives would depend on which repeats its process had done before."""
    method = install(
        f"BEFORE = []\n{GOOD.replace('return', 'BEFORE.append(problem); assert len(BEFORE) == 1; return')}"
    )

    assert [run(method, repeat=repeat).repeat for repeat in range(2)] == [0, 1]


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("no-json", "conv3x3(4)"),
        ("no-network-field", "network"),
        ("unknown-network", "conv9x9(4) gap linear(10)"),
        ("outside", "conv3x3(5) bn relu gap linear(10)"),
        ("over-budget", "parameters"),
        ("silent", "0.7 s"),
        ("dies", "out of ideas"),
        ("floods-stdout", "1,048,576"),
        ("talks", "more than was asked"),
        ("closes", "before it answered"),
    ],
)
def test_a_program_that_misbehaves_ends_in_one_line_that_says_how(way: str, words: str):
    misbehaving = str(ROOT / "tests/harness/bench/misbehaving.py")
    blamed(program(misbehaving, way, NETWORKS[0]), words, limit=0.7 if way == "silent" else 20.0)


def test_a_program_that_cannot_be_started_says_why():
    with pytest.raises(_MethodError, match="no-such-program"):
        run(Program(name="theirs", command=("no-such-program",)))


def test_no_process_of_a_program_is_left(tmp_path: Path):
    script = tmp_path / "starts.py"
    note = tmp_path / "child"
    script.write_text(
        "import subprocess, sys, time, pathlib\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(_MethodError):
        run(program(str(script)), limit=3.0)

    state = Path(f"/proc/{note.read_text()}/stat")
    deadline = time.monotonic() + 10
    while state.exists() and ") Z" not in state.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not state.exists() or ") Z" in state.read_text()


def test_a_well_behaved_program_is_asked_with_all_it_has_tried(tmp_path: Path):
    script, log = tmp_path / "good.py", tmp_path / "log"
    script.write_text(
        "import json, sys\n"
        "problem = json.loads(sys.stdin.readline())['begin']\n"
        f"log = open({str(log)!r}, 'w')\n"
        "for line in sys.stdin:\n"
        "    tried = json.loads(line)['tried']\n"
        "    log.write(json.dumps(tried) + chr(10)); log.flush()\n"
        "    print(json.dumps({'network': problem['networks'][len(tried)]}), flush=True)\n"
    )

    found = run(program(str(script)))

    lines = log.read_text().splitlines()
    assert found.networks == len(lines) > 2
    assert lines[0] == "[]"
    assert '"state": "complete"' in lines[-1]
    assert found == run(program(str(script)))
