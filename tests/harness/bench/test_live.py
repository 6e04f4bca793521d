"""Real trainings: the simulated clock and a live comparison of the same seeds agree, and an answer is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import simulated_clock
from harness.bench.live import judged
from harness.bench.live_run import Running
from harness.bench.method import MAIN
from harness.bench.readings import Reading
from harness.bench.task import Task
from harness.bench.trace import Answer, Trace
from harness.search.crew import Processes
from harness.search.session import Effort
from harness.training.recipe import Recipe
from harness.training.result import Status
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import Limits as RunLimits
from harness.training.workers import Source
from search_spaces.notation import parse_network
from tests.harness.bench import made_up_table

RECIPE = Recipe(epochs=8, batch_size=32)
SOURCE = Source("mnist-5k", None)
EFFORT = Effort(seconds=None, trials=None, workers=2, device="cpu", limits=RunLimits(), engine="torch")


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


WARM = Job(
    architecture="conv3x3(4) gap linear(10)",
    recipe=Recipe(epochs=1),
    recipe_name="warm",
    purpose=Purpose.TRAIN,
    seed_index=0,
    trial=0,
)


def warmed(monkeypatch: pytest.MonkeyPatch) -> Processes:
    """Return processes that have loaded torch and the images: in a minute that would be a large part."""
    crew = Processes(SOURCE, EFFORT.limits)
    crew.start(2)
    for place in range(2):
        crew.assign(place, replace(WARM, seed_index=place))
    while any(job is not None for job in crew.jobs):
        crew.poll(1.0)
    monkeypatch.setattr(Processes, "start", lambda self, count: None)
    return crew


class NeverEnding:
    """No table knows what a training gives that the live search never began."""

    def read(self, job: Job, repeat: int) -> Reading:
        rungs = range(1, job.recipe.epochs + 1)
        never = dict.fromkeys(rungs, float("inf"))
        return Reading(job.architecture, 0, 0, 1, dict.fromkeys(rungs, 0), never, Status.COMPLETE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "default"])
def test_the_simulated_clock_agrees_with_a_live_run_of_the_same_seeds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(simulated_clock, "Processes", lambda source, limits: warmed(monkeypatch))

    live, replayed, _ = simulated_clock.both(
        MAIN[name], task(60.0), Running(SOURCE, EFFORT), 0, tmp_path / "work", NeverEnding()
    )

    found = simulated_clock.compared(live.ends, replayed.ends)
    assert found["trainings_live"] > 6
    # A run that ended live just before the time was up may end just after it, or the reverse.
    assert abs(found["trainings_simulated"] - found["trainings_live"]) <= 2
    assert found["alike_in_order"] >= 0.8 * found["trainings_live"]
    assert 0.9 <= found["live_over_simulated"]["least"] <= found["live_over_simulated"]["most"] <= 1.1


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
