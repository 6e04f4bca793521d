"""The command line when an interrupt comes at a bad moment: exit code 130 all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli

REPOSITORY = Path(__file__).parents[2]


def test_an_interrupt_while_a_string_of_code_runs_leaves_with_130(tmp_path: Path):
    (tmp_path / "interrupted.py").write_text(
        "from harness import cli\n"
        "def run(arguments):\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        return cli.INTERRUPTED\n"
        "cli.run = run\n"
        "cli.main([])\n"
    )
    folders = os.pathsep.join(map(str, (tmp_path, REPOSITORY)))

    ended = subprocess.run(
        [sys.executable, "-m", "interrupted"], env=os.environ | {"PYTHONPATH": folders}, timeout=60, check=False
    )

    assert ended.returncode == 130


def test_one_more_interrupt_while_the_first_is_told_keeps_the_exit_code(monkeypatch: pytest.MonkeyPatch):
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", interrupted)
    monkeypatch.setattr(cli, "_write_whole", lambda: None)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)

    with pytest.raises(SystemExit) as end:
        cli.main([])

    assert end.value.code == cli.INTERRUPTED
