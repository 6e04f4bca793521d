from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from reports.comparison.comparison import (
    _two_sided,
    accuracy_sentence,
    known,
    more_or_fewer,
    plain,
    quantity,
    ratio_text,
)
from reports.numbers import decimal
from tests.wording import lacking

A, B = (99.41, 99.48, 99.39, 99.44), (99.31, 99.36, 99.29)


def test_ratios_are_to_the_first_side():
    line = quantity("parameters", [2_000, 1_000, 3_000])

    assert line.words == ("2,000", "1,000", "3,000")
    assert line.ratios == (None, 0.5, 1.5)


@pytest.mark.parametrize(
    ("values", "ratios"),
    [
        ([None, 5], (None, None)),
        ([5, None], (None, None)),
        ([0, 5], (None, None)),
        ([5, 0], (None, 0.0)),
        ([math.nan, 5], (None, None)),
        ([5, math.inf], (None, None)),
    ],
)
def test_where_a_ratio_means_nothing_there_is_none(values: list[float | None], ratios: tuple[float | None, ...]):
    assert quantity("x", values).ratios == ratios


def test_what_cannot_be_compared_has_no_ratio():
    assert quantity("time", [1, 2], comparable=False).ratios == (None, None)


def test_numbers_are_shown_as_asked_and_missing_ones_as_a_dash():
    assert quantity("errors", [60.25, None], lambda value: decimal(value, 1)).words == ("60.2", "\u2013")
    assert plain("tier", ["verified", "", None, 0]).words == ("verified", "\u2013", "\u2013", "0")


def test_a_line_that_says_nothing_of_any_side_is_left_out():
    lines = [plain("a", ["", ""]), plain("b", ["x", ""])]

    assert known(lines) == [lines[1]]


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (1, "1.00"),
        (3.214, "3.21"),
        (9.999, "10.00"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1234.5, "1,234"),
        (0.03125, "0.0312"),
        (0.5, "0.500"),
        (0, "0.00"),
    ],
)
def test_a_ratio_has_three_digits_that_matter(ratio: float, shown: str):
    assert ratio_text(ratio) == f"\u00d7{shown}"


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (0.302, "70 % fewer than"),
        (0.9951, "0.5 % fewer than"),
        (0.004, "99.6 % fewer than"),
        (1.0, "as many as"),
        (1.0004, "as many as"),
        (1.12, "12 % more than"),
        (2.0, "2.00 times as many as"),
        (31.4, "31.4 times as many as"),
    ],
)
def test_a_ratio_in_a_sentence_says_more_or_fewer(ratio: float, said: str):
    assert more_or_fewer(ratio) == said


def test_time_is_not_counted():
    assert more_or_fewer(0.5, "less", "long") == "50 % less than"
    assert more_or_fewer(4, "less", "long") == "4.00 times as long as"


@given(ratio=st.floats(1e-9, 1e9))
def test_no_ratio_is_shown_wrong_by_more_than_half_a_per_cent(ratio: float):
    assert float(ratio_text(ratio)[1:].replace(",", "")) == pytest.approx(ratio, rel=0.0051)


@given(
    ours=st.lists(st.floats(90, 100), min_size=2, max_size=6),
    theirs=st.lists(st.floats(90, 100), min_size=2, max_size=6),
)
def test_chance_is_that_of_welchs_test(ours: list[float], theirs: list[float]):
    # scipy warns where the values of a sample are nearly equal.
    assume(all(max(values) - min(values) > 1e-3 for values in (ours, theirs)))

    assert _two_sided(ours, theirs) == pytest.approx(ttest_ind(ours, theirs, equal_var=False).pvalue, abs=1e-9)


def test_chance_is_the_same_from_both_sides_and_unknown_for_single_seeds():
    assert _two_sided(A, B) == pytest.approx(_two_sided(B, A))
    assert math.isnan(_two_sided(A, B[:1]))
    assert _two_sided((99.4, 99.4), (99.4, 99.4)) == 1.0
    assert _two_sided((99.4, 99.4), (99.5, 99.5)) == 0.0


def test_a_difference_beyond_chance_is_called_so():
    said = accuracy_sentence(("a", "b"), (A, B))

    p = f"p = {ttest_ind(A, B, equal_var=False).pvalue:.2g}"
    assert lacking(said, "b is 0.110 points below that of a", "more than", p, "Welch", "4 and 3 seeds") == []


def test_a_difference_that_chance_may_explain_is_called_so():
    said = accuracy_sentence(("a", "b"), (A, tuple(value + 0.01 for value in A)))

    assert lacking(said, "b is 0.010 points above that of a", "may explain", "p = 0.") == []


def test_a_single_seed_says_nothing_about_chance():
    said = accuracy_sentence(("a", "b"), (A, (99.5,)))

    assert lacking(said, "points above that of a", "single seed", "chance") == []
    assert "p =" not in said


def test_what_was_not_measured_is_not_compared():
    assert lacking(accuracy_sentence(("a", "b"), (A, ())), "measured b on", "cannot be compared") == []
    assert "measured a and b on" in accuracy_sentence(("a", "b"), ((), ()))
