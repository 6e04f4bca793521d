"""The command line as a whole: exit codes, errors, completion, help, start-up, interrupts, closed and full streams."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from harness import cli
from harness.cli import run
from tests.conftest import REPOSITORY
from tests.processor_time import relative_processor_time

NETWORK = "conv3x3(4) | gap | linear(10)"


def failure_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Return exit code, stderr and the document of ``--json``; check that no file was written."""
    code = run(list(arguments))
    output = capsys.readouterr()
    assert output.out == ""
    assert run([*arguments, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["error"]
    error = document["error"]
    assert list(error) == ["code", "kind", "message", "position", "hint"]
    assert error["code"] == code
    # Click adds a line break after the ^C of the terminal.
    lines = output.err.lstrip("\n").splitlines()
    assert lines[0] == f"error: {error['message']}"
    assert [line for line in lines if line.startswith("hint: ")] == (
        [f"hint: {error['hint']}"] if error["hint"] else []
    )
    assert list(Path(os.environ["HARNESS_WORKSPACE"]).rglob("*")) == []
    return code, output.err, error


def let_explain_raise(monkeypatch: pytest.MonkeyPatch, error: BaseException | type[BaseException]) -> None:
    def raise_error(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr("harness.interface.api.analyse", raise_error)


# Errors -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    ("arguments", "code", "kind", "position"),
    [
        (["explain", "conv3x3(8) cnv | gap | linear(10)"], 4, "content", 11),
        (["explain", "@absent"], 2, "usage", None),
        (["search", "--samplr"], 2, "usage", None),
    ],
)
def test_error_is_reported_as_line_and_document(
    arguments: list[str], code: int, kind: str, position: int | None, capsys: pytest.CaptureFixture[str]
):
    exit_code, stderr, error = failure_of(capsys, *arguments)

    assert (exit_code, error["kind"], error["position"]) == (code, kind, position)
    assert position is None or f"  {arguments[-1]}\n  {' ' * position}^\n" in stderr


@pytest.mark.parametrize(
    ("words", "position", "completion"),
    [("harness lea", 1, "plain,leaderboard"), ("harness verify --cert", 2, "plain,--certify")],
)
def test_commands_and_options_are_completed(
    words: str, position: int, completion: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in (("HARNESS_COMPLETE", "bash_complete"), ("COMP_WORDS", words), ("COMP_CWORD", str(position))):
        monkeypatch.setenv(name if name.startswith("COMP") else f"_{name}", value)

    assert run([]) == 0

    assert capsys.readouterr().out.splitlines() == [completion]


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    ("exception", "code", "kind"),
    [
        (MemoryError(), 6, "device"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some file"), 2, "usage"),
        (KeyboardInterrupt, 130, "interrupted"),
        (click.Abort, 130, "interrupted"),
    ],
)
def test_system_error_or_interrupt_is_reported_in_one_line(
    exception: BaseException | type[BaseException],
    code: int,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    let_explain_raise(monkeypatch, exception)

    exit_code, _, error = failure_of(capsys, "explain", NETWORK)

    assert (exit_code, error["kind"]) == (code, kind)


def test_internal_error_has_traceback_and_a_single_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    let_explain_raise(monkeypatch, ZeroDivisionError("a slip of ours"))

    assert run(["explain", NETWORK]) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.splitlines()[-1]) == ("", "ZeroDivisionError: a slip of ours")
    assert run(["explain", NETWORK, "--json"]) == 1
    json_output = capsys.readouterr()
    assert "Traceback" in json_output.err
    assert json.loads(json_output.out)["error"]["kind"] == "internal"


# Help -------------------------------------------------------------------------------------------------------


def test_help_is_fast_and_imports_no_heavy_library():
    command = [sys.executable, "-X", "importtime", "-m", "harness", "--help"]
    process = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in process.stderr.splitlines()}
    assert "click" in modules
    assert not modules & {"torch", "optuna", "pandas", "matplotlib", "scipy", "lark", "sqlalchemy", "numpy"}

    # 0.4 s on a machine on which the imports take 0.08 s.
    assert relative_processor_time("-m", "harness", "--help") < 5


# Streams and signals ----------------------------------------------------------------------------------------


def run_in_shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in bash; the variable HARNESS contains the command of this program."""
    environment = os.environ | {"HARNESS": f"{sys.executable} -m harness", "PYTHONUNBUFFERED": ""} | variables
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment
    )


def test_output_is_printed_on_ascii_terminal():
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "HARNESS_WORKSPACE": str(REPOSITORY)}

    # The deviation of a row has a plus-minus sign, which is not in ASCII.
    output = run_in_shell("$HARNESS leaderboard", **ascii_only)
    assert output.returncode == 0
    assert re.fullmatch(r"\d+ more rows: harness leaderboard --all\n", output.stderr)
    assert "99.4" in output.stdout
    output = run_in_shell("$HARNESS r\N{LATIN SMALL LETTER E WITH ACUTE}port --json", **ascii_only)
    assert "\N{LATIN SMALL LETTER E WITH ACUTE}" in json.loads(output.stdout)["error"]["message"]


@pytest.mark.parametrize(
    "line",
    ["spaces sample card --count 2000 | head -1", "search --bad --json | true", "serach 2>&1 | true"],
    ids=["output", "document", "error"],
)
def test_closed_pipe_is_no_error(line: str):
    output = run_in_shell(f'$HARNESS {line}; exit "${{PIPESTATUS[0]}}"')

    assert (output.returncode, output.stderr) == (cli._OUTPUT_CLOSED, "")
    assert output.stdout.count("\n") == ("head" in line)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("spaces list --json > /dev/full", 2),
        ("explain seed4 > /dev/full", 2),
        ("serach 2> /dev/full", 2),
        *((f"leaderboard --check {closed}", 0) for closed in (">&-", "2>&-", "<&- >&- 2>&-")),
        ("explain - <&-", 4),
    ],
)
def test_full_or_closed_streams_keep_exit_code(line: str, code: int, tmp_path: Path):
    output = run_in_shell(f"$HARNESS {line}", HARNESS_WORKSPACE=str(tmp_path))

    assert (output.returncode, "Traceback" in output.stderr) == (code, False)
    assert " > /dev/full" not in line or output.stderr == "error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("change", ["cli.run = stop", "del cli.main\ncli.__getattr__ = stop"])
def test_signals_in_command_or_imports_and_during_exit_give_code_130(number: int, change: str):
    program = f"""import atexit, signal
from harness import cli
from importlib.metadata import entry_points
stop = lambda *_: signal.raise_signal({number:d})
{change}
atexit.register(stop)
entry_points(group="console_scripts", name="harness")["harness"].load()()"""

    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout, run.stderr) == (130, "", "error: interrupted\n")


def test_second_signal_ends_exit_that_waits_for_thread():
    program = """import threading, time
from harness import __main__, cli
cli.run = lambda _: print("done", flush=True) or threading.Thread(target=time.sleep, args=(60,)).start() or 3
__main__.main()"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        time.sleep(0.5)  # until Python waits for the thread
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 3
