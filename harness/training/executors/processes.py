"""Executor on worker processes of this machine; the search survives the death of a worker.

Each worker process runs in a separate Pebble pool, which reports its death, and keeps the data in memory. The
coordinator, the process that makes the executor, enforces the time limit, the operating system the memory limit
(``RLIMIT_DATA``).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import functools
import inspect
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path

import torch
from pebble import ProcessExpired, ProcessPool

from harness.data.training_images import load
from harness.system import clock, files
from harness.system.errors import DataError, HarnessError, StorageError, refused
from harness.system.files import HELD
from harness.system.machine import WorkerContext, check_may_start, sigint_blocked
from harness.system.user_code import OtherCode
from harness.training.executors.base import DataLocation, Executor, JobEnded, JobFailed, Limits, Slot, WorkerEvent
from harness.training.result import Status
from harness.training.run import Job, TrainingData, execute

_DEVICE_LOST = 86  # exit code of a worker whose GPU context may be lost; the worker is replaced
_BEGIN_SECONDS = 60.0  # time in which a job moves to a new process if its process ends before the job begins
_LOST_SECONDS = 300.0  # for a worker to begin a job; a stopped process (SIGSTOP) never begins
_M_TRIM_THRESHOLD = -1  # parameter of mallopt (glibc, malloc.h)
_M_MMAP_THRESHOLD = -3  # parameter of mallopt (glibc, malloc.h)
_KEPT_BYTES = 1 << 30  # threshold above the size of every tensor of a training step
_OPTIMIZER = torch.optim.Optimizer
# Never compiled by torch, and called around trainings in the native engine.
_UNCOMPILED = (_OPTIMIZER.add_param_group, _OPTIMIZER.state_dict, _OPTIMIZER.load_state_dict)


@dataclass(slots=True)
class _Worker:
    """A pool of a single process, so that locks or partial messages of a killed process affect no further worker."""

    pool: ProcessPool
    job: Job | None = None  # the present job; None if idle
    future: Future[WorkerEvent] = field(default_factory=Future)  # outcome of the present job
    has_begun: bool = False  # the process has taken the job
    since: float = 0.0  # time of the submission or, later, of the begin, on the monotonic clock


@dataclass(slots=True)
class Processes(Executor):
    """Executor on worker processes of this machine; a broken process is replaced."""

    source: DataLocation
    limits: Limits
    workers: list[_Worker] = field(default_factory=list)

    def start(self, count: int) -> None:
        """Start ``count`` processes, which load the data; UsageError if this process may not start processes."""
        check_may_start()
        for _ in range(count):
            # Idle processes have loaded the data.
            idle_pools = _IDLE_POOLS.get() or []
            index = next((index for index, (location, _) in enumerate(idle_pools) if location == self.source), None)
            self.workers.append(_Worker(_opened(self.source) if index is None else idle_pools.pop(index)[1]))

    def slots(self) -> list[Slot]:
        """Return a slot per process."""
        return [Slot(worker.job) for worker in self.workers]

    def submit(self, job: Job) -> None:
        """Give a job to the first idle process, which is replaced first if dead."""
        worker = next(worker for worker in self.workers if worker.job is None)
        if not worker.pool.active:
            self._replace(worker)
        worker.job = job
        worker.has_begun = False
        worker.since = clock.now()
        self._schedule(worker)

    def wait(self, seconds: float) -> list[WorkerEvent]:
        """Return new events after at most ``seconds``."""
        busy = [worker for worker in self.workers if worker.job is not None]
        futures = [worker.future for worker in busy]
        if not futures:
            time.sleep(seconds)
        concurrent.futures.wait(futures, seconds, concurrent.futures.FIRST_COMPLETED)
        events = map(self._event, [worker for worker in busy if worker.future.done() or self._is_late(worker)])
        return [event for event in events if event is not None]

    def stop(self) -> None:
        """End all processes immediately, except those of ``kept_processes``; checkpoints remain."""
        idle_pools = _IDLE_POOLS.get()
        workers = self.workers
        if idle_pools is not None:
            idle_pools += [(self.source, worker.pool) for worker in workers if worker.job is None]
            workers = [worker for worker in workers if worker.job is not None]
        _end([worker.pool for worker in workers])
        for job in filter(None, (worker.job for worker in workers)):
            _sweep(job)
        self.workers = []

    def _schedule(self, worker: _Worker) -> None:
        worker.future = worker.pool.schedule(_train, (HELD.get(), worker.job, self.source, self.limits.memory_mb))

    def _event(self, worker: _Worker) -> WorkerEvent | None:
        """Return the event of a job that has ended or is late, and make the worker idle, with a new process if needed.

        The result is None if the job was given to a new process.

        Raises:
            DataError, OtherCode, StorageError: Raised by the job (``train``); no further job could run.
        """
        job = worker.job
        worker.job = None
        assert job is not None, "a worker with an outcome has a job"
        status = Status.CRASHED
        try:
            return replace(worker.future.result(timeout=0), job=job)
        except ProcessExpired as error:
            # A negative exit code is the number of a signal.
            ending = f"signal {-error.exitcode}" if error.exitcode < 0 else f"exit code {error.exitcode}"
            message = f"the worker process ended with {ending}"
        except (BrokenProcessPool, TimeoutError):
            # TimeoutError: the future is not done, so ``_is_late`` is true.
            if worker.pool.active and worker.has_begun:
                status = Status.TIMED_OUT
                message = f"training exceeded the time limit of {self.limits.seconds:.0f} s"
            elif worker.pool.active:
                message = "the worker process did not start"
            elif clock.now() - worker.since < _BEGIN_SECONDS:
                # Not caused by the job.
                self._replace(worker)
                worker.job = job
                self._schedule(worker)
                return None
            else:
                message = "the worker process ended before training started"
        self._replace(worker)
        _sweep(job)
        return JobFailed(job, status, message)

    def _is_late(self, worker: _Worker) -> bool:
        assert worker.job is not None, "only a worker with a job can be late"
        # Pebble forgets a job that is scheduled just when the pool is closed.
        if not worker.pool.active:
            return True
        # The timeout of Pebble begins when a process takes the job: a stopped process never does.
        if not worker.has_begun and worker.future.running():
            worker.has_begun = True
            worker.since = clock.now()
        allowed_seconds = self.limits.seconds - worker.job.spent_seconds if worker.has_begun else _LOST_SECONDS
        return clock.now() - worker.since > allowed_seconds

    def _replace(self, worker: _Worker) -> None:
        _end([worker.pool])
        worker.pool = _opened(self.source)


# Idle pools with the data of each; None outside of ``kept_processes``.
_IDLE_POOLS: ContextVar[list[tuple[DataLocation, ProcessPool]] | None] = ContextVar("idle_pools", default=None)


@contextlib.contextmanager
def kept_processes() -> Iterator[None]:
    """Keep the idle processes of stopped executors in the block, for later executors of the block on the same data.

    A process takes seconds to start, and a search has up to three executors: choice of a recipe, search, verification.
    """
    idle_pools: list[tuple[DataLocation, ProcessPool]] = []
    token = _IDLE_POOLS.set(idle_pools)
    try:
        yield
    finally:
        _IDLE_POOLS.reset(token)
        _end([pool for _, pool in idle_pools])


def _end(pools: Sequence[ProcessPool]) -> None:
    for pool in pools:
        pool.stop()  # type: ignore[no-untyped-call]
    for pool in pools:
        pool.join()


def _opened(source: DataLocation) -> ProcessPool:
    pool = ProcessPool(max_workers=1, initializer=_begin, initargs=(source,), context=WorkerContext())
    # Ctrl-C reaches the process group of the terminal, but only the coordinator may react.
    with sigint_blocked():
        assert pool.active, "reading the property starts the pool"
    return pool


def _sweep(job: Job) -> None:
    for path in (job.checkpoint, job.weights, job.inspection):
        if path is not None:
            with contextlib.suppress(OSError):
                files.sweep(path.parent, escape(path.name))


def _begin(source: DataLocation) -> None:
    # A Python handler, as Pebble's, does not run inside the native engine.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    settle()
    # Load the data while the coordinator proposes a network. If that fails, the first job tries again and reports.
    with contextlib.suppress(Exception):
        _data(source)


def settle() -> None:
    """Configure this process for training: freed memory is kept for the next step."""
    # The first call of a method of ``_UNCOMPILED`` imports the compiler of torch (1 s, 72 MiB), in order to exempt the
    # method from compilation (``torch._disable_dynamo``). Trainings call these methods outside of compiled code.
    for method in _UNCOMPILED:
        original = inspect.unwrap(method)
        vars(original)["__dynamo_disable"] = original
    # By default glibc returns large blocks to the kernel at once; clearing new pages took a tenth of a training step.
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@functools.lru_cache(maxsize=1)
def _data(source: DataLocation) -> TrainingData:
    return TrainingData(load(source.dataset, source.folder, allow_download=False))


def _train(held: tuple[tuple[Path, int, int], ...], job: Job, source: DataLocation, memory_mb: float) -> WorkerEvent:
    """Do as ``train``; nothing is written if a folder that the coordinator holds has been moved."""
    HELD.set(held)
    return train(job, source, memory_mb)


def train(job: Job, source: DataLocation, memory_mb: float) -> WorkerEvent:
    """Run a job in this process, which keeps the data for the next job.

    Errors of the training become a ``JobFailed`` event. An unknown error after the first use of a GPU ends the process.
    The limit of memory is in MiB.

    Raises:
        DataError: The data are missing or damaged.
        OtherCode: User code has changed.
        StorageError: A file cannot be written.
    """
    try:
        training_data = _data(source)
        with _limited(job, memory_mb):
            return JobEnded(job, execute(job, training_data))
    except (DataError, OtherCode):
        raise
    except Exception as error:
        refusal = refused(error)
        if isinstance(refusal, StorageError):
            raise refusal from None
        if isinstance(error, HarnessError):
            return JobFailed(job, Status.CRASHED, error.message, type(error))
        if refusal is not None:
            return JobFailed(job, Status.OUT_OF_MEMORY, refusal.message, type(refusal))
        # Print the traceback, for the log of the search.
        sys.excepthook(type(error), error, error.__traceback__)
        # A fault in a kernel destroys the context of the GPU.
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            os._exit(_DEVICE_LOST)
        return JobFailed(job, Status.CRASHED, " ".join(f"{type(error).__name__}: {error}".split()))


@contextlib.contextmanager
def _limited(job: Job, memory_mb: float) -> Iterator[None]:
    """Limit the memory of this process in the block to ``memory_mb`` MiB, without memory reserved but never touched.

    CUDA reserves such memory, so the context of CUDA is created first. There is no limit except on Linux.

    Raises:
        MemoryError: The process uses more memory already.
    """
    if job.device.startswith("cuda"):
        torch.zeros(1, device=job.device)
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8", errors="replace").splitlines() if status.exists() else []
    facts = {name: words for name, _, words in (line.partition(":") for line in lines)}
    if not facts.keys() >= {"VmData", "RssAnon"}:  # not Linux
        yield
        return
    # Texts such as "123 kB" (proc(5)), where kB means 1,024 bytes.
    reserved_bytes, touched_bytes = (int(facts[name].split()[0]) << 10 for name in ("VmData", "RssAnon"))
    limit = int(memory_mb * 2**20)
    if touched_bytes > limit:
        raise MemoryError(
            f"the worker process uses {touched_bytes >> 20} MiB before training starts; {memory_mb:.0f} MiB allowed"
        )
    soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (max(0, reserved_bytes - touched_bytes) + limit, hard_limit))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft_limit, hard_limit))
