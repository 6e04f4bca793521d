from __future__ import annotations

import math

import pytest

from reports import numbers


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_missing_or_not_finite_is_an_en_dash(value: float | None):
    shown = {
        numbers.count(value),
        numbers.decimal(value, 2),
        numbers.pct(value),
        numbers.short(value),
        numbers.duration(value),
        numbers.mean_and_deviation(value, value),
    }

    assert shown == {"\u2013"}


def test_numbers_are_rounded_and_grouped():
    assert numbers.count(12088) == "12,088"
    assert numbers.decimal(99.4449, 2) == "99.44"
    assert numbers.pct(99.4) == "99.40 %"
    assert numbers.short(99.4) == "99.4"
    assert numbers.spread([99.4, 99.5]) == "99.45 \u00b1 0.07"
    assert numbers.spread([99.4]) == "99.40"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (9000, "2 h 30 min")],
)
def test_a_length_of_time_has_the_two_units_that_matter(seconds: float, text: str):
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 seeds"), (1, "1 seed"), (1200, "1,200 seeds")])
def test_a_noun_agrees_with_its_number(number: int, text: str):
    assert numbers.plural(number, "seed") == text
