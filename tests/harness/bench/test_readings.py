"""What a table says a training gives: its mean, its spread, and the same figure for the same seed."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from harness.bench.comparison import NoiseModel
from harness.bench.simulation import TableReadings, true_accuracies_pct
from harness.bench.table import NotInTable, Table
from harness.training.result import Purpose, Status
from harness.training.run import Job
from search_spaces.notation import parse_network
from tests.harness.bench import made_up_table

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
    readings = TableReadings(TABLE, NoiseModel.RECORDED)
    found = [readings.read(job(FIRST, index), 0) for index in range(30)]

    assert {reading.errors[8] for reading in found} == set(recorded_errors(FIRST))
    pairs = {
        (run[8].seconds, round(100 * (100 - run[8].validation_accuracy_pct))) for run in TABLE.runs[FIRST].values()
    }
    assert {(reading.seconds[8], reading.errors[8]) for reading in found} == pairs


@pytest.mark.parametrize("spread", list(NoiseModel))
def test_the_mean_of_many_runs_is_that_of_the_table(spread: NoiseModel):
    readings = TableReadings(made_up_table.table(), spread)
    network_hash, runs = next(iter(readings.table.runs.items()))
    one = replace(job(FIRST), architecture=parse_network(runs[0][1].architecture))
    drawn = [readings.read(replace(one, seed_index=index), 0).errors[8] for index in range(3_000)]
    true = statistics.mean(100 * (100 - run[8].validation_accuracy_pct) for run in runs.values())

    assert statistics.mean(drawn) == pytest.approx(true, rel=0.03)
    assert 100 * (100 - true_accuracies_pct(readings.table)[network_hash]) == pytest.approx(true)


def test_pooled_runs_differ_as_much_as_the_seeds_that_made_the_table():
    """The made-up noise is 0.12 of the errors between seeds and 0.05 between looks: 0.13 together."""
    readings = TableReadings(made_up_table.table(), NoiseModel.POOLED)
    relative = []
    for runs in list(readings.table.runs.values())[:60]:
        one = replace(job(FIRST), architecture=parse_network(runs[0][1].architecture))
        drawn = [readings.read(replace(one, seed_index=index), 0).errors[8] for index in range(60)]
        relative.append(statistics.stdev(drawn) / statistics.mean(drawn))

    assert statistics.mean(relative) == pytest.approx(0.13, rel=0.2)


def test_the_same_run_of_the_same_repeat_is_the_same_and_others_are_not():
    readings = TableReadings(TABLE)

    assert readings.read(job(FIRST), 5) == TableReadings(TABLE).read(job(FIRST), 5)
    others = [readings.read(job(FIRST), 6), readings.read(job(FIRST, 1), 5), readings.read(job(FIRST), 7)]
    others.append(readings.read(job(FIRST, purpose=Purpose.SEARCH), 5))
    assert len({tuple(reading.errors.values()) for reading in (readings.read(job(FIRST), 5), *others)}) > 2


def test_a_network_outside_the_table_is_named():
    outside = replace(job(FIRST), architecture=parse_network("conv3x3(5) gap linear(10)"))

    with pytest.raises(NotInTable, match=r"is not in the table 'made-up', which holds all 8 networks"):
        TableReadings(TABLE).read(outside, 0)


def test_a_run_that_diverged_is_one_in_replay_too_and_lends_nobody_its_errors():
    bad = {FIRST: 1}
    rows = tuple(
        replace(row, status=Status.DIVERGED, validation_accuracy_pct=10.0) if bad.get(row.hash) == row.seed else row
        for row in TABLE.rows
    )
    readings = TableReadings(Table(TABLE.facts, rows))

    found = [readings.read(job(FIRST, index), 0) for index in range(40)]
    assert {reading.status for reading in found} == {Status.COMPLETE, Status.DIVERGED}
    assert {reading.errors[8] for reading in found if reading.status is Status.DIVERGED} == {9_000}
    assert max(reading.errors[8] for reading in found if reading.status is Status.COMPLETE) < 3_000
