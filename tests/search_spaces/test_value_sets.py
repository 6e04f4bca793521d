from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import NotationError
from search_spaces.notation import numbers, whole
from search_spaces.syntax import Number, Range, ValueSet


def number(text: str) -> Number:
    return Number(Decimal(text), 7)


def test_one_number_is_a_set_of_one():
    assert numbers(number("4.0")) == (4,)
    assert isinstance(numbers(number("4.0"))[0], int)
    assert numbers(number("0.069")) == (0.069,)


def test_sets_are_sorted_and_ranges_include_their_end():
    spread = Range(number("2"), number("7"), number("2"), 7)
    assert numbers(ValueSet((number("9"), spread, number("0.5")), 7)) == (0.5, 2, 4, 6, 9)


@given(st.integers(0, 300), st.integers(0, 200), st.integers(1, 50))
def test_ranges_in_hundredths_equal_counting(low: int, length: int, step: int):
    start, end, stride = (number(f"{value / 100:.2f}") for value in (low, low + length, step))
    spread = Range(start, end, stride, 7)
    assert numbers(spread) == tuple(value / 100 for value in range(low, low + length + 1, step))


def test_whole_numbers_have_their_bounds():
    assert whole(number("3.0"), "it", 5) == 3
    for wrong in ("6", "2.5"):
        with pytest.raises(NotationError, match=f"^it is a whole number from 0 to 5, not {wrong}$"):
            whole(number(wrong), "it", 5)
