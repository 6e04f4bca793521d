"""Who trains: processes of this machine on its own clock, the nodes of a cluster, or what stands for them.

The bench puts a table of recorded trainings here, so that the code it judges is the code that searches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.training import workers
from harness.training.run import Job
from harness.training.workers import Event, Limits, Source, Worker


class Executor(Protocol):
    """Several places, each with one job at a time, and the clock that they work by."""

    @property
    def jobs(self) -> Mapping[int, Job | None]:
        """What each place is doing, by its number; None where it is idle.

        A place keeps its number as long as it is there. The nodes of a cluster, and their places, come and go.
        """
        ...

    def node(self, place: int) -> str:
        """Return the name of the cluster's node that a place is on; empty on this machine, and while it has none."""
        ...

    def start(self, count: int) -> None:
        """Make so many places; a cluster has as many as its nodes have, whatever ``count`` is."""
        ...

    def assign(self, place: int, job: Job) -> None:
        """Give an idle place a job."""
        ...

    def poll(self, timeout: float) -> list[Event]:
        """Return what has happened, after at most ``timeout`` seconds."""
        ...

    def abandon(self, place: int) -> None:
        """End the job of a place now."""
        ...

    def stop(self) -> None:
        """End everything now."""
        ...

    def now(self) -> float:
        """Return the seconds of a clock that never goes back."""
        ...


@dataclass(slots=True)
class Processes:
    """Worker processes of this machine."""

    source: Source
    limits: Limits
    pool: list[Worker] = field(default_factory=list)

    @property
    def jobs(self) -> dict[int, Job | None]:
        """What each process trains."""
        return {place: worker.job for place, worker in enumerate(self.pool)}

    def node(self, place: int) -> str:
        """Return an empty name: all places are on this machine."""
        return ""

    def start(self, count: int) -> None:
        """Start so many processes."""
        self.pool = workers.start(self.source, count)

    def assign(self, place: int, job: Job) -> None:
        """Give an idle process a job."""
        workers.assign(self.pool[place], job)

    def poll(self, timeout: float) -> list[Event]:
        """Return what has happened; a process over a limit is replaced.

        Raises:
            DataError: a process could not load the data.
        """
        return workers.poll(self.pool, self.limits, timeout)

    def abandon(self, place: int) -> None:
        """End a job in favour of a fresh idle process."""
        workers.abandon(self.pool[place])

    def stop(self) -> None:
        """End all processes."""
        workers.stop(self.pool)

    def now(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()


# Makes an executor for data, and for what one job may use.
ExecutorOf = Callable[[Source, Limits], Executor]
