"""How the two clocks are compared: on a live side that is itself a simulated one, slowed down by a known share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks import simulated_clock
from benchmarks.simulated_clock import End, Noting, at_the_pace_of, beside_the_table, compared, key_of, training_share
from harness.bench.methods.method import BUILT_IN
from harness.bench.simulation.clock import SimulatedExecutor
from harness.bench.simulation.live import Running
from harness.bench.simulation.readings import Reading, TableReadings
from harness.bench.simulation.replay import run_repeat
from harness.search.effort import Effort
from harness.training.result import Purpose, Status
from harness.training.run import Job
from harness.training.workers import Limits as RunLimits
from harness.training.workers import Source
from search_spaces.notation import parse_network
from tests.harness.bench import made_up_table

TABLE = made_up_table.table()
TASK = made_up_table.task(TABLE, seconds=200.0, target_pct=98.3)
EFFORT = Effort(seconds=None, trials=None, workers=2, device="cpu", limits=RunLimits(), engine="torch")


@dataclass(slots=True)
class Slow:
    """An executor that takes longer than its trainings say, as real ones do."""

    inner: SimulatedExecutor
    slower: float

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def now(self) -> float:
        return self.inner.clock * self.slower


@pytest.mark.parametrize("name", ["random", "default"])
def test_a_live_side_that_is_slower_by_a_share_is_found_to_be_so(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    executor = Slow(SimulatedExecutor(TableReadings(TABLE), 7, TASK.seconds / 1.05), 1.05)
    monkeypatch.setattr(simulated_clock, "Processes", lambda source, limits: executor)

    live, replayed, borrowed = simulated_clock.both(
        BUILT_IN[name],
        TASK,
        Running(Source("mnist", None), EFFORT),
        0,
        tmp_path / "work",
        lambda ends: TableReadings(TABLE),
    )

    # What the time cut off, and what the replay, which is faster, begins in the time that is left.
    assert borrowed <= 4
    found = compared(live.ends, replayed.ends)
    assert found["alike_in_order"] == found["trainings_live"] > 10
    assert found["live_over_simulated"] == {"last": 1.05, "least": 1.05, "most": 1.05}


def test_both_sides_of_equal_clocks_end_at_the_same_seconds(tmp_path: Path):
    executor = Noting(SimulatedExecutor(TableReadings(TABLE), 7, TASK.seconds))
    run_repeat(BUILT_IN["random"], TASK, executor, 0, 0, 10.0)

    assert compared(executor.ends, executor.ends)["live_over_simulated"] == {"last": 1.0, "least": 1.0, "most": 1.0}
    assert [end.seconds for end in executor.ends] == sorted(end.seconds for end in executor.ends)


def job_of(text: str, until_epoch: int | None = None) -> Job:
    return Job(
        architecture=parse_network(text),
        recipe=made_up_table.RECIPE,
        recipe_name="r",
        purpose=Purpose.SEARCH,
        seed_index=0,
        until_epoch=until_epoch,
    )


def test_a_training_that_was_left_at_a_rung_goes_on_as_in_the_table():
    # With what it gave alone the replay would wait for it for ever.
    text = next(iter(TABLE.runs.values()))[0][8].architecture
    table = TableReadings(TABLE)
    known = {key_of(job_of(text)): Reading("h", 1, 1, 100, {1: 9, 2: 5}, {1: 0.5, 2: 1.0}, Status.COMPLETE)}

    readings = simulated_clock.NotedReadings(known, table)
    found = readings.read(job_of(text, until_epoch=2), 0)
    assert not readings.borrowed
    assert (found.errors[2], found.seconds[2]) == (5, 1.0)

    found = readings.read(job_of(text), 0)
    other = table.read(job_of(text), 0)
    assert readings.borrowed == {key_of(job_of(text))}
    assert found.seconds == {
        1: 0.5,
        2: 1.0,
        4: pytest.approx(1.0 + other.seconds[4] - other.seconds[2]),
        8: pytest.approx(1.0 + other.seconds[8] - other.seconds[2]),
    }
    assert found.errors == {1: 9, 2: 5, 4: other.errors[4], 8: other.errors[8]}


def test_a_training_that_the_live_search_never_began_is_the_tables():
    job = job_of(next(iter(TABLE.runs.values()))[0][8].architecture)
    table = TableReadings(TABLE)
    readings = simulated_clock.NotedReadings({}, table)

    assert readings.read(job, 3) == table.read(job, 3)
    assert readings.borrowed == {key_of(job)}


def test_the_tables_seconds_are_compared_where_a_training_went_to_its_end():
    network, runs = next(iter(TABLE.runs.items()))
    recorded = sum(run[8].seconds for run in runs.values()) / len(runs)
    end = End(10.0, (network, "search", 0), 1.1 * recorded, Status.COMPLETE)

    pruned = replace(end, trained=99.0, status=Status.PRUNED)
    assert beside_the_table([end, pruned], TABLE) == {"trainings": 1, "mean_live_over_table": 1.1}
    assert beside_the_table([pruned], TABLE) == {}


def test_the_tables_trainings_are_brought_to_the_pace_of_those_that_ended_live():
    network, runs = next(iter(TABLE.runs.items()))
    job = job_of(runs[0][8].architecture)
    recorded = sum(run[8].seconds for run in runs.values()) / len(runs)
    end = End(10.0, (network, "search", 0), recorded / 2, Status.COMPLETE)

    known = TableReadings(TABLE).read(job, 3)
    assert at_the_pace_of(TABLE, [end]).read(job, 3) == replace(
        known, seconds={rung: taken / 2 for rung, taken in known.seconds.items()}
    )
    assert at_the_pace_of(TABLE, []).read(job, 3) == known


def test_the_share_of_training_counts_what_waits_at_a_rung_too():
    live = Noting(SimulatedExecutor(TableReadings(TABLE), 7, 200.0))
    text = next(iter(TABLE.runs.values()))[0][8].architecture
    live.start(2)
    live.assign(0, job_of(text, until_epoch=2))
    live.poll(1.0)

    assert not live.ends
    assert training_share(live, places=2) == 0.5


def test_a_time_in_which_no_training_ends_is_said_to_be_too_short():
    with pytest.raises(SystemExit, match=r"^no training ended on both clocks; give a longer --time$"):
        compared([], [End(10.0, ("abc", "search", 0), 1.0, Status.COMPLETE)])
