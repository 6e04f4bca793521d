from __future__ import annotations

import statistics

import pytest
from scipy.stats import spearmanr

from harness.bench.summary import Spread, summary
from harness.bench.table import Table
from tests.harness.bench.some_table import run_rows, some_table


def table() -> Table:
    return some_table(
        run_rows(0, 0, (90.0, 95.0, 96.0)),
        run_rows(0, 1, (91.0, 95.0, 96.4)),
        run_rows(1, 0, (92.0, 94.0, 97.0)),
        run_rows(1, 1, (93.0, 94.2, 97.8)),
        run_rows(2, 0, (89.0, 96.0, 98.0)),
    )


def test_the_accuracy_of_a_network_is_the_mean_over_its_seeds():
    last = summary(table()).rungs[-1]

    spread = last.accuracy_pct
    assert [spread.low, spread.median, spread.high] == pytest.approx([96.2, 97.4, 98.0])


def test_the_deviation_between_seeds_is_pooled_over_networks_that_have_two():
    first, second = statistics.variance([96.0, 96.4]), statistics.variance([97.0, 97.8])

    assert summary(table()).rungs[-1].seed_deviation_pct == pytest.approx(((first + second) / 2) ** 0.5)
    assert summary(some_table()).rungs[-1].seed_deviation_pct is None


def test_a_rung_is_worth_what_its_order_says_of_the_last():
    ranks = [rung.rank_correlation for rung in summary(table()).rungs]

    assert ranks[0] == pytest.approx(spearmanr([90.5, 92.5, 89.0], [96.2, 97.4, 98.0]).statistic)
    assert ranks[2] == pytest.approx(1.0)


def test_a_rank_correlation_that_is_not_defined_is_none():
    two = some_table(run_rows(0, 0, (90.0, 95.0, 96.0)), run_rows(1, 0, (92.0, 94.0, 97.0)))
    alike = some_table(*(run_rows(number, 0, (90.0, 95.0 + number, 96.0)) for number in range(3)))

    for found in map(summary, (two, alike)):
        assert [rung.rank_correlation for rung in found.rungs] == [None, None, None]


def test_counts_are_of_networks_runs_and_rows():
    found = summary(table())

    assert (found.networks, found.runs, found.rows, found.diverged, found.seeds) == (3, 5, 15, 0, (1, 2))
    assert found.train_seconds == 5 * 4.0
    # (9 + 2) * width + 10 * (width + 1), which is 21 * width + 10.
    assert found.parameters == Spread(low=52, median=73, high=94)
