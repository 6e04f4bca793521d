"""Replay of methods: simulated clock, outcomes drawn from tables, planted methods (random, oracle), and live runs."""

from __future__ import annotations

import multiprocessing
import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile
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
    _StepFunction,
)
from harness.bench.methods import _BUILT_IN, Method
from harness.bench.replay import (
    Contest,
    Replayed,
    RunRequest,
    SimulatedExecutor,
    _judged,
    _run_repeat,
    _table_task,
    _TableRuns,
    prepare_live,
    replay,
    run_live,
    run_repeats,
)
from harness.bench.table import Table
from harness.data.training_images import load
from harness.searching.external_method import Ask, Asker, Problem, TriedNetwork
from harness.searching.time_budget import Effort
from harness.spaces.notation import parse_network
from harness.system.errors import ContentError, HarnessError
from harness.training.executors.base import DataLocation, Executor, JobEnded, WorkerEvent
from harness.training.executors.base import Limits as RunLimits
from harness.training.executors.processes import Processes
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from tests.harness.bench import made_up

# Simulated clock --------------------------------------------------------------------------------------------

JOB = Job(
    architecture=parse_network("conv3x3(4) gap linear(10)"),
    recipe=Recipe(epochs=4),
    recipe_name="short",
    purpose=Purpose.SEARCH,
    seed_index=0,
    trial=0,
)


@dataclass(frozen=True, slots=True)
class FixedOutcomes:
    """Outcomes with equal errors for all trials; an epoch of trial t takes t + 1 seconds."""

    status: Status = Status.COMPLETE

    def read(self, job: Job, repeat: int) -> Replayed:
        errors, pace = {1: 40, 2: 30, 4: 20}, (job.trial or 0) + 1
        return Replayed("ab" * 6, 86, 28_264, 100, errors, {each: float(each * pace) for each in errors}, self.status)


def simulated_executor(slots: int, end: float = 100.0, status: Status = Status.COMPLETE) -> SimulatedExecutor:
    simulator = SimulatedExecutor(FixedOutcomes(status).read, 0, end)
    simulator.start(slots)
    return simulator


def next_ends(simulator: SimulatedExecutor) -> list[tuple[int | None, float]]:
    return [(event.job.trial, simulator.now()) for event in simulator.wait(0.5)]


def result_of(simulator: SimulatedExecutor, job: Job) -> Result:
    simulator.submit(job)
    (event,) = simulator.wait(0.5)
    assert isinstance(event, JobEnded)
    return event.result


def test_jobs_end_in_order_of_schedule_and_clock_stops_at_time_limit():
    """Trials 0, 1 and 2 take 4, 8 and 12 seconds on two workers: 0 and 1 begin at 0, 2 at 4, and 0 again at 8."""
    workers = simulated_executor(2, end=15.0)
    workers.submit(JOB)
    workers.submit(replace(JOB, trial=1))

    assert (next_ends(workers), workers.idle()) == ([(0, 4.0)], 1)
    workers.submit(replace(JOB, trial=2))
    assert next_ends(workers) == [(1, 8.0)]
    workers.submit(JOB)
    assert next_ends(workers) == [(0, 12.0)]
    assert (next_ends(workers), workers.now()) == ([], 15.0)
    assert [slot.job.trial for slot in workers.slots() if slot.job] == [2]


def test_simultaneous_ends_are_reported_together_in_order_of_slots():
    workers = simulated_executor(3)
    for trial in (0, 1, 0):
        workers.submit(replace(JOB, trial=trial))

    assert [next_ends(workers), next_ends(workers)] == [[(0, 4.0), (0, 4.0)], [(1, 8.0)]]


def test_run_resumed_from_rung_takes_only_remaining_seconds():
    workers = simulated_executor(1)

    at_rung = result_of(workers, replace(JOB, trial=2, until_epoch=1))
    assert (at_rung.status, at_rung.validation_errors, at_rung.train_seconds, workers.now()) == (
        "running",
        40,
        3.0,
        3.0,
    )
    end = result_of(workers, replace(JOB, trial=2, spent_seconds=3.0))
    assert (end.status, end.validation_errors, end.train_seconds, workers.now()) == ("complete", 20, 12.0, 12.0)
    assert [(epoch.epoch, epoch.validation_errors) for epoch in end.history] == [(1, 40), (2, 30), (3, None), (4, 20)]


