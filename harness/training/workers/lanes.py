"""The body of a worker process: one job after another, or several side by side, each in a thread of its own: a lane.

Lanes share the data, and on a GPU one copy of them there; each has a stream of its own, so that different networks run
next to each other. Nothing random is shared: every run draws from its own generators. On a processor a process has one
lane, which is its main thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

import torch

from harness.data.training_images import load
from harness.system.errors import DataError, HarnessError, StorageError, refused_memory, refused_storage
from harness.system.machine import choose_device, die_with
from harness.training.gpu.captured_step import TURN, CaptureLost
from harness.training.result import Epoch, Result, Status
from harness.training.run import Job, TrainingData, execute
from harness.training.workers.parallelism import MOST_SIDE_BY_SIDE

# Ends a process whose GPU context is lost; its coordinator replaces it.
DEVICE_LOST = 86
# mallopt's parameters (glibc, malloc.h), and a size above every tensor of a step.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Source:
    """Where a worker finds its data."""

    dataset: str
    folder: Path | None


@dataclass(frozen=True, slots=True)
class LaneJob:
    """A job for a lane; ``ticket`` counts the lane's jobs."""

    lane: int
    ticket: int
    job: Job


@dataclass(frozen=True, slots=True)
class Stop:
    """Asks a lane to leave its jobs up to a ticket, at their next step."""

    lane: int
    ticket: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a job has no result."""

    status: Status
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a lane says of a job: an epoch that has ended, or how the job itself has; None where it was stopped."""

    lane: int
    ticket: int
    what: Epoch | Result | Fault | DataError | StorageError | None


class Stopped(Exception):
    """Raise in a lane whose job nobody wants any more."""


@dataclass(slots=True)
class Lane:
    """A thread that trains one job at a time.

    Attributes:
        unwanted: the latest ticket that is to be left; written by the main thread, read at every step.
        streams: its stream on each GPU that it has trained on.
    """

    tasks: SimpleQueue[LaneJob] = field(default_factory=SimpleQueue)
    unwanted: int = 0
    streams: dict[torch.device, torch.cuda.Stream] = field(default_factory=dict)


# What is read of a pipe whose other end was killed; the second where it has left something unread.
_GONE = (EOFError, ConnectionResetError)


def serve(pipe: Connection, source: Source, lanes: int, parent: int) -> None:
    """Do what comes through the pipe until it closes."""
    die_with(parent)
    _keep_freed_memory()
    torch.set_num_threads(1)
    if lanes == 1:
        _one_by_one(pipe, source)
        return
    # Of the 8 queues to a GPU that are the default several streams would share one, and wait for each other.
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", str(MOST_SIDE_BY_SIDE))
    _side_by_side(pipe, source, [Lane() for _ in range(lanes)])


def _one_by_one(pipe: Connection, source: Source) -> None:
    loaded: TrainingData | None = None
    # While the coordinator still looks for a first network. Where it fails, the first job tries again and says why.
    # (Lanes side by side load with their first job: no start on a GPU has been timed.)
    with contextlib.suppress(Exception):
        loaded = _data(source)
    while True:
        try:
            task: LaneJob = pipe.recv()
        except _GONE:
            return
        with contextlib.suppress(ConnectionError):
            loaded = loaded or _loaded(source, task, pipe.send)
            if loaded is not None:
                _train(task, loaded, pipe.send)


def _side_by_side(pipe: Connection, source: Source, lanes: list[Lane]) -> None:
    one_at_a_time = threading.Lock()

    def say(report: Report) -> None:
        with one_at_a_time:
            pipe.send(report)

    loaded: TrainingData | None = None
    while True:
        try:
            order: LaneJob | Stop = pipe.recv()
        except _GONE:
            return
        lane = lanes[order.lane]
        match order:
            case Stop():
                lane.unwanted = order.ticket
            case LaneJob():
                if loaded is None and (loaded := _loaded(source, order, say)) is not None:
                    for each in lanes:
                        threading.Thread(target=_go, args=(each, loaded, say), daemon=True).start()
                if loaded is not None:
                    lane.tasks.put(order)


def _go(lane: Lane, loaded: TrainingData, say: Callable[[Report], None]) -> None:
    """Train the jobs of a lane; the body of its thread."""
    # A thread does not take over the number of its parent's.
    torch.set_num_threads(1)
    while True:
        task = lane.tasks.get()
        with contextlib.suppress(ConnectionError):
            _train(task, loaded, say, lane)


def _data(source: Source) -> TrainingData:
    return TrainingData.of(load(source.dataset, source.folder, allow_download=False))


def _loaded(source: Source, task: LaneJob, say: Callable[[Report], None]) -> TrainingData | None:
    """Return the data; None where there are none, which is said."""
    try:
        return _data(source)
    except Exception as error:
        say(Report(task.lane, task.ticket, _fault(error)))
        return None


def _train(task: LaneJob, loaded: TrainingData, say: Callable[[Report], None], lane: Lane | None = None) -> None:
    """Train one job and say how it ended; what goes wrong with it is its own affair, unless the GPU is lost."""

    def report(what: Epoch | Result | Fault | DataError | StorageError | None) -> None:
        say(Report(task.lane, task.ticket, what))

    def go_on() -> None:
        if lane is not None and task.ticket <= lane.unwanted:
            raise Stopped

    with contextlib.ExitStack() as place:
        try:
            if lane is not None:
                _enter(place, lane, task.job)
            go_on()
            report(execute(task.job, loaded, on_epoch=report, on_step=None if lane is None else go_on))
        except Stopped:
            report(None)
        except ConnectionError:
            raise
        except Exception as error:
            report(_fault(error))
            if isinstance(error, CaptureLost) or _is_device_lost():
                os._exit(DEVICE_LOST)


def _enter(place: contextlib.ExitStack, lane: Lane, job: Job) -> None:
    """Make the job's GPU and the lane's stream there the current ones, and wait for the lane's turn; all are left last.

    On a processor there is nothing to do.
    """
    device = choose_device(job.device)
    if device.type != "cuda":
        return
    place.enter_context(TURN)
    place.enter_context(torch.cuda.device(device))
    if device not in lane.streams:
        lane.streams[device] = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    place.enter_context(torch.cuda.stream(lane.streams[device]))


def _is_device_lost() -> bool:
    """Return whether a fault has taken the GPU's context with it: all that is asked of it from then on fails too."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return False
    try:
        torch.cuda.current_stream().synchronize()
    except RuntimeError:
        return True
    return False


def _fault(error: Exception) -> DataError | StorageError | Fault:
    """Return what the coordinator is told: data or storage that fail end the search, all else is the run's outcome."""
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
    """Let malloc keep what a step frees for the next one.

    glibc gives large blocks back to the kernel at once, and clearing their pages anew took a tenth of a training step.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
