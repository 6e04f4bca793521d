"""Whether the simulated clock of the bench tells the time: live searches of a table's task, and the same ones replayed.

A method searches with real trainings on this machine; what they gave and how long they took is kept. Then it is
replayed on that with the same seeds, by the simulated clock, which knows of trainings only: starting processes,
validating, asking and waiting take it no time. Both sides say when each training ended. Where the order of events
parts them, the replay may ask for a training that the live search never began, or for a rung that it never came to;
that is taken from the table, brought to the pace of this day, and counted. The pace is the seconds of the trainings
that the live search ended over those of the same networks in the table; it says as well whether the table is still true
of this machine.

    python -m benchmarks.simulated_clock mnist-bench --time 300 --repeats 2

takes that time for each method and repeat, and writes benchmarks/results/simulated-clock.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import machine
from harness.bench.methods.method import Method
from harness.bench.methods.task import SearchTask
from harness.bench.simulation.clock import SimulatedExecutor
from harness.bench.simulation.live import Running, prepared
from harness.bench.simulation.readings import Reading, Readings, TableReadings
from harness.bench.simulation.replay import run_repeat
from harness.bench.tables.table import Table, runs_of
from harness.bench.tables.table_files import read_table, table_folder
from harness.system import files, statistics
from harness.system.files import workspace
from harness.training.result import Result, Status
from harness.training.run import Job
from harness.training.workers import Event, Executor, Finished, Processes

RESULTS = Path(__file__).resolve().parent / "results" / "simulated-clock.json"
# A training: hash of the network, purpose, index of its seed.
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class End:
    """A training that ended, after so many seconds of the clock; ``trained`` of them were its own."""

    seconds: float
    key: Key
    trained: float
    status: Status


@dataclass(slots=True)
class Noting:
    """An executor, with notes of what its trainings gave and when they ended.

    Attributes:
        began: when its places were made, on its clock; ``heard`` how long after that it last heard of a training.
        trained: seconds of every training so far, of those too that wait at a rung.
    """

    inner: Executor
    began: float = 0.0
    heard: float = 0.0
    trained: dict[Key, float] = field(default_factory=dict)
    known: dict[Key, Reading] = field(default_factory=dict)
    ends: list[End] = field(default_factory=list)

    @property
    def jobs(self) -> Mapping[int, Job | None]:
        """What each place is doing."""
        return self.inner.jobs

    def node(self, place: int) -> str:
        """Return the name of a place's node."""
        return self.inner.node(place)

    def start(self, count: int) -> None:
        """Make so many places; time counts from then on, as in a search."""
        self.inner.start(count)
        self.began = self.inner.now()

    def assign(self, place: int, job: Job) -> None:
        """Give an idle place a job."""
        self.inner.assign(place, job)

    def poll(self, timeout: float) -> list[Event]:
        """Return what has happened, noted."""
        events = self.inner.poll(timeout)
        for event in events:
            if isinstance(event, Finished):
                self._note(event.job, event.result)
        return events

    def abandon(self, place: int) -> None:
        """End the job of a place."""
        self.inner.abandon(place)

    def stop(self) -> None:
        """End everything."""
        self.inner.stop()

    def now(self) -> float:
        """Return the clock."""
        return self.inner.now()

    def _note(self, job: Job, found: Result) -> None:
        self.heard = self.now() - self.began
        self.trained[key_of(job)] = found.train_seconds
        self.known[key_of(job)] = reading_of(found)
        if found.status is not Status.RUNNING:
            self.ends.append(End(self.heard, key_of(job), found.train_seconds, found.status))


@dataclass(frozen=True, slots=True)
class PacedReadings:
    """What others give, in so many times their seconds."""

    inner: Readings
    pace: float

    def read(self, job: Job, repeat: int) -> Reading:
        """Return the training of a job."""
        found = self.inner.read(job, repeat)
        return replace(found, seconds={rung: self.pace * taken for rung, taken in found.seconds.items()})


@dataclass(slots=True)
class NotedReadings:
    """What noted trainings gave, and beyond that what others would have given.

    Attributes:
        otherwise: what trainings give that the noted side never began, or not up to the rung that is asked for;
            ``borrowed`` are those.
    """

    known: dict[Key, Reading]
    otherwise: Readings
    borrowed: set[Key] = field(default_factory=set)

    def read(self, job: Job, repeat: int) -> Reading:
        """Return the training of a job."""
        key = key_of(job)
        other = self.otherwise.read(job, repeat)
        found = self.known.get(key)
        if found is None:
            self.borrowed.add(key)
            return other
        reached = max(found.seconds, default=0)
        until = job.recipe.epochs if job.until_epoch is None else job.until_epoch
        if reached < until:
            self.borrowed.add(key)
        # Where the noted side stopped, the other goes on.
        offset = found.seconds[reached] - other.seconds[reached] if reached in other.seconds else 0.0
        beyond = [rung for rung in other.seconds if rung > reached]
        return replace(
            found,
            errors={**found.errors, **{rung: other.errors[rung] for rung in beyond}},
            seconds={**found.seconds, **{rung: other.seconds[rung] + offset for rung in beyond}},
        )


