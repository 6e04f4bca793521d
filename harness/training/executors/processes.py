"""Processes of this machine that train, one job at a time, and may die without taking the search with them.

Pebble looks after them and says where one has died; their time is limited from here. They are started once and keep the
data. Memory is limited by the system, which refuses what goes beyond.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import functools
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from glob import escape
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from pebble import ProcessExpired, ProcessPool

from harness.data.training_images import load
from harness.system import files
from harness.system.errors import DataError, HarnessError, StorageError, refused
from harness.system.machine import check_may_start, die_with, ignoring_sigint
from harness.system.user_code import OtherCode
from harness.training.executors.base import Broken, Event, Executor, Limits, Place, Source, StretchEnded
from harness.training.result import Status
from harness.training.run import Job, TrainingData, execute

# Ends a process whose GPU may have gone with a fault; the pool replaces it.
_DEVICE_LOST = 86
# A process may take so long to start.
_BEGIN_SECONDS = 60.0
# One that has not begun after so long never will: a process that is stopped says nothing.
_LOST_SECONDS = 300.0
# mallopt's parameters (glibc, malloc.h), and a size above every tensor of a step.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 1 << 30


@dataclass(slots=True)
class _Desk:
    """A pool of one process: what a process that is killed may leave locked or half said is its own pool's."""

    pool: ProcessPool
    job: Job | None = None
    future: Future[Event] = field(default_factory=Future)
    has_begun: bool = False
    since: float = 0.0


@dataclass(slots=True)
class Processes(Executor):
    """Worker processes of this machine, one a desk; one that breaks is replaced by a fresh one."""

    source: Source
    limits: Limits
    desks: list[_Desk] = field(default_factory=list)

    def start(self, count: int) -> None:
        """Start so many processes, which load the data and wait for jobs; UsageError in a process that may not."""
        check_may_start()
        self.desks = [_Desk(_opened(self.source)) for _ in range(count)]

    def places(self) -> list[Place]:
        """Return what each process trains."""
        return [Place(desk.job) for desk in self.desks]

    def submit(self, job: Job) -> None:
        """Give a job to the first idle process; where it has died while it was idle, another one is started first."""
        desk = next(desk for desk in self.desks if desk.job is None)
        if not desk.pool.active:
            self._replace(desk)
        desk.job = job
        desk.has_begun = False
        desk.since = time.monotonic()
        self._schedule(desk)

    def wait(self, seconds: float) -> list[Event]:
        """Return what has happened, after at most ``seconds``."""
        futures = [desk.future for desk in self.desks if desk.job is not None]
        if not futures:
            time.sleep(seconds)
        concurrent.futures.wait(futures, seconds, concurrent.futures.FIRST_COMPLETED)
        late = [desk for desk in self.desks if desk.job is not None and (desk.future.done() or self._is_late(desk))]
        return [event for desk in late if (event := self._event(desk)) is not None]

    def stop(self) -> None:
        """End all processes now; what they were doing is lost but for its checkpoint."""
        for desk in self.desks:
            desk.pool.stop()  # type: ignore[no-untyped-call]
        for desk in self.desks:
            desk.pool.join()
            _sweep(desk.job)
        self.desks = []

    def _schedule(self, desk: _Desk) -> None:
        desk.future = desk.pool.schedule(train, (desk.job, self.source, self.limits.memory_mb))

    def _event(self, desk: _Desk) -> Event | None:
        job, desk.job = desk.job, None
        assert job is not None, "it had one"
        status = Status.CRASHED
        try:
            return replace(desk.future.result(timeout=0), job=job)
        except ProcessExpired as error:
            ending = f"signal {-error.exitcode}" if error.exitcode < 0 else f"exit code {error.exitcode}"
            message = f"the worker process ended with {ending}"
        except (BrokenProcessPool, TimeoutError):
            if desk.pool.active and desk.has_begun:
                status = Status.TIMED_OUT
                message = f"still training after the {self.limits.seconds:.0f} s that are allowed"
            elif desk.pool.active:
                message = "the worker process has not begun"
            elif time.monotonic() - desk.since < _BEGIN_SECONDS:
                # No fault of its job, so another one begins with it.
                self._replace(desk)
                desk.job = job
                self._schedule(desk)
                return None
            else:
                message = "the worker process ended before it began"
        self._replace(desk)
        _sweep(job)
        return Broken(job, status, message)

    def _is_late(self, desk: _Desk) -> bool:
        assert desk.job is not None, "it has one"
        # A job that comes just when pebble gives up a pool, whose idle process has died, is forgotten with it.
        if not desk.pool.active:
            return True
        # Pebble would count from when a process takes its job, which one that is stopped never does.
        if not desk.has_begun and desk.future.running():
            desk.has_begun, desk.since = True, time.monotonic()
        allowed = self.limits.seconds - desk.job.spent_seconds if desk.has_begun else _LOST_SECONDS
        return time.monotonic() - desk.since > allowed

    def _replace(self, desk: _Desk) -> None:
        desk.pool.stop()  # type: ignore[no-untyped-call]
        desk.pool.join()
        desk.pool = _opened(self.source)


