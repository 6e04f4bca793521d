"""Worker processes that train, one run at a time each, and that may die without taking the search with them.

A worker is started once and keeps the data; jobs and results travel over a pipe. The coordinator enforces the
limits of a run from outside, because a process that hangs or swaps cannot be trusted to stop itself.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from harness.errors import DataError, HarnessError
from harness.training.result import Epoch, Result, Status
from harness.training.run import Bench, Job, execute

_CONTEXT = multiprocessing.get_context("spawn")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# prctl's option that sends a signal to a process when its parent dies (Linux, prctl(2)).
_PR_SET_PDEATHSIG = 1
# mallopt's parameters (glibc, malloc.h), and a size above every tensor of a step.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use: seconds of wall-clock and MiB of memory, of the whole worker process."""

    seconds: float = 3600.0
    memory_mb: float = 4096.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where a worker finds its data."""

    dataset: str
    folder: Path | None


@dataclass(frozen=True, slots=True)
class Progress:
    """An epoch of a job has ended."""

    job: Job
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Finished:
    """A job has its result."""

    job: Job
    result: Result


@dataclass(frozen=True, slots=True)
class Broken:
    """A job has none: its worker was stopped at a limit, or crashed."""

    job: Job
    status: Status
    message: str


Event = Progress | Finished | Broken


@dataclass(slots=True)
class Worker:
    """One worker process; ``job`` is None while it is idle."""

    process: SpawnProcess
    pipe: Connection
    source: Source
    job: Job | None = None
    since: float = field(default=0.0)


def start(source: Source, count: int) -> list[Worker]:
    """Start ``count`` workers."""
    return [start_worker(source) for _ in range(count)]


def start_worker(source: Source) -> Worker:
    """Start a process that loads the data and waits for jobs."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_work, args=(theirs, source, os.getpid()), daemon=True)
    with _deaf_to_interrupts():
        process.start()
    theirs.close()
    return Worker(process, ours, source)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block SIGINT for the processes that are started in the block; for this one it only waits until its end.

    Ctrl-C reaches the whole terminal group, but only the coordinator decides what it means.
    """
    # Its first start lifts the block again, so it comes first.
    resource_tracker.ensure_running()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def assign(worker: Worker, job: Job) -> None:
    """Give an idle worker a job; one that has died while it was idle is replaced first."""
    assert worker.job is None, "a worker does one job at a time"
    if not worker.process.is_alive():
        _replace(worker)
    worker.job, worker.since = job, time.monotonic()
    # One that dies in this very moment is found out by the next poll.
    with suppress(BrokenPipeError):
        worker.pipe.send(job)


def poll(workers: list[Worker], limits: Limits, timeout: float) -> list[Event]:
    """Return what has happened, after at most ``timeout`` seconds; broken workers are replaced in place.

    Raises:
        DataError: a worker could not load the data.
    """
    events: list[Event] = []
    busy = {worker.pipe: worker for worker in workers if worker.job is not None}
    for pipe in wait(list(busy), timeout):
        assert isinstance(pipe, Connection)
        events.extend(_receive(busy[pipe]))
    for worker in workers:
        if worker.job is not None and (broken := _over_limit(worker, limits)) is not None:
            events.append(broken)
            _replace(worker)
    return events


def abandon(worker: Worker) -> None:
    """End a worker's job now, in favour of a fresh idle process; what it had done since its checkpoint is lost."""
    _replace(worker)


def stop(workers: list[Worker]) -> None:
    """End all worker processes now; what they were doing is lost but for its checkpoint."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.pipe.close()


def resident_mb(process_id: int) -> float:
    """Return the resident memory of a process in MiB, 0 where it cannot be read."""
    try:
        pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * _PAGE_BYTES / 2**20


def _receive(worker: Worker) -> list[Event]:
    job = worker.job
    assert job is not None
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(5)
        code = worker.process.exitcode
        _replace(worker)
        killed = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return [Broken(job, Status.CRASHED, f"the worker process ended with {killed}")]
    if isinstance(message, Epoch):
        return [Progress(job, message)]
    worker.job = None
    if isinstance(message, Result):
        return [Finished(job, message)]
    if isinstance(message, DataError):
        raise message
    status, text = message
    return [Broken(job, status, text)]


def _over_limit(worker: Worker, limits: Limits) -> Broken | None:
    assert worker.job is not None
    seconds = worker.job.spent_seconds + time.monotonic() - worker.since
    if seconds > limits.seconds:
        return Broken(
            worker.job,
            Status.TIMED_OUT,
            f"still training after {seconds:.0f} s; {limits.seconds:.0f} allowed",
        )
    memory = resident_mb(worker.process.pid or 0)
    if memory > limits.memory_mb:
        return Broken(worker.job, Status.OUT_OF_MEMORY, f"took {memory:.0f} MiB; {limits.memory_mb:.0f} MiB allowed")
    return None


def _replace(worker: Worker) -> None:
    stop([worker])
    fresh = start_worker(worker.source)
    worker.process, worker.pipe, worker.job = fresh.process, fresh.pipe, None


def _work(pipe: Connection, source: Source, parent: int) -> None:
    """Serve jobs until the pipe closes; the body of a worker process."""
    _die_with(parent)
    _keep_freed_memory()
    import torch

    from harness.data.training_images import load

    torch.set_num_threads(1)
    bench: Bench | None = None
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        try:
            if bench is None:
                bench = Bench.of(load(source.dataset, source.folder, allow_download=False))
            pipe.send(execute(job, bench, on_epoch=pipe.send))
        except BrokenPipeError:
            return
        except Exception as error:
            pipe.send(_fault(error))


def _fault(error: Exception) -> DataError | tuple[Status, str]:
    """Return what the coordinator is told: data that are gone end the search, all else is the run's outcome."""
    match error:
        case DataError():
            return error
        case HarnessError():
            return Status.CRASHED, error.message
    if is_out_of_memory(error):
        return Status.OUT_OF_MEMORY, str(error).partition("\n")[0] or "out of memory"
    # Its trace goes to the log of the search, not lost.
    sys.excepthook(type(error), error, error.__traceback__)
    return Status.CRASHED, f"{type(error).__name__}: {error}"


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory was refused; on a CPU torch has no class of its own for it."""
    named = type(error).__name__ == "OutOfMemoryError"
    return named or isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _keep_freed_memory() -> None:
    """Let malloc keep what a step frees for the next one.

    glibc gives large blocks back to the kernel at once, and clearing their pages anew took a tenth of a training step.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call took effect.
    if os.getppid() != parent:
        os._exit(1)
