"""The simulated clock by hand, what a table says a training gives, and planted methods: no better than chance, best."""

from __future__ import annotations

import multiprocessing
import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest

from harness.bench import comparison
from harness.bench import replay as module
from harness.bench.comparison import (
    BenchAnswer,
    Comparison,
    Judged,
    SearchTask,
    Trace,
    _curve,
    _pairs,
    _Reference,
    _StepFunction,
)
from harness.bench.methods import _BUILT_IN, Method
from harness.bench.replay import (
    RunOutcome,
    RunRequest,
    SimulatedExecutor,
    _judged,
    _run_repeat,
    _table_task,
    _TableRuns,
    prepare_live,
    replay,
    run_repeats,
)
from harness.bench.table import Table
from harness.data.training_images import load
from harness.searching.external_method import Ask, Asker, Problem, TriedNetwork
from harness.searching.time_budget import Effort
from harness.system.errors import ContentError, HarnessError
from harness.training.executors.base import DataLocation, Event, Executor, StretchEnded
from harness.training.executors.base import Limits as RunLimits
from harness.training.executors.processes import Processes
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from search_spaces.notation import parse_network
from tests.harness.bench import made_up

# The clock --------------------------------------------------------------------------------------------------

JOB = Job(
    architecture=parse_network("conv3x3(4) gap linear(10)"),
    recipe=Recipe(epochs=4),
    recipe_name="short",
    purpose=Purpose.SEARCH,
    seed_index=0,
    trial=0,
)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A training of trial t takes t + 1 seconds an epoch."""

    status: Status = Status.COMPLETE

    def read(self, job: Job, repeat: int) -> RunOutcome:
        errors, pace = {1: 40, 2: 30, 4: 20}, (job.trial or 0) + 1
        return RunOutcome("ab" * 6, 86, 28_264, 100, errors, {each: float(each * pace) for each in errors}, self.status)


def executor(places: int, end: float = 100.0, status: Status = Status.COMPLETE) -> SimulatedExecutor:
    made = SimulatedExecutor(Fixed(status).read, 0, end)
    made.start(places)
    return made


def ends(made: SimulatedExecutor) -> list[tuple[int | None, float]]:
    return [(event.job.trial, made.now()) for event in made.wait(0.5)]


def finished(made: SimulatedExecutor, job: Job) -> Result:
    made.submit(job)
    (event,) = made.wait(0.5)
    assert isinstance(event, StretchEnded)
    return event.result


def test_jobs_end_in_the_order_of_a_schedule_by_hand_and_the_clock_stops_at_its_end():
    """Trials of 4, 8 and 12 seconds on two places: 0 and 1 begin at 0, 2 at 4, and a further 0 at 8."""
    workers = executor(2, end=15.0)
    workers.submit(JOB)
    workers.submit(replace(JOB, trial=1))

    assert (ends(workers), workers.idle()) == ([(0, 4.0)], 1)
    workers.submit(replace(JOB, trial=2))
    assert ends(workers) == [(1, 8.0)]
    workers.submit(JOB)
    assert ends(workers) == [(0, 12.0)]
    assert (ends(workers), workers.now()) == ([], 15.0)
    assert [place.job.trial for place in workers.places() if place.job] == [2]


def test_jobs_that_end_together_are_told_together_in_the_order_of_their_places():
    workers = executor(3)
    for trial in (0, 1, 0):
        workers.submit(replace(JOB, trial=trial))

    assert [ends(workers), ends(workers)] == [[(0, 4.0), (0, 4.0)], [(1, 8.0)]]


def test_a_run_that_goes_on_from_a_rung_takes_the_difference():
    workers = executor(1)

    at_rung = finished(workers, replace(JOB, trial=2, until_epoch=1))
    assert (at_rung.status, at_rung.validation_errors, at_rung.train_seconds, workers.now()) == (
        "running",
        40,
        3.0,
        3.0,
    )
    whole = finished(workers, replace(JOB, trial=2, spent_seconds=3.0))
    assert (whole.status, whole.validation_errors, whole.train_seconds, workers.now()) == ("complete", 20, 12.0, 12.0)
    assert [(epoch.epoch, epoch.validation_errors) for epoch in whole.history] == [(1, 40), (2, 30), (3, None), (4, 20)]


def test_a_run_that_diverged_says_so_at_its_end():
    workers = executor(1, status=Status.DIVERGED)
    assert [finished(workers, each).status for each in (replace(JOB, until_epoch=2), JOB)] == ["running", "diverged"]


# What a table says ------------------------------------------------------------------------------------------

TABLE, TINY = made_up.table(), made_up.table(made_up.TINY)
READINGS = _TableRuns(TABLE)


def drawn(readings: _TableRuns, network_hash: str, count: int) -> list[RunOutcome]:
    row = next(iter(readings.table.runs[network_hash].values()))[1]
    job = replace(JOB, architecture=parse_network(row.architecture), recipe=readings.table.facts.recipe)
    return [readings.read(replace(job, purpose=Purpose.CONFIRM, seed_index=index), 0) for index in range(count)]


def test_recorded_runs_are_those_of_the_table_with_their_seconds():
    first, runs = next(iter(TINY.runs.items()))

    found = drawn(_TableRuns(TINY, "recorded"), first, 30)

    recorded = {(run[8].seconds, round(100 * (100 - run[8].validation_accuracy_pct))) for run in runs.values()}
    assert {(reading.seconds[8], reading.errors[8]) for reading in found} == recorded


@pytest.mark.parametrize("spread", ["pooled", "recorded"])
def test_the_mean_of_many_runs_is_that_of_the_table(spread: str):
    network_hash, runs = next(iter(TABLE.runs.items()))

    errors = [reading.errors[8] for reading in drawn(_TableRuns(TABLE, spread), network_hash, 3_000)]

    true = statistics.mean(100 * (100 - run[8].validation_accuracy_pct) for run in runs.values())
    assert statistics.mean(errors) == pytest.approx(true, rel=0.03)
    assert 100 * (100 - TABLE.true_accuracies_pct[network_hash]) == pytest.approx(true)


def test_pooled_runs_differ_as_much_as_the_seeds_that_made_the_table():
    """The made-up noise is 0.12 of the errors between seeds and 0.05 between looks: 0.13 together."""
    relative = []
    for network_hash in list(TABLE.runs)[:60]:
        errors = [reading.errors[8] for reading in drawn(READINGS, network_hash, 60)]
        relative.append(statistics.stdev(errors) / statistics.mean(errors))

    assert statistics.mean(relative) == pytest.approx(0.13, rel=0.2)


def test_a_run_that_diverged_is_one_in_replay_too_and_lends_nobody_its_errors():
    first = next(iter(TINY.runs))
    bad: dict[str, Any] = {"status": Status.DIVERGED, "validation_accuracy_pct": 10.0}
    rows = tuple(row._replace(**bad) if (row.hash, row.seed) == (first, 1) else row for row in TINY.rows)

    found = drawn(_TableRuns(Table(TINY.facts, rows)), first, 40)

    assert {reading.status for reading in found} == {Status.COMPLETE, Status.DIVERGED}
    assert {reading.errors[8] for reading in found if reading.status is Status.DIVERGED} == {9_000}
    assert max(reading.errors[8] for reading in found if reading.status is Status.COMPLETE) < 3_000


def test_a_network_that_a_table_has_not_is_refused():
    with pytest.raises(ContentError):
        READINGS.read(JOB, 0)


# Repeats ----------------------------------------------------------------------------------------------------

# A quarter of the networks reach it.
TARGET_PCT = sorted(TABLE.true_accuracies_pct.values())[3 * len(TABLE.runs) // 4]
SECONDS = 300.0
JUDGED = Judged.of(TABLE.true_accuracies_pct, TABLE.sizes, TARGET_PCT)
REACHING = {key for key, accuracy in JUDGED.accuracies_pct.items() if accuracy >= TARGET_PCT}
JUDGE = _Reference(REACHING, 20_000, float(JUDGED.smallest or 0))


def run(method: Method, repeats: int, **changes: Any) -> list[Trace]:
    asked = made_up.asked(TABLE, **({"seconds": SECONDS, "target_pct": TARGET_PCT} | changes))
    return [replay(method, asked, READINGS.read, repeat) for repeat in range(repeats)]


@cache
def known(name: str, repeats: int = 12, **changes: Any) -> list[Trace]:
    return run(_BUILT_IN[name], repeats, **changes)


def scores(traces: Sequence[Trace], seconds: float = SECONDS) -> list[float]:
    return [_StepFunction.of(trace, JUDGE).score(JUDGE, seconds) for trace in traces]


def planted(monkeypatch: pytest.MonkeyPatch, begin: Callable[[Problem], Ask]) -> Method:
    """Plant a method in this process; that others' run in one of their own is tested with the methods."""

    def asking(method: Method, repeat: int, space: Any, problem: Problem, seconds: float) -> Any:
        return nullcontext(Asker(method.name, space, problem, begin(problem)))

    monkeypatch.setattr(module, "asking", asking)
    return Method(name="planted", says="", function="planted:begin")


