"""Bench methods: selection by name, and user-defined methods in a subprocess, whose errors are reported in one line."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench.comparison import Trace
from harness.bench.methods import _BUILT_IN, Method, methods_of
from harness.bench.replay import _TableRuns, replay
from harness.system.errors import ContentError, UsageError
from tests.conftest import REPOSITORY
from tests.harness.bench import made_up

TABLE = made_up.table(made_up.TINY)
NETWORKS = list({row.architecture: None for row in TABLE.rows})
MAIN = [name for name, method in _BUILT_IN.items() if not method.is_variant]
VARIANTS = [name for name, method in _BUILT_IN.items() if method.is_variant]


@pytest.mark.parametrize(
    ("names", "ablations", "expected"),
    [
        ([], False, MAIN),
        ([], True, [*MAIN, *VARIANTS]),
        (["tpe"], True, ["tpe", "default", *VARIANTS]),
        (["default"], True, ["default", *VARIANTS]),
        (["no-rungs", "json:loads"], False, ["no-rungs", "json:loads"]),
    ],
)
def test_methods_of_selects_methods_by_name(names: list[str], ablations: bool, expected: list[str]):
    methods = methods_of(names, [], ablations=ablations)

    assert [method.name for method in methods] == expected
    variants = [method.name for method in methods if method.is_variant]
    assert variants == (VARIANTS if "default" in expected and ablations else [])


@pytest.mark.parametrize("name", ["../../x=a", "..=a", ".x=a", "-x=a", " x=a", "a\nb=a", "mine", "mine='", "tpe=a"])
def test_program_with_unsafe_name_or_without_command_is_rejected(name: str):
    with pytest.raises(UsageError):
        methods_of(["tpe"], [name], ablations=False)


@pytest.mark.parametrize("name", ["randm", "no_such_module:begin", "json:", ":loads", "a/b:c"])
def test_unknown_method_is_rejected(name: str):
    with pytest.raises(UsageError):
        methods_of([name], [], ablations=False)


def test_method_hash_covers_files_named_in_command(tmp_path: Path):
    script = tmp_path / "mine.py"
    script.write_text("1")
    method = Method(name="mine", says="", command=("python3", str(script)))
    task = made_up.comparison_of(TABLE).task
    before = method.entry(task).source_sha256

    (tmp_path / "other.py").write_text("2")
    assert method.entry(task).source_sha256 == before
    script.write_text("2")
    assert method.entry(task).source_sha256 != before
    assert _BUILT_IN["random"].entry(task).source_sha256 is None


# User-defined methods ---------------------------------------------------------------------------------------


def program_method(*arguments: str) -> Method:
    return Method(name="theirs", says="", command=(sys.executable, *arguments))


def function_method(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Method:
    (folder / "theirs.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    return Method(name="theirs", says="", function="theirs:begin")


def run(method: Method, repeat: int = 2, limit: float = 20.0, spread: str = "pooled", **changes: Any) -> Trace:
    comparison = made_up.comparison_of(TABLE, **({"seconds": 30.0, "workers": 1, "target_pct": 97.0} | changes))
    return replay(method, replace(comparison, answer_seconds=limit), _TableRuns(TABLE, spread).read, repeat)


def assert_fails_with(method: Method, words: str, limit: float = 20.0) -> None:
    began = time.monotonic()
    with pytest.raises(ContentError) as excinfo:
        run(method, limit=limit)
    assert excinfo.value.message.startswith("method 'theirs', repeat 2")
    assert words in excinfo.value.message
    assert "\n" not in excinfo.value.message
    assert time.monotonic() - began < 30


@pytest.mark.nightly
def test_example_methods_complete_a_replay(monkeypatch: pytest.MonkeyPatch):
    # Subprocesses import harness from the checkout, which need not be installed.
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    examples = REPOSITORY / "measurements" / "methods"
    monkeypatch.syspath_prepend(str(examples))

    (method,) = methods_of(["downwards:begin"], [], ablations=False)
    assert run(method).networks > 2
    assert run(program_method(str(examples / "optuna_user.py"))).networks > 2


@pytest.mark.nightly
def test_function_runs_in_own_process_without_access_to_stdin_and_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    source = (
        "import os, sys\nBEFORE = []\nprint('hello')\ndef begin(problem):\n    assert not sys.stdin.read()\n"
        "    BEFORE.append(problem)\n    assert len(BEFORE) == 1\n"
        "    def ask(tried):\n        print('asked')\n        os.write(1, b'{}\\n')\n"
        "        return problem.networks[len(tried)]\n    return ask\n"
    )
    method = function_method(source, tmp_path, monkeypatch)

    assert [run(method, repeat).repeat for repeat in range(2)] == [0, 1]
    assert capfd.readouterr().out == ""


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return lambda tried: 1 / 0", "ZeroDivisionError"),
        ("return lambda tried: None", "NoneType"),
        ("return lambda tried: 'gap linear(10)'", "gap linear(10)"),
        ("raise SystemExit(3)", "without an answer"),
        ("import no_such_module", "no_such_module"),
    ],
)
def test_failing_function_ends_in_one_line_error(
    body: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert_fails_with(function_method(f"def begin(problem):\n    {body}\n", tmp_path, monkeypatch), words)


GOOD = f'{{"network": "{NETWORKS[0]}"}}'


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("print('conv3x3(4)', flush=True)", "conv3x3(4)"),
        ("print('[]', flush=True)", "[]"),
        ("print('{\"net\": 1}', flush=True)", "net"),
        ('print(\'{"network": "conv9x9(4) gap linear(10)"}\', flush=True)', "conv9x9(4) gap linear(10)"),
        ('print(\'{"network": "conv3x3(5) bn relu gap linear(10)"}\', flush=True)', "conv3x3(5)"),
        ('print(\'{"network": "conv3x3(200) conv3x3(200) gap linear(10)"}\', flush=True)', "parameters"),
        ("time.sleep(60)", "no answer in 2 s"),
        ("print('out of ideas', file=sys.stderr); sys.exit(7)", "out of ideas"),
        ("[sys.stdout.write('x' * 100_000) for _ in iter(int, 1)]", "xxx"),
        ("os.close(1); time.sleep(60)", "without an answer"),
    ],
)
def test_program_failing_at_second_question_ends_in_one_line_error(answer: str, words: str):
    code = "import os, sys, time\nfor line in sys.stdin:\n    if 'tried' not in line: continue\n"
    code += f"    if line == '{{\"tried\": []}}\\n': print({GOOD!r}, flush=True)\n    else: {answer}\n"
    assert_fails_with(program_method("-c", code), words, limit=2.0 if "2 s" in words else 20.0)


# Program that proposes the networks in order; JUDGES enables decisions at rungs, STOP is the decision.
JUDGING = """
import json, sys
networks = json.loads(sys.stdin.readline())["begin"]["networks"]
for line in sys.stdin:
    question = json.loads(line)
    if "rung" in question:
        print(json.dumps({"rung": question["rung"]}), file=sys.stderr)
        answer = {"stop": STOP}
    else:
        answer = {"network": networks[len(question["tried"]) % len(networks)], "judges_rungs": JUDGES}
    print(json.dumps(answer), flush=True)
