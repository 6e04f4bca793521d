"""Who trains: a job is one stretch of a training, and an executor has places that do one job each.

A job goes from its checkpoint to its next rung; out come its result and its checkpoint, and whoever ran it keeps
nothing. Executors are the processes of this machine, the nodes of a cluster, and the bench's table of recorded runs on
a simulated clock, so that the code which the bench judges is the code that searches.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from harness.system.errors import HarnessError
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job

# How often a job that broke is done again; what breaks three times tells of itself, not of the machine.
RETRIES = 2
_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where the data are found."""

    dataset: str
    folder: Path | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one training may use: seconds of wall-clock, and MiB of memory of its process."""

    seconds: float = 3600.0
    memory_mb: float = 4096.0


@dataclass(frozen=True, slots=True)
class StretchEnded:
    """A job has its result; its status is ``running`` where the training has epochs left."""

    job: Job
    result: Result


@dataclass(frozen=True, slots=True)
class Broken:
    """A job has no result: it was stopped at a limit, or what trained it crashed. It may be submitted again."""

    job: Job
    status: Status
    message: str


Event = StretchEnded | Broken


class Place(NamedTuple):
    """Room for one job: what it trains, None where it is idle, and the name of its node, empty on this machine."""

    job: Job | None = None
    node: str = ""


class Executor(Protocol):
    """Several places, each with one job at a time, and the clock that they work by."""

    def start(self, count: int) -> None:
        """Make so many places; a cluster has as many as its nodes have, whatever ``count`` is."""

    def places(self) -> Sequence[Place]:
        """Return all places; those of a cluster come and go, but one is always there."""

    def idle(self) -> int:
        """Return how many places have no job."""
        return len([slot for slot in self.places() if slot.job is None])

    def submit(self, job: Job) -> None:
        """Give a job to the first idle place."""

    def wait(self, seconds: float) -> list[Event]:
        """Return what has happened, as soon as something has, after at most ``seconds``."""

    def stop(self) -> None:
        """End all jobs now; each keeps the checkpoint that it began with."""

    def now(self) -> float:
        """Return the seconds of a clock that never goes back."""
        return time.monotonic()


# Makes an executor for data, and for what one job may use.
ExecutorOf = Callable[[Source, Limits], Executor]


def run_all(
    waiting: list[Job], executor: Executor, count: int, on_event: Callable[[Event], None] = lambda event: None
) -> Generator[StretchEnded]:
    """Train what is waiting on so many places, and yield what ends as it ends.

    The caller may change the list at each one: empty it, or add the next stretch of a training. A job that breaks is
    done again.
    """
    if not waiting:
        return
    broken = Counter[tuple[str, Purpose, int]]()
    try:
        executor.start(min(count, len(waiting)))
        while waiting or any(slot.job for slot in executor.places()):
            while waiting and executor.idle():
                executor.submit(waiting.pop(0))
            for event in executor.wait(_WAIT_SECONDS):
                if isinstance(event, StretchEnded):
                    on_event(event)
                    yield event
                    continue
                job = event.job
                key = (job.architecture.hash, job.purpose, job.seed_index)
                broken[key] += 1
                if broken[key] > RETRIES:
                    message = f"seed {job.seed_index} of {key[0]} failed {broken[key]} times: {event.message}"
                    raise HarnessError(message, hint="finished trainings are kept; the same command continues")
                on_event(event)
                waiting.append(job)
    finally:
        executor.stop()
