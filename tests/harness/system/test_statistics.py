"""Means, deviations and bounds, compared with the standard library, SciPy and printed tables."""

from __future__ import annotations

import math
import re
import statistics as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.system import statistics
from harness.system.statistics import (
    lower_bound,
    mean,
    pooled_deviation,
    reaches,
    standard_deviation,
    student_share,
    welch_p_value,
)
from tests.conftest import REPOSITORY

ACCURACIES = st.lists(st.integers(9_000, 10_000).map(lambda right: right / 100), min_size=2, max_size=12)


@given(values=ACCURACIES)
def test_mean_and_deviation_equal_standard_library(values: list[float]):
    assert mean(values) == pytest.approx(standard.mean(values))
    assert standard_deviation(values) == pytest.approx(standard.stdev(values), abs=1e-9)


@pytest.mark.parametrize(
    ("confidence", "count", "quantile"),
    # Quantiles of Student's t distribution to three decimal places, from printed tables.
    [(0.95, 5, 2.132), (0.99, 5, 3.747), (0.99, 10, 2.821), (0.99, 20, 2.539), (0.99, 30, 2.462)],
)
def test_lower_bound_uses_quantiles_of_printed_tables(confidence: float, count: int, quantile: float):
    values = [99.4 + 0.05 * (-1) ** index for index in range(count)]
    distance = (mean(values) - lower_bound(values, confidence)) * math.sqrt(count)
    assert distance / standard_deviation(values) == pytest.approx(quantile, abs=0.0006)


def test_student_share_equals_printed_tables():
    # Student's t: the 95 % quantile with 4 degrees of freedom is 2.132, the 90 % quantile with 21 is 1.323.
    assert student_share(2.132, 4) == pytest.approx(0.95, abs=1e-4)
    assert student_share(1.323, 21) == pytest.approx(0.90, abs=1e-4)
    assert student_share(0.0, 5) == pytest.approx(0.5)


@given(values=ACCURACIES)
def test_lower_bound_equals_scipy_interval(values: list[float]):
    equal = len(set(values)) == 1
    low = values[0] if equal else stats.t.interval(0.95, len(values) - 1, standard.mean(values), stats.sem(values))[0]
    assert lower_bound(values, 0.975) == pytest.approx(float(low))


def test_welch_p_value_equals_published_formulas():
    fresh, recorded = [99.30, 99.35, 99.28, 99.41], [99.45, 99.47, 99.40, 99.44, 99.46, 99.39]
    # Welch's formulas give t = -3.1311 with 4.2904 degrees of freedom.
    # The p-value is the integral of Student's density up to t.
    assert welch_p_value(fresh, recorded) == pytest.approx(0.015967, abs=1e-6)
    assert welch_p_value(recorded, fresh) == pytest.approx(1 - welch_p_value(fresh, recorded))
    assert welch_p_value(fresh, fresh) == pytest.approx(0.5)
    # Samples without variance are compared by mean.
    assert [welch_p_value([value] * 3, [99.5] * 3) for value in (99.0, 99.5, 99.6)] == [0.0, 1.0, 1.0]


def test_pooled_deviation_weighs_groups_by_degrees_of_freedom():
    deviation, freedom = pooled_deviation([[1.0, 3.0], [10.0, 10.0, 13.0], [7.0]])
    # Sums of squares: 2 with 1 degree of freedom, 6 with 2; a group with a single value has none.
    assert deviation == pytest.approx(math.sqrt(8 / 3))
    assert freedom == 3
    assert math.isnan(pooled_deviation([[1.0], [2.0], []])[0])


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(0, 500))
def test_mean_reaches_target_exactly_if_error_counts_allow(errors: list[int], allowed: int):
    mean_pct = mean([100.0 * (10_000 - count) / 10_000 for count in errors])
    assert reaches(mean_pct, 100.0 * (10_000 - allowed) / 10_000) == (sum(errors) <= allowed * len(errors))


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "docs/evidence/results.md",
        "docs/project/decisions.md",
        "docs/project/glossary.md",
        "docs/use/commands.md",
        "harness/commands/verify.py",
        "harness/commands/leaderboard.py",
        "harness/interface/estimator.py",
    ],
)
def test_texts_for_users_state_one_condition(path: str):
    text = " ".join((REPOSITORY / path).read_text(encoding="utf-8").split())

    assert statistics.SEED_CONDITION in text
    assert f"{statistics.MAX_SKEWNESS:g}" in statistics.SEED_CONDITION
    # The condition before 30 November 2026 remains only as history.
    assert not re.search(r"(?<!condition was a )skewness of at most (1|one)\b", text)
