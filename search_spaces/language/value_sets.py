"""The numbers that a value in a text stands for: one, a set, or a range."""

from __future__ import annotations

from fractions import Fraction

from search_spaces.errors import NotationError
from search_spaces.language.syntax import Number, Range, Value, ValueSet
from search_spaces.op_specs import plain

LARGEST_NUMBER = 10_000
MOST_VALUES = 1_000


def numbers(value: Value) -> tuple[int | float, ...]:
    """Return the numbers in ascending order, whole ones as int.

    Raises:
        NotationError: a range is empty, a number stands twice, or there are too many.
    """
    if isinstance(value, Number):
        return (_plain(_exact(value)),)
    parts = value.elements if isinstance(value, ValueSet) else (value,)
    found: set[int | float] = set()
    for part in parts:
        for number in map(_plain, _spread(part) if isinstance(part, Range) else [_exact(part)]):
            if number in found:
                raise NotationError(f"{plain(number)} stands twice in this set", position=part.position)
            found.add(number)
            if len(found) > MOST_VALUES:
                raise NotationError(f"a set holds at most {MOST_VALUES:,} numbers", position=value.position)
    return tuple(sorted(found))


def whole(number: Number, what: str, largest: int, smallest: int = 0) -> int:
    """Return a number as int.

    Raises:
        NotationError: it is not whole, below ``smallest`` or above ``largest``.
    """
    if not smallest <= number.value <= largest or number.value != int(number.value):
        allowed = f"a whole number from {smallest:,} to {largest:,}"
        shown = f", not {number}" if len(str(number)) <= 20 else ""
        raise NotationError(f"{what} is {allowed}{shown}", position=number.position)
    return int(number.value)


def _spread(spread: Range) -> list[Fraction]:
    low, high = _exact(spread.low), _exact(spread.high)
    step = _exact(spread.step) if spread.step else Fraction(1)
    if step == 0:
        raise NotationError("the step of a range is above 0", position=spread.position)
    if low > high:
        raise NotationError(f"the range {spread} is empty; write the lower end first", position=spread.position)
    count = (high - low) // step + 1
    if count > MOST_VALUES:
        raise NotationError(f"a set holds at most {MOST_VALUES:,} numbers", position=spread.position)
    return [low + step * index for index in range(count)]


def _exact(number: Number) -> Fraction:
    if number.value > LARGEST_NUMBER:
        shown = f", not {number}" if len(str(number)) <= 20 else ""
        raise NotationError(f"numbers go up to {LARGEST_NUMBER:,}{shown}", position=number.position)
    return Fraction(number.value)


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)