"""


def judging_program(stop: str, judges: str = "True") -> Method:
    return program_method("-c", JUDGING.replace("STOP", stop).replace("JUDGES", judges))


def test_stopping_all_runs_at_first_rung_tries_more_networks_without_answer():
    # After the last epoch every network reaches the target of 80 %.
    stop_trace, full_trace = (run(judging_program(stop), seconds=40.0, target_pct=80.0) for stop in ("True", "False"))

    assert stop_trace.networks > full_trace.networks
    assert stop_trace.answers == ()
    assert full_trace.answers


@pytest.mark.parametrize("late_rung", ["question['rung']['epoch'] > 4", "question['rung']['epoch'] == 8"])
def test_program_that_never_stops_equals_program_without_rung_decisions(late_rung: str):
    without_decisions = run(judging_program("True", "False"))

    # The end of a training, after epoch 8, is not a rung.
    assert run(judging_program(late_rung)) == without_decisions
    assert run(judging_program("False", "False")) == without_decisions


def test_rung_question_has_network_epoch_and_accuracy(tmp_path: Path):
    rung_file = tmp_path / "rungs"
    code = JUDGING.replace("file=sys.stderr", f"file=open({str(rung_file)!r}, 'a')")
    run(program_method("-c", code.replace("STOP", "False").replace("JUDGES", "True")), spread="recorded")

    rungs = [json.loads(line)["rung"] for line in rung_file.read_text().splitlines()]
    assert [rung["epoch"] for rung in rungs[:6]] == [1, 2, 4, 1, 2, 4]
    assert [rung["network"] for rung in rungs[:3]] == [NETWORKS[0]] * 3
    recorded = {(row.architecture, row.rung, round(row.validation_accuracy_pct, 2)) for row in TABLE.rows}
    assert {(*list(rung.values())[:2], round(rung["validation_accuracy_pct"], 2)) for rung in rungs} <= recorded


@pytest.mark.parametrize("answer", ["1", "None", "'no'"])
def test_rung_answer_other_than_boolean_ends_in_one_line_error(answer: str):
    assert_fails_with(judging_program(answer), '{"stop": true} or {"stop": false}')


def test_function_decides_at_rungs_like_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = (
        "def begin(problem):\n    assert problem.rungs == (1, 2, 4)\n"
        "    ask = lambda tried: problem.networks[len(tried) % len(problem.networks)]\n"
        "    return ask, lambda rung: rung.epoch == 1\n"
    )

    assert run(function_method(source, tmp_path, monkeypatch)) == run(judging_program("True"))


@pytest.mark.parametrize(("command", "words"), [("no-such-program", "no-such-program"), ("true", "without an answer")])
def test_program_that_does_not_start_or_ends_early_is_reported(command: str, words: str):
    assert_fails_with(Method(name="theirs", says="", command=(command,)), words)


def test_child_processes_of_program_are_killed(tmp_path: Path):
    pid_file = tmp_path / "child"
    code = "import subprocess, sys, time, pathlib\n"
    code += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    code += f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\ntime.sleep(60)\n"
    with pytest.raises(ContentError):
        run(program_method("-c", code), limit=3.0)

    process_state = Path(f"/proc/{pid_file.read_text()}/stat")
    deadline = time.monotonic() + 10
    while process_state.exists() and ") Z" not in process_state.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not process_state.exists() or ") Z" in process_state.read_text()