def in_order(key: Callable[[str], Any]) -> Callable[[Problem], Ask]:
    """Return a method that goes through the networks by a key of their hashes."""
    texts = {row.hash: row.architecture for row in TABLE.rows}
    ordered = [texts[each] for each in sorted(texts, key=key)]
    return lambda problem: lambda tried: ordered[len(tried)]


def blind(problem: Problem) -> Ask:
    """Ignores what it is told."""
    assert problem.networks is not None
    shuffled = random.Random(f"blind/{problem.seed}").sample(problem.networks, len(problem.networks))
    return lambda tried: shuffled[len(tried)]


def test_no_answer_is_later_than_the_end_and_a_longer_time_only_adds():
    for early, late in zip(run(_BUILT_IN["random"], 3, seconds=150.0), known("random"), strict=False):
        assert all(answer.seconds <= 150.0 for answer in early.answers)
        assert late.answers[: len(early.answers)] == early.answers
        assert late.runs > early.runs


def test_a_planted_method_that_ignores_history_is_as_good_as_random(monkeypatch: pytest.MonkeyPatch):
    theirs, ours = known("random"), run(planted(monkeypatch, blind), 12)

    marks = [SECONDS * step / 60 for step in range(61)]
    bands = [_curve([_StepFunction.of(trace, JUDGE) for trace in traces], marks) for traces in (ours, theirs)]
    # The band of one median; the other wavers as much, so that the bands, not the median, must meet.
    apart = [low > other or below > high for (_, _, low, high), (_, _, below, other) in zip(*bands, strict=True)]
    assert sum(apart) <= len(apart) // 20
    (pair,) = _pairs({"once": {"planted": scores(ours), "random": scores(theirs)}}, [("planted", "random")])
    assert not pair["differs"]


