"""Executors: the interface of the workers that train, and the loop that gives jobs to an executor.

A job is a part of a training, from a checkpoint to the next rung or to the end. An executor has slots that run a job
each; a job leaves only a result and files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from harness.system import clock
from harness.system.errors import HarnessError
from harness.system.files import check_held
from harness.training.result import Purpose, Result, Status

if TYPE_CHECKING:
    from harness.training.run import Job  # torch, which a user-defined method of the bench does not need

RETRIES = 2  # of a failed job; a third failure is a fault of the job, not of the machine
_WAIT_SECONDS = 0.5  # longest wait for events


@dataclass(frozen=True, slots=True)
class DataLocation:
    """Name of a data set, and the folder of the files; None for the cache."""

    dataset: str
    folder: Path | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a training."""

    seconds: float = 3600.0  # wall-clock time of all jobs of the training together
    memory_mb: float = 4096.0  # memory of the process, MiB


@dataclass(frozen=True, slots=True)
class JobEnded:
    """Event: a job has ended with a result, ``running`` if the training has epochs left."""

    job: Job
    result: Result


@dataclass(frozen=True, slots=True)
class JobFailed:
    """Event: a job has reached a limit or crashed, without a result. The job may be submitted again."""

    job: Job
    status: Status  # ``timed_out``, ``out_of_memory`` or ``crashed``
    message: str
    error_type: type[HarnessError] = HarnessError  # raised if the failure ends the operation


WorkerEvent = JobEnded | JobFailed


class Slot(NamedTuple):
    """A slot for a job."""

    job: Job | None = None  # the present job; None if idle
    node: str = ""  # cluster node; empty on this machine


class Executor(Protocol):
    """Interface of an executor: slots with a job each, and a clock.

    ``submit`` and ``wait`` may raise a HarnessError if no further job can run, such as DataError for missing data.
    """

    def start(self, count: int) -> None:
        """Make ``count`` slots; a cluster ignores ``count`` and has the slots of the nodes."""

    def slots(self) -> Sequence[Slot]:
        """Return all slots, at least one; the slots of a cluster come and go."""

    def idle(self) -> int:
        """Return the number of slots without a job."""
        return len([slot for slot in self.slots() if slot.job is None])

    def submit(self, job: Job) -> None:
        """Give a job to the first idle slot."""

    def wait(self, seconds: float) -> list[WorkerEvent]:
        """Return new events as soon as there are any, or an empty list after ``seconds``."""

    def stop(self) -> None:
        """Stop all jobs immediately; each keeps the checkpoint from which the job began."""

    def now(self) -> float:
        """Return the time in seconds; the bench has a simulated clock."""
        return clock.now()


ExecutorFactory = Callable[[DataLocation, Limits], Executor]


def feed(
    executor: Executor, next_job: Callable[[], Job | None], is_over: Callable[[], bool] = lambda: False
) -> Generator[list[WorkerEvent]]:
    """Give jobs to the idle slots of a started executor, and yield the events after each wait.

    The loop ends when no job is running and ``next_job`` has none left.

    Args:
        executor: The caller starts and stops it.
        next_job: Called for each idle slot; returns None if there is no job at the moment.
        is_over: Called before each round; True ends the loop at once.

    Raises:
        StorageError: A folder in use was moved or removed (``files.held``).
    """
    while not is_over():
        check_held()
        has_submitted = False
        for _ in range(executor.idle()):
            if (job := next_job()) is not None:
                executor.submit(job)
                has_submitted = True
                # The choice of the next job may take seconds, so the events come first.
                yield executor.wait(0.0)
        is_busy = any(slot.job is not None for slot in executor.slots())
        if not is_busy and not has_submitted:
            return
        # Collect the results of short jobs without waiting.
        yield executor.wait(_WAIT_SECONDS if is_busy else 0.0)


def run_all(
    queue: list[Job],
    executor: Executor,
    count: int,
    on_event: Callable[[WorkerEvent], None] = lambda event: None,
    on_wait: Callable[[], None] = lambda: None,
    is_over: Callable[[], bool] = lambda: False,
) -> Generator[JobEnded]:
    """Run the jobs of a queue on ``count`` slots, and yield each result as soon as the job ends.

    Args:
        queue: Each job is removed when it starts, and appended again if it failed. The caller may empty or extend the
            list after each result.
        executor: Started and stopped here.
        on_event: Called with each result, and with each failure before a retry.
        on_wait: Called after each wait for events, at least every ``_WAIT_SECONDS``.
        is_over: Called before each round (``feed``); True stops the running jobs.

    Raises:
        HarnessError: A job failed more than ``RETRIES`` times; of the class ``JobFailed.error_type``.
    """
    if not queue:
        return
    failures = Counter[tuple[str, Purpose, int]]()  # by network, purpose and index of the seed
    try:
        executor.start(min(count, len(queue)))
        for events in feed(executor, lambda: queue.pop(0) if queue else None, is_over):
            on_wait()
            for event in events:
                if isinstance(event, JobEnded):
                    on_event(event)
                    yield event
                    continue
                job = event.job
                network_hash = job.architecture.hash
                key = (network_hash, job.purpose, job.seed_index)
                failures[key] += 1
                if failures[key] > RETRIES:
                    message = f"seed {job.seed_index} of {network_hash} failed {failures[key]} times: {event.message}"
                    raise event.error_type(message, hint="finished trainings are kept; repeat the command to continue")
                on_event(event)
                queue.append(job)
    finally:
        executor.stop()
