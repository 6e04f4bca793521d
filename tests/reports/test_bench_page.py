from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.bench.findings import Findings, _MethodFinding
from harness.bench.scores import Curve, Judge, Pair, Ranking, Runtime
from reports import charts
from reports.bench_page import matrix, render
from tests import axe, browser
from tests.outline import checked

HOSTILE = "</script><script>alert(1)</script>"
NAMES = ("random", "default", HOSTILE)


def pair(first: str, second: str, ratio: float, corrected_p: float = 1.0, when: str = "at the end") -> Pair:
    balance = -1.0 if ratio < 1 else 1.0
    return Pair(first, second, when, ratio, ratio / 2, ratio * 2, corrected_p, corrected_p, balance)


@pytest.fixture
def facts() -> Findings:
    def method(name: str, *sizes: float) -> _MethodFinding:
        return _MethodFinding(
            name=name,
            says=f"what {name} does",
            is_variant=False,
            curve=Curve((0.0, 10.0, 20.0), sizes, tuple(size / 2 for size in sizes), tuple(size * 2 for size in sizes)),
            runtimes=(
                Runtime(
                    size=400,
                    expected_seconds=90.0,
                    low=60.0,
                    high=math.inf,
                    hits=4,
                    repeats=5,
                    share_low=0.3,
                    share_high=0.99,
                ),
            ),
            ratio=1.25,
            final_size=sizes[-1],
            answered=0.8,
            false=0.25,
            networks=7.0,
            runs=9.0,
        )

    return Findings(
        seconds=20.0,
        repeats=5,
        judge=Judge(accuracies_pct={}, target_pct=99.0, largest=1_000, smallest=400.0),
        methods=tuple(method(name, math.inf, 900.0, 500.0 + place) for place, name in enumerate(NAMES)),
        ranking=Ranking({name: 1.0 + place for place, name in enumerate(reversed(NAMES))}, 0.5),
        pairs=(pair("random", "default", 0.8, 0.01), pair("random", "default", 0.7, when="over time")),
        variants=(),
        sentences=("The first sentence.", "The second.", "The third."),
    )


@pytest.fixture
def comparison() -> Any:
    task = SimpleNamespace(
        space_name="all",
        budget=1_000,
        target_pct=99.0,
        recipe=SimpleNamespace(epochs=4),
        recipe_name="fast",
        dataset="mnist",
        seconds=20.0,
        workers=2,
    )
    return SimpleNamespace(task=task, table=None, judge_seeds=3, seed=7, spread=None)


def test_the_matrix_has_the_inverse_ratios_in_its_other_half_and_only_those_of_one_score():
    cells = matrix([pair("a", "b", 0.8, 0.01), pair("c", "b", 2.0), pair("a", "c", 3.0, when="")], "abc", "at the end")

    assert cells == [
        [None, (0.8, True), None],
        [(1.25, True), None, (0.5, False)],
        [None, (2.0, False), None],
    ]


def test_the_page_has_every_method_with_its_figures_and_no_foreign_markup(facts: Findings, comparison: Any):
    page = checked(render(comparison, facts))

    assert len(page.all("script")) == 3
    assert HOSTILE in page.text("bdi")
    rows = page.text("data")
    for words in ("1.250", "501", "80", "25", "7.0", "9.0"):
        assert words in rows
    assert ["0.80 \N{DOWNWARDS ARROW}" in page.text("span"), "1.25 \N{UPWARDS ARROW}" in page.text("span")] == [
        True
    ] * 2
    assert "1 min 30 s" in page.text("td")


def test_the_chart_holds_the_medians_best_ranked_first_and_breaks_where_there_is_none(facts: Findings):
    drawn = charts.bench_curves(facts).to_dict(validate=False)

    rows = drawn["datasets"]["curves"]
    assert [row["method"] for row in rows[::3]] == [*reversed(NAMES)]
    assert [row["size"] for row in rows[:3]] == [None, 900.0, 502.0]
    assert rows[1]["high"] == 1.1 * 900, "a band reaches the top of the chart, not beyond"
    nothing = tuple(replace(method, curve=replace(method.curve, median=(math.inf,) * 3)) for method in facts.methods)
    assert charts.bench_curves(replace(facts, methods=nothing)) is None


@pytest.mark.browser
def test_both_themes_are_without_violation(opened: browser.Page, facts: Findings, comparison: Any, tmp_path: Path):
    (path := tmp_path / "bench.html").write_text(render(comparison, facts), encoding="utf-8")
    opened.complaints.clear()
    for dark in (False, True):
        opened.open(path, dark=dark)
        opened.evaluate("page.ready.then(() => 0)")
        opened.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        assert axe.violations(opened) == []
    opened.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.send("Emulation.clearDeviceMetricsOverride")
    assert opened.complaints == []
