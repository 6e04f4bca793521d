"""Sizes, expected running times, bands and significance tests against examples computed by hand."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest

from harness.bench import comparison as module
from harness.bench.comparison import (
    AT_THE_END,
    OVER_TIME,
    BenchAnswer,
    Comparison,
    Judged,
    MethodEntry,
    SearchTask,
    Trace,
    _curve,
    _pairs,
    _ranking,
    _runtime,
    _sentences,
    _StepFunction,
)
from tests.harness.bench.made_up import FACTS

NEVER = math.inf
# "a" and "c" reach the target, "b" does not.
TRUTH = {"a", "c"}
LARGEST, SMALLEST = 8_000, 1_000  # parameters


def trace(*answers: tuple[float, str | None, int | None]) -> Trace:
    entries = tuple(BenchAnswer(seconds=s, hash=h, architecture=None, parameters=p) for s, h, p in answers)
    return Trace(method="m", repeat=0, seed=1, answers=entries, networks=3, runs=5, rejected=0, ended=100.0)


def steps_at(*hits: float) -> list[_StepFunction]:
    """Return a repeat for each time: an answer of 1,000 parameters from this time on, or no answer."""
    return [
        _StepFunction((0.0, hit), (NEVER, 1_000.0)) if math.isfinite(hit) else _StepFunction((0.0,), (NEVER,))
        for hit in hits
    ]


# Sizes ------------------------------------------------------------------------------------------------------


def test_answer_below_target_has_no_size():
    steps = _StepFunction.of(trace((10.0, "a", 2_000), (30.0, "b", 900), (60.0, None, None), (80.0, "c", 1_000)), TRUTH)

    assert [steps.at(time) for time in (0, 9.9, 10, 29, 30, 59, 60, 79, 80, 99)] == [
        *(NEVER, NEVER, 2_000, 2_000, NEVER, NEVER, NEVER, NEVER, 1_000, 1_000)
    ]


def test_score_is_mean_log_size_over_time_with_budget_if_no_answer():
    """10 s at 8 times the smallest size, 70 s at twice this size, 20 s at this size."""
    steps = _StepFunction.of(trace((10.0, "a", 2_000), (80.0, "c", 1_000)), TRUTH)

    assert steps.score(LARGEST, SMALLEST, 100.0) == pytest.approx((10 * math.log(8) + 70 * math.log(2)) / 100)


def test_score_ignores_answers_after_the_end():
    steps = _StepFunction.of(trace((10.0, "a", 2_000), (80.0, "c", 1_000)), TRUTH)

    assert steps.score(LARGEST, SMALLEST, 40.0) == pytest.approx((10 * math.log(8) + 30 * math.log(2)) / 40)


def test_expected_seconds_include_repeats_without_hit():
    """Hits after 10, 20 and 30 s and two misses of 60 s: (10 + 20 + 30 + 60 + 60) / 3."""
    runtime = _runtime(steps_at(10, 20, 30, NEVER, NEVER), 1_000, 60.0)

    assert (runtime["expected_seconds"], runtime["hits"], runtime["repeats"]) == (60.0, 3, 5)
    assert runtime["low"] <= 60.0 <= runtime["high"]
    # Clopper and Pearson's interval of 3 in 5.
    assert (runtime["share_low"], runtime["share_high"]) == pytest.approx((0.1466, 0.9473), abs=1e-4)
    without_hits = _runtime(steps_at(NEVER, NEVER), 1_000, 60.0)
    assert [without_hits[name] for name in ("expected_seconds", "low", "high", "hits")] == [None, None, None, 0]


def test_median_size_counts_missing_answers_as_infinite():
    curve = _curve([*steps_at(10, 20, 30), *steps_at(NEVER, NEVER)], [0.0, 15.0, 25.0, 35.0])

    times, median, low, high = zip(*curve, strict=True)
    assert times == (0.0, 15.0, 25.0, 35.0)
    assert median == (NEVER, NEVER, NEVER, 1_000.0)
    assert low[1:] == (1_000.0, 1_000.0, 1_000.0)
    assert high == (NEVER, NEVER, NEVER, NEVER)


def test_band_contains_median_and_narrows_with_repeats():
    def spread(count: int) -> float:
        ((_, median, low, high),) = _curve(
            [_StepFunction((0.0,), (1_000.0 + 10 * number,)) for number in range(count)], [0.0]
        )
        assert low <= median <= high
        return (high - low) / count

    assert spread(200) < spread(20)


# Ranks and tests --------------------------------------------------------------------------------------------


def test_holm_correction_equals_values_by_hand(monkeypatch: pytest.MonkeyPatch):
    """0.01 x 4; 0.03 x 3; 0.04 x 2, raised to the preceding value; 0.5."""
    values = iter([0.04, 0.01, 0.5, 0.03])
    monkeypatch.setattr(module, "_signed_rank_test", lambda differences: (next(values), 0.0))

    pairs = _pairs({"once": {"x": [1.0], "y": [1.0]}}, [("x", "y")] * 4)

    assert [pair["corrected_p"] for pair in pairs] == pytest.approx([0.09, 0.04, 0.5, 0.09])


def test_ranks_are_means_over_repeats_and_equal_scores_share_ranks():
    ranks, p = _ranking({"x": [1.0, 1.0, 2.0], "y": [2.0, 1.0, 1.0], "z": [3.0, 3.0, 3.0]})

    assert ranks == pytest.approx({"x": 1.5, "y": 1.5, "z": 3.0})
    assert 0 < p < 0.2


def test_ratio_of_method_with_sizes_smaller_by_a_tenth_is_significant():
    reference_scores = [number / 100 for number in range(40)]
    scores = {"x": [score + math.log(0.9) for score in reference_scores], "y": reference_scores}
    (pair,) = _pairs({"once": scores}, [("x", "y")])

    assert pair["ratio"] == pytest.approx(0.9)
    assert (pair["low"], pair["high"]) == pytest.approx((0.9, 0.9))
    assert pair["differs"]


@pytest.mark.parametrize(
    "differences",
    [
        [0.3, -0.1, 0.2, 0.5, 0.4, -0.05, 0.6, 0.7],
        # Shared ranks, and differences of zero.
        [0.1, 0.1, -0.1, 0.2, 0.0, 0.0, 0.2, -0.3, 0.0],
        [0.0] * 30 + [0.1, 0.1, 0.3, 0.2, 0.5],
        [0.1, -0.1],
    ],
)
def test_p_of_few_repeats_equals_enumeration_of_all_signs(differences: list[float]):
    (pair,) = _pairs({"once": {"x": differences, "y": [0.0] * len(differences)}}, [("x", "y")])

    sizes = [abs(value) for value in differences]
    ranks = [sum((rival < size) + 0.5 * (rival == size) for rival in sizes) + 0.5 for size in sizes]
    signed = [rank if value > 0 else -rank for rank, value in zip(ranks, differences, strict=True) if value]
    sums = [
        abs(sum(rank * sign for rank, sign in zip(signed, signs, strict=True)))
        for signs in product((1, -1), repeat=len(signed))
    ]
    assert pair["p"] == pytest.approx(sum(value >= abs(sum(signed)) for value in sums) / len(sums))


def test_p_of_few_repeats_equals_published_tables():
    """Nine pairs with the sum of ranks 5, and eight with 3: 0.0391 and 0.0391 in two tails."""
    nine, eight = [-1.0, 2, 3, -4, 5, 6, 7, 8, 9], [-1.0, -2, 3, 4, 5, 6, 7, 8]

    p_values = [_pairs({"": {"x": gains, "y": [0.0] * len(gains)}}, [("x", "y")])[0]["p"] for gains in (nine, eight)]

    assert p_values == [pytest.approx(10 * 2 / 512), pytest.approx(5 * 2 / 256)]


def test_p_of_many_repeats_approximates_enumeration(monkeypatch: pytest.MonkeyPatch):
    scores = {"x": [(number * 37 % 101 - 44) / 100 for number in range(101)], "y": [0.0] * 101}
    approximate = _pairs({"once": scores}, [("x", "y")])[0]["p"]
    monkeypatch.setattr(module, "_MAX_COUNTED", 101)

    assert approximate == pytest.approx(_pairs({"once": scores}, [("x", "y")])[0]["p"], rel=0.02)


def test_differences_by_rounding_of_floats_are_ties():
    """No answer, and two answers below the target, have equal scores up to rounding."""
    without_answer = _StepFunction.of(trace(), TRUTH).score(LARGEST, SMALLEST, 103.9)
    false_answer = _StepFunction.of(trace((11.426, "b", 900), (39.888, None, None)), TRUTH).score(
        LARGEST, SMALLEST, 103.9
    )
    assert 0 < abs(without_answer - false_answer) < 1e-15
    scores = {"x": [without_answer, 0.1, 0.1 + 0.2], "y": [false_answer, 0.1, 0.3], "z": [0.0, 0.0, 0.0]}

    assert _ranking(scores)[0] == {"z": 1.0, "x": 2.5, "y": 2.5}
    assert _pairs({"once": scores}, [("x", "y")])[0]["p"] == 1.0


def test_p_is_corrected_for_number_of_comparisons():
    scores = {"x": [0.0, 0.1, 0.2, 0.1, 0.3, 0.1, 0.0, 0.2], "y": [0.1, 0.2, 0.3, 0.2, 0.2, 0.3, 0.2, 0.3]}
    single = _pairs({"once": scores}, [("x", "y")])[0]
    first_of_three = _pairs({"once": scores}, [("x", "y"), ("y", "x"), ("x", "x")])[0]
    two_times = _pairs({"once": scores, "again": scores}, [("x", "y")])

    assert single["p"] == first_of_three["p"] == single["corrected_p"]
    assert first_of_three["corrected_p"] > single["corrected_p"]
    assert [(pair["when"], pair["corrected_p"]) for pair in two_times] == [
        (when, 2 * single["p"]) for when in ("once", "again")
    ]


@pytest.mark.parametrize("worse", [4, 6])
def test_method_with_small_gains_and_rare_large_losses_does_not_differ(worse: int):
    """Better by a hundredth in most of 40 repeats, worse by a third in a few."""
    scores = {"x": [-0.01] * (40 - worse) + [0.3] * worse, "y": [0.0] * 40}
    (pair,) = _pairs({OVER_TIME: scores}, [("x", "y")])

    assert pair["corrected_p"] < 0.01
    # By hand: the frequent small differences have the lowest ranks.
    low, all_ranks = (40 - worse) * (41 - worse) / 2, 40 * 41 / 2
    assert pair["balance"] == pytest.approx((all_ranks - 2 * low) / all_ranks)
    assert pair["ratio"] > 1
    assert not pair["differs"]


def test_sentences_state_differences_and_lack_of_repeats():
    """Corrected for two pairs, six repeats of equal sign have p = 2 * 2 / 64, which is above 5 %."""
    pair: dict[str, Any] = {"first": "random", "second": "default", "when": OVER_TIME, "ratio": 1.25, "low": 1.2}
    pair |= {"high": 1.3, "p": 0.01, "corrected_p": 0.02, "balance": 1.0, "differs": True}

    six, seven = (_sentences(count, {"default": 1.0, "random": 2.0}, [pair, pair], []) for count in (6, 7))

    assert six[1:] == seven
    assert "better than random" in seven[0]
    assert "0.800" in seven[0]
    # The interval of the inverse ratio begins with the inverse of the upper end.
    assert "interval 0.769 to 0.833" in seven[0]
    assert seven[-1].endswith("default.")


def test_score_is_zero_if_no_network_reaches_target():
    task = SearchTask(study=FACTS.config(LARGEST, 99.0), seconds=100.0, workers=1)
    methods = (MethodEntry(name="m", says="", is_variant=False),)
    comparison = Comparison(task=task, methods=methods, repeats=1, seed=0, answer_seconds=10.0)

    findings = module.findings(
        comparison, [trace((10.0, "a", 2_000))], Judged(accuracies_pct={"a": 98.9}, smallest=None)
    )

    assert findings.scores == {score: {"m": [0.0]} for score in (OVER_TIME, AT_THE_END)}
    [method] = findings.document["methods"]
    assert (method["ratio"], method["final_size"], method["false"]) == (None, None, 1.0)
