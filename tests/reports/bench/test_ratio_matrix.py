from __future__ import annotations

from harness.bench.scores import Pair
from reports.bench.ratio_matrix import Cell, draw, matrix

NAMES = ("a", "b", "c")


def pair(first: str, second: str, ratio: float, corrected_p: float = 1.0, when: str = "at the end") -> Pair:
    balance = -1.0 if ratio < 1 else 1.0
    return Pair(first, second, when, ratio, ratio / 2, ratio * 2, corrected_p, corrected_p, balance)


def test_the_other_triangle_has_the_inverse_ratios():
    cells = matrix([pair("a", "b", 0.8, 0.01), pair("c", "b", 2.0)], NAMES, "at the end")

    assert cells == (
        (None, Cell(0.8, differs=True), None),
        (Cell(1.25, differs=True), None, Cell(0.5, differs=False)),
        (None, Cell(2.0, differs=False), None),
    )


def test_pairs_of_another_score_are_left_out():
    assert matrix([pair("a", "b", 0.8, when="over time")], NAMES, "at the end") == ((None,) * 3,) * 3


def test_only_differences_that_hold_are_marked_and_the_smaller_is_good():
    cells = matrix([pair("a", "b", 0.8, 0.01), pair("a", "c", 0.7)], NAMES, "at the end")

    made = draw(cells, NAMES, "Sizes.", "ratios")

    assert (made.count("tag good"), made.count("tag bad")) == (1, 1)
    assert made.index("0.80") < made.index("0.70") < made.index("1.25")
