from __future__ import annotations

from dataclasses import replace

import pytest

from harness.bench.table import NotInTable, Row, TableError, runs_of
from tests.harness.bench.some_table import HASHES, run_rows, some_table


def test_the_runs_of_a_network_are_found_by_seed_and_rung():
    table = some_table(run_rows(0, seed=0), run_rows(0, seed=1, accuracies=(10.0, 20.0, 30.0)), run_rows(2))

    runs = runs_of(table, HASHES[0])

    assert list(runs) == [0, 1]
    assert runs[1][2].validation_accuracy_pct == 20.0
    assert [row.seconds for row in runs[0].values()] == [1.0, 2.0, 4.0]


def test_a_network_that_a_table_has_not_is_an_error_that_says_what_the_table_has():
    with pytest.raises(NotInTable) as caught:
        runs_of(some_table(), "0123456789ab")

    assert caught.value.message == (
        "network 0123456789ab is not in the table 'made-up', which holds all 3 networks of the space 'few'"
    )
    assert caught.value.hint is not None
    assert "harness bench table" in caught.value.hint
    assert caught.value.exit_code == 4


def test_rows_are_put_in_order_whatever_order_they_come_in():
    runs = [run_rows(network, seed) for network in range(3) for seed in range(2)]

    assert some_table(*runs).rows == some_table(*[run[::-1] for run in runs[::-1]]).rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (run_rows()[:2], r"seed 0 of network \w+ has the rungs 1, 2, not 1, 2, 4"),
        (run_rows() + run_rows(), r"has the rungs 1, 1, 2, 2, 4, 4, not 1, 2, 4"),
        (run_rows() + [replace(row, macs=1) for row in run_rows(seed=1)], r"has 2 different values of macs"),
    ],
    ids=["rung missing", "run twice", "contradiction"],
)
def test_rows_that_do_not_hold_together_are_refused(rows: list[Row], message: str):
    with pytest.raises(TableError, match=message) as caught:
        some_table(rows)

    assert caught.value.exit_code == 5
