"""Tests of the size that a search aims at."""

from __future__ import annotations

import math
import random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.aim import SPAN, _fitted, aimed_size

trained = st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), max_size=60)


@given(trained, st.integers(10, 20_000), st.integers())
def test_an_aim_lies_between_a_quarter_of_the_ceiling_and_the_ceiling(
    networks: list[tuple[int, bool]], ceiling: int, seed: int
):
    aim = aimed_size(networks, ceiling, random.Random(seed))

    assert ceiling / SPAN * 0.999 <= aim <= ceiling * 1.001


def average(networks: list[tuple[int, bool]]) -> float:
    rng = random.Random(0)
    return mean(aimed_size(networks, 4000, rng) for _ in range(2000))


def test_failures_below_the_ceiling_bring_the_aim_nearer_to_it():
    none: list[tuple[int, bool]] = []
    few = [(2000, False)] * 3
    many = [(2000, False)] * 30 + [(3000, False)] * 10 + [(4001, True), (5000, True)]

    assert 1500 < average(none) < average(few) < average(many) < 4000


def test_passes_below_an_uncertain_ceiling_let_it_aim_lower():
    assert average([(3000, True), (2500, True), (1500, False)]) < average([(3000, False), (2500, False), (1500, False)])


def test_the_curve_is_that_of_greatest_likelihood():
    # Of four networks at each of two sizes one and three pass: logits of -log 3 and log 3.
    points = [(-1.0, True), *[(-1.0, False)] * 3, *[(1.0, True)] * 3, (1.0, False)]

    level, slope = _fitted(points)

    # The prior pulls a little towards zero.
    assert level == pytest.approx(0.0, abs=1e-3)
    assert 0.95 * math.log(3) < slope < math.log(3)


def test_sizes_that_do_not_overlap_leave_the_curve_finite():
    points = [(-1.0, False)] * 50 + [(0.1, True)] * 50

    level, slope = _fitted(points)

    assert 0 < slope < 25
    assert abs(level) < 25


def test_a_curve_that_would_fall_is_flat():
    _, slope = _fitted([(-1.0, True), (-1.0, True), (1.0, False), (1.0, False)])

    assert slope == 0.0
