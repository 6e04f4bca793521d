"""The simulated clock by hand, what a table says a training gives, and repeats in a process of the pool."""

from __future__ import annotations

import multiprocessing
import signal
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from harness.bench import replay as repeats
from harness.bench.comparison import NoiseModel
from harness.bench.methods import MAIN
from harness.bench.replay import Reading, SimulatedExecutor, _result_of, _TableReadings, true_accuracies_pct
from harness.bench.scores import Trace
from harness.bench.table import Table
from harness.system.errors import HarnessError
from harness.training.executor import Finished
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from search_spaces.notation import parse_network
from tests.harness.bench import made_up_table

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

    def read(self, job: Job, repeat: int) -> Reading:
        pace = (job.trial or 0) + 1
        return Reading(
            "ab" * 6, 86, 28_264, 100, {1: 40, 2: 30, 4: 20}, {e: float(e * pace) for e in (1, 2, 4)}, self.status
        )


def executor(places: int, end: float = 100.0, status: Status = Status.COMPLETE) -> SimulatedExecutor:
    made = SimulatedExecutor(Fixed(status), 0, end)
    made.start(places)
    return made


def ends(made: SimulatedExecutor) -> list[tuple[int | None, float]]:
    events = made.wait(0.5)
    assert all(isinstance(event, Finished) for event in events)
    return [(event.job.trial, made.now()) for event in events]


def finished(made: SimulatedExecutor) -> Result:
    (event,) = made.wait(0.5)
    assert isinstance(event, Finished)
    return event.result


def test_jobs_end_in_the_order_of_a_schedule_by_hand():
    """Trials of 4, 8 and 12 seconds on two workers: 0 and 1 begin at 0, 2 at 4, and a further 0 at 8, to the end."""
    made = executor(2, end=16.0)
    made.submit(JOB)
    made.submit(replace(JOB, trial=1))

    assert ends(made) == [(0, 4.0)]
    made.submit(replace(JOB, trial=2))
    assert ends(made) == [(1, 8.0)]
    made.submit(JOB)
    assert ends(made) == [(0, 12.0)]
    assert ends(made) == [(2, 16.0)]
    assert made.idle() == 2


def test_jobs_that_end_together_are_told_together_in_the_order_of_their_desks():
    made = executor(3)
    for place in range(3):
        made.submit(replace(JOB, trial=place % 2))

    assert ends(made) == [(0, 4.0), (0, 4.0)]
    assert ends(made) == [(1, 8.0)]


def test_a_run_that_goes_on_from_a_rung_takes_the_difference():
    made = executor(1)
    made.submit(replace(JOB, trial=2, until_epoch=1))

    at_rung = finished(made)
    assert (at_rung.status, at_rung.validation_errors, at_rung.train_seconds, made.now()) == ("running", 40, 3.0, 3.0)
    made.submit(replace(JOB, trial=2, spent_seconds=3.0))
    whole = finished(made)
    assert (whole.status, whole.validation_errors, whole.train_seconds, made.now()) == ("complete", 20, 12.0, 12.0)


def test_the_clock_stops_at_its_end_and_what_is_at_work_then_has_no_result():
    made = executor(2, end=5.0)
    made.submit(JOB)
    made.submit(replace(JOB, trial=1))

    assert ends(made) == [(0, 4.0)]
    assert ends(made) == []
    assert made.now() == 5.0
    assert [place.job.trial for place in made.places() if place.job] == [1]


def test_a_history_has_an_epoch_each_and_errors_at_the_rungs_only():
    found = _result_of(JOB, Fixed().read(JOB, 0))

    assert [(epoch.epoch, epoch.validation_errors) for epoch in found.history] == [(1, 40), (2, 30), (3, None), (4, 20)]
    assert found.validation_accuracy_pct == 80.0


def test_a_run_that_diverged_says_so_at_its_end():
    assert _result_of(JOB, Fixed(Status.DIVERGED).read(JOB, 0)).status is Status.DIVERGED
    at_rung = replace(JOB, until_epoch=2)
    assert _result_of(at_rung, Fixed(Status.DIVERGED).read(JOB, 0)).status is Status.RUNNING


TABLE = made_up_table.table(made_up_table.TINY)
FIRST = next(iter(TABLE.runs))


def job(network_hash: str, index: int = 0, purpose: Purpose = Purpose.CONFIRM) -> Job:
    row = TABLE.runs[network_hash][0][1]
    return Job(
        architecture=parse_network(row.architecture),
        recipe=TABLE.recipe,
        recipe_name="short",
        purpose=purpose,
        seed_index=index,
        trial=0,
    )


def recorded_errors(network_hash: str) -> list[int]:
    runs = TABLE.runs[network_hash].values()
    return [round(100 * (100 - run[8].validation_accuracy_pct)) for run in runs]


