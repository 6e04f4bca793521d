"""Compilers that are old, and compilers that are killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands.shared import options
from harness.training.native import native
from harness.training.native.engine_choice import Choice
from harness.training.native.native import LEVELS, OPTIONS, SOURCES, EngineUnavailable, compiler
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
def test_a_compiler_that_is_killed_once_is_run_again_one_unit_at_a_time(
    killed: str,
    library: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    first = f"mkdir {tmp_path}/first 2>/dev/null && {{ {killed}; }}"
    noted = f'echo "begin $*" >> {tmp_path}/runs; sleep 0.01; trap "echo end $* >> {tmp_path}/runs" EXIT'
    monkeypatch.setenv("CXX", str(copying(tmp_path / "killed", library, f"{first}\n{noted}")))
    monkeypatch.setattr(native, "core_count", lambda: 2)
    monkeypatch.setattr(native, "level", lambda: LEVELS[-2])

    engine = native.load()

    # Not an engine for another instruction set, as if the compiler did not know this one.
    assert engine.name.startswith("native avx2 ")
    assert engine.skipped == ()
    assert capsys.readouterr().err.startswith("harness: compiling the engine")
    runs = (tmp_path / "runs").read_text().splitlines()
    [second] = re.findall(r"-o (\S+\.build-[\w-]+)/", runs[-1])
    own = [run.split()[0] for run in runs if second in run]
    assert own == ["begin", "end"] * (1 + len(list(native.SOURCES.glob("*.cpp"))))


@pytest.mark.parametrize("killed", KILLED)
def test_a_compiler_that_is_killed_twice_is_said(
    killed: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = f'case "$*" in *--version*) ;; *) echo run >> {tmp_path}/runs; {killed};; esac'
    monkeypatch.setenv("CXX", str(program(tmp_path / "killed", text)))
    monkeypatch.setattr(native, "core_count", lambda: 1)

    with pytest.raises(EngineUnavailable, match="was killed, twice"):
        native.load()
    assert (tmp_path / "runs").read_text().split() == ["run", "run"]


def test_nothing_of_a_compiler_outlives_a_process_that_is_killed(cache: Path, tmp_path: Path):
    # Its child, as cc1plus is one of g++.
    text = f'case "$*" in *--version*) ;; *) sleep 300 & echo $! > {tmp_path}/child; wait;; esac'
    compiler = program(tmp_path / "slow", text)
    code = "from harness.training.native.native import load; load()"
    ours = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, "CXX": str(compiler)},
        stderr=subprocess.DEVNULL,
    )
    child = tmp_path / "child"
    assert within(120, lambda: child.exists() and child.read_text().strip() != "")

    ours.kill()
    ours.wait()

    assert within(60, lambda: not is_alive(int(child.read_text())))


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
    # A unit's compiler has a child, as g++ has cc1plus, and both keep files in the folder of the build.
    text = f'case "$*" in *--version*) ;; *) sleep 300 & echo "$$ $!" >> {tmp_path}/compilers; wait;; esac'
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
