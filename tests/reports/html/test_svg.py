from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.html import svg
from reports.html.svg import Axis

POSITIVE = st.floats(0.01, 1e6)


@given(low=POSITIVE, ratio=st.floats(1.1, 1e4), share=st.floats(0, 1))
def test_a_logarithmic_axis_puts_equal_ratios_at_equal_distances(low: float, ratio: float, share: float):
    axis = Axis(low, low * ratio, 100, 900, logarithmic=True)

    assert axis.position(low * ratio**share) == pytest.approx(100 + 800 * share, abs=0.01)


@given(low=POSITIVE, high=POSITIVE, value=st.floats(-1e7, 1e7), logarithmic=st.booleans())
def test_nothing_is_drawn_beyond_the_ends(low: float, high: float, value: float, logarithmic: bool):
    if math.isclose(low, high):
        high = low * 2
    place = Axis(low, high, 50, 500, logarithmic).position(value)

    assert 50 - 1e-6 <= place <= 500 + 1e-6


def test_an_axis_may_run_from_many_to_few():
    axis = Axis(10.0, 0.1, 400, 0, logarithmic=True)

    assert (axis.position(10), axis.position(1), axis.position(0.1)) == (400, 200, 0)


@given(low=POSITIVE, ratio=st.floats(1.1, 1e5))
def test_logarithmic_ticks_lie_within_rise_and_are_few(low: float, ratio: float):
    ticks = svg.log_ticks(low, low * ratio)

    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= low * ratio for tick in ticks)
    assert len(ticks) <= 9


@given(low=st.floats(0, 1e4), width=st.floats(0.001, 1e5))
def test_linear_ticks_lie_within_and_have_equal_steps(low: float, width: float):
    ticks = svg.linear_ticks(low, low + width)
    steps = [after - before for before, after in itertools.pairwise(ticks)]

    assert 1 <= len(ticks) <= 9
    assert all(low - width * 1e-6 <= tick <= low + width * (1 + 1e-6) for tick in ticks)
    assert all(step == pytest.approx(steps[0], rel=1e-3) for step in steps)


def test_an_axis_without_length_has_one_tick():
    assert svg.linear_ticks(3.0, 3.0) == [3.0]


@pytest.mark.parametrize("shape", ["circle", "diamond", "square", "triangle", "cross"])
def test_a_mark_says_what_it_is_and_escapes_it(shape: str):
    made = svg.mark(shape, 10, 20, "trained", "<x>")

    assert "<title>&lt;x&gt;</title>" in made
    assert 'class="mark trained"' in made


def test_marks_have_different_outlines():
    shapes = {svg.mark(shape, 0, 0, "x") for shape in ("circle", "diamond", "square", "triangle", "cross")}

    assert len(shapes) == 5


def test_a_picture_has_a_name_a_description_and_a_frame_for_the_keyboard():
    area = svg.frame(200, 100, (0, 1, False), (1, 10, True))

    made = svg.picture(area, "p", "Name", "What & why")

    assert '<title id="p-title">Name</title><desc id="p-text">What &amp; why</desc>' in made
    assert 'role="img" aria-labelledby="p-title" aria-describedby="p-text"' in made
    assert made.startswith('<div class="picture" role="region" aria-labelledby="p-title" tabindex="0">')