_STARTING = threading.Lock()


class _Process(SpawnProcess):
    """A fresh process that is told neither of the caller's script, which it would run, nor of his start method.

    A script without a guard would begin its search again in every process; of loky, the method of joblib's workers, a
    fresh process knows nothing.
    """

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        thread = threading.get_ident()

        def plain(name: str) -> dict[str, Any]:
            preparation = usual(name)
            if threading.get_ident() != thread:  # it starts a process that is none of ours
                return preparation
            facts = {key: value for key, value in preparation.items() if not key.startswith("init_main")}
            return facts | {"start_method": "spawn"}

        with _STARTING:
            usual = spawn.get_preparation_data
            vars(spawn)["get_preparation_data"] = plain
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                vars(spawn)["get_preparation_data"] = usual


class _Context(SpawnContext):
    Process = _Process


def _opened(source: Source) -> ProcessPool:
    pool = ProcessPool(max_workers=1, initializer=_begin, initargs=(source, os.getpid()), context=_Context())
    # Ctrl-C reaches the whole terminal group, but only the coordinator decides what it means.
    with ignoring_sigint():
        assert pool.active, "to ask is what starts it"
    return pool


def _sweep(job: Job | None) -> None:
    # Half-written by a process that was killed. What cannot be removed now is removed at the command's next start.
    for path in (job.checkpoint, job.weights, job.inspection) if job is not None else ():
        if path is not None:
            with contextlib.suppress(OSError):
                files.sweep(path.parent, escape(path.name))


def _begin(source: Source, parent: int) -> None:
    # Pebble would let a process end in order, for which one that is in the engine has no ear.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(parent)
    settle()
    # While the coordinator still looks for a first network. Where it fails, the first job tries again and says why.
    with contextlib.suppress(Exception):
        _data(source)


def settle() -> None:
    """Make this process one that trains: one thread, and memory that was freed is kept for the next step."""
    torch.set_num_threads(1)
    # glibc gives large blocks back to the kernel at once; clearing their pages anew took a tenth of a training step.
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@functools.lru_cache(maxsize=1)
def _data(source: Source) -> TrainingData:
    return TrainingData(load(source.dataset, source.folder, allow_download=False))


def train(job: Job, source: Source, memory_mb: float) -> Event:
    """Do a job in this process, which keeps the data for the next one."""
    try:
        loaded = _data(source)
        with _limited(job, memory_mb):
            return StretchEnded(job, execute(job, loaded))
    except (DataError, OtherCode):
        raise
    except Exception as error:
        if isinstance(refusal := refused(error), StorageError):
            raise refusal from None
        if isinstance(error, HarnessError):
            return Broken(job, Status.CRASHED, error.message)
        if refusal is not None:
            return Broken(job, Status.OUT_OF_MEMORY, refusal.message)
        # Its trace goes to the log of the search, not lost.
        sys.excepthook(type(error), error, error.__traceback__)
        # A fault of a kernel takes the GPU's context with it: all that is asked of it from then on fails too.
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            os._exit(_DEVICE_LOST)
        return Broken(job, Status.CRASHED, f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _limited(job: Job, memory_mb: float) -> Iterator[None]:
    """Let this process take so many MiB at most in the block; what it has reserved and never touched is not counted.

    That includes what CUDA reserves, so its context is made first.
    """
    if job.device.startswith("cuda"):
        torch.zeros(1, device=job.device)
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    facts = {name: words for name, _, words in (line.partition(":") for line in lines)}
    if not facts.keys() >= {"VmData", "RssAnon"}:  # another system than Linux
        yield
        return
    reserved, touched = (int(facts[name].split()[0]) << 10 for name in ("VmData", "RssAnon"))
    limit = int(memory_mb * 2**20)
    if touched > limit:
        raise MemoryError(f"a process takes {touched >> 20} MiB before it trains; {memory_mb:.0f} MiB allowed")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (max(0, reserved - touched) + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