def key_of(job: Job) -> Key:
    """Return which training a job belongs to; its parts between rungs are one."""
    return (job.architecture.hash, job.purpose.value, job.seed_index)


def reading_of(found: Result) -> Reading:
    """Return what a training has given so far."""
    looks = {epoch.epoch: epoch for epoch in found.history if epoch.validation_errors is not None}
    return Reading(
        found.hash,
        found.parameters,
        found.macs,
        found.validation_size or 0,
        {number: epoch.validation_errors or 0 for number, epoch in looks.items()},
        {number: epoch.train_seconds for number, epoch in looks.items()},
        Status.COMPLETE,
    )


def both(
    method: Method,
    task: SearchTask,
    running: Running,
    repeat: int,
    folder: Path,
    otherwise: Callable[[Sequence[End]], Readings],
) -> tuple[Noting, Noting, int]:
    """Return one repeat as it was live, and replayed, and how many trainings the replay had from ``otherwise``.

    Args:
        otherwise: what trainings give that the live search never began, by what it ended.
    """
    live = Noting(Processes(running.source, running.effort.limits))
    run_repeat(method, task, live, 0, repeat, 10.0, folder, running.effort)
    readings = NotedReadings(live.known, otherwise(live.ends))
    replayed = Noting(SimulatedExecutor(readings, repeat, task.seconds))
    run_repeat(method, task, replayed, 0, repeat, 10.0)
    return live, replayed, len(readings.borrowed)


def compared(live: Sequence[End], replayed: Sequence[End]) -> dict[str, Any]:
    """Return how far both clocks lie apart: the seconds at which as many trainings had ended, live over simulated.

    The first tenth is left out: after three trainings a second is much.
    """
    count = min(len(live), len(replayed))
    if count == 0:
        raise SystemExit("no training ended on both clocks; give a longer --time")
    pairs = list(zip(live[:count], replayed[:count], strict=True))
    ratios = [real.seconds / simulated.seconds for real, simulated in pairs[count // 10 :]]
    return {
        "trainings_live": len(live),
        "trainings_simulated": len(replayed),
        "alike_in_order": sum(real.key == simulated.key for real, simulated in pairs),
        "live_over_simulated": {
            "last": round(ratios[-1], 4),
            "least": round(min(ratios), 4),
            "most": round(max(ratios), 4),
        },
    }


def training_share(live: Noting, places: int) -> float:
    """Return the trainings' own seconds over all of the places', until it was last heard of one; simulated it is 1.

    Unlike the seconds of both clocks it does not hang on the order of events. What the other places had done by then
    since their last rung is left out, so it is too low by up to a training.
    """
    return round(sum(live.trained.values()) / (places * live.heard), 4)


def beside_the_table(live: Sequence[End], table: Table) -> dict[str, Any]:
    """Return the seconds of whole trainings now over those of the same networks in the table."""
    last = table.rungs[-1]
    ratios = [
        end.trained / statistics.mean([run[last].seconds for run in runs_of(table, end.key[0]).values()])
        for end in live
        if end.status is Status.COMPLETE
    ]
    return {"trainings": len(ratios), "mean_live_over_table": round(statistics.mean(ratios), 4)} if ratios else {}


def at_the_pace_of(table: Table, live: Sequence[End]) -> PacedReadings:
    """Return the table's trainings, as fast as those that ended live."""
    return PacedReadings(TableReadings(table), beside_the_table(live, table).get("mean_live_over_table", 1.0))


def main() -> None:
    """Run all methods and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--method", action="append", help="default: random, default")
    parser.add_argument("--time", type=float, default=300.0, help="seconds of a repeat")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--data", type=Path)
    words = parser.parse_args()
    table = read_table(table_folder(words.table, workspace()))
    made, running = prepared(_options(words), table)
    document: dict[str, Any] = {"machine": machine(), "table": table.facts.name, "seconds": words.time, "repeats": []}
    for repeat in range(words.repeats):
        for method in made.methods:
            with TemporaryDirectory() as folder:
                work = Path(folder) / "work"
                live, replayed, borrowed = both(
                    method, made.comparison.task, running, repeat, work, partial(at_the_pace_of, table)
                )
            found = {"method": method.name, "repeat": repeat} | compared(live.ends, replayed.ends)
            found |= {"from_the_table": borrowed, "table": beside_the_table(live.ends, table)}
            found |= {"live_training_share": training_share(live, made.comparison.task.workers)}
            document["repeats"].append(found)
            print(json.dumps(document["repeats"][-1]), flush=True)
    files.write_json(RESULTS, document)


def _options(words: argparse.Namespace) -> dict[str, Any]:
    """Return the options of ``harness bench run TABLE --live`` that make the same comparison."""
    return {
        "names": tuple(words.method or ("random", "default")),
        "programs": (),
        "ablations": False,
        "repeats": words.repeats,
        "seed": 0,
        "target": None,
        "budget": None,
        "seconds": words.time,
        "workers": 2,
        "answer_seconds": 10.0,
        "folder": words.data,
        "device": "cpu",
        "engine": "auto",
        "judge_seeds": 2,
    }


if __name__ == "__main__":
    main()
