"""What comes of the faults of worker processes, and of the signals they meet."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from harness.errors import ContentError, DataError
from harness.training import workers
from harness.training.recipe import Recipe
from harness.training.result import Status
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import Limits, Source

JOB = Job(
    architecture="gap linear(10)",
    recipe=Recipe(epochs=1),
    recipe_name="toy",
    purpose=Purpose.SEARCH,
    seed_index=0,
)


def test_data_that_are_gone_end_more_than_a_job(tmp_path: Path):
    made = workers.start(Source("mnist", tmp_path / "gone"), 1)
    try:
        workers.assign(made[0], JOB)
        with pytest.raises(DataError, match=r"^the data folder .*gone does not exist$") as caught:
            workers.poll(made, Limits(seconds=600), timeout=120.0)
        assert made[0].job is None
    finally:
        workers.stop(made)

    # The hint has travelled with the message.
    assert caught.value.hint is not None


def test_a_worker_is_deaf_to_ctrl_c_from_its_first_moment():
    """Signals come at any time; one that reached a starting interpreter would end it with a trace on the terminal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    made = workers.start(Source("mnist-5k", None), 1)
    try:
        assert made[0].process.pid is not None
        blocked = int(Path(f"/proc/{made[0].process.pid}/status").read_text().split("SigBlk:")[1].split()[0], 16)
        assert blocked >> (signal.SIGINT - 1) & 1
        assert not blocked >> (signal.SIGTERM - 1) & 1
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    finally:
        workers.stop(made)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), (Status.OUT_OF_MEMORY, "out of memory")),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 9 bytes\nmore"
            ),
            (
                Status.OUT_OF_MEMORY,
                "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 9 bytes",
            ),
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), (Status.OUT_OF_MEMORY, "CUDA out of memory. Tried")),
        (ContentError("no batch"), (Status.CRASHED, "no batch")),
        (ZeroDivisionError("by zero"), (Status.CRASHED, "ZeroDivisionError: by zero")),
    ],
    ids=["python", "torch on a CPU", "torch on a GPU", "a job that is wrong", "a fault of ours"],
)
def test_a_fault_in_a_run_is_typed(error: Exception, expected: tuple[Status, str], capsys: pytest.CaptureFixture[str]):
    assert workers._fault(error) == expected
    # Only a fault of ours is told with its type, which the log of the search shows.
    assert ("ZeroDivisionError: by zero" in capsys.readouterr().err) is isinstance(error, ZeroDivisionError)


def test_real_memory_that_torch_refuses_on_a_cpu_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)

    assert workers.is_out_of_memory(caught.value)
    assert not workers.is_out_of_memory(RuntimeError("shapes do not match"))
