"""Methods: which are meant, and those of others, which run in a process of their own and are blamed in one line."""

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
    ("names", "ablations", "meant"),
    [
        ([], False, MAIN),
        ([], True, [*MAIN, *VARIANTS]),
        (["tpe"], True, ["tpe", "default", *VARIANTS]),
        (["default"], True, ["default", *VARIANTS]),
        (["no-rungs", "json:loads"], False, ["no-rungs", "json:loads"]),
    ],
)
def test_methods_are_meant_by_their_names(names: list[str], ablations: bool, meant: list[str]):
    found = methods_of(names, [], ablations=ablations)

    assert [method.name for method in found] == meant
    variants = [method.name for method in found if method.is_variant]
    assert variants == (VARIANTS if "default" in meant and ablations else [])


@pytest.mark.parametrize("name", ["../../x=a", "..=a", ".x=a", "-x=a", " x=a", "a\nb=a", "mine", "mine='", "tpe=a"])
def test_a_program_without_command_or_with_a_name_that_leads_out_of_a_folder_is_refused(name: str):
    with pytest.raises(UsageError):
        methods_of(["tpe"], [name], ablations=False)


@pytest.mark.parametrize("name", ["randm", "no_such_module:begin", "json:", ":loads", "a/b:c"])
def test_a_name_that_leads_nowhere_is_refused(name: str):
    with pytest.raises(UsageError):
        methods_of([name], [], ablations=False)


def test_a_method_is_another_where_the_files_change_that_its_command_names(tmp_path: Path):
    script = tmp_path / "mine.py"
    script.write_text("1")
    mine = Method(name="mine", says="", command=("python3", str(script)))
    task = made_up.asked(TABLE).task
    before = mine.entry(task).source_sha256

    (tmp_path / "other.py").write_text("2")
    assert mine.entry(task).source_sha256 == before
    script.write_text("2")
    assert mine.entry(task).source_sha256 != before
    assert _BUILT_IN["random"].entry(task).source_sha256 is None


# Those of others --------------------------------------------------------------------------------------------


def program(*arguments: str) -> Method:
    return Method(name="theirs", says="", command=(sys.executable, *arguments))


