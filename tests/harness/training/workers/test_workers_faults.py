"""What comes of the faults of worker processes, and of the signals they meet."""

from __future__ import annotations

import errno
import signal
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import pytest
import torch

from harness.data.training_images import load as load_images
from harness.system.errors import ContentError, DataError, StorageError, refused_memory
from harness.training import workers
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Status
from harness.training.run import Job
from harness.training.workers import Fault, Limits, Source, Worker
from search_spaces.notation import parse_network

JOB = Job(
    architecture=parse_network("gap linear(10)"),
    recipe=Recipe(epochs=1),
    recipe_name="toy",
    purpose=Purpose.SEARCH,
    seed_index=0,
)


def poll_to_the_end(made: list[Worker]) -> None:
    while made[0].job is not None:
        workers.poll(made, Limits(seconds=600), timeout=120.0)


def test_data_that_are_gone_end_more_than_a_job(tmp_path: Path):
    made = workers.start(Source("mnist", tmp_path / "gone"), 1)
    try:
        workers.assign(made[0], JOB)
        with pytest.raises(DataError, match="gone") as caught:
            workers.poll(made, Limits(seconds=600), timeout=120.0)
        assert made[0].job is None
    finally:
        workers.stop(made)

    # The hint has travelled with the message.
    assert caught.value.hint is not None


def test_a_file_that_cannot_be_written_ends_more_than_a_job(tmp_path: Path):
    (tmp_path / "file").touch()
    made = workers.start(Source("mnist-5k", None), 1)
    try:
        workers.assign(made[0], replace(JOB, checkpoint=tmp_path / "file" / "state.pt"))
        with pytest.raises(StorageError, match=r"^cannot write .*state\.pt: "):
            poll_to_the_end(made)
        assert made[0].job is None
    finally:
        workers.stop(made)


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


@pytest.mark.parametrize("faults", [0, 1, 2])
def test_a_worker_loads_the_data_before_it_has_a_job(faults: int, monkeypatch: pytest.MonkeyPatch):
    happened: list[str] = []
    attempts = iter([DataError("gone")] * faults)

    def load(*arguments: object, **named: object) -> object:
        happened.append("load")
        if (fault := next(attempts, None)) is not None:
            raise fault
        return load_images("mnist-5k")

    class Coordinator:
        """Gives one job, hears how it ended, and goes away."""

        jobs = iter([JOB])

        def recv(self) -> Job:
            happened.append("asked for a job")
            if (job := next(self.jobs, None)) is None:
                raise EOFError
            return job

        def send(self, report: object) -> None:
            if not isinstance(report, Epoch):
                happened.append(type(report).__name__)

    monkeypatch.setattr(workers, "load", load)
    monkeypatch.setattr(workers, "die_with", lambda parent: None)
    workers._serve(Coordinator(), Source("mnist-5k", None), 0)  # type: ignore[arg-type]  # it has what is asked of a pipe

    # What went wrong is said of the first job, before which it is tried again.
    again, end = (["load"] if faults else []), "DataError" if faults == 2 else "Result"
    assert happened == ["load", "asked for a job", *again, end, "asked for a job"]


def caused_by(fault: BaseException) -> RuntimeError:
    """A fault that another one has led to."""
    error = RuntimeError(str(fault))
    error.__cause__ = fault
    return error


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
        (
            caused_by(torch.OutOfMemoryError("CUDA out of memory. Tried")),
            (Status.OUT_OF_MEMORY, "CUDA out of memory. Tried"),
        ),
        (caused_by(RuntimeError("no such kernel")), (Status.CRASHED, "RuntimeError: no such kernel")),
        (ContentError("no batch"), (Status.CRASHED, "no batch")),
        (ZeroDivisionError("by zero"), (Status.CRASHED, "ZeroDivisionError: by zero")),
    ],
    ids=[
        "python",
        "torch on a CPU",
        "torch on a GPU",
        "amid a step",
        "a step",
        "a job that is wrong",
        "a fault of ours",
    ],
)
def test_a_fault_in_a_run_is_typed(error: Exception, expected: tuple[Status, str], capsys: pytest.CaptureFixture[str]):
    assert workers._fault(error) == Fault(*expected)
    # Only a fault of ours is told with its type, which the log of the search shows.
    kind, _, said = expected[1].partition(": ")
    assert (f"{kind}: {said}" in capsys.readouterr().err) is (kind == type(error).__name__)


@pytest.mark.parametrize(
    "error",
    [
        StorageError("cannot write x: No space left on device"),
        OSError(errno.ENOSPC, "No space left on device", "x"),
        caused_by(OSError(errno.EDQUOT, "Disk quota exceeded")),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_storage_that_fails_is_no_outcome_of_a_run(error: Exception):
    assert isinstance(workers._fault(error), StorageError)


def test_real_memory_that_torch_refuses_on_a_cpu_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert refused_memory(caught.value) == str(caught.value).splitlines()[0]
    assert refused_memory(RuntimeError("shapes do not match")) is None


@pytest.mark.parametrize("unread", [True, False])
def test_a_process_whose_coordinator_was_killed_ends_without_a_word(unread: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "die_with", lambda parent: None)
    ours, theirs = Pipe()
    if unread:
        theirs.send("what the coordinator has not read yet")
    ours.close()
    workers._serve(theirs, Source("mnist-5k", None), 0)
