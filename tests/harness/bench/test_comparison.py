"""Sizes, expected running time, bands and tests, each against an example worked out by hand."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest

from harness.bench import comparison as module
from harness.bench.comparison import (
    OVER_TIME,
    BenchAnswer,
    Trace,
    _curve,
    _pairs,
    _ranking,
    _Reference,
    _runtime,
    _sentences,
    _StepFunction,
)

NEVER = math.inf
# "a" and "c" reach the target, "b" does not.
JUDGE = _Reference({"a", "c"}, largest=8_000, smallest=1_000)


def trace(*answers: tuple[float, str | None, int | None]) -> Trace:
    made = tuple(BenchAnswer(seconds=s, hash=h, architecture=None, parameters=p) for s, h, p in answers)
    return Trace(method="m", repeat=0, seed=1, answers=made, networks=3, runs=5, rejected=0, ended=100.0)


def at(*hits: float) -> list[_StepFunction]:
    """Repeats that answer with 1,000 parameters from a time on, or never."""
    return [
        _StepFunction((0.0, hit), (NEVER, 1_000.0)) if math.isfinite(hit) else _StepFunction((0.0,), (NEVER,))
        for hit in hits
    ]


# Sizes ------------------------------------------------------------------------------------------------------


def test_an_answer_that_does_not_reach_has_no_size_while_it_is_the_answer():
    steps = _StepFunction.of(trace((10.0, "a", 2_000), (30.0, "b", 900), (60.0, None, None), (80.0, "c", 1_000)), JUDGE)

    assert [steps.at(time) for time in (0, 9.9, 10, 29, 30, 59, 60, 79, 80, 99)] == [
        *(NEVER, NEVER, 2_000, 2_000, NEVER, NEVER, NEVER, NEVER, 1_000, 1_000)
    ]


def test_the_score_is_the_mean_logarithm_over_time_with_the_budget_for_no_answer():
    """10 s at 8 times the smallest, 70 s at twice, 20 s at the smallest."""
    steps = _StepFunction.of(trace((10.0, "a", 2_000), (80.0, "c", 1_000)), JUDGE)

    assert steps.score(JUDGE, 100.0) == pytest.approx((10 * math.log(8) + 70 * math.log(2)) / 100)


def test_what_comes_after_the_end_is_no_part_of_the_score():
    steps = _StepFunction.of(trace((10.0, "a", 2_000), (80.0, "c", 1_000)), JUDGE)

    assert steps.score(JUDGE, 40.0) == pytest.approx((10 * math.log(8) + 30 * math.log(2)) / 40)


def test_the_expected_time_counts_the_misses():
    """Hits after 10, 20 and 30 s and two misses of 60 s: (10 + 20 + 30 + 60 + 60) / 3."""
    found = _runtime(at(10, 20, 30, NEVER, NEVER), 1_000, 60.0)

    assert (found["expected_seconds"], found["hits"], found["repeats"]) == (60.0, 3, 5)
    assert found["low"] <= 60.0 <= found["high"]
    # Clopper and Pearson's interval of 3 in 5.
    assert (found["share_low"], found["share_high"]) == pytest.approx((0.1466, 0.9473), abs=1e-4)
    never = _runtime(at(NEVER, NEVER), 1_000, 60.0)
    assert [never[name] for name in ("expected_seconds", "low", "high", "hits")] == [None, None, None, 0]


def test_the_median_of_sizes_treats_no_answer_as_the_largest():
    found = _curve([*at(10, 20, 30), *at(NEVER, NEVER)], [0.0, 15.0, 25.0, 35.0])

    times, median, low, high = zip(*found, strict=True)
    assert times == (0.0, 15.0, 25.0, 35.0)
    assert median == (NEVER, NEVER, NEVER, 1_000.0)
    assert low[1:] == (1_000.0, 1_000.0, 1_000.0)
    assert high == (NEVER, NEVER, NEVER, NEVER)


def test_a_band_narrows_with_repeats_and_holds_the_median():
    def spread(count: int) -> float:
        ((_, median, low, high),) = _curve(
            [_StepFunction((0.0,), (1_000.0 + 10 * number,)) for number in range(count)], [0.0]
        )
        assert low <= median <= high
        return (high - low) / count

    assert spread(200) < spread(20)


# Ranks and tests --------------------------------------------------------------------------------------------


def test_holm_by_hand(monkeypatch: pytest.MonkeyPatch):
    """0.01 x 4, 0.03 x 3, 0.04 x 2 raised to the one before, 0.5."""
    values = iter([0.04, 0.01, 0.5, 0.03])
    monkeypatch.setattr(module, "_signed_rank_test", lambda differences: (next(values), 0.0))

    found = _pairs({"once": {"x": [1.0], "y": [1.0]}}, [("x", "y")] * 4)

    assert [pair["corrected_p"] for pair in found] == pytest.approx([0.09, 0.04, 0.5, 0.09])


def test_ranks_are_means_over_repeats_and_equal_scores_share_theirs():
    ranks, p = _ranking({"x": [1.0, 1.0, 2.0], "y": [2.0, 1.0, 1.0], "z": [3.0, 3.0, 3.0]})

    assert ranks == pytest.approx({"x": 1.5, "y": 1.5, "z": 3.0})
    assert 0 < p < 0.2


def test_a_method_that_is_always_a_tenth_smaller_differs_by_that_much():
    theirs = [number / 100 for number in range(40)]
    scores = {"x": [score + math.log(0.9) for score in theirs], "y": theirs}
    (pair,) = _pairs({"once": scores}, [("x", "y")])

    assert pair["ratio"] == pytest.approx(0.9)
    assert (pair["low"], pair["high"]) == pytest.approx((0.9, 0.9))
    assert pair["differs"]


@pytest.mark.parametrize(
    "differences",
    [
        [0.3, -0.1, 0.2, 0.5, 0.4, -0.05, 0.6, 0.7],
        # Ranks that are shared, and repeats that speak for neither.
        [0.1, 0.1, -0.1, 0.2, 0.0, 0.0, 0.2, -0.3, 0.0],
        [0.0] * 30 + [0.1, 0.1, 0.3, 0.2, 0.5],
        [0.1, -0.1],
    ],
)
def test_the_p_of_few_repeats_is_that_of_all_ways_to_set_the_signs(differences: list[float]):
    (pair,) = _pairs({"once": {"x": differences, "y": [0.0] * len(differences)}}, [("x", "y")])

    sizes = [abs(value) for value in differences]
    ranks = [sum((other < size) + 0.5 * (other == size) for other in sizes) + 0.5 for size in sizes]
    signed = [rank if value > 0 else -rank for rank, value in zip(ranks, differences, strict=True) if value]
    sums = [
        abs(sum(rank * sign for rank, sign in zip(signed, signs, strict=True)))
        for signs in product((1, -1), repeat=len(signed))
    ]
    assert pair["p"] == pytest.approx(sum(value >= abs(sum(signed)) for value in sums) / len(sums))


def test_the_p_of_few_repeats_is_that_of_the_published_tables():
    """Nine pairs with the sum of ranks 5, and eight with 3: 0.0391 and 0.0391 in two tails."""
    nine, eight = [-1.0, 2, 3, -4, 5, 6, 7, 8, 9], [-1.0, -2, 3, 4, 5, 6, 7, 8]

    p_values = [_pairs({"": {"x": given, "y": [0.0] * len(given)}}, [("x", "y")])[0]["p"] for given in (nine, eight)]

    assert p_values == [pytest.approx(10 * 2 / 512), pytest.approx(5 * 2 / 256)]


def test_many_repeats_are_near_what_would_be_counted(monkeypatch: pytest.MonkeyPatch):
    scores = {"x": [(number * 37 % 101 - 44) / 100 for number in range(101)], "y": [0.0] * 101}
    near = _pairs({"once": scores}, [("x", "y")])[0]["p"]
    monkeypatch.setattr(module, "_MOST_COUNTED", 101)

    assert near == pytest.approx(_pairs({"once": scores}, [("x", "y")])[0]["p"], rel=0.02)


def test_what_floats_round_is_no_difference():
    """No answer at all, and two that do not reach: the same score, summed in one piece and in three."""
    none = _StepFunction.of(trace(), JUDGE).score(JUDGE, 103.9)
    false = _StepFunction.of(trace((11.426, "b", 900), (39.888, None, None)), JUDGE).score(JUDGE, 103.9)
    assert 0 < abs(none - false) < 1e-15
    scores = {"x": [none, 0.1, 0.1 + 0.2], "y": [false, 0.1, 0.3], "z": [0.0, 0.0, 0.0]}

    assert _ranking(scores)[0] == {"z": 1.0, "x": 2.5, "y": 2.5}
    assert _pairs({"once": scores}, [("x", "y")])[0]["p"] == 1.0


def test_more_comparisons_ask_for_more():
    scores = {"x": [0.0, 0.1, 0.2, 0.1, 0.3, 0.1, 0.0, 0.2], "y": [0.1, 0.2, 0.3, 0.2, 0.2, 0.3, 0.2, 0.3]}
    alone = _pairs({"once": scores}, [("x", "y")])[0]
    among = _pairs({"once": scores}, [("x", "y"), ("y", "x"), ("x", "x")])[0]
    twice = _pairs({"once": scores, "again": scores}, [("x", "y")])

    assert alone["p"] == among["p"] == alone["corrected_p"]
    assert among["corrected_p"] > alone["corrected_p"]
    assert [(pair["when"], pair["corrected_p"]) for pair in twice] == [
        (when, 2 * alone["p"]) for when in ("once", "again")
    ]


@pytest.mark.parametrize("worse", [4, 6])
def test_mostly_a_little_better_and_far_worse_at_times_is_not_said_to_be_either(worse: int):
    """Better by a hundredth in most of 40 repeats, worse by a third in a few."""
    scores = {"x": [-0.01] * (40 - worse) + [0.3] * worse, "y": [0.0] * 40}
    (pair,) = _pairs({OVER_TIME: scores}, [("x", "y")])

    assert pair["corrected_p"] < 0.01
    # By hand: the ranks of the many are the lowest.
    low, all_ranks = (40 - worse) * (41 - worse) / 2, 40 * 41 / 2
    assert pair["balance"] == pytest.approx((all_ranks - 2 * low) / all_ranks)
    assert pair["ratio"] > 1
    assert not pair["differs"]


def test_sentences_say_where_repeats_are_too_few_and_what_differs():
    """Five repeats of one sign have p = 2 / 32; twice that is above 5 %, and so it is with six: 2 * 2 / 64."""
    pair: dict[str, Any] = {"first": "random", "second": "default", "when": OVER_TIME, "ratio": 1.25, "low": 1.2}
    pair |= {"high": 1.3, "p": 0.01, "corrected_p": 0.02, "balance": 1.0, "differs": True}

    few, enough = (_sentences(count, {"default": 1.0, "random": 2.0}, [pair, pair], []) for count in (6, 7))

    assert few[1:] == enough
    assert "better than random" in enough[0]
    assert "0.800" in enough[0]
    # The interval of the inverse ratio begins with the inverse of the upper end.
    assert "interval 0.769 to 0.833" in enough[0]
    assert enough[-1].endswith("default.")


def test_where_nothing_reaches_all_methods_are_alike():
    nobody = _Reference(set(), largest=8_000, smallest=NEVER)
    assert _StepFunction.of(trace((10.0, "a", 2_000)), nobody).score(nobody, 100.0) == 0.0