def function(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Method:
    (folder / "theirs.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    return Method(name="theirs", says="", function="theirs:begin")


def run(method: Method, repeat: int = 2, limit: float = 20.0, spread: str = "pooled", **changes: Any) -> Trace:
    comparison = made_up.asked(TABLE, **({"seconds": 30.0, "workers": 1, "target_pct": 97.0} | changes))
    return replay(method, replace(comparison, answer_seconds=limit), _TableRuns(TABLE, spread).read, repeat)


def blamed(method: Method, words: str, limit: float = 20.0) -> None:
    began = time.monotonic()
    with pytest.raises(ContentError) as caught:
        run(method, limit=limit)
    assert caught.value.message.startswith("method 'theirs', repeat 2")
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert time.monotonic() - began < 30


@pytest.mark.nightly
def test_the_examples_play_along(monkeypatch: pytest.MonkeyPatch):
    # A checkout need not be installed to be tested.
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    examples = REPOSITORY / "benchmarks" / "methods"
    monkeypatch.syspath_prepend(str(examples))

    (mine,) = methods_of(["downwards:begin"], [], ablations=False)
    assert run(mine).networks > 2
    assert run(program(str(examples / "optuna_user.py"))).networks > 2


@pytest.mark.nightly
def test_a_function_has_its_own_process_that_talks_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    source = (
        "import os, sys\nBEFORE = []\nprint('hello')\ndef begin(problem):\n    assert not sys.stdin.read()\n"
        "    BEFORE.append(problem)\n    assert len(BEFORE) == 1\n"
        "    def ask(tried):\n        print('asked')\n        os.write(1, b'{}\\n')\n"
        "        return problem.networks[len(tried)]\n    return ask\n"
    )
    method = function(source, tmp_path, monkeypatch)

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
def test_a_function_that_misbehaves_ends_in_one_line(
    body: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    blamed(function(f"def begin(problem):\n    {body}\n", tmp_path, monkeypatch), words)


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
def test_a_program_that_misbehaves_at_its_second_question_ends_in_one_line(answer: str, words: str):
    code = "import os, sys, time\nfor line in sys.stdin:\n    if 'tried' not in line: continue\n"
    code += f"    if line == '{{\"tried\": []}}\\n': print({GOOD!r}, flush=True)\n    else: {answer}\n"
    blamed(program("-c", code), words, limit=2.0 if "2 s" in words else 20.0)


# Names the networks in their order; STOP is what it answers at a rung.
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


def judging(stop: str, judges: str = "True") -> Method:
    return program("-c", JUDGING.replace("STOP", stop).replace("JUDGES", judges))


def test_a_program_that_stops_all_at_the_first_rung_sees_more_networks_and_has_no_answer():
    # Every network reaches the target at its end.
    stopping, patient = (run(judging(stop), seconds=40.0, target_pct=80.0) for stop in ("True", "False"))

    assert stopping.networks > patient.networks
    assert stopping.answers == ()
    assert patient.answers


@pytest.mark.parametrize("late_rung", ["question['rung']['epoch'] > 4", "question['rung']['epoch'] == 8"])
def test_a_program_that_never_stops_is_as_one_that_does_not_judge(late_rung: str):
    silent = run(judging("True", "False"))

    # The end of a training, after epoch 8, is no rung.
    assert run(judging(late_rung)) == silent
    assert run(judging("False", "False")) == silent


def test_a_program_is_asked_at_each_rung_how_the_network_stands_that_it_has_named(tmp_path: Path):
    notes = tmp_path / "rungs"
    code = JUDGING.replace("file=sys.stderr", f"file=open({str(notes)!r}, 'a')")
    run(program("-c", code.replace("STOP", "False").replace("JUDGES", "True")), spread="recorded")

    rungs = [json.loads(line)["rung"] for line in notes.read_text().splitlines()]
    assert [rung["epoch"] for rung in rungs[:6]] == [1, 2, 4, 1, 2, 4]
    assert [rung["network"] for rung in rungs[:3]] == [NETWORKS[0]] * 3
    recorded = {(row.architecture, row.rung, round(row.validation_accuracy_pct, 2)) for row in TABLE.rows}
    assert {(*list(rung.values())[:2], round(rung["validation_accuracy_pct"], 2)) for rung in rungs} <= recorded


@pytest.mark.parametrize("answer", ["1", "None", "'no'"])
def test_an_answer_at_a_rung_that_is_neither_true_nor_false_ends_in_one_line(answer: str):
    blamed(judging(answer), '{"stop": true} or {"stop": false}')


def test_a_function_judges_rungs_as_a_program_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = (
        "def begin(problem):\n    assert problem.rungs == (1, 2, 4)\n"
        "    ask = lambda tried: problem.networks[len(tried) % len(problem.networks)]\n"
        "    return ask, lambda rung: rung.epoch == 1\n"
    )

    assert run(function(source, tmp_path, monkeypatch)) == run(judging("True"))


@pytest.mark.parametrize(("command", "words"), [("no-such-program", "no-such-program"), ("true", "without an answer")])
def test_a_program_that_does_not_start_or_ends_at_once_says_so(command: str, words: str):
    blamed(Method(name="theirs", says="", command=(command,)), words)


def test_no_process_of_a_program_is_left(tmp_path: Path):
    note = tmp_path / "child"
    code = "import subprocess, sys, time, pathlib\n"
    code += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    code += f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\ntime.sleep(60)\n"
    with pytest.raises(ContentError):
        run(program("-c", code), limit=3.0)

    state = Path(f"/proc/{note.read_text()}/stat")
    deadline = time.monotonic() + 10
    while state.exists() and ") Z" not in state.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not state.exists() or ") Z" in state.read_text()
