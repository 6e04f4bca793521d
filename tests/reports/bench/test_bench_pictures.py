from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.bench.findings import Findings, MethodFinding
from harness.bench.scores import Curve, Judge, Ranking
from reports.bench.bench_pictures import bands_pictures, curves_picture

TIMES = (0.0, 10.0, 20.0)


def finding(name: str, *sizes: float, is_variant: bool = False) -> MethodFinding:
    made = Curve(TIMES, sizes, tuple(size / 2 for size in sizes), tuple(size * 2 for size in sizes))
    return MethodFinding(
        name=name,
        says="",
        is_variant=is_variant,
        curve=made,
        runtimes=(),
        ratio=1.0,
        final_size=sizes[-1],
        answered=1.0,
        false=0.0,
        networks=1.0,
        runs=1.0,
    )


@pytest.fixture
def facts() -> Findings:
    names = ["random", "default", *(f"method-{number}" for number in range(6))]
    methods = tuple(finding(name, math.inf, 900.0, 500.0 + place) for place, name in enumerate(names))
    ranks = Ranking({name: float(place) for place, name in enumerate(reversed(names))}, 0.5)
    judge = Judge(accuracies_pct={}, target_pct=99.0, largest=1_000, smallest=400.0)
    return Findings(
        seconds=20.0,
        repeats=5,
        judge=judge,
        methods=methods,
        ranking=ranks,
        pairs=(),
        variants=(),
        sentences=(),
    )


def test_every_method_has_a_small_picture_on_the_same_axes(facts: Findings):
    made = bands_pictures(facts)

    assert made.count("<figcaption>") == len(facts.methods) == 8
    parts = made.split("<figure>")[1:]
    assert [part.count('class="method-line method-1"') for part in parts] == [1] * 8
    # The default's median is drawn beside all others, at one height in all of them.
    beside = [part.split('class="method-line method-2"')[0].rpartition('points="')[2] for part in parts]
    assert [part.count('class="method-line method-2"') for part in parts] == [1, 0, *[1] * 6]
    assert len({points for place, points in enumerate(beside) if place != 1}) == 1


def test_the_methods_ranked_best_have_a_style_each_and_the_others_one(facts: Findings):
    made = curves_picture(facts)

    assert [made.count(f'class="method-line method-{number}"') for number in range(1, 7)] == [2] * 6, "line and key"
    assert made.count('class="method-line method-rest"') == 2 + 1
    assert "ranked lower: default, random" in made


def test_without_an_answer_there_is_no_picture(facts: Findings):
    nothing = replace(facts, methods=(finding("default", math.inf, math.inf, math.inf),))

    assert "<svg" not in bands_pictures(nothing) + curves_picture(nothing)
