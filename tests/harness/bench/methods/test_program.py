"""Programs of others: they answer in JSON lines, and whatever they do wrong ends in one clear line."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from harness.bench.methods.external_method import MethodError
from harness.bench.methods.method import Program
from harness.bench.simulation.readings import TableReadings
from harness.bench.simulation.replay import replay
from tests.harness.bench import made_up_table

TABLE = made_up_table.table(made_up_table.TINY)
READINGS = TableReadings(TABLE)
NETWORKS = [runs[0][8].architecture for runs in TABLE.runs.values()]
ROOT = Path(__file__).resolve().parents[4]


def run(*command: str, seconds: float = 60.0, limit: float = 5.0, budget: int = 20_000):
    task = made_up_table.task(TABLE, seconds=seconds, budget=budget, workers=1, target_pct=97.0)
    method = Program(name="theirs", command=(sys.executable, *command))
    return replay(method, task, READINGS, 0, 3, limit)


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("no-json", "answered 'conv3x3(4)', which is no JSON"),
        ("no-network-field", '{"network": "..."} is wanted'),
        ("unknown-network", "answered 'conv9x9(4) gap linear(10)', which is no network: "),
        ("outside", "answered 'conv3x3(5) bn relu gap linear(10)', which the space 'made-up' cannot draw"),
        ("over-budget", "which may not be trained: "),
        ("silent", "gave no answer in 0.7 s"),
        ("dies", "ended with exit code 7 before it answered; its last words: out of ideas"),
        ("floods-stderr", "wrote more than 4,194,304 bytes to stderr"),
        ("floods-stdout", "answered more than 1,048,576 bytes: "),
        ("talks", "said more than was asked: "),
        ("closes", "closed its output before it answered"),
    ],
)
def test_a_program_that_misbehaves_ends_in_one_line_that_says_how(way: str, message: str):
    limit = 0.7 if way == "silent" else 20.0
    began = time.monotonic()
    with pytest.raises(MethodError) as caught:
        run(str(ROOT / "tests/harness/bench/misbehaving.py"), way, NETWORKS[0], limit=limit)

    assert message in caught.value.message
    assert caught.value.message.startswith("method 'theirs', repeat 3, question ")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.exit_code == 4
    assert time.monotonic() - began < 30


def test_a_program_that_cannot_be_started_says_why():
    task = made_up_table.task(TABLE, seconds=60.0)

    with pytest.raises(
        MethodError, match=r"method 'theirs', repeat 0, the beginning: cannot start 'no-such-program': "
    ):
        replay(Program(name="theirs", command=("no-such-program",)), task, READINGS, 0, 0, 10.0)


def test_no_process_of_a_program_is_left(tmp_path: Path):
    script = tmp_path / "starts.py"
    note = tmp_path / "child"
    script.write_text(
        "import subprocess, sys, time, pathlib\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(MethodError, match="gave no answer"):
        run(str(script), limit=3.0)

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

    found = run(str(script), seconds=30.0)

    lines = log.read_text().splitlines()
    assert found.networks == len(lines) > 2
    assert lines[0] == "[]"
    assert '"state": "complete"' in lines[-1]
    assert found == run(str(script), seconds=30.0)


def test_the_optuna_script_of_the_examples_plays_along(monkeypatch: pytest.MonkeyPatch):
    # A checkout need not be installed to be tested.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = run(str(ROOT / "benchmarks" / "methods" / "optuna_user.py"), seconds=40.0, limit=60.0)

    assert found.networks > 2