# With what other data sets say the default comes too near to the oracle for eight repeats to tell.
@pytest.mark.parametrize("rival", ["random", "no-prior"])
def test_a_planted_oracle_beats_all(rival: str, monkeypatch: pytest.MonkeyPatch):
    # Not for so long that a method has tried the whole table.
    seconds = 0.4 * SECONDS
    oracle = in_order(lambda key: (JUDGED.accuracies_pct[key] < TARGET_PCT, TABLE.sizes[key]))
    theirs = scores(run(_BUILT_IN[rival], 8, seconds=seconds), seconds)
    ours = scores(run(planted(monkeypatch, oracle), 8, seconds=seconds), seconds)

    (pair,) = _pairs({"once": {"oracle": ours, rival: theirs}}, [("oracle", rival)])
    assert pair["differs"]
    assert pair["ratio"] < 1


def test_the_test_of_planted_methods_can_fail(monkeypatch: pytest.MonkeyPatch):
    """A method that looks at the least accurate networks first is told apart from random with a few more repeats."""
    worst = in_order(lambda key: JUDGED.accuracies_pct[key])

    scores_by_name = {"worst": scores(run(planted(monkeypatch, worst), 16)), "random": scores(known("random", 16))}

    (pair,) = _pairs({"once": scores_by_name}, [("worst", "random")])
    assert pair["differs"]
    assert pair["ratio"] > 1.1


def test_without_confirmation_answers_are_more_often_false():
    def false(name: str) -> int:
        last = [trace.answers[-1].hash for trace in known(name, 4) if trace.answers]
        return sum(each not in JUDGE.reaching for each in last if each)

    assert false("no-confirmation") > false("default")


