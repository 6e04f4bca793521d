"""The command line as a whole: exit codes, one line or one JSON document an error, help, start-up, closed pipes."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from harness import cli, explain
from harness.cli import run

REPOSITORY = Path(__file__).parents[2]
NETWORK = "conv3x3(4) | gap | linear(10)"


@pytest.fixture(autouse=True)
def untouched(workspace: Path) -> Iterator[None]:
    """Whatever is asked here, nothing is written."""
    yield
    assert list(workspace.rglob("*")) == []


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Return exit code, what is on stderr, and the document of ``--json``."""
    code = run(list(arguments))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert run([*arguments, "--json"]) == code
    told = capsys.readouterr()
    assert told.err.strip() == ""
    document = json.loads(told.out)
    assert list(document) == ["error"]
    assert list(document["error"]) == ["code", "kind", "message", "position", "hint"]
    assert document["error"]["code"] == code
    # Click ends the line in which the terminal shows ^C.
    assert shown.err.lstrip("\n").startswith(f"harness: {document['error']['message']}")
    return code, shown.err, document["error"]


# Errors -----------------------------------------------------------------------------------------------------


def test_an_unknown_op_is_shown_with_a_caret(capsys: pytest.CaptureFixture[str]):
    code, shown, error = failure(capsys, "explain", "conv3x3(8) cnv | gap | linear(10)")

    message = error["message"]
    assert (code, error["kind"], error["position"]) == (4, "content", 11)
    assert re.fullmatch(r"unknown op 'cnv'; known are conv1x1, .*, res", message)
    hint = f" ({error['hint']})" if error["hint"] else ""
    assert shown == f"harness: {message}{hint}\n  conv3x3(8) cnv | gap | linear(10)\n  {' ' * 11}^\n"


@pytest.mark.parametrize("arguments", [("explain", "@absent"), ("train", NETWORK, "--recipe", "@absent")])
def test_a_file_that_cannot_be_read_is_named_once(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    _, shown, error = failure(capsys, *arguments)

    assert error["message"].endswith(" absent: No such file or directory")
    assert shown.count("absent") == 1


@pytest.mark.parametrize("text", ["", " ", "# nothing"])
def test_an_empty_network_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], text: str):
    code, shown, error = failure(capsys, "explain", text)

    assert (code, error["kind"]) == (4, "content")
    assert error["message"].startswith("the network is empty: write ops, as in ")
    assert shown.count("\n") == (1 if not text.strip() else 3)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["serach"], "No such command 'serach'; did you mean 'search'?", "see 'harness --help'"),
        (["xyzzy"], "No such command 'xyzzy'", "see 'harness --help'"),
        (["search", "--samplr"], "No such option '--samplr'. Did you mean '--sampler'?", "see 'harness search --help'"),
        (["explain"], "Missing argument 'NETWORK'", "see 'harness explain --help'"),
        (
            ["explain", NETWORK, "--budget", "0"],
            "Invalid value for '--budget': 0 is not in the range x>=1",
            "see 'harness explain --help'",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
):
    code, shown, error = failure(capsys, *arguments)

    assert (code, error["kind"], error["position"]) == (2, "usage", None)
    assert (error["message"], error["hint"]) == (message, hint)
    assert shown == f"harness: {message} ({hint})\n"


def test_a_missing_file_is_one_line(workspace: Path, capsys: pytest.CaptureFixture[str]):
    code, shown, error = failure(capsys, "explain", "@nowhere.txt")

    assert (code, error["kind"]) == (2, "usage")
    assert error["message"].startswith("cannot read the network file nowhere.txt: ")
    assert shown.count("\n") == 1


def test_no_command_greets_with_commands_that_the_program_understands(capsys: pytest.CaptureFixture[str]):
    assert run([]) == 0

    lines = capsys.readouterr().out.splitlines()
    shown = [line.split() for line in lines if line.startswith("  harness ")]
    assert [words[1] for words in shown] == ["leaderboard", "evaluate", "search"]
    assert all(words[1] in cli.COMMANDS for words in shown)


