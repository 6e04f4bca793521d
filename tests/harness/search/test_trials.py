"""Which network came nearest to standing, counted in images."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search.race import Candidate
from harness.search.trials import allowed_errors, miss_text, nearest_miss
from harness.training.result import Epoch, Purpose, Status
from search_spaces.space import Metric
from tests.harness.raced import SIZE, candidate, proposal, result


def pruned(errors: int, trial: int = 0) -> Candidate:
    """Return a network that was stopped after two epochs."""
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, errors) for number in (1, 2))
    run = result(errors, status=Status.PRUNED, purpose=Purpose.SEARCH, history=history)
    return Candidate(proposal(trial), 1000, run, threshold_pct=99.0)


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


def failed(errors: int | None, status: Status) -> Candidate:
    return Candidate(proposal(), 1000, result(errors, status=status, purpose=Purpose.SEARCH), threshold_pct=99.0)


@pytest.mark.parametrize(
    ("networks", "trial", "errors", "runs"),
    [
        ([], None, 0, 0),
        ([candidate(first=None), failed(50, Status.DIVERGED), failed(None, Status.CRASHED)], None, 0, 0),
        # The fewest errors, and of equal ones the smaller.
        ([candidate(first=130, trial=0, parameters=500), candidate(first=104, trial=1, parameters=2000),
          candidate(first=104, trial=2, parameters=900)], 2, 104, 1),
        # Fresh seeds count in place of a first run that was lucky; one that failed as chance.
        ([candidate(120, 121, first=90, trial=0)], 0, 120.5, 2),
        ([candidate(120, 121, first=90, trial=0), candidate(first=110, trial=1)], 1, 110, 1),
        ([candidate(100, None, first=90)], 0, (100 + 9000) / 2, 2),
        # What stands did not miss.
        ([candidate(80, 80, 80, trial=0)], None, 0, 0),
        ([candidate(80, 80, 80, trial=0), candidate(first=150, trial=1)], 1, 150, 1),
        # A pruned run is named only where none was complete.
        ([pruned(300), pruned(250, trial=1)], 1, 250, 1),
        ([pruned(101), candidate(first=400, trial=5)], 5, 400, 1),
    ],
)  # fmt: skip
def test_the_nearest(networks: list[Candidate], trial: int | None, errors: float, runs: int):
    found = nearest_miss(networks)

    if trial is None:
        assert found is None
    else:
        assert found is not None
        assert (found.trial, found.errors, found.runs) == (trial, errors, runs)
        assert (found.allowed, found.size) == (100, SIZE)
        assert found.pruned_after == (2 if errors == 250 else None)


def test_a_miss_is_told_in_images_with_what_is_minimised():
    def text(network: Candidate) -> str:
        found = nearest_miss([network])
        assert found is not None
        return miss_text(found, Metric.PARAMETERS)

    plain = candidate(first=104, parameters=2140)
    assert text(plain) == "2,140 parameters, 104 errors, 100 allowed"
    assert "mean 105.3 errors of 3 runs" in text(candidate(104, 105, 107))
    assert "347 errors at epoch 2" in text(pruned(347))
    # One that passed by luck is not shown as if it were confirmed.
    assert "passed once" in text(candidate(first=95))
    assert "too uncertain" in text(candidate(94, 97, first=95))
    found = nearest_miss([plain])
    assert found is not None
    shown = miss_text(replace(found, cost=71_000), Metric.MACS)
    assert shown == "71,000 multiply-adds, 2,140 parameters, 104 errors, 100 allowed"
