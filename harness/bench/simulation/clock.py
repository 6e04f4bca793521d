"""Workers that train by looking up: an executor on a simulated clock.

A job takes the seconds that its training took when it was recorded. Nothing else takes time: neither asking a method
nor looking at the validation images.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.bench.simulation.readings import Reading, Readings
from harness.training.result import Epoch, Result, Status
from harness.training.run import Job
from harness.training.workers import Event, Finished


@dataclass(slots=True)
class SimulatedWorker:
    """One place of the executor; ``until`` is when its job ends, in seconds of the clock."""

    job: Job | None = None
    until: float = 0.0


@dataclass(slots=True)
class SimulatedExecutor:
    """Workers and their clock, which stops at ``end``.

    Attributes:
        repeat: seed of the repeat.
    """

    readings: Readings
    repeat: int
    end: float
    clock: float = 0.0
    workers: list[SimulatedWorker] = field(default_factory=list)

    @property
    def jobs(self) -> dict[int, Job | None]:
        """What each worker is doing."""
        return {place: worker.job for place, worker in enumerate(self.workers)}

    def node(self, place: int) -> str:
        """Return an empty name: no machine trains."""
        return ""

    def start(self, count: int) -> None:
        """Make so many workers."""
        self.workers = [SimulatedWorker() for _ in range(count)]

    def assign(self, place: int, job: Job) -> None:
        """Give an idle worker a job, which goes on from the seconds that its earlier part has taken."""
        reading = self.readings.read(job, self.repeat)
        last = job.until_epoch or job.recipe.epochs
        self.workers[place] = SimulatedWorker(job, self.clock + reading.seconds[last] - job.spent_seconds)

    def poll(self, timeout: float) -> list[Event]:
        """Go on to the next end of a job and return it, or to the end of the clock where that comes first.

        Who does not wait hears nothing: the clock stands still.
        """
        if not timeout:
            return []
        busy = [worker for worker in self.workers if worker.job is not None]
        next_end = min((worker.until for worker in busy), default=self.end)
        self.clock = min(next_end, self.end)
        events: list[Event] = []
        for worker in busy:
            # Jobs that end at the same moment end in the order of their workers.
            if worker.until <= self.clock and worker.job is not None:
                job, worker.job = worker.job, None
                events.append(Finished(job, result_of(job, self.readings.read(job, self.repeat))))
        return events

    def abandon(self, place: int) -> None:
        """Clear a worker."""
        self.workers[place].job = None

    def stop(self) -> None:
        """Clear all workers."""
        self.workers = []

    def now(self) -> float:
        """Return the clock."""
        return self.clock


def result_of(job: Job, reading: Reading) -> Result:
    """Return the result that the job's training would have given."""
    last = job.until_epoch or job.recipe.epochs
    status = Status.RUNNING if last < job.recipe.epochs else reading.status
    return Result(
        architecture=job.architecture,
        hash=reading.network_hash,
        parameters=reading.parameters,
        macs=reading.macs,
        recipe=job.recipe,
        recipe_name=job.recipe_name,
        recipe_hash="",
        dataset="",
        purpose=job.purpose,
        seed_index=job.seed_index,
        seed=0,
        status=status,
        message="the loss was not finite" if status is Status.DIVERGED else "",
        history=_history(reading, last),
        validation_errors=reading.errors[last],
        validation_size=reading.size,
        train_seconds=reading.seconds[last],
        trial=job.trial,
        decisions=job.decisions,
    )


def _history(reading: Reading, last: int) -> tuple[Epoch, ...]:
    """Return the epochs of a run; only those that are rungs were looked at and timed."""
    epochs, seconds = [], 0.0
    for number in range(1, last + 1):
        seconds = reading.seconds.get(number, seconds)
        epochs.append(Epoch(number, 0.0, None, seconds, reading.errors.get(number)))
    return tuple(epochs)
