"""Which network came nearest to standing, counted in images."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search.nearest_miss import allowed_errors, miss_text, nearest_miss
from harness.search.race import Candidate
from harness.training.result import Epoch, Purpose, Status
from search_spaces.space import Metric
from tests.harness.raced import SIZE, THRESHOLD, candidate, proposal, result


def pruned(errors: int, trial: int = 0) -> Candidate:
    """Return a network that was stopped after two epochs."""
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, errors) for number in (1, 2))
    run = result(errors, status=Status.PRUNED, purpose=Purpose.SEARCH, history=history)
    return Candidate(proposal(trial), 1000, run)


# Errors that are allowed ------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from([1, 7, 1_000, 9_999, 10_000]))
def test_the_errors_allowed_are_the_most_that_reach_the_threshold(hundredths: int, size: int):
    # In whole numbers: 100 * (size - errors) / size >= hundredths / 100.
    expected = max(errors for errors in range(size + 1) if 10_000 * (size - errors) >= hundredths * size)

    assert allowed_errors(hundredths / 100, size) == expected


@given(st.floats(0, 100, allow_nan=False), st.integers(1, 60))
def test_it_is_so_for_any_threshold(threshold_pct: float, size: int):
    allowed = allowed_errors(threshold_pct, size)

    # What floats lose is within a billionth of a per cent.
    least = Fraction(threshold_pct) - Fraction(1, 10**9)
    assert 100 * Fraction(size - allowed, size) >= least - Fraction(1, 10**12)
    assert allowed == size or 100 * Fraction(size - allowed - 1, size) < least + Fraction(1, 10**12)


# The nearest ------------------------------------------------------------------------------------------------


def test_before_any_run_has_ended_there_is_none():
    assert nearest_miss([], THRESHOLD) is None
    assert nearest_miss([candidate(first=None)], THRESHOLD) is None


def test_a_run_that_failed_is_no_near_miss():
    diverged = Candidate(proposal(), 1000, result(50, status=Status.DIVERGED, purpose=Purpose.SEARCH))
    crashed = Candidate(proposal(1), 1000, result(None, status=Status.CRASHED, purpose=Purpose.SEARCH))

    assert nearest_miss([diverged, crashed], THRESHOLD) is None


def test_the_fewest_errors_are_nearest_and_of_equal_ones_the_smaller():
    networks = [
        candidate(first=130, trial=0, parameters=500),
        candidate(first=104, trial=1, parameters=2000),
        candidate(first=104, trial=2, parameters=900),
    ]

    found = nearest_miss(networks, THRESHOLD)

    assert found is not None
    assert (found.trial, found.parameters, found.errors, found.runs) == (2, 900, 104, 1)
    assert (found.allowed, found.size, found.pruned_after) == (100, SIZE, None)
    assert found.epochs == networks[2].first.recipe.epochs  # type: ignore[union-attr]
    assert isinstance(found.errors, int)


def test_fresh_seeds_count_in_place_of_a_first_run_that_was_lucky():
    lucky = candidate(120, 121, first=90, trial=0)
    plain = candidate(first=110, trial=1)

    assert nearest_miss([lucky], THRESHOLD).errors == pytest.approx(120.5)  # type: ignore[union-attr]
    assert nearest_miss([lucky], THRESHOLD).runs == 2  # type: ignore[union-attr]
    assert nearest_miss([lucky, plain], THRESHOLD).trial == 1  # type: ignore[union-attr]


def test_a_fresh_run_that_failed_counts_as_chance():
    found = nearest_miss([candidate(100, None, first=90)], THRESHOLD)

    assert found is not None
    assert found.errors == (100 + 9000) / 2


def test_what_stands_did_not_miss():
    standing, other = candidate(80, 80, 80, trial=0), candidate(first=150, trial=1)

    assert nearest_miss([standing], THRESHOLD) is None
    assert nearest_miss([standing, other], THRESHOLD).trial == 1  # type: ignore[union-attr]


def test_a_pruned_run_is_named_only_where_none_was_complete():
    found = nearest_miss([pruned(300), pruned(250, trial=1)], THRESHOLD)
    assert found is not None
    assert (found.trial, found.errors, found.pruned_after) == (1, 250, 2)

    assert nearest_miss([pruned(101), candidate(first=400, trial=5)], THRESHOLD).trial == 5  # type: ignore[union-attr]


# What people see --------------------------------------------------------------------------------------------


def test_a_miss_is_told_in_images_with_what_is_minimised():
    def text(network: Candidate) -> str:
        found = nearest_miss([network], THRESHOLD)
        assert found is not None
        return miss_text(found, Metric.PARAMETERS)

    plain = candidate(first=104, parameters=2140)
    assert text(plain) == "2,140 parameters, 104 errors, 100 allowed"
    assert "mean 105.3 errors of 3 runs" in text(candidate(104, 105, 107))
    assert "347 errors at epoch 2" in text(pruned(347))
    # One that passed by luck is not shown as if it were confirmed.
    assert "passed once" in text(candidate(first=95))
    assert "too uncertain" in text(candidate(94, 97, first=95))
    found = nearest_miss([plain], THRESHOLD)
    assert found is not None
    shown = miss_text(replace(found, cost=71_000), Metric.MACS)
    assert shown == "71,000 multiply-adds, 2,140 parameters, 104 errors, 100 allowed"
