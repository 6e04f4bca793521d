"""Tests of commands that are run side by side: how many at once, and that all end when one fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.training.native.compilation import run_side_by_side
from tests.harness.training.native.test_native_compiler import is_alive, within


def shell(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


def until(path: Path) -> str:
    return f"while [ ! -e {path} ]; do sleep 0.01; done"


def test_commands_run_side_by_side(tmp_path: Path):
    # Each waits for the other.
    first, second = tmp_path / "first", tmp_path / "second"

    run_side_by_side(
        [shell(f"touch {first}; {until(second)}"), shell(f"touch {second}; {until(first)}")], 2, 60, str(tmp_path)
    )


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_run_at_once_than_are_allowed(at_once: int, tmp_path: Path):
    # Each notes how many are there when it begins.
    here, seen = tmp_path / "here", tmp_path / "seen"
    here.mkdir()
    command = shell(f"touch {here}/$$; ls {here} | wc -l >> {seen}; sleep 0.05; rm {here}/$$")

    run_side_by_side([command] * 5, at_once, 60, str(tmp_path))

    numbers = [int(word) for word in seen.read_text().split()]
    assert len(numbers) == 5
    assert max(numbers) <= at_once


def test_one_that_fails_ends_the_others(tmp_path: Path):
    # The other one has a child, as g++ has cc1plus.
    child, third = tmp_path / "child", tmp_path / "third"
    busy = shell(f"sleep 300 & echo $! > {tmp_path}/new; mv {tmp_path}/new {child}; wait")
    failing = shell(f"{until(child)}; echo 'error: no' >&2; exit 3")

    with pytest.raises(subprocess.CalledProcessError) as caught:
        run_side_by_side([busy, failing, shell(f"touch {third}")], 2, 60, str(tmp_path))

    assert (caught.value.returncode, caught.value.stderr, caught.value.cmd) == (3, "error: no\n", failing)
    assert within(60, lambda: not is_alive(int(child.read_text())))
    assert not third.exists()


def test_what_takes_too_long_is_ended(tmp_path: Path):
    child = tmp_path / "child"

    with pytest.raises(subprocess.TimeoutExpired):
        run_side_by_side([shell(f"echo $$ > {child}; exec sleep 300"), shell("true")], 2, 3, str(tmp_path))

    assert within(60, lambda: not is_alive(int(child.read_text())))


def test_a_command_that_cannot_be_started_ends_the_others(tmp_path: Path):
    child = tmp_path / "child"
    commands = (
        command for command in (shell(f"echo $$ > {child}; exec sleep 300"), shell(until(child)), ["/no/such/program"])
    )

    with pytest.raises(FileNotFoundError):
        run_side_by_side(commands, 2, 60, str(tmp_path))

    assert within(60, lambda: not is_alive(int(child.read_text())))
