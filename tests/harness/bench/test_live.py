"""Real trainings: the simulated clock and a live comparison of the same seeds agree, and an answer is judged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness.bench.clock import SimulatedCrew
from harness.bench.door import Limits
from harness.bench.live import judged
from harness.bench.method import MAIN
from harness.bench.readings import Reading
from harness.bench.replay import run_repeat
from harness.bench.task import Task
from harness.bench.trace import Answer, Trace
from harness.crew import Processes
from harness.recipe import Recipe
from harness.result import Status
from harness.run import Job
from harness.seeds import Purpose
from harness.session import Effort
from harness.workers import Event, Finished, Source
from harness.workers import Limits as RunLimits
from search_spaces.notation import parse_network
from tests.harness.bench import made_up_table

RECIPE = Recipe(epochs=8, batch_size=32)
SOURCE = Source("mnist-5k", None)
EFFORT = Effort(seconds=None, trials=None, workers=2, device="cpu", limits=RunLimits(), engine="torch")
Key = tuple[str, str, int]


def task(seconds: float) -> Task:
    return Task(
        dataset="mnist-5k",
        data_hash="0" * 64,
        space=made_up_table.SPACE,
        space_name="made-up",
        recipe=RECIPE,
        recipe_name="short",
        rungs=(1, 2, 4, 8),
        budget=20_000,
        target_pct=97.0,
        seconds=seconds,
        workers=2,
    )


def key(job: Job) -> Key:
    return (parse_network(job.architecture).hash, job.purpose.value, job.seed_index)


@dataclass(slots=True)
class Recording:
    """Processes whose finished runs are kept, as a table would keep them.

    The clock begins when the first job is given: starting a process is no part of what is compared.
    """

    inner: Processes
    known: dict[Key, Reading] = field(default_factory=dict)
    ended: float = 0.0

    @property
    def jobs(self) -> Sequence[Job | None]:
        return self.inner.jobs

    def start(self, count: int) -> None:
        self.inner.start(count)
        # The first job of a process loads torch and the images.
        for place in range(count):
            self.inner.assign(place, replace(WARM, seed_index=place))
        left = count
        while left:
            left -= len([event for event in self.inner.poll(1.0) if isinstance(event, Finished)])

    def assign(self, place: int, job: Job) -> None:
        self.inner.assign(place, job)

    def poll(self, timeout: float) -> list[Event]:
        events = self.inner.poll(timeout)
        for event in events:
            if isinstance(event, Finished):
                self.keep(event)
        return events

    def keep(self, event: Finished) -> None:
        found = event.result
        looks = {epoch.epoch: epoch for epoch in found.history if epoch.validation_errors is not None}
        self.known[key(event.job)] = Reading(
            found.hash,
            found.parameters,
            found.macs,
            found.validation_size or 0,
            {number: epoch.validation_errors or 0 for number, epoch in looks.items()},
            {number: epoch.train_seconds for number, epoch in looks.items()},
            Status.COMPLETE,
        )

    def abandon(self, place: int) -> None:
        self.inner.abandon(place)

    def stop(self) -> None:
        self.inner.stop()

    def now(self) -> float:
        return time.monotonic()


WARM = Job(
    architecture="conv3x3(4) gap linear(10)",
    recipe=Recipe(epochs=1),
    recipe_name="warm",
    purpose=Purpose.TRAIN,
    seed_index=0,
    trial=0,
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the live run recorded; a run that was still going on when the time was up has no end."""

    known: dict[Key, Reading]

    def read(self, job: Job, repeat: int) -> Reading:
        found = self.known.get(key(job), Reading(key(job)[0], 0, 0, 1, {}, {}, Status.COMPLETE))
        rungs = (1, 2, 4, 8)
        return replace(
            found,
            errors={rung: found.errors.get(rung, 0) for rung in rungs},
            seconds={rung: found.seconds.get(rung, float("inf")) for rung in rungs},
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "default"])
def test_the_simulated_clock_agrees_with_a_live_run_of_the_same_seeds(name: str, tmp_path: Path):
    live = Recording(Processes(SOURCE, EFFORT.limits))
    there = run_repeat(MAIN[name], task(60.0), live, 0, 0, Limits(), tmp_path / "work", EFFORT)

    crew = SimulatedCrew(Recorded(live.known), 0, 60.0)
    replayed = run_repeat(MAIN[name], task(60.0), crew, 0, 0, Limits())

    assert there.runs > 6
    # What ran to its end: a run that ended live just before the time was up may end just after it, or the reverse.
    assert abs(replayed.runs - there.runs) <= 2
    ours, theirs = replayed.answers, there.answers
    assert [answer.hash for answer in ours][: len(theirs) - 1] == [answer.hash for answer in theirs][: len(theirs) - 1]
    for mine, real in zip(ours, theirs, strict=False):
        assert mine.seconds == pytest.approx(real.seconds, rel=0.1, abs=1.0)


@pytest.mark.slow
def test_answers_are_judged_by_the_mean_of_fresh_seeds(tmp_path: Path):
    small, large = "conv3x3(4) bn relu maxpool(4) | gap | linear(10)", "conv3x3(16) bn relu maxpool | gap | linear(10)"
    answers = tuple(
        Answer(seconds=1.0, hash=parse_network(text).hash, architecture=text, parameters=size)
        for text, size in ((small, 94), (large, 346))
    )
    trace = Trace(method="m", repeat=0, seed=0, answers=answers, networks=2, runs=2, rejected=0, ended=1.0)

    found = judged([trace], replace(task(1.0), recipe=Recipe(epochs=2), target_pct=1.0), SOURCE, EFFORT, 2, tmp_path)

    assert list(found.accuracies_pct) == sorted(parse_network(text).hash for text in (small, large))
    assert all(10.0 < value < 100.0 for value in found.accuracies_pct.values())
    assert found.smallest == 94