def test_diverged_run_has_status_running_until_last_epoch():
    workers = simulated_executor(1, status=Status.DIVERGED)
    assert [result_of(workers, job).status for job in (replace(JOB, until_epoch=2), JOB)] == ["running", "diverged"]


# Outcomes from a table --------------------------------------------------------------------------------------

TABLE, TINY = made_up.table(), made_up.table(made_up.TINY)
READINGS = _TableRuns(TABLE)


def draw_outcomes(readings: _TableRuns, network_hash: str, count: int) -> list[Replayed]:
    row = next(iter(readings.table.runs[network_hash].values()))[1]
    job = replace(JOB, architecture=parse_network(row.architecture), recipe=readings.table.facts.recipe)
    return [readings.read(replace(job, purpose=Purpose.CONFIRM, seed_index=index), 0) for index in range(count)]


def test_recorded_spread_draws_runs_of_table_with_their_seconds():
    network_hash, runs = next(iter(TINY.runs.items()))

    outcomes = draw_outcomes(_TableRuns(TINY, "recorded"), network_hash, 30)

    recorded = {(run[8].seconds, round(100 * (100 - run[8].validation_accuracy_pct))) for run in runs.values()}
    assert {(outcome.seconds[8], outcome.errors[8]) for outcome in outcomes} == recorded


@pytest.mark.parametrize("spread", ["pooled", "recorded"])
def test_mean_of_many_draws_equals_mean_of_table(spread: str):
    network_hash, runs = next(iter(TABLE.runs.items()))

    errors = [outcome.errors[8] for outcome in draw_outcomes(_TableRuns(TABLE, spread), network_hash, 3_000)]

    table_mean = statistics.mean(100 * (100 - run[8].validation_accuracy_pct) for run in runs.values())
    assert statistics.mean(errors) == pytest.approx(table_mean, rel=0.03)
    assert 100 * (100 - TABLE.true_accuracies_pct[network_hash]) == pytest.approx(table_mean)


def test_pooled_spread_equals_deviation_between_seeds():
    """The synthetic log errors deviate by 0.12 between seeds and by 0.05 between epochs: together by 0.13."""
    relative = []
    for network_hash in list(TABLE.runs)[:60]:
        errors = [outcome.errors[8] for outcome in draw_outcomes(READINGS, network_hash, 60)]
        relative.append(statistics.stdev(errors) / statistics.mean(errors))

    assert statistics.mean(relative) == pytest.approx(0.13, rel=0.2)


@pytest.mark.parametrize("spread", ["pooled", "recorded"])
def test_soft_errors_are_drawn_with_count_of_same_run(spread: str):
    """Soft errors of 1.5 times the count in every run of a table have this ratio in every draw."""
    rows = [row._replace(validation_soft_errors=150 * (100 - row.validation_accuracy_pct)) for row in TABLE.rows]
    outcomes = draw_outcomes(_TableRuns(Table(TABLE.facts, tuple(rows)), spread), next(iter(TABLE.runs)), 40)

    assert len({outcome.errors[8] for outcome in outcomes}) > 1
    for outcome in outcomes:
        for rung, errors in outcome.errors.items():
            # The count of a draw is rounded.
            assert outcome.softs[rung] == pytest.approx(1.5 * errors, abs=1)


def test_merged_table_may_have_networks_without_soft_errors():
    first = next(iter(TABLE.runs))
    rows = [row._replace(validation_soft_errors=90.0) if row.hash == first else row for row in TABLE.rows]
    outcomes = draw_outcomes(_TableRuns(Table(TABLE.facts, tuple(rows))), first, 40)
    assert any(outcome.softs == {} for outcome in outcomes)