def test_the_words_of_the_greeting_stand_in_one_column_however_the_program_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HARNESS_COMMAND", "../the/other/checkout/scripts/harness")
    assert run([]) == 0

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ../")]
    assert len(lines) == 3
    [column] = {line.rindex("  ") for line in lines}
    assert column > 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str, capsys: pytest.CaptureFixture[str]):
    assert run(["completion", shell]) == 0

    assert f"_HARNESS_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "place", "found"),
    [("harness lea", 1, "plain,leaderboard"), ("harness verify --cert", 2, "plain,--certify")],
)
def test_commands_and_options_are_completed(
    typed: str, place: int, found: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in (("HARNESS_COMPLETE", "bash_complete"), ("COMP_WORDS", typed), ("COMP_CWORD", str(place))):
        monkeypatch.setenv(name if name.startswith("COMP") else f"_{name}", value)

    assert run([]) == 0

    assert capsys.readouterr().out.splitlines() == [found]


def test_memory_that_is_refused_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def greedy(*arguments: Any) -> None:
        bytearray(2**62)

    monkeypatch.setattr(explain, "document", greedy)
    monkeypatch.setattr(explain, "table", greedy)

    code, shown, error = failure(capsys, "explain", NETWORK)

    assert (code, error["kind"]) == (6, "device")
    assert shown == "harness: out of memory (where a recipe is trained, a smaller batch_size takes less)\n"


def test_a_full_disk_is_one_line_wherever_it_is_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(place: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some file")

    monkeypatch.setattr("harness.evidence.leaderboard.survey", full)

    assert run(["leaderboard"]) == 2
    assert capsys.readouterr().err == "harness: the storage fails at some file: No space left on device\n"


def test_an_internal_fault_keeps_its_trace_and_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("a slip of ours")

    monkeypatch.setattr(explain, "document", broken)
    monkeypatch.setattr(explain, "table", broken)

    assert run(["explain", NETWORK]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()[-1]) == ("", "ZeroDivisionError: a slip of ours")
    assert run(["explain", NETWORK, "--json"]) == 1
    told = capsys.readouterr()
    assert "Traceback" in told.err
    assert json.loads(told.out) == {
        "error": {
            "code": 1,
            "kind": "internal",
            "message": "ZeroDivisionError: a slip of ours",
            "position": None,
            "hint": None,
        }
    }


@pytest.mark.parametrize("raised", [KeyboardInterrupt, click.Abort])
def test_an_interrupt_leaves_with_130(
    raised: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def stop(*arguments: Any) -> None:
        raise raised

    monkeypatch.setattr(explain, "document", stop)
    monkeypatch.setattr(explain, "table", stop)

    code, shown, error = failure(capsys, "explain", NETWORK)

    assert (code, error["kind"]) == (130, "interrupted")
    assert shown.strip() == "harness: interrupted"


def test_hints_name_the_command_as_it_was_typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("HARNESS_COMMAND", "./my scripts/harness")

    assert run(["report"]) == 2
    assert capsys.readouterr().err.endswith(" ('./my scripts/harness' search --budget 20000 begins one)\n")
    assert run(["serach"]) == 2
    assert capsys.readouterr().err.endswith(" (see ''./my scripts/harness' --help')\n")


@pytest.mark.parametrize(
    "arguments", [("completion",), ("search", "--budget", "20k"), ("toy", "--target", "x"), ("report", "--nosuch")]
)
def test_what_click_refuses_is_one_sentence_in_one_line(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert run(list(arguments)) == 2

    said = capsys.readouterr().err
    assert re.fullmatch(rf"harness: \S.*[^.] \(see 'harness {arguments[0]} --help'\)\n", said)
    assert not {"integer", "float", "range"} & set(said.split())


@pytest.mark.parametrize("arguments", [(), ("spaces",), ("data",), ("bench",)])
def test_no_command_is_listed_with_half_a_sentence(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert run([*arguments, "--help"]) == 0

    _, _, commands = capsys.readouterr().out.partition("Commands:\n")
    assert commands
    assert "..." not in commands


# Help -------------------------------------------------------------------------------------------------------


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = dict(commands(cli.cli))


@pytest.mark.parametrize("path", EVERY, ids=lambda path: " ".join(path) or "harness")
def test_help_exits_with_0_and_keeps_the_lines_of_its_examples(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    assert run([*path, "--help"]) == 0

    captured = capsys.readouterr()
    shown = [line.strip() for line in captured.out.splitlines()]
    examples = [line.strip() for line in (EVERY[path].help or "").splitlines() if line.strip().startswith("harness ")]
    assert captured.err == ""
    assert set(examples) <= set(shown)
    assert "\b" not in captured.out


def test_the_main_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]):
    run(["--help"])

    text = " ".join(capsys.readouterr().out.split())
    for code in ("0 done", "1 internal", "2 usage", "3 target", "4 content", "5 data", "6 device", "130 interrupted"):
        assert code in text
    assert f"{cli.OUTPUT_CLOSED} output closed" in text


# Start-up and pipes -----------------------------------------------------------------------------------------


def test_help_loads_nothing_heavy():
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "harness", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )

    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in shown.stderr.splitlines()}
    assert "click" in loaded
    assert not loaded & {"torch", "optuna", "pandas", "matplotlib", "scipy", "lark", "sqlalchemy", "numpy"}


def test_help_takes_less_than_four_tenths_of_a_second():
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "harness", "--help"], capture_output=True, check=True, cwd=REPOSITORY)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Time on the processor: a busy machine does not count.
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert statistics.median(taken) < 0.4


def test_a_terminal_without_unicode_is_served(monkeypatch: pytest.MonkeyPatch):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "HARNESS_WORKSPACE": str(REPOSITORY)}

    def shown(*arguments: str) -> str:
        program = [sys.executable, "-m", "harness", *arguments]
        done = subprocess.run(program, capture_output=True, check=False, cwd=REPOSITORY, env=environment)
        assert b"Traceback" not in done.stderr
        return done.stdout.decode("ascii")

    # The deviation of a row has a plus-minus sign, which ASCII lacks.
    assert "99.4" in shown("leaderboard")
    error = json.loads(shown("r\N{LATIN SMALL LETTER E WITH ACUTE}port", "--json"))["error"]
    assert "\N{LATIN SMALL LETTER E WITH ACUTE}" in error["message"]
