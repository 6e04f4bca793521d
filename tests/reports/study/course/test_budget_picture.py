from __future__ import annotations

import itertools
import re

import pytest

from reports.study.course.budget_picture import description, draw
from reports.study.course.effective_budget import EffectiveBudget, Trial
from tests.wording import lacking


def trial(elapsed: float, parameters: int, *, stands: bool, budget: int) -> Trial:
    return Trial(
        elapsed=elapsed,
        hash="0123456789ab",
        cost=parameters,
        stands=stands,
        validation_accuracy_pct=99.5,
        validation_seeds=3,
        budget=budget,
    )


def wide(facts: EffectiveBudget) -> str:
    """The picture as a desk shows it."""
    return draw(facts).partition('<div class="narrow">')[0]


FALLEN = EffectiveBudget(
    20_000,
    (
        trial(600, 5_000, stands=True, budget=4_999),
        trial(900, 4_000, stands=False, budget=4_999),
        trial(1800, 3_000, stands=True, budget=2_999),
    ),
    3600,
)


def test_the_line_falls_in_steps_and_never_rises_here():
    [steps] = re.findall(r'<polyline points="([^"]*)" class="budget-steps"', wide(FALLEN))
    points = [tuple(map(float, pair.split(","))) for pair in steps.split()]

    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted(y for _, y in points)
    # Each step is level or upright.
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in itertools.pairwise(points))


def test_standing_and_refuted_networks_have_different_marks():
    made = wide(FALLEN)

    assert made.count("confirmed after") == 2
    assert made.count("failed confirmation after") == 1
    assert 'class="mark refuted"' in made


def test_the_fall_is_told_in_words():
    ends = ("20,000 parameters", "2,999 after 1 h")
    falls = ("4,999 after 10 min", "2,999 after 30 min")
    assert lacking(description(FALLEN), *ends, *falls, "1 network failed confirmation", "ended: 0") == []


@pytest.mark.parametrize(("elapsed", "unit"), [(7200.0, "minutes"), (20_000.0, "hours")])
def test_long_studies_are_told_in_hours(elapsed: float, unit: str):
    assert f"time of search, {unit}" in draw(EffectiveBudget(20_000, (), elapsed))


def test_before_any_time_has_passed_there_is_no_picture():
    assert draw(EffectiveBudget(900, (), 0.0)) == ""
