"""Pages of the bench: figures of all methods, matrices, chart, escaped names, accessibility."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import vl_convert

from harness.bench.bench_page import _bench_page, _curves, _matrix
from harness.bench.comparison import Findings
from tests import axe, browser
from tests.outline import checked_outline

HOSTILE = "</script><script>alert(1)</script>"
METHODS = ("random", "default", HOSTILE)


def pair(first: str, second: str, ratio: float, corrected_p: float = 1.0, when: str = "at the end") -> dict[str, Any]:
    pair = {"first": first, "second": second, "when": when, "ratio": ratio, "low": ratio / 2, "high": ratio * 2}
    return pair | {"p": corrected_p, "corrected_p": corrected_p, "balance": 0.0, "differs": corrected_p < 0.05}


@pytest.fixture
def facts() -> Findings:
    runtime = {"size": 400, "expected_seconds": 90.0, "low": 60.0, "high": None, "hits": 4, "repeats": 5}
    figures = {"ratio": 1.25, "answered": 0.8, "false": 0.25, "networks": 7.0, "runs": 9.0}
    methods = [
        {"name": name, "says": f"what {name} does", "is_variant": False, "mean_rank": 3.0 - home, **figures}
        | {"final_size": 500.0 + home, "runtimes": [runtime | {"share_low": 0.3, "share_high": 0.99}]}
        for home, name in enumerate(METHODS)
    ]
    document = {
        "seconds": 20.0,
        "repeats": 5,
        "smallest": 400,
        "methods": methods,
        "friedman_p": 0.5,
        "pairs": [pair("random", "default", 0.8, 0.01), pair("random", "default", 0.7, when="over time")],
        "variants": [],
        "sentences": ["The first sentence.", "The second.", "The third."],
    }
    sizes = {name: (math.inf, 900.0, 500.0 + home) for home, name in enumerate(METHODS)}
    curves = {
        name: [(10.0 * step, size, size / 2, size * 2) for step, size in enumerate(values)]
        for name, values in sizes.items()
    }
    return Findings(document, curves, {})


@pytest.fixture
def comparison() -> Any:
    recipe = SimpleNamespace(epochs=4)
    study = {"space": "all", "budget": 1_000, "target_pct": 99.0, "recipe": recipe, "recipe_name": "fast"}
    task = SimpleNamespace(study=SimpleNamespace(**study, dataset="mnist"), seconds=20.0, workers=2)
    return SimpleNamespace(task=task, table=None, judge_seeds=3, seed=7, spread=None)


def test_matrix_has_ratios_and_inverse_ratios_of_one_score():
    cells = _matrix([pair("a", "b", 0.8, 0.01), pair("c", "b", 2.0), pair("a", "c", 3.0, when="")], "abc", "at the end")

    assert cells == [[None, (0.8, True), None], [(1.25, True), None, (0.5, False)], [None, (2.0, False), None]]


def test_bench_page_has_figures_of_all_methods_and_escapes_names(facts: Findings, comparison: Any):
    page = checked_outline(_bench_page(comparison, facts))

    assert len(page.all("script")) == 3
    assert HOSTILE in page.text("bdi")
    rows = page.text("data")
    for words in ("1.250", "501", "80", "25", "7.0", "9.0"):
        assert words in rows
    assert ["0.80 \N{DOWNWARDS ARROW}" in page.text("span"), "1.25 \N{UPWARDS ARROW}" in page.text("span")] == [
        True
    ] * 2
    assert "1 min 30 s" in page.text("td")


def test_chart_has_medians_in_order_of_rank_and_gaps_without_answer(facts: Findings):
    chart = _curves(facts).to_dict(validate=False)

    rows = chart["datasets"]["curves"]
    assert [row["method"] for row in rows[::3]] == [*reversed(METHODS)]
    # Colours repeat, so the legend has the dashes, too.
    [legend] = vl_convert.vegalite_to_vega(chart)["legends"]
    assert {"stroke", "strokeDash"} <= {*legend}
    assert [row["size"] for row in rows[:3]] == [None, 900.0, 502.0]
    assert rows[1]["high"] == 1.1 * 900, "a band reaches the top of the chart, not beyond"
    no_answers = {name: [(0.0, math.inf, math.inf, math.inf)] for name in METHODS}
    assert _curves(Findings(facts.document, no_answers, facts.scores)) is None


@pytest.mark.browser
def test_bench_page_has_no_violations(chromium: browser.Page, facts: Findings, comparison: Any, tmp_path: Path):
    (path := tmp_path / "bench.html").write_text(_bench_page(comparison, facts), encoding="utf-8")
    chromium.complaints.clear()
    for dark in (False, True):
        chromium.open(path, dark=dark)
        chromium.evaluate("page.ready.then(() => 0)")
        chromium.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        assert axe.violations(chromium) == []
    chromium.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 390
    chromium.send("Emulation.setEmulatedMedia", media="print")
    sizes = "[...document.querySelectorAll('td .note')].map((item) => parseFloat(getComputedStyle(item).fontSize))"
    assert 0 < max(chromium.evaluate(sizes)) < 10  # pixels; 7.5 points of the table
    assert chromium.complaints == []
