"""``harness bench run`` and Ctrl-C, which reaches the processes that replay too, however far they have come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness.bench import table_files
from tests.harness.bench import made_up_table

REPOSITORY = Path(__file__).parents[3]
PATIENCE = 60.0
linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux who has started whom")


def children(pid: int) -> list[str]:
    """Return the command lines of the processes that one has started."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/cmdline").read_text() for child in pids]


@pytest.fixture
def comparison(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A long comparison whose two processes have just been started."""
    table_files.write_table(tmp_path / "made-up", made_up_table.table())
    words = ["bench", "run", f"{tmp_path}/made-up", "--method", "random", "--repeats", "100000", "--processes", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=tmp_path,
        env=os.environ | {"HARNESS_WORKSPACE": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # As in a terminal, where the tests themselves may run in the background, deaf to it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        until = time.monotonic() + PATIENCE
        while sum("spawn_main" in command for command in children(process.pid)) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, "no process was started"
            time.sleep(0.01)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@linux
@pytest.mark.parametrize("seconds", [(0.3,), (1.0,), (4.0, 0.5, 0.5)])
def test_interrupts_at_any_time_are_one_line_and_leave_no_process(
    seconds: tuple[float, ...], comparison: subprocess.Popen[str]
):
    # At first they are loading what they need.
    for wait in seconds:
        time.sleep(wait)
        with suppress(ProcessLookupError):
            os.killpg(comparison.pid, signal.SIGINT)
    # This waits for all that hold the other end, those that were started too.
    said = comparison.communicate(timeout=PATIENCE)[1]

    assert comparison.returncode == 130
    assert said.splitlines()[-2] == "error: interrupted"
    assert "Traceback" not in said


@pytest.mark.slow
@linux
def test_a_kill_leaves_no_process(comparison: subprocess.Popen[str]):
    time.sleep(4.0)
    comparison.kill()

    comparison.communicate(timeout=PATIENCE)
