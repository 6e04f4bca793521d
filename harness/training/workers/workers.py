"""Worker processes that train, and that may die without taking the search with them.

A worker does one job at a time: alone in its process, or, on a GPU, as one of several lanes of it (``lanes`` is what
runs there). Processes are started once and keep the data; jobs and results travel over a pipe. The coordinator enforces
the limits of a run from outside, because a process that hangs or swaps cannot be trusted to stop itself. A lane is
asked to stop at its next step; where it does not, its process ends, and the runs beside it have crashed.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from glob import escape
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from harness.system import files
from harness.system.errors import DataError, StorageError
from harness.system.machine import deaf_to_interrupts
from harness.training.result import Epoch, Result, Status
from harness.training.run import Job
from harness.training.workers.lanes import Fault, LaneJob, Report, Stop, serve
from harness.training.workers.lanes import Source as Source  # what all who start workers need

_CONTEXT = multiprocessing.get_context("spawn")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# How long a lane may take to stop: more than its longest step and evaluation.
GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use: seconds of wall-clock, and MiB of memory of its process, so much for each lane."""

    seconds: float = 3600.0
    memory_mb: float = 4096.0


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
    """A place for one job at a time; ``job`` is None while it is idle.

    Attributes:
        since: when it was given its job, on the monotonic clock.
        lane: its number in its process.
        ticket: counts its jobs; what is reported of an earlier one is too late.
        stopping: since when its process owes an answer to a request to stop; None where it owes none.
        beside: all workers of its process, itself included.
    """

    process: SpawnProcess
    pipe: Connection
    source: Source
    job: Job | None = None
    since: float = 0.0
    lane: int = 0
    ticket: int = 0
    stopping: float | None = None
    beside: list[Worker] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Be alone where nobody is beside it."""
        self.beside = self.beside or [self]


def start(source: Source, count: int, side_by_side: int = 1) -> list[Worker]:
    """Start ``count`` workers, so many of them a process."""
    sizes = [min(side_by_side, count - first) for first in range(0, count, side_by_side)]
    return [worker for size in sizes for worker in start_process(source, size)]


def start_process(source: Source, lanes: int = 1) -> list[Worker]:
    """Start a process that loads the data and waits for jobs; return its workers."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=serve, args=(theirs, source, lanes, os.getpid()), daemon=True)
    with deaf_to_interrupts():
        process.start()
    theirs.close()
    group = [Worker(process, ours, source, lane=lane) for lane in range(lanes)]
    for worker in group:
        worker.beside = group
    return group


def assign(worker: Worker, job: Job) -> None:
    """Give an idle worker a job; a process that has died while it was idle is replaced first."""
    assert worker.job is None, "a worker does one job at a time"
    if not worker.process.is_alive() and not any(other.job for other in worker.beside):
        _replace(worker)
    worker.job, worker.since = job, time.monotonic()
    worker.ticket += 1
    # A process that dies in this very moment is found out by the next poll.
    with suppress(ConnectionError):
        worker.pipe.send(LaneJob(worker.lane, worker.ticket, job))


def poll(workers: list[Worker], limits: Limits, timeout: float) -> list[Event]:
    """Return what has happened, after at most ``timeout`` seconds; broken processes are replaced in place.

    Raises:
        DataError: a worker could not load the data.
        StorageError: a worker could not write a file.
    """
    events: list[Event] = []
    busy = {worker.pipe: worker for worker in workers if worker.job is not None or worker.stopping is not None}
    for pipe in wait(list(busy), timeout):
        assert isinstance(pipe, Connection)
        events.extend(_receive(busy[pipe]))
    for worker in workers:
        if worker.job is not None or worker.stopping is not None:
            events.extend(_enforce(worker, limits))
    return events


def abandon(worker: Worker) -> None:
    """Take a worker's job from it now; what it had done since its checkpoint is lost."""
    if len(worker.beside) == 1:
        _replace(worker)
        return
    worker.job, worker.stopping = None, worker.stopping or time.monotonic()
    with suppress(ConnectionError):
        worker.pipe.send(Stop(worker.lane, worker.ticket))


