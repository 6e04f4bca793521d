"""Real trainings: whose question they answer, what a stop leaves, and that the simulated clock agrees with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness.bench import comparison, replay
from harness.bench.comparison import Answer, Comparison, Judged, SearchTask, Trace
from harness.bench.methods import BUILT_IN
from harness.bench.replay import Reading, SimulatedExecutor, _judged, _table_task, prepared, run_live, run_repeat
from harness.bench.table import Table
from harness.data.training_images import load
from harness.search.clock import Effort
from harness.system.errors import ContentError
from harness.training.executor import Event, Executor, Finished, Source
from harness.training.executor import Limits as RunLimits
from harness.training.processes import Processes
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Status
from harness.training.run import Job
from search_spaces.notation import parse_network
from tests.harness.bench import made_up

METHODS = (BUILT_IN["random"], BUILT_IN["halving"])
GIVEN: dict[str, Any] = {
    "live": True,
    "repeats": 2,
    "seed": 0,
    "target": None,
    "budget": None,
    "seconds": None,
    "workers": 2,
    "answer_seconds": 10.0,
    "dataset": "mnist-5k",
    "folder": None,
    "device": "cpu",
    "engine": "torch",
    "judge_seeds": 3,
    "space": "tiny",
    "recipe": "fast",
}


def digits() -> Table:
    """The made-up table as if it were of the embedded digits."""
    made = made_up.table(made_up.TINY)
    return Table(replace(made.facts, dataset="mnist-5k", data_hash=load("mnist-5k").data_hash), made.rows)


def test_with_a_table_the_question_is_the_tables_and_the_judge_and_the_machine_are_not(tmp_path: Path):
    asked, effort = prepared(GIVEN, digits())

    assert asked.task == _table_task(digits(), GIVEN)
    assert (asked.table, asked.judge_seeds, effort and effort.engine) == (None, 3, "torch")
    machine = asked.machine
    assert machine is not None
    assert (machine.engine, machine.environment.commit, machine.workers) == ("torch", None, 2)
    assert [comparison.begin(tmp_path, asked) for _ in range(2)] == [[], []]
    with pytest.raises(ContentError):
        comparison.begin(tmp_path, replace(asked, machine=replace(machine, cores=99)))


def test_without_one_the_options_ask():
    asked, _ = prepared(GIVEN | {"target": 99.2, "seconds": 60.0}, None)

    task = asked.task
    study = task.study
    assert (study.space, study.recipe_name, study.target_pct, task.seconds) == ("tiny", "fast", 99.2, 60.0)
    assert (study.rungs, task.networks) == ((1, 2, 4, 8, 15), None)


def test_what_a_stop_left_is_done_repeat_by_repeat_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked, effort = prepared(GIVEN, digits())
    assert effort is not None
    done: list[tuple[str, int]] = []

    def repeated(method: Any, asked: Any, repeat: int, *rest: Any) -> Trace:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append((method.name, repeat))
        return Trace(method=method.name, repeat=repeat, seed=0, answers=(), networks=1, runs=1, rejected=0, ended=1.0)

    monkeypatch.setattr(replay, "run_repeat", repeated)
    monkeypatch.setattr(replay, "_judged", lambda *rest: Judged(accuracies_pct={}, smallest=None))
    with pytest.raises(KeyboardInterrupt):
        run_live(METHODS, asked, effort, cast(Any, list), tmp_path, comparison.begin(tmp_path, asked), print)
    assert done == [("random", 0), ("halving", 0)]

    done.clear()
    there = comparison.begin(tmp_path, asked)
    traces, _ = run_live(METHODS, asked, effort, cast(Any, list), tmp_path, there, print)

    assert done == [("random", 1), ("halving", 1)]
    assert [(trace.method, trace.repeat) for trace in traces] == [
        *(("random", 0), ("random", 1)),
        *(("halving", 0), ("halving", 1)),
    ]


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


def asked(seconds: float) -> Comparison:
    facts = replace(made_up.FACTS, dataset="mnist-5k", space=SPACE, recipe=RECIPE, rungs=(1, 2, 4, 8))
    task = SearchTask(study=facts.config(20_000, 97.0), seconds=seconds, workers=2)
    return Comparison(task=task, methods=(), repeats=1, seed=0, answer_seconds=10.0, judge_seeds=2)


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
            executor.submit(replace(WARM, recipe=recipe, seed_index=place))
        while executor.idle() < 2:
            took += [event.result.train_seconds for event in executor.wait(1.0) if isinstance(event, Finished)]
    return executor, sum(took[2:]) / 2


class Noting:
    """An executor that notes every end of a training: when, which, and its looks."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.ends = inner, list[tuple[float, tuple[str, str, int]]]()
        self.known: dict[tuple[str, str, int], Reading] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def start(self, count: int) -> None:
        self.inner.start(count)
        self.began = self.inner.now()

    def wait(self, seconds: float) -> list[Event]:
        events = self.inner.wait(seconds)
        for event in events:
            if isinstance(event, Finished):
                found, key = event.result, key_of(event.job)
                looks = [each for each in found.history if each.validation_errors is not None]
                errors = {each.epoch: each.validation_errors or 0 for each in looks}
                took = {each.epoch: each.train_seconds for each in looks}
                sizes = found.parameters, found.macs, found.validation_size or 0
                self.known[key] = Reading(found.hash, *sizes, errors, took, Status.COMPLETE)
                if found.status is not Status.RUNNING:
                    self.ends.append((self.inner.now() - self.began, key))
        return events


