"""Real processes on the 5,000 embedded images: few starts, since each takes a second or two."""

from __future__ import annotations

import errno
import mmap
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data.training_images import load as load_images
from harness.system.errors import ContentError, DataError, StorageError, refused_memory
from harness.training import processes
from harness.training.executor import Broken, Event, Finished, Limits, Source
from harness.training.processes import Fault, Processes
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Status
from harness.training.run import Job
from search_spaces.notation import parse_network

JOB = Job(
    architecture=parse_network("conv3x3(2, stride=2) relu | maxpool(4) | gap | linear(10)"),
    recipe=Recipe(epochs=2, batch_size=500, augmented_share=0.0),
    recipe_name="toy",
    purpose=Purpose.SEARCH,
    seed_index=0,
)
PATIENT = Limits(seconds=120)


class Crash:
    """Ends the process that unpickles it, as a fault in a library would."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (7,)


@pytest.fixture(scope="module")
def pool() -> Iterator[Processes]:
    made = Processes(Source("mnist-5k", None), PATIENT)
    made.start(1)
    yield made
    made.stop()


def events_until_idle(pool: Processes) -> list[Event]:
    events: list[Event] = []
    pool.limits = PATIENT
    while not pool.idle():
        events += pool.wait(5.0)
    return events


def test_a_worker_reports_its_result(pool: Processes):
    pool.submit(JOB)

    (finished,) = events_until_idle(pool)

    assert isinstance(finished, Finished)
    assert finished.job == JOB
    assert finished.result.status is Status.COMPLETE
    assert [epoch.epoch for epoch in finished.result.history] == [1, 2]
    assert finished.result.dataset == "mnist-5k"
    assert finished.result.validation_size == 500
    assert finished.result.environment is not None
    assert finished.result.environment.threads == 1


def test_a_worker_keeps_its_process_and_repeats_its_bits(pool: Processes):
    process, results = pool.pool[0].process.pid, []
    for _ in range(2):
        pool.submit(JOB)
        event = events_until_idle(pool)[-1]
        assert isinstance(event, Finished)
        results.append(event.result.weights_sha256)
    assert results[0] == results[1]
    assert pool.pool[0].process.pid == process


def test_what_is_wrong_with_a_job_is_its_outcome_and_not_the_end_of_the_worker(pool: Processes):
    process = pool.pool[0].process.pid
    outcomes = []
    for bad in (replace(JOB, device="cuda:99"), replace(JOB, recipe=replace(JOB.recipe, batch_size=4001))):
        pool.submit(bad)
        outcomes += events_until_idle(pool)

    assert [type(event) for event in outcomes] == [Broken, Broken]
    messages = [event.message for event in outcomes if isinstance(event, Broken)]
    assert messages[0].startswith("cuda:99 was asked for, but torch ")
    assert messages[1] == "recipe: batch_size is 4001, but there are only 4000 images to train on"
    assert {event.status for event in outcomes if isinstance(event, Broken)} == {Status.CRASHED}
    assert pool.pool[0].process.pid == process


def test_ctrl_c_is_left_to_the_coordinator(pool: Processes):
    process = pool.pool[0].process
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    pool.submit(JOB)
    assert isinstance(events_until_idle(pool)[-1], Finished)
    assert pool.pool[0].process is process


def test_a_worker_that_crashes_is_replaced_by_one_that_works(pool: Processes):
    process = pool.pool[0].process.pid
    pool.submit(replace(JOB, study=Crash()))  # type: ignore[arg-type]  # that is the crash
    events = events_until_idle(pool)
    assert [(type(event), getattr(event, "status", None)) for event in events] == [(Broken, Status.CRASHED)]
    assert isinstance(events[0], Broken)
    assert events[0].message == "the worker process ended with exit code 7"
    assert pool.pool[0].process.pid != process
    assert pool.pool[0].process.is_alive()


def test_what_a_killed_worker_has_half_written_is_removed_and_nothing_else(pool: Processes, tmp_path: Path):
    checkpoint = tmp_path / "trial-00001-search-0.pt"
    weights = tmp_path / "seed-0001.safetensors"
    half = [tmp_path / f".{path.name}.eis10mem" for path in (checkpoint, weights)]
    others = tmp_path / ".trial-00002-search-0.pt.abc"
    pool.submit(replace(JOB, checkpoint=checkpoint, weights=weights))
    for path in (*half, others):
        path.write_bytes(b"the beginning of a file")
    pool.pool[0].process.kill()
    events_until_idle(pool)
    assert [path.exists() for path in (*half, others)] == [False, False, True]


def test_a_worker_that_died_while_it_was_idle_is_replaced_before_it_gets_a_job(pool: Processes):
    process = pool.pool[0].process
    process.kill()
    process.join()
    pool.submit(JOB)
    assert isinstance(events_until_idle(pool)[-1], Finished)
    assert pool.pool[0].process is not process


def test_the_time_before_a_rung_counts_for_the_limit(pool: Processes):
    pool.submit(replace(JOB, recipe=replace(JOB.recipe, epochs=1000), spent_seconds=100.0))
    pool.limits = Limits(seconds=99.0)
    (event,) = pool.wait(0.0)
    assert isinstance(event, Broken)
    assert event.status is Status.TIMED_OUT
    assert re.fullmatch(r"still training after 10\d s; 99 allowed", event.message)


def test_a_job_over_its_time_is_stopped(pool: Processes):
    pool.submit(replace(JOB, recipe=replace(JOB.recipe, epochs=1000)))
    process = pool.pool[0].process
    pool.pool[0].since -= 100

    pool.limits = Limits(seconds=99.0)
    events = pool.wait(0.0)

    assert [(type(event), getattr(event, "message", "")) for event in events] == [
        (Broken, "still training after 100 s; 99 allowed")
    ]
    assert isinstance(events[0], Broken)
    assert events[0].status is Status.TIMED_OUT
    assert not is_running(process.pid)
    assert pool.pool[0].job is None


def test_a_job_over_its_memory_is_stopped_and_the_next_one_is_done(pool: Processes):
    pool.submit(replace(JOB, recipe=replace(JOB.recipe, epochs=1000)))
    wait_for(lambda: processes._own_memory_mb(pool.pool[0].process.pid or 0) > 20)
    pool.limits = Limits(memory_mb=1.0)
    events = pool.wait(0.0)
    (broken,) = [event for event in events if isinstance(event, Broken)]
    assert broken.status is Status.OUT_OF_MEMORY
    assert broken.message.startswith("took ")
    assert broken.message.endswith(" MiB; 1 MiB allowed")
    pool.submit(JOB)
    assert isinstance(events_until_idle(pool)[-1], Finished)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)


def is_running(process_id: int | None) -> bool:
    assert process_id is not None
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_pages_of_a_file_are_no_memory_of_the_process(tmp_path: Path):
    size = 64 * 2**20
    file = tmp_path / "library"
    file.write_bytes(bytes(size))
    before = processes._own_memory_mb(os.getpid())
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[at] for at in range(0, size, 4096)) == 0
        assert processes._own_memory_mb(os.getpid()) < before + 16
    held = bytearray(b"x" * size)
    assert processes._own_memory_mb(os.getpid()) > before + 48
    assert len(held) == size


@pytest.mark.slow
def test_workers_die_with_their_coordinator():
    program = (
        "import time\nfrom harness.training.processes import Limits, Processes, Source\n"
        "made = Processes(Source('mnist-5k', None), Limits())\n"
        "made.start(1)\n"
        "print(made.pool[0].process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    coordinator = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert coordinator.stdout is not None
    worker = int(coordinator.stdout.readline())
    # Long enough for the worker to have asked for its signal.
    wait_for(lambda: processes._own_memory_mb(worker) > 150)

    coordinator.kill()
    coordinator.communicate()

    # A dead process that nobody has waited for yet still has its number, but no memory.
    wait_for(lambda: processes._own_memory_mb(worker) == 0)
    assert processes._own_memory_mb(worker) == 0


def test_a_file_that_cannot_be_written_ends_more_than_a_job(pool: Processes, tmp_path: Path):
    (tmp_path / "file").touch()
    pool.submit(replace(JOB, checkpoint=tmp_path / "file" / "state.pt"))
    with pytest.raises(StorageError, match=r"state\.pt"):
        events_until_idle(pool)
    assert pool.pool[0].job is None


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

    monkeypatch.setattr(processes, "load", load)
    monkeypatch.setattr(processes, "die_with", lambda parent: None)
    processes._serve(Coordinator(), Source("mnist-5k", None), 0)  # type: ignore[arg-type]  # it has what is asked of a pipe

    # What went wrong is said of the first job, before which it is tried again.
    again, end = (["load"] if faults else []), "DataError" if faults == 2 else "Result"
    assert happened == ["load", "asked for a job", *again, end, "asked for a job"]


def caused_by(fault: BaseException) -> RuntimeError:
    """A fault that another one has led to."""
    error = RuntimeError(str(fault))
    error.__cause__ = fault
    return error


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (MemoryError(), Status.OUT_OF_MEMORY, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), Status.OUT_OF_MEMORY, "CUDA"),
        (caused_by(torch.OutOfMemoryError("CUDA out of memory")), Status.OUT_OF_MEMORY, "CUDA"),
        (caused_by(RuntimeError("no such kernel")), Status.CRASHED, "RuntimeError: no such kernel"),
        (ContentError("no batch"), Status.CRASHED, "no batch"),
        (ZeroDivisionError("by zero"), Status.CRASHED, "ZeroDivisionError: by zero"),
    ],
)
def test_a_fault_in_a_run_is_typed(error: Exception, status: Status, words: str, capsys: pytest.CaptureFixture[str]):
    found = processes._fault(error)
    assert isinstance(found, Fault)
    assert (found.status, words in found.message) == (status, True)
    # The log of the search shows the trace of a fault of ours.
    assert (words in capsys.readouterr().err) is (type(error).__name__ in words)


def test_real_memory_that_torch_refuses_on_a_cpu_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert refused_memory(caught.value) == str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    "error",
    [
        StorageError("cannot write x"),
        OSError(errno.ENOSPC, "No space left on device", "x"),
        caused_by(OSError(errno.EDQUOT, "Disk quota exceeded")),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_storage_that_fails_is_no_outcome_of_a_run(error: Exception):
    assert isinstance(processes._fault(error), StorageError)


@pytest.mark.parametrize("unread", [True, False])
def test_a_process_whose_coordinator_was_killed_ends_without_a_word(unread: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "die_with", lambda parent: None)
    ours, theirs = Pipe()
    if unread:
        theirs.send("what the coordinator has not read yet")
    ours.close()
    processes._serve(theirs, Source("mnist-5k", None), 0)
