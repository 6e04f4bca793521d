"""Means, deviations and bounds are those of other programs and of printed tables."""

from __future__ import annotations

import math
import statistics as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.system.statistics import (
    lower_bound,
    mean,
    pooled_deviation,
    reaches,
    standard_deviation,
    student_share,
    welch_p_value,
)

ACCURACIES = st.lists(st.integers(9_000, 10_000).map(lambda right: right / 100), min_size=2, max_size=12)


@given(values=ACCURACIES)
def test_mean_and_deviation_are_those_of_the_standard_library(values: list[float]):
    assert mean(values) == pytest.approx(standard.mean(values))
    assert standard_deviation(values) == pytest.approx(standard.stdev(values), abs=1e-9)


@pytest.mark.parametrize(
    ("confidence", "count", "quantile"),
    # Student's t, one-sided, to three places, as every printed table has it.
    [(0.95, 5, 2.132), (0.99, 5, 3.747), (0.99, 10, 2.821), (0.99, 20, 2.539), (0.99, 30, 2.462)],
)
def test_the_lower_bound_uses_the_quantiles_of_the_printed_tables(confidence: float, count: int, quantile: float):
    values = [99.4 + 0.05 * (-1) ** index for index in range(count)]
    distance = (mean(values) - lower_bound(values, confidence)) * math.sqrt(count)
    assert distance / standard_deviation(values) == pytest.approx(quantile, abs=0.0006)


def test_student_s_share_is_that_of_the_printed_tables():
    # Student's t, one-sided: 2.132 is the 95 % quantile with 4 degrees of freedom, 1.323 the 90 % quantile with 21.
    assert student_share(2.132, 4) == pytest.approx(0.95, abs=1e-4)
    assert student_share(1.323, 21) == pytest.approx(0.90, abs=1e-4)
    assert student_share(0.0, 5) == pytest.approx(0.5)


@given(values=ACCURACIES)
def test_the_lower_bound_is_that_of_scipy_s_interval(values: list[float]):
    alike = len(set(values)) == 1
    low = values[0] if alike else stats.t.interval(0.95, len(values) - 1, standard.mean(values), stats.sem(values))[0]
    assert lower_bound(values, 0.975) == pytest.approx(float(low))


def test_the_chance_of_a_worse_re_run_is_the_one_of_welch():
    fresh, recorded = [99.30, 99.35, 99.28, 99.41], [99.45, 99.47, 99.40, 99.44, 99.46, 99.39]
    # Welch's formulas give t = -3.1311 with 4.2904 degrees of freedom; Student's density was summed up to there.
    assert welch_p_value(fresh, recorded) == pytest.approx(0.015967, abs=1e-6)
    assert welch_p_value(recorded, fresh) == pytest.approx(1 - welch_p_value(fresh, recorded))
    assert welch_p_value(fresh, fresh) == pytest.approx(0.5)
    # Samples without spread are compared as they are.
    assert [welch_p_value([value] * 3, [99.5] * 3) for value in (99.0, 99.5, 99.6)] == [0.0, 1.0, 1.0]


def test_the_pooled_deviation_weighs_groups_by_their_degrees_of_freedom():
    deviation, freedom = pooled_deviation([[1.0, 3.0], [10.0, 10.0, 13.0], [7.0]])
    # Squares within the groups: 2 over one degree, 6 over two; a group of one says nothing.
    assert deviation == pytest.approx(math.sqrt(8 / 3))
    assert freedom == 3
    assert math.isnan(pooled_deviation([[1.0], [2.0], []])[0])


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(0, 500))
def test_counts_of_errors_reach_a_target_exactly_when_their_mean_allows_it(errors: list[int], allowed: int):
    found = mean([100.0 * (10_000 - count) / 10_000 for count in errors])
    assert reaches(found, 100.0 * (10_000 - allowed) / 10_000) == (sum(errors) <= allowed * len(errors))