def test_a_method_is_told_what_came_of_its_networks_and_nothing_more(monkeypatch: pytest.MonkeyPatch):
    history: list[Sequence[TriedNetwork]] = []
    briefs: list[Problem] = []

    def begin(problem: Problem) -> Ask:
        briefs.append(problem)
        ask = blind(problem)

        def noting(tried: Sequence[TriedNetwork]) -> str:
            history.append(tried)
            return ask(tried)

        return noting

    (trace,) = run(planted(monkeypatch, begin), 1)

    assert [len(tried) for tried in history] == list(range(len(history)))
    lines = [item for tried in history for item in tried]
    assert {item.state for item in lines} == {"running", "complete"}
    assert all((item.validation_accuracy_pct is None) == (item.state == "running") for item in lines)
    assert any(item.fresh_pct for item in history[-1])
    brief = briefs[0]
    assert (brief.budget, brief.target_pct, brief.workers, brief.epochs) == (20_000, TARGET_PCT, 2, 8)
    assert brief.seed == trace.seed


@pytest.mark.nightly
def test_a_process_that_is_killed_is_told_in_one_line_and_what_has_ended_is_kept():
    kept: list[Trace] = []

    def keep_and_kill(trace: Trace) -> None:
        kept.append(trace)
        for child in multiprocessing.active_children():
            child.kill()

    comparison = replace(made_up.asked(TINY, seconds=30.0, target_pct=97.0), repeats=200)
    with pytest.raises(HarnessError):
        run_repeats([_BUILT_IN["random"]], comparison, TINY, 1, (), keep_and_kill)

    assert kept[0].repeat == 0
    assert len(kept) < 200


# Live -----------------------------------------------------------------------------------------------------------------


METHODS = (_BUILT_IN["random"], _BUILT_IN["halving"])
REQUEST = RunRequest(
    live=True,
    repeats=2,
    seed=0,
    target=None,
    budget=None,
    seconds=None,
    workers=2,
    answer_seconds=10.0,
    dataset="mnist-5k",
    data=None,
    device="cpu",
    engine="torch",
    judge_seeds=3,
    space="tiny",
    recipe="fast",
)


def digits() -> Table:
    """The made-up table as if it were of the embedded digits."""
    made = made_up.table(made_up.TINY)
    return Table(replace(made.facts, dataset="mnist-5k", data_hash=load("mnist-5k").data_hash), made.rows)


def test_with_a_table_the_question_is_the_tables_and_the_judge_and_the_machine_are_not(tmp_path: Path):
    contest = prepare_live(REQUEST, METHODS, digits())
    asked = contest.design

    assert asked.task == _table_task(digits(), REQUEST)
    assert (asked.table, asked.judge_seeds, contest.effort.engine) == (None, 3, "torch")
    machine = asked.machine
    assert machine is not None
    assert (machine.engine, machine.environment.commit, machine.workers) == ("torch", None, 2)
    assert [comparison.begin(tmp_path, asked) for _ in range(2)] == [[], []]
    with pytest.raises(ContentError):
        comparison.begin(tmp_path, replace(asked, machine=replace(machine, cores=99)))


def test_without_one_the_options_ask():
    task = prepare_live(replace(REQUEST, target=99.2, seconds=60.0), METHODS, None).design.task
    study = task.study
    assert (study.space, study.recipe_name, study.target_pct, task.seconds) == ("tiny", "fast", 99.2, 60.0)
    assert (study.rungs, task.networks) == ((1, 2, 4, 8, 15), None)


SPACE = """width = {4, 6, 8, 12};
stage(channels) = conv3x3(channels) bn relu;
net = conv3x3(width, stride=2) bn relu | stage(width) | maxpool | stage({6, 8, 12, 16}) | gap | linear(10);
"""
MIDDLE = "conv3x3(6, stride=2) bn relu conv3x3(8) bn relu | maxpool | conv3x3(12) bn relu | gap | linear(10)"
RECIPE = Recipe(epochs=8, batch_size=64)
# In the time of a search, as fast as the machine is just then.
TRAININGS = 14
SOURCE = DataLocation("mnist-5k", None)
EFFORT = Effort(seconds=None, trials=None, workers=2, device="cpu", limits=RunLimits(), engine="torch")


