from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from scipy.stats import spearmanr

from harness.bench.summary import Spread, datasheet, summary, summary_text
from harness.bench.table import Sample, Table
from harness.training.result import Status
from tests.harness.bench.some_table import MACHINE, run_rows, some_table


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


def test_a_machine_that_went_on_with_a_later_commit_counts_once():
    later = replace(MACHINE, environment=replace(MACHINE.environment, commit="c" * 40, dirty=False))
    other = replace(MACHINE, processor="another processor")

    made = some_table(machines=(MACHINE, later, other))

    assert "of training on 2 machines" in summary_text(made, summary(made))


def test_a_datasheet_says_what_a_table_is_for_and_what_not():
    whole = some_table(run_rows(0), run_rows(1, status=Status.DIVERGED), samples=(Sample(seed=7, networks=5, bands=8),))

    text = datasheet(whole, "a" * 64)

    for stated in (
        "# Table made-up",
        "Not for claims about accuracy: it holds no test figures",
        "2 distinct networks of 52 to 73",
        "2 runs in all, 1 of them diverged",
        "Up to 5 networks, seed 7: equal numbers from 8 bands",
        "read after epochs 1, 2, 4",
        "net = conv3x3({2, 3, 4}, stride=2)",
        "- batch_size: 64",
        "a processor, 2 cores, 2 runs side by side, engine `native avx2 01234567`",
        "a" * 64,
    ):
        assert stated in text
    assert "All networks that the space allows" not in text
    assert "All networks that the space allows" in datasheet(some_table(), "a" * 64)