def test_diverged_run_does_not_change_errors_of_complete_runs():
    network_hash = next(iter(TINY.runs))
    changes: dict[str, Any] = {"status": Status.DIVERGED, "validation_accuracy_pct": 10.0}
    rows = tuple(row._replace(**changes) if (row.hash, row.seed) == (network_hash, 1) else row for row in TINY.rows)

    outcomes = draw_outcomes(_TableRuns(Table(TINY.facts, rows)), network_hash, 40)

    assert {outcome.status for outcome in outcomes} == {Status.COMPLETE, Status.DIVERGED}
    assert {outcome.errors[8] for outcome in outcomes if outcome.status is Status.DIVERGED} == {9_000}
    assert max(outcome.errors[8] for outcome in outcomes if outcome.status is Status.COMPLETE) < 3_000


def test_network_missing_from_table_is_rejected():
    with pytest.raises(ContentError):
        READINGS.read(JOB, 0)


# Repeats ----------------------------------------------------------------------------------------------------

# A quarter of the networks reach the target.
TARGET_PCT = sorted(TABLE.true_accuracies_pct.values())[3 * len(TABLE.runs) // 4]
SECONDS = 300.0
JUDGED = Judged.of(TABLE.true_accuracies_pct, TABLE.sizes, TARGET_PCT)
REACHING = {key for key, accuracy in JUDGED.accuracies_pct.items() if accuracy >= TARGET_PCT}
LARGEST = 20_000  # parameters


def run(method: Method, repeats: int, **changes: Any) -> list[Trace]:
    design = made_up.comparison_of(TABLE, **({"seconds": SECONDS, "target_pct": TARGET_PCT} | changes))
    return [replay(method, design, READINGS.read, repeat) for repeat in range(repeats)]


@cache
def cached_traces(name: str, repeats: int = 12, **changes: Any) -> list[Trace]:
    return run(_BUILT_IN[name], repeats, **changes)


def scores(traces: Sequence[Trace], seconds: float = SECONDS) -> list[float]:
    return [_StepFunction.of(trace, REACHING).score(LARGEST, JUDGED.smallest or 0, seconds) for trace in traces]


def plant(monkeypatch: pytest.MonkeyPatch, begin: Callable[[Problem], Ask]) -> Method:
    """Return a method whose function runs in this process; ``test_methods.py`` covers methods in subprocesses."""

    def asking(method: Method, repeat: int, space: Any, problem: Problem, seconds: float) -> Any:
        asker = Asker(method.name, space, problem, begin(problem)) if method.function else None
        return nullcontext(asker)

    monkeypatch.setattr(module, "asking", asking)
    return Method(name="planted", says="", function="planted:begin")


def propose_by(key: Callable[[str], Any]) -> Callable[[Problem], Ask]:
    """Return a method that proposes the networks in the order of a key of their hashes."""
    texts = {row.hash: row.architecture for row in TABLE.rows}
    networks = [texts[network_hash] for network_hash in sorted(texts, key=key)]
    return lambda problem: lambda tried: networks[len(tried)]


def propose_blindly(problem: Problem) -> Ask:
    """Propose the networks in random order, independent of their results."""
    assert problem.networks is not None
    shuffled = random.Random(f"blind/{problem.seed}").sample(problem.networks, len(problem.networks))
    return lambda tried: shuffled[len(tried)]


def test_answers_are_within_time_limit_and_longer_limit_only_adds_answers():
    for short, long in zip(run(_BUILT_IN["random"], 3, seconds=150.0), cached_traces("random")[:3], strict=True):
        assert short.answers
        assert all(answer.seconds <= 150.0 for answer in short.answers)
        assert long.answers[: len(short.answers)] == short.answers
        assert long.runs > short.runs


def test_planted_method_without_history_is_as_good_as_random(monkeypatch: pytest.MonkeyPatch):
    rivals, planted = cached_traces("random"), run(plant(monkeypatch, propose_blindly), 12)

    times = [SECONDS * step / 60 for step in range(61)]
    bands = [_curve([_StepFunction.of(trace, REACHING) for trace in traces], times) for traces in (planted, rivals)]
    # Both medians vary, so that the confidence bands of the medians must overlap.
    disjoint = [low > upper or lower > high for (_, _, low, high), (_, _, lower, upper) in zip(*bands, strict=True)]
    assert sum(disjoint) <= len(disjoint) // 20
    (pair,) = _pairs({"once": {"planted": scores(planted), "random": scores(rivals)}}, [("planted", "random")])
    assert not pair["differs"]


# Omits ``default``: with the prior from different data sets eight repeats do not separate the method from the oracle.
@pytest.mark.parametrize("rival", ["random", "no-prior"])
def test_planted_oracle_beats_built_in_method(rival: str, monkeypatch: pytest.MonkeyPatch):
    # Shorter than any method needs for the whole table.
    seconds = 0.4 * SECONDS
    oracle = propose_by(lambda key: (JUDGED.accuracies_pct[key] < TARGET_PCT, TABLE.sizes[key]))
    rival_scores = scores(run(_BUILT_IN[rival], 8, seconds=seconds), seconds)
    oracle_scores = scores(run(plant(monkeypatch, oracle), 8, seconds=seconds), seconds)

    (pair,) = _pairs({"once": {"oracle": oracle_scores, rival: rival_scores}}, [("oracle", rival)])
    assert pair["differs"]
    assert pair["ratio"] < 1


def test_comparison_detects_method_in_worst_order(monkeypatch: pytest.MonkeyPatch):
    """Control: 16 repeats distinguish a method that tries the least accurate networks first from random search."""
    worst = propose_by(lambda key: JUDGED.accuracies_pct[key])

    results = {"worst": scores(run(plant(monkeypatch, worst), 16)), "random": scores(cached_traces("random", 16))}

    (pair,) = _pairs({"once": results}, [("worst", "random")])
    assert pair["differs"]
    assert pair["ratio"] > 1.1


def test_answers_without_confirmation_are_more_often_false():
    def count_false_answers(name: str) -> int:
        last_hashes = [trace.answers[-1].hash for trace in cached_traces(name, 4) if trace.answers]
        return sum(network_hash not in REACHING for network_hash in last_hashes if network_hash)

    assert count_false_answers("no-confirmation") > count_false_answers("default")


def test_method_receives_problem_and_results_of_proposed_networks(monkeypatch: pytest.MonkeyPatch):
    history: list[Sequence[TriedNetwork]] = []
    problems: list[Problem] = []

    def begin(problem: Problem) -> Ask:
        problems.append(problem)
        ask = propose_blindly(problem)

        def recording_ask(tried: Sequence[TriedNetwork]) -> str:
            history.append(tried)
            return ask(tried)

        return recording_ask

    (trace,) = run(plant(monkeypatch, begin), 1)

    assert [len(tried) for tried in history] == list(range(len(history)))
    networks = [network for tried in history for network in tried]
    assert {network.state for network in networks} == {"running", "complete"}
    assert all((network.validation_accuracy_pct is None) == (network.state == "running") for network in networks)
    assert any(network.fresh_pct for network in history[-1])
    problem = problems[0]
    assert (problem.budget, problem.target_pct, problem.workers, problem.epochs) == (20_000, TARGET_PCT, 2, 8)
    assert problem.seed == trace.seed


@pytest.mark.nightly
def test_killed_process_raises_error_and_ended_repeats_are_kept():
    traces: list[Trace] = []

    def keep_and_kill(trace: Trace) -> None:
        traces.append(trace)
        for child in multiprocessing.active_children():
            child.kill()

    comparison = replace(made_up.comparison_of(TINY, seconds=30.0, target_pct=97.0), repeats=200)
    with pytest.raises(HarnessError):
        run_repeats(Contest([_BUILT_IN["random"]], comparison, TINY), TINY, 1, (), keep_and_kill)

    assert traces[0].repeat == 0
    assert len(traces) < 200


# Live runs --------------------------------------------------------------------------------------------------


METHODS = (_BUILT_IN["random"], _BUILT_IN["halving"])
REQUEST = RunRequest(
    live=True, repeats=2, seed=0, target=None, budget=None, seconds=None, workers=2, answer_seconds=10.0,
    dataset="mnist-5k", data=None, device="cpu", engine="torch", judge_seeds=3, space="tiny", recipe="fast",
)  # fmt: skip


def digits_table() -> Table:
    """Return the synthetic table with the embedded digits as data set."""
    table = made_up.table(made_up.TINY)
    return Table(replace(table.facts, dataset="mnist-5k", data_hash=load("mnist-5k").data_hash), table.rows)


def test_live_runs_with_table_take_only_task_from_table(tmp_path: Path):
    contest = prepare_live(REQUEST, METHODS, digits_table())
    design = contest.comparison

    assert design.task == _table_task(digits_table(), REQUEST)
    assert isinstance(contest.source, Effort)
    assert (design.table, design.judge_seeds, contest.source.engine) == (None, 3, "torch")
    machine = design.machine
    assert machine is not None
    assert (machine.engine, machine.environment.commit, machine.workers) == ("torch", None, 2)
    assert [comparison.begin(tmp_path, design) for _ in range(2)] == [[], []]
    with pytest.raises(ContentError):
        comparison.begin(tmp_path, replace(design, machine=replace(machine, cores=99)))


def test_live_runs_without_table_take_task_from_options():
    task = prepare_live(replace(REQUEST, target=99.2, seconds=60.0), METHODS, None).comparison.task
    study = task.study
    assert (study.space, study.recipe_name, study.target_pct, task.seconds) == ("tiny", "fast", 99.2, 60.0)
    assert (study.rungs, task.networks) == ((1, 2, 4, 8, 15), None)


SPACE = """width = {4, 6, 8, 12};
stage(channels) = conv3x3(channels) bn relu;
net = conv3x3(width, stride=2) bn relu | stage(width) | maxpool | stage({6, 8, 12, 16}) | gap | linear(10);
"""
MIDDLE = "conv3x3(6, stride=2) bn relu conv3x3(8) bn relu | maxpool | conv3x3(12) bn relu | gap | linear(10)"
RECIPE = Recipe(epochs=8, batch_size=64)
# Number of trainings that fit into the time limit, which is derived from the measured speed of the machine.
TRAININGS = 14
SOURCE = DataLocation("mnist-5k", None)
EFFORT = Effort(seconds=None, trials=None, workers=2, device="cpu", limits=RunLimits(), engine="torch")


def live_design(seconds: float) -> Comparison:
    facts = replace(made_up.FACTS, dataset="mnist-5k", space=SPACE, recipe=RECIPE, rungs=(1, 2, 4, 8))
    task = SearchTask(study=facts.config(20_000, 97.0), seconds=seconds, workers=2)
    return Comparison(task=task, methods=(), repeats=1, seed=0, answer_seconds=10.0, judge_seeds=2)


WARM_JOB = Job(
    architecture=parse_network(MIDDLE), recipe=RECIPE, recipe_name="short", purpose=Purpose.TRAIN, seed_index=0, trial=0
)


def warm_executor() -> tuple[Processes, float]:
    """Return processes that have loaded torch and the images, and the seconds of a training."""
    executor = Processes(SOURCE, EFFORT.limits)
    executor.start(2)
    seconds: list[float] = []
    for recipe in (Recipe(epochs=1), RECIPE):
        for index in range(2):
            executor.submit(replace(WARM_JOB, recipe=recipe, seed_index=index))
        while executor.idle() < 2:
            seconds += [event.result.train_seconds for event in executor.wait(1.0) if isinstance(event, JobEnded)]
    return executor, sum(seconds[2:]) / 2


class RecordingExecutor:
    """Executor that records each job by run and last epoch, the time of the end, and the errors at validated epochs."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.jobs = inner, list[tuple[tuple[str, str, int], int]]()
        self.ends: dict[tuple[tuple[str, str, int], int], float] = {}
        self.outcomes: dict[tuple[str, str, int], Replayed] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def start(self, count: int) -> None:
        self.inner.start(count)
        self.start_time = self.inner.now()

    def submit(self, job: Job) -> None:
        self.jobs.append((key_of(job), job.until_epoch or job.recipe.epochs))
        self.inner.submit(job)

    def wait(self, seconds: float) -> list[WorkerEvent]:
        events = self.inner.wait(seconds)
        for event in events:
            if isinstance(event, JobEnded):
                result, key = event.result, key_of(event.job)
                validated = [epoch for epoch in result.history if epoch.validation_errors is not None]
                errors = {epoch.epoch: epoch.validation_errors or 0 for epoch in validated}
                train_seconds = {epoch.epoch: epoch.train_seconds for epoch in validated}
                sizes = result.parameters, result.macs, result.validation_size or 0
                self.outcomes[key] = Replayed(result.hash, *sizes, errors, train_seconds, Status.COMPLETE)
                self.ends[key, len(result.history)] = self.inner.now() - self.start_time
        return events


def key_of(job: Job) -> tuple[str, str, int]:
    return job.architecture.hash, job.purpose.value, job.seed_index


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "default"])
def test_simulated_clock_agrees_with_live_run_of_same_seeds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    executor, seconds = warm_executor()
    monkeypatch.setattr(Processes, "start", lambda self, count: None)
    design, live = live_design(seconds * TRAININGS / 2), RecordingExecutor(executor)
    _run_repeat(_BUILT_IN[name], design, 0, lambda seed: cast(Executor, live), EFFORT, tmp_path / "work")

    def read(job: Job, repeat: int) -> Replayed:
        """Return the live outcome; runs that did not begin or were pruned in the live run never end."""
        rungs = range(1, job.recipe.epochs + 1)
        outcome = live.outcomes.get(key_of(job), Replayed(job.architecture.hash, 0, 0, 1, {}, {}, Status.COMPLETE))
        seconds = {rung: 1e9 * rung for rung in rungs} | dict(outcome.seconds)
        return replace(outcome, errors=dict.fromkeys(rungs, 0) | dict(outcome.errors), seconds=seconds)

    replayed = RecordingExecutor(SimulatedExecutor(read, 0, design.task.seconds))
    _run_repeat(_BUILT_IN[name], design, 0, lambda seed: cast(Executor, replayed), EFFORT)

    # The default method chooses networks by the measured pace, so the two searches begin the same jobs only at first.
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(live.jobs, replayed.jobs, strict=False))
    ended = live.ends.keys() & replayed.ends.keys()
    ends = [(live.ends[job], replayed.ends[job]) for job, _ in pairs if job in ended]
    # The start of the first jobs takes about a second, which the simulated clock does not contain.
    late = [pair for pair in ends if pair[1] > seconds]
    assert len(late) > TRAININGS / 4
    assert all(0.9 <= live_end / replayed_end <= 1.1 for live_end, replayed_end in late)


def test_live_runs_keep_files_of_user(tmp_path: Path):
    (tmp_path / "work").mkdir()
    trace = Trace(method="random", repeat=0, seed=0, answers=(), networks=0, runs=0, rejected=0, ended=1.0)
    contest = Contest([_BUILT_IN["random"]], live_design(1.0), EFFORT)

    run_live(contest, EFFORT, lambda: Processes(SOURCE, EFFORT.limits), tmp_path, [trace], print)

    assert (tmp_path / "work").exists()


@pytest.mark.slow
def test_answers_are_judged_by_mean_of_fresh_seeds():
    small, large = "conv3x3(4) bn relu maxpool(4) | gap | linear(10)", "conv3x3(16) bn relu maxpool | gap | linear(10)"
    answers = tuple(
        BenchAnswer(seconds=1.0, hash=parse_network(text).hash, architecture=parse_network(text), parameters=size)
        for text, size in ((small, 94), (large, 346))
    )
    trace = Trace(method="m", repeat=0, seed=0, answers=answers, networks=2, runs=2, rejected=0, ended=1.0)

    design = live_design(1.0)
    study = replace(design.task.study, recipe=Recipe(epochs=2), target_pct=1.0)
    design = replace(design, task=replace(design.task, study=study))

    judged = _judged([trace], design, EFFORT, Processes(SOURCE, EFFORT.limits))

    assert list(judged.accuracies_pct) == sorted(parse_network(text).hash for text in (small, large))
    assert all(10.0 < value < 100.0 for value in judged.accuracies_pct.values())
    assert judged.smallest == 94
