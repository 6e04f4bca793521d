"""Who trains: worker processes, one job at a time, that may die without taking the search with them.

Processes are started once and keep the data; jobs and results travel over a pipe. The coordinator enforces the limits
of a run from outside, because a process that hangs or swaps cannot be trusted to stop itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from glob import escape
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as first_of
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from harness.data.training_images import load
from harness.system import files
from harness.system.errors import DataError, HarnessError, StorageError, refused_memory, refused_storage
from harness.system.machine import die_with, ignoring_sigint
from harness.training.executor import Broken, Event, Executor, Finished, Limits, Place, Source
from harness.training.result import Result, Status
from harness.training.run import Job, TrainingData, execute

# Ends a process whose GPU may have gone with a fault; its coordinator replaces it.
_DEVICE_LOST = 86
# mallopt's parameters (glibc, malloc.h), and a size above every tensor of a step.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 1 << 30
_CONTEXT = multiprocessing.get_context("spawn")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a job has no result, as its worker says it."""

    status: Status
    message: str


@dataclass(slots=True)
class Worker:
    """A process for one job at a time; ``job``, given at ``since`` on the monotonic clock, is None while it is idle."""

    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    since: float = 0.0


@dataclass(slots=True)
class Processes(Executor):
    """Worker processes of this machine, each for one place; one that breaks is replaced by a fresh idle one."""

    source: Source
    limits: Limits
    pool: dict[int, Worker] = field(default_factory=dict)

    def places(self) -> list[Place]:
        """Return what each process trains."""
        return [Place(worker.job) for worker in self.pool.values()]

    def start(self, count: int) -> None:
        """Start so many processes, which load the data and wait for jobs."""
        self.pool = {place: _started(self.source) for place in range(count)}

    def submit(self, job: Job) -> None:
        """Give a job to the first idle process."""
        self.assign(next(place for place, worker in self.pool.items() if worker.job is None), job)

    def assign(self, place: int, job: Job) -> None:
        """Give an idle process a job; one that is not there, or has died while it was idle, is started first."""
        if place not in self.pool:
            self.pool[place] = _started(self.source)
        elif not self.pool[place].process.is_alive():
            self.abandon(place)
        worker = self.pool[place]
        assert worker.job is None, "a worker does one job at a time"
        worker.job, worker.since = job, time.monotonic()
        # A process that dies in this very moment is found out by the next wait.
        with suppress(ConnectionError):
            worker.pipe.send(job)

    def wait(self, seconds: float) -> list[Event]:
        """Return what has happened, after at most ``seconds``; a process over a limit is replaced.

        Raises:
            DataError: a worker could not load the data.
            StorageError: a worker could not write a file.
        """
        events: list[Event] = []
        ready = first_of([worker.pipe for worker in self.pool.values() if worker.job is not None], seconds)
        for place, worker in list(self.pool.items()):
            if worker.job is not None and worker.pipe in ready:
                events.extend(self._receive(place, worker))
        for place, worker in list(self.pool.items()):
            if worker.job is not None and (fault := _over_limit(worker, worker.job, self.limits)) is not None:
                events.append(Broken(worker.job, fault.status, fault.message))
                self.abandon(place)
        return events

    def abandon(self, place: int) -> None:
        """Replace a process by a fresh idle one; what it had done since its checkpoint is lost."""
        _end([self.pool[place]])
        self.pool[place] = _started(self.source)

    def stop(self) -> None:
        """End all processes now; what they were doing is lost but for its checkpoint."""
        _end(list(self.pool.values()))

    def now(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def _receive(self, place: int, worker: Worker) -> list[Event]:
        events: list[Event] = []
        try:
            while worker.job is not None and worker.pipe.poll():
                job, said = worker.job, worker.pipe.recv()
                worker.job = None
                if isinstance(said, HarnessError):
                    raise said
                events.append(
                    Finished(job, said) if isinstance(said, Result) else Broken(job, said.status, said.message)
                )
        except (EOFError, OSError):
            assert worker.job is not None
            worker.process.join(5)
            code = worker.process.exitcode
            killed = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            events.append(Broken(worker.job, Status.CRASHED, f"the worker process ended with {killed}"))
            self.abandon(place)
        return events


def _started(source: Source) -> Worker:
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_serve, args=(theirs, source, os.getpid()), daemon=True)
    with ignoring_sigint():
        process.start()
    theirs.close()
    return Worker(process, ours)


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.pipe.close()
        # Half-written by a process that was killed. What cannot be removed now is removed at the command's next start.
        for path in (worker.job.checkpoint, worker.job.weights, worker.job.inspection) if worker.job else ():
            if path is not None:
                with suppress(OSError):
                    files.sweep(path.parent, escape(path.name))


def _own_memory_mb(process_id: int) -> float:
    # Resident memory, 0 where it cannot be read. Pages of files are left out: the libraries of CUDA alone are some GiB,
    # which the system takes back when it needs to.
    try:
        resident, of_files = map(int, Path(f"/proc/{process_id}/statm").read_text().split()[1:3])
    except (OSError, ValueError):
        return 0.0
    return (resident - of_files) * _PAGE_BYTES / 2**20


def _over_limit(worker: Worker, job: Job, limits: Limits) -> Fault | None:
    seconds = job.spent_seconds + time.monotonic() - worker.since
    if seconds > limits.seconds:
        return Fault(Status.TIMED_OUT, f"still training after {seconds:.0f} s; {limits.seconds:.0f} allowed")
    memory = _own_memory_mb(worker.process.pid or 0)
    if memory > limits.memory_mb:
        return Fault(Status.OUT_OF_MEMORY, f"took {memory:.0f} MiB; {limits.memory_mb:.0f} MiB allowed")
    return None


def _serve(pipe: Connection, source: Source, parent: int) -> None:
    """Do the jobs that come through the pipe until it closes; the body of a worker process."""
    die_with(parent)
    _keep_freed_memory()
    torch.set_num_threads(1)
    loaded: TrainingData | None = None
    # While the coordinator still looks for a first network. Where it fails, the first job tries again and says why.
    with contextlib.suppress(Exception):
        loaded = _data(source)
    while True:
        try:
            job: Job = pipe.recv()
        except (EOFError, ConnectionResetError):  # the second where a coordinator was killed with something unread
            return
        with contextlib.suppress(ConnectionError):
            try:
                loaded = loaded or _data(source)
                pipe.send(execute(job, loaded))
            except ConnectionError:
                raise
            except Exception as error:
                pipe.send(_fault(error))
                # A fault of a kernel takes the GPU's context with it: all that is asked of it from then on fails too.
                if torch.cuda.is_initialized() and not isinstance(error, HarnessError):  # type: ignore[no-untyped-call]
                    os._exit(_DEVICE_LOST)


def _data(source: Source) -> TrainingData:
    return TrainingData.of(load(source.dataset, source.folder, allow_download=False))


def _fault(error: Exception) -> DataError | StorageError | Fault:
    # Data or storage that fail end the search, all else is the run's outcome.
    if isinstance(error, DataError):
        return error
    if (full := refused_storage(error)) is not None:
        return full
    if isinstance(error, HarnessError):
        return Fault(Status.CRASHED, error.message)
    if (refused := refused_memory(error)) is not None:
        return Fault(Status.OUT_OF_MEMORY, refused)
    # Its trace goes to the log of the search, not lost.
    sys.excepthook(type(error), error, error.__traceback__)
    return Fault(Status.CRASHED, f"{type(error).__name__}: {error}")


def _keep_freed_memory() -> None:
    # glibc gives large blocks back to the kernel at once; clearing their pages anew took a tenth of a training step.
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