def test_recorded_runs_are_those_of_the_table_with_their_seconds():
    readings = _TableReadings(TABLE, NoiseModel.RECORDED)
    found = [readings.read(job(FIRST, index), 0) for index in range(30)]

    assert {reading.errors[8] for reading in found} == set(recorded_errors(FIRST))
    pairs = {
        (run[8].seconds, round(100 * (100 - run[8].validation_accuracy_pct))) for run in TABLE.runs[FIRST].values()
    }
    assert {(reading.seconds[8], reading.errors[8]) for reading in found} == pairs


@pytest.mark.parametrize("spread", list(NoiseModel))
def test_the_mean_of_many_runs_is_that_of_the_table(spread: NoiseModel):
    readings = _TableReadings(made_up_table.table(), spread)
    network_hash, runs = next(iter(readings.table.runs.items()))
    one = replace(job(FIRST), architecture=parse_network(runs[0][1].architecture))
    drawn = [readings.read(replace(one, seed_index=index), 0).errors[8] for index in range(3_000)]
    true = statistics.mean(100 * (100 - run[8].validation_accuracy_pct) for run in runs.values())

    assert statistics.mean(drawn) == pytest.approx(true, rel=0.03)
    assert 100 * (100 - true_accuracies_pct(readings.table)[network_hash]) == pytest.approx(true)


def test_pooled_runs_differ_as_much_as_the_seeds_that_made_the_table():
    """The made-up noise is 0.12 of the errors between seeds and 0.05 between looks: 0.13 together."""
    readings = _TableReadings(made_up_table.table(), NoiseModel.POOLED)
    relative = []
    for runs in list(readings.table.runs.values())[:60]:
        one = replace(job(FIRST), architecture=parse_network(runs[0][1].architecture))
        drawn = [readings.read(replace(one, seed_index=index), 0).errors[8] for index in range(60)]
        relative.append(statistics.stdev(drawn) / statistics.mean(drawn))

    assert statistics.mean(relative) == pytest.approx(0.13, rel=0.2)


def test_the_same_run_of_the_same_repeat_is_the_same_and_others_are_not():
    readings = _TableReadings(TABLE)

    assert readings.read(job(FIRST), 5) == _TableReadings(TABLE).read(job(FIRST), 5)
    others = [readings.read(job(FIRST), 6), readings.read(job(FIRST, 1), 5), readings.read(job(FIRST), 7)]
    others.append(readings.read(job(FIRST, purpose=Purpose.SEARCH), 5))
    assert len({tuple(reading.errors.values()) for reading in (readings.read(job(FIRST), 5), *others)}) > 2


def test_a_run_that_diverged_is_one_in_replay_too_and_lends_nobody_its_errors():
    bad = {FIRST: 1}
    rows = tuple(
        replace(row, status=Status.DIVERGED, validation_accuracy_pct=10.0) if bad.get(row.hash) == row.seed else row
        for row in TABLE.rows
    )
    readings = _TableReadings(Table(TABLE.facts, rows))

    found = [readings.read(job(FIRST, index), 0) for index in range(40)]
    assert {reading.status for reading in found} == {Status.COMPLETE, Status.DIVERGED}
    assert {reading.errors[8] for reading in found if reading.status is Status.DIVERGED} == {9_000}
    assert max(reading.errors[8] for reading in found if reading.status is Status.COMPLETE) < 3_000


TASK = made_up_table.task(TABLE, seconds=30.0, target_pct=97.0)
PIECE = (MAIN["random"], (3, 5))


@pytest.fixture(autouse=True)
def signals_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kept = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(repeats, "_WORKER", None)
    yield
    signal.signal(signal.SIGINT, kept)


def test_a_process_that_is_told_to_stop_begins_no_further_repeat(monkeypatch: pytest.MonkeyPatch):
    context = multiprocessing.get_context("spawn")
    stopped, ready = context.Event(), context.Semaphore(0)
    repeats._prepare(TASK, TABLE, NoiseModel.POOLED, 0, 10.0, stopped, ready)
    assert ready.acquire(block=False)
    assert [trace.repeat for trace in repeats._do(*PIECE)] == [3, 5]

    def replay_and_stop(
        method: object, task: object, readings: object, seed: int, repeat: int, limits: object
    ) -> Trace:
        stopped.set()
        return Trace(method="random", repeat=repeat, seed=0, answers=(), networks=1, runs=1, rejected=0, ended=1.0)

    monkeypatch.setattr(repeats, "replay", replay_and_stop)
    assert [trace.repeat for trace in repeats._do(*PIECE)] == [3]
    assert repeats._do(*PIECE) == []


def test_a_process_that_is_killed_is_told_in_one_line_and_what_has_ended_is_kept():
    kept: list[Trace] = []

    def keep_and_kill(traces: Sequence[Trace]) -> None:
        kept.extend(traces)
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(HarnessError, match="a process of the comparison was killed") as caught:
        repeats.run_repeats([MAIN["random"]], TASK, TABLE, NoiseModel.POOLED, 200, 0, 10.0, 1, (), keep_and_kill)

    assert type(caught.value) is HarnessError
    assert [trace.repeat for trace in kept][: repeats._CHUNK] == list(range(repeats._CHUNK))