def stop(workers: list[Worker]) -> None:
    """End all processes of the workers now; what they were doing is lost but for its checkpoint."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.pipe.close()
    for job in {id(lane): lane.job for worker in workers for lane in worker.beside}.values():
        if job is not None:
            _sweep(job)


def _sweep(job: Job) -> None:
    """Remove what a process that was killed has half-written of a job's files.

    Only one worker has a job at a time. A lane that was told to stop may still write its last file; nobody wants that.
    What cannot be removed now is removed when the command starts again.
    """
    for path in (job.checkpoint, job.weights, job.inspection):
        if path is not None:
            with suppress(OSError):
                files.sweep(path.parent, escape(path.name))


def own_memory_mb(process_id: int) -> float:
    """Return the resident memory of a process in MiB, 0 where it cannot be read.

    Pages of files are left out: the libraries of CUDA alone are some GiB, which the system takes back when it needs to.
    """
    try:
        resident, of_files = map(int, Path(f"/proc/{process_id}/statm").read_text().split()[1:3])
    except (OSError, ValueError):
        return 0.0
    return (resident - of_files) * _PAGE_BYTES / 2**20


def _receive(worker: Worker) -> list[Event]:
    """Return all that a process has to say."""
    events: list[Event] = []
    try:
        while worker.pipe.poll():
            events.extend(_said(worker.beside, worker.pipe.recv()))
    except (EOFError, OSError):
        worker.process.join(5)
        code = worker.process.exitcode
        killed = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        events.extend(_broken(worker, f"the worker process ended with {killed}"))
    return events


def _said(workers: list[Worker], report: Report) -> list[Event]:
    """Return what a report means, nothing where its job was given up meanwhile."""
    worker = workers[report.lane]
    job, what = worker.job, report.what
    if job is None or report.ticket != worker.ticket:
        if not isinstance(what, Epoch):
            worker.stopping = None
        return []
    if isinstance(what, Epoch):
        return [Progress(job, what)]
    worker.job = None
    match what:
        case Result():
            return [Finished(job, what)]
        case Fault():
            return [Broken(job, what.status, what.message)]
        case DataError() | StorageError():
            raise what
        case None:
            raise AssertionError("only what was given up is stopped")


def _enforce(worker: Worker, limits: Limits) -> list[Event]:
    """Return what becomes of a worker whose job is over a limit, or that has not stopped in time."""
    now = time.monotonic()
    if worker.stopping is not None and now - worker.stopping > GRACE_SECONDS:
        return _broken(worker, f"a run beside it did not stop within {GRACE_SECONDS:.0f} s")
    if worker.job is None:
        return []
    seconds = worker.job.spent_seconds + now - worker.since
    if seconds > limits.seconds:
        message = f"still training after {seconds:.0f} s; {limits.seconds:.0f} allowed"
        event = Broken(worker.job, Status.TIMED_OUT, message)
        abandon(worker)
        return [event]
    memory, allowed = own_memory_mb(worker.process.pid or 0), limits.memory_mb * len(worker.beside)
    if memory > allowed:
        return _broken(worker, f"took {memory:.0f} MiB; {allowed:.0f} MiB allowed", Status.OUT_OF_MEMORY)
    return []


def _broken(worker: Worker, message: str, status: Status = Status.CRASHED) -> list[Event]:
    """Replace a worker's process and return what that means for all jobs in it.

    Where there are several nobody knows whose fault it was, so each has crashed, and is tried again.
    """
    jobs = [other.job for other in worker.beside if other.job is not None]
    _replace(worker)
    if len(jobs) > 1:
        status, message = Status.CRASHED, f"{message} ({len(jobs)} runs side by side)"
    return [Broken(job, status, message) for job in jobs]


def _replace(worker: Worker) -> None:
    stop([worker])
    for other, fresh in zip(worker.beside, start_process(worker.source, len(worker.beside)), strict=True):
        other.process, other.pipe, other.job, other.stopping = fresh.process, fresh.pipe, None, None
