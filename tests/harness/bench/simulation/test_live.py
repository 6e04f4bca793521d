"""Real trainings: the simulated clock and a live comparison of the same seeds agree, and an answer is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import simulated_clock
from harness.bench.methods.method import MAIN
from harness.bench.methods.task import SearchTask
from harness.bench.results.trace import Answer, Trace
from harness.bench.simulation.live import Running, judged
from harness.bench.simulation.readings import Reading
from harness.search.effort import Effort
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Status
from harness.training.run import Job
from harness.training.workers import Finished, Processes, Source
from harness.training.workers import Limits as RunLimits
from search_spaces.notation import parse_network

SPACE = """width = {4, 6, 8, 12};
stage(channels) = conv3x3(channels) bn relu;
net = conv3x3(width, stride=2) bn relu | stage(width) | maxpool | stage({6, 8, 12, 16}) | gap | linear(10);
"""
MIDDLE = "conv3x3(6, stride=2) bn relu conv3x3(8) bn relu | maxpool | conv3x3(12) bn relu | gap | linear(10)"
RECIPE = Recipe(epochs=8, batch_size=64)
# In the time of a search, as fast as the machine is just then.
TRAININGS = 14
SOURCE = Source("mnist-5k", None)
EFFORT = Effort(seconds=None, trials=None, workers=2, device="cpu", limits=RunLimits(), engine="torch")


def task(seconds: float) -> SearchTask:
    return SearchTask(
        dataset="mnist-5k",
        data_hash="0" * 64,
        space=SPACE,
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
    architecture=parse_network(MIDDLE),
    recipe=RECIPE,
    recipe_name="short",
    purpose=Purpose.TRAIN,
    seed_index=0,
    trial=0,
)


def warmed() -> tuple[Processes, float]:
    """Return processes that have loaded torch and the images, which takes long, and the seconds of a training."""
    executor = Processes(SOURCE, EFFORT.limits)
    executor.start(2)
    took: list[float] = []
    for recipe in (Recipe(epochs=1), RECIPE):
        for place in range(2):
            executor.assign(place, replace(WARM, recipe=recipe, seed_index=place))
        while any(job is not None for job in executor.jobs.values()):
            took += [event.result.train_seconds for event in executor.poll(1.0) if isinstance(event, Finished)]
    return executor, sum(took[2:]) / 2


class NeverEnding:
    """No table knows what a training gives that the live search never began."""

    def read(self, job: Job, repeat: int) -> Reading:
        rungs = range(1, job.recipe.epochs + 1)
        never = {rung: 1e9 * rung for rung in rungs}
        return Reading(job.architecture.hash, 0, 0, 1, dict.fromkeys(rungs, 0), never, Status.COMPLETE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "default"])
def test_the_simulated_clock_agrees_with_a_live_run_of_the_same_seeds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    executor, seconds = warmed()
    monkeypatch.setattr(simulated_clock, "Processes", lambda source, limits: executor)
    monkeypatch.setattr(Processes, "start", lambda self, count: None)

    live, replayed, _ = simulated_clock.both(
        MAIN[name],
        task(seconds * TRAININGS / 2),
        Running(SOURCE, EFFORT),
        0,
        tmp_path / "work",
        lambda ends: NeverEnding(),
    )

    # The default leaves many at a rung; those have no end.
    assert len(live.ends) > TRAININGS / 3
    found = simulated_clock.compared(live.ends, replayed.ends)
    # A run that ended live just before the time was up may end just after it, or the reverse.
    assert abs(found["trainings_simulated"] - found["trainings_live"]) <= 2
    assert found["alike_in_order"] >= 0.8 * found["trainings_live"]
    assert 0.9 <= found["live_over_simulated"]["least"] <= found["live_over_simulated"]["most"] <= 1.1


@pytest.mark.slow
def test_answers_are_judged_by_the_mean_of_fresh_seeds(tmp_path: Path):
    small, large = "conv3x3(4) bn relu maxpool(4) | gap | linear(10)", "conv3x3(16) bn relu maxpool | gap | linear(10)"
    answers = tuple(
        Answer(seconds=1.0, hash=parse_network(text).hash, architecture=parse_network(text), parameters=size)
        for text, size in ((small, 94), (large, 346))
    )
    trace = Trace(method="m", repeat=0, seed=0, answers=answers, networks=2, runs=2, rejected=0, ended=1.0)

    found = judged(
        [trace], replace(task(1.0), recipe=Recipe(epochs=2), target_pct=1.0), Running(SOURCE, EFFORT), 2, tmp_path
    )

    assert list(found.accuracies_pct) == sorted(parse_network(text).hash for text in (small, large))
    assert all(10.0 < value < 100.0 for value in found.accuracies_pct.values())
    assert found.smallest == 94