def key_of(job: Job) -> tuple[str, str, int]:
    return job.architecture.hash, job.purpose.value, job.seed_index


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "default"])
def test_the_simulated_clock_agrees_with_a_live_run_of_the_same_seeds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    executor, seconds = warmed()
    monkeypatch.setattr(Processes, "start", lambda self, count: None)
    given, live = asked(seconds * TRAININGS / 2), Noting(executor)
    run_repeat(BUILT_IN[name], given, 0, lambda seed: cast(Executor, live), tmp_path / "work", EFFORT)

    def read(job: Job, repeat: int) -> Reading:
        """What was noted; what never began there, or stopped earlier, has no end."""
        rungs = range(1, job.recipe.epochs + 1)
        found = live.known.get(key_of(job), Reading(job.architecture.hash, 0, 0, 1, {}, {}, Status.COMPLETE))
        seconds = {rung: 1e9 * rung for rung in rungs} | dict(found.seconds)
        return replace(found, errors=dict.fromkeys(rungs, 0) | dict(found.errors), seconds=seconds)

    replayed = Noting(SimulatedExecutor(read, 0, given.task.seconds))
    run_repeat(BUILT_IN[name], given, 0, lambda seed: cast(Executor, replayed))

    # The default leaves many at a rung; those have no end.
    assert len(live.ends) > TRAININGS / 3
    # A run that ended live just before the time was up may end just after it, or the reverse.
    assert abs(len(replayed.ends) - len(live.ends)) <= 2
    pairs = list(zip(live.ends, replayed.ends, strict=False))
    assert sum(real[1] == simulated[1] for real, simulated in pairs) >= 0.8 * len(live.ends)
    assert all(0.9 <= real[0] / simulated[0] <= 1.1 for real, simulated in pairs[len(pairs) // 10 :])


@pytest.mark.slow
def test_answers_are_judged_by_the_mean_of_fresh_seeds(tmp_path: Path):
    small, large = "conv3x3(4) bn relu maxpool(4) | gap | linear(10)", "conv3x3(16) bn relu maxpool | gap | linear(10)"
    answers = tuple(
        Answer(seconds=1.0, hash=parse_network(text).hash, architecture=parse_network(text), parameters=size)
        for text, size in ((small, 94), (large, 346))
    )
    trace = Trace(method="m", repeat=0, seed=0, answers=answers, networks=2, runs=2, rejected=0, ended=1.0)

    given = asked(1.0)
    study = replace(given.task.study, recipe=Recipe(epochs=2), target_pct=1.0)
    given = replace(given, task=replace(given.task, study=study))

    found = _judged([trace], given, EFFORT, Processes(SOURCE, EFFORT.limits), tmp_path)

    assert list(found.accuracies_pct) == sorted(parse_network(text).hash for text in (small, large))
    assert all(10.0 < value < 100.0 for value in found.accuracies_pct.values())
    assert found.smallest == 94
