"""The command line when an interrupt comes at a bad moment: exit code 130 all the same."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import cli

REPOSITORY = Path(__file__).parents[2]


def ended(folder: Path, *run: str) -> subprocess.CompletedProcess[str]:
    """Return how a program has ended whose commands consist of these lines."""
    lines = "".join(f"    {line}\n" for line in run)
    program = f"from harness import cli\ndef run(arguments):\n{lines}cli.run = run\ncli.main([])\n"
    (folder / "interrupted.py").write_text(program)
    folders = os.pathsep.join(map(str, (folder, REPOSITORY)))
    return subprocess.run(
        [sys.executable, "-m", "interrupted"],
        env=os.environ | {"PYTHONPATH": folders},
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )


def test_an_interrupt_while_a_string_of_code_runs_leaves_with_130(tmp_path: Path):
    found = ended(
        tmp_path,
        "try:",
        "    exec('raise KeyboardInterrupt')",
        "except KeyboardInterrupt:",
        "    return cli.INTERRUPTED",
    )

    assert found.returncode == 130


def test_an_interrupt_in_a_callback_is_not_lost(tmp_path: Path):
    found = ended(
        tmp_path,
        "import signal, time, weakref",
        "class Thing: pass",
        "thing = Thing()",
        "known = weakref.ref(thing, lambda known: signal.raise_signal(signal.SIGTERM))",
        "del thing",
        "time.sleep(30)",
        "return 0",
    )

    assert (found.returncode, found.stderr) == (130, "")


def test_one_more_interrupt_while_the_first_is_told_keeps_the_exit_code(monkeypatch: pytest.MonkeyPatch):
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", interrupted)
    monkeypatch.setattr(cli, "_write_whole", lambda: None)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    monkeypatch.setattr("sys.unraisablehook", sys.unraisablehook)

    with pytest.raises(SystemExit) as end:
        cli.main([])

    assert end.value.code == cli.INTERRUPTED


def test_an_interrupt_while_modules_are_loaded_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    class Interrupted(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "harness.cli", Interrupted("harness.cli"))

    with pytest.raises(SystemExit) as end:
        started()()

    assert end.value.code == cli.INTERRUPTED
    assert capsys.readouterr().err == "harness: interrupted\n"


def started() -> Callable[[], None]:
    """Return what the installed program calls."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["harness"].partition(":")
    found: Callable[[], None] = getattr(importlib.import_module(module), function)
    return found
