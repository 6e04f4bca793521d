"""Compilers that are old, and compilers that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands.shared import options
from harness.training.native import native
from harness.training.native.native import LEVELS, OPTIONS, SOURCES, Choice, EngineUnavailable, compiler
from tests.harness.training.native.test_native import REPOSITORY, UNKNOWN, cache, copying, library, program

__all__ = ["cache", "library"]


def test_the_instruction_sets_that_were_skipped_are_said(
    library: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(native, "level", lambda: LEVELS[-2])
    monkeypatch.setenv("CXX", str(copying(tmp_path / "old", library, UNKNOWN)))
    engine = native.load()
    assert engine.skipped == (f"without avx2: {tmp_path}/old fails: error: bad value for -march",)
    capsys.readouterr()
    options.say_engine(Choice(engine))
    assert capsys.readouterr().err == f"harness: the engine is built {engine.skipped[0]}\n"


@pytest.mark.parametrize("name", ["pointwise", "program"])
def test_every_op_and_every_activation_has_its_case(name: str):
    source = SOURCES / f"{name}.cpp"
    # With a default the compiler would not tell.
    assert "default:" not in source.read_text(encoding="utf-8")
    options = [option for option in OPTIONS if option != "-shared"]
    checked = subprocess.run(
        [*compiler(), *options, "-fsyntax-only", "-Werror=switch", source], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr


# How a compiler comes to be killed: its driver, or a program that the driver has started.
KILLED = ["kill -KILL $$", 'echo "g++: fatal error: Killed signal terminated program cc1plus" >&2; exit 1']


@pytest.mark.parametrize("killed", KILLED)
def test_a_compiler_that_is_killed_is_said_and_not_run_again(
    killed: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = f'case "$*" in *--version*) ;; *) echo run >> {tmp_path}/runs; {killed};; esac'
    monkeypatch.setenv("CXX", str(program(tmp_path / "killed", text)))
    with pytest.raises(EngineUnavailable, match="was killed"):
        native.load()
    assert (tmp_path / "runs").read_text().split() == ["run"]


# A command that asks for the engine and nothing else: others load torch first, which takes seconds.
# Python hears no Ctrl-C where its parent ignores it, as what a shell runs in the background does.
LOADING = """
import click, signal
from harness import cli
from harness.training.native.native import load
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.cli = click.command()(lambda: load())
cli.main([])
"""


def test_an_interrupt_ends_the_compilers_and_is_one_line(cache: Path, tmp_path: Path):
    text = f'case "$*" in *--version*) ;; *) echo $$ >> {tmp_path}/compilers; exec sleep 300;; esac'
    compiler = program(tmp_path / "slow", text)
    ours = subprocess.Popen(
        [sys.executable, "-c", LOADING],
        cwd=REPOSITORY,
        env={**os.environ, "CXX": str(compiler)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # As a shell does: Ctrl-C reaches the whole group.
        process_group=0,
    )
    compilers = tmp_path / "compilers"
    assert within(120, lambda: compilers.exists() and compilers.read_text().endswith("\n"))

    os.killpg(ours.pid, signal.SIGINT)
    try:
        _, said = ours.communicate(timeout=60)
    finally:
        ours.kill()

    assert ours.returncode == 130
    # Click ends the line on which a terminal shows ^C.
    assert said.split("\n") == [native._COMPILING, "", "harness: interrupted", ""]
    assert within(60, lambda: not any(is_alive(int(number)) for number in compilers.read_text().split()))
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


def is_alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