def asked(seconds: float) -> Comparison:
    facts = replace(made_up.FACTS, dataset="mnist-5k", space=SPACE, recipe=RECIPE, rungs=(1, 2, 4, 8))
    task = SearchTask(study=facts.config(20_000, 97.0), seconds=seconds, workers=2)
    return Comparison(task=task, methods=(), repeats=1, seed=0, answer_seconds=10.0, judge_seeds=2)


WARM = Job(
    architecture=parse_network(MIDDLE), recipe=RECIPE, recipe_name="short", purpose=Purpose.TRAIN, seed_index=0, trial=0
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
            took += [event.result.train_seconds for event in executor.wait(1.0) if isinstance(event, StretchEnded)]
    return executor, sum(took[2:]) / 2


class Noting:
    """An executor that notes every end of a training: when, which, and its looks."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.ends = inner, list[tuple[float, tuple[str, str, int]]]()
        self.known: dict[tuple[str, str, int], RunOutcome] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def start(self, count: int) -> None:
        self.inner.start(count)
        self.began = self.inner.now()

    def wait(self, seconds: float) -> list[Event]:
        events = self.inner.wait(seconds)
        for event in events:
            if isinstance(event, StretchEnded):
                found, key = event.result, key_of(event.job)
                looks = [each for each in found.history if each.validation_errors is not None]
                errors = {each.epoch: each.validation_errors or 0 for each in looks}
                took = {each.epoch: each.train_seconds for each in looks}
                sizes = found.parameters, found.macs, found.validation_size or 0
                self.known[key] = RunOutcome(found.hash, *sizes, errors, took, Status.COMPLETE)
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
    _run_repeat(_BUILT_IN[name], given, 0, lambda seed: cast(Executor, live), tmp_path / "work", EFFORT)

    def read(job: Job, repeat: int) -> RunOutcome:
        """What was noted; what never began there, or stopped earlier, has no end."""
        rungs = range(1, job.recipe.epochs + 1)
        found = live.known.get(key_of(job), RunOutcome(job.architecture.hash, 0, 0, 1, {}, {}, Status.COMPLETE))
        seconds = {rung: 1e9 * rung for rung in rungs} | dict(found.seconds)
        return replace(found, errors=dict.fromkeys(rungs, 0) | dict(found.errors), seconds=seconds)

    replayed = Noting(SimulatedExecutor(read, 0, given.task.seconds))
    _run_repeat(_BUILT_IN[name], given, 0, lambda seed: cast(Executor, replayed))

    # The default leaves many at a rung; those have no end.
    assert len(live.ends) > TRAININGS / 3
    # A run that ended live just before the time was up may end just after it, or the reverse.
    assert abs(len(replayed.ends) - len(live.ends)) <= 2
    pairs = list(zip(live.ends, replayed.ends, strict=False))
    assert sum(real[1] == simulated[1] for real, simulated in pairs) >= 0.8 * len(live.ends)
    assert all(0.9 <= real[0] / simulated[0] <= 1.1 for real, simulated in pairs[len(pairs) // 10 :])


@pytest.mark.slow
def test_answers_are_judged_by_the_mean_of_fresh_seeds():
    small, large = "conv3x3(4) bn relu maxpool(4) | gap | linear(10)", "conv3x3(16) bn relu maxpool | gap | linear(10)"
    answers = tuple(
        BenchAnswer(seconds=1.0, hash=parse_network(text).hash, architecture=parse_network(text), parameters=size)
        for text, size in ((small, 94), (large, 346))
    )
    trace = Trace(method="m", repeat=0, seed=0, answers=answers, networks=2, runs=2, rejected=0, ended=1.0)

    given = asked(1.0)
    study = replace(given.task.study, recipe=Recipe(epochs=2), target_pct=1.0)
    given = replace(given, task=replace(given.task, study=study))

    found = _judged([trace], given, EFFORT, Processes(SOURCE, EFFORT.limits))

    assert list(found.accuracies_pct) == sorted(parse_network(text).hash for text in (small, large))
    assert all(10.0 < value < 100.0 for value in found.accuracies_pct.values())
    assert found.smallest == 94
