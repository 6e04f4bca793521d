"""What a training of a network gives, read from a table: its validation errors and seconds at every rung.

A table holds two or three seeds a network, but a search may train one six times. ``RECORDED`` takes one of the
network's own runs each time, so every figure was measured, but three runs of two seeds agree too often. ``POOLED``
takes the mean of the network's runs and puts on it how much one run of a similar network lay off that network's mean,
so runs differ as much as they do in truth. In both the mean over all runs of a network is that of the table. Seconds
are always those of one of the network's own runs.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.bench.comparison import NoiseModel
from harness.bench.table import Row, Table, runs_of
from harness.data.datasets import dataset
from harness.system import statistics
from harness.training.result import Epoch, Result, Status
from harness.training.run import Job
from harness.training.workers import Event, Finished

# Networks nearest in errors that lend the spread between their seeds.
_LENDERS = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """One run.

    Attributes:
        errors: wrong validation images, by rung, of ``size``.
        seconds: of training since the start of the run, by rung.
        status: how it ends.
    """

    network_hash: str
    parameters: int
    macs: int
    size: int
    errors: Mapping[int, int]
    seconds: Mapping[int, float]
    status: Status


class Readings(Protocol):
    """Whoever knows what trainings give."""

    def read(self, job: Job, repeat: int) -> Reading:
        """Return the run of a job; the same job of the same repeat, given by its seed, is always the same run."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """What a table says of one network; ``means`` and ``offs`` are of the runs that did not diverge.

    Attributes:
        means: errors by rung, not rounded.
        offs: by how much of the mean each run lay off it, by rung, widened as few runs ask for.
    """

    rows: tuple[Mapping[int, Row], ...]
    means: Mapping[int, float]
    offs: tuple[Mapping[int, float], ...]


class TableReadings:
    """Runs as a table tells them.

    Attributes:
        known: what it says of each network, by hash.
        lenders: how far each run of the table lay off its network's mean, with that mean, ascending; ``lent`` of them
            lend to a network.
    """

    def __init__(self, table: Table, spread: NoiseModel = NoiseModel.POOLED) -> None:
        """Work out means and spreads once."""
        self.table, self.spread = table, spread
        self.size = dataset(self.table.facts.dataset).validation_size
        self.known = {key: _known(tuple(runs.values()), self.size) for key, runs in self.table.runs.items()}
        last = self.table.rungs[-1]
        lent = [(known.means[last], off) for known in self.known.values() for off in known.offs]
        # Equal means keep the table's order, which is fixed.
        self.lenders = sorted(lent, key=lambda pair: pair[0])
        seeds = max(len(known.rows) for known in self.known.values())
        self.lent = min(_LENDERS * seeds, len(self.lenders))

    def read(self, job: Job, repeat: int) -> Reading:
        """Return the run.

        Raises:
            NotInTable: the table has no such network.
        """
        network_hash = job.architecture.hash
        runs_of(self.table, network_hash)
        known = self.known[network_hash]
        rng = random.Random(f"{repeat}/{network_hash}/{job.purpose}/{job.seed_index}")
        own = rng.choice(known.rows)
        first = own[self.table.rungs[0]]
        errors = {rung: _errors(row, self.size) for rung, row in own.items()}
        if self.spread is NoiseModel.POOLED and first.status is Status.COMPLETE and self.lenders:
            off = self._lent(known.means[self.table.rungs[-1]], rng)
            errors = {rung: _whole(known.means[rung] * (1 + off[rung]), self.size) for rung in own}
        seconds = {rung: row.seconds for rung, row in own.items()}
        return Reading(network_hash, first.parameters, first.macs, self.size, errors, seconds, first.status)

    def _lent(self, errors: float, rng: random.Random) -> Mapping[int, float]:
        middle = bisect_left(self.lenders, errors, key=lambda pair: pair[0])
        low = min(max(0, middle - self.lent // 2), len(self.lenders) - self.lent)
        return self.lenders[low + rng.randrange(self.lent)][1]


def true_accuracies_pct(table: Table) -> dict[str, float]:
    """Return each network's mean validation accuracy at the last rung, over its seeds; no method sees it."""
    last = table.rungs[-1]
    return {
        key: statistics.mean([run[last].validation_accuracy_pct for run in runs.values()])
        for key, runs in table.runs.items()
    }


def _known(rows: tuple[Mapping[int, Row], ...], size: int) -> _Known:
    sound = [run for run in rows if all(row.status is Status.COMPLETE for row in run.values())]
    means = {rung: statistics.mean([float(_errors(run[rung], size)) for run in sound]) for rung in rows[0]}
    if len(sound) < 2:
        return _Known(rows, means, ())
    # Runs lie nearer to the mean of a few, of which they are a part, than to the true one (Bessel's correction).
    wider = math.sqrt(len(sound) / (len(sound) - 1))
    offs = [{rung: wider * (_errors(run[rung], size) / max(1.0, means[rung]) - 1) for rung in means} for run in sound]
    return _Known(rows, means, tuple(offs))


def _errors(row: Row, size: int) -> int:
    return _whole((1 - row.validation_accuracy_pct / 100) * size, size)


def _whole(errors: float, size: int) -> int:
    return min(size, max(0, round(errors)))


@dataclass(slots=True)
class _SimulatedWorker:
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
    workers: list[_SimulatedWorker] = field(default_factory=list)

    @property
    def jobs(self) -> dict[int, Job | None]:
        """What each worker is doing."""
        return {place: worker.job for place, worker in enumerate(self.workers)}

    def node(self, place: int) -> str:
        """Return an empty name: no machine trains."""
        return ""

    def start(self, count: int) -> None:
        """Make so many workers."""
        self.workers = [_SimulatedWorker() for _ in range(count)]

    def assign(self, place: int, job: Job) -> None:
        """Give an idle worker a job, which goes on from the seconds that its earlier part has taken."""
        reading = self.readings.read(job, self.repeat)
        last = job.until_epoch or job.recipe.epochs
        self.workers[place] = _SimulatedWorker(job, self.clock + reading.seconds[last] - job.spent_seconds)

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
    epochs, seconds = [], 0.0
    for number in range(1, last + 1):
        seconds = reading.seconds.get(number, seconds)
        epochs.append(Epoch(number, 0.0, None, seconds, reading.errors.get(number)))
    return tuple(epochs)
