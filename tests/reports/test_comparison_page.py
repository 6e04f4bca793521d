"""Pages that compare networks, studies or search methods: figures, significance, shared mistakes, omissions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import vl_convert
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from harness.bench.comparison import Findings
from harness.evidence import record
from harness.evidence.record import Record
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from harness.training.result import Status
from reports import charts
from reports.comparison_page import (
    _bench_page,
    _file_name,
    _line,
    _lines,
    _matrix,
    _welch_p_value,
    network_comparison,
    read_networks,
    read_studies,
)
from reports.render import _three_digits, decimal
from search_spaces.catalog import network_name
from search_spaces.network import MNIST, Architecture, analyse
from tests import axe, browser
from tests.factories import CONFIG, ENVIRONMENT
from tests.outline import checked_outline
from tests.reports.conftest import SyntheticStudy, evidence, network, seed_run

SMALL, LARGE = network(4, 6, 8), network(8, 12, 16)
SIZES = [analyse(item, MNIST).parameters for item in (SMALL, LARGE)]
NAMES = [network_name(item, size) for item, size in zip((SMALL, LARGE), SIZES, strict=True)]


@pytest.mark.parametrize(
    ("values", "ratios"),
    [
        ([2_000, 1_000, 3_000], [None, 0.5, 1.5]),
        ([None, 5], [None, None]),
        ([5, None], [None, None]),
        ([0, 5], [None, None]),
        ([5, 0], [None, 0.0]),
        ([math.nan, 5], [None, None]),
        ([5, math.inf], [None, None]),
    ],
)
def test_ratios_are_relative_to_first_side_and_none_if_undefined(values: Any, ratios: Any):
    assert _line("x", values, str).ratios == ratios
    assert _line("x", values, str, ratios=False).ratios == [None] * len(values)


def test_missing_value_is_a_dash_and_line_without_values_is_omitted():
    assert _line("errors", [60.25, None], lambda value: decimal(value, 1)).texts == ["60.2", "\u2013"]
    assert _line("b", ["x", 0, ""]).texts == ["x", "0", "\u2013"]
    assert _lines([1, 2], [("a", lambda side: None, None)]) == []


@given(ratio=st.floats(1e-9, 1e9))
def test_displayed_ratio_has_error_below_half_a_percent(ratio: float):
    assert float(_three_digits(ratio).replace(",", "")) == pytest.approx(ratio, rel=0.0051)


PCT = st.lists(st.floats(90, 100), min_size=2, max_size=6)


@given(first=PCT, second=PCT)
def test_p_value_equals_welch_test_of_scipy(first: list[float], second: list[float]):
    # scipy warns if the values of a sample are nearly equal.
    assume(all(max(values) - min(values) > 1e-3 for values in (first, second)))

    assert _welch_p_value(first, second) == pytest.approx(ttest_ind(first, second, equal_var=False).pvalue, abs=1e-9)
    assert _welch_p_value(first, second[:1]) is None


# Networks -------------------------------------------------------------------------------------------------------------


def compare(home: Workspace, *networks: Architecture) -> SimpleNamespace:
    return network_comparison(read_networks([("", item) for item in networks], home))


def texts_of(facts: SimpleNamespace, name: str) -> Any:
    [texts] = [line.texts for line in facts.quantities if line.name == name]
    return texts


def test_costs_of_networks_are_compared_without_records(home: Workspace):
    facts = compare(home, LARGE, SMALL)

    [line] = [line for line in facts.quantities if line.name == "parameters"]
    assert line.texts == [f"{size:,}" for size in reversed(SIZES)]
    assert line.ratios == [None, SIZES[0] / SIZES[1]]
    assert [side.name for side in facts.sides] == NAMES[::-1]
    assert facts.sentences[0].startswith(f"{NAMES[0]} has {SIZES[0]:,} parameters, ")
    assert facts.sentences[0].endswith(f"{NAMES[1]} and {NAMES[0]}, so the accuracies cannot be compared.")
    assert {line.name for line in facts.quantities} == {
        *("hash", "parameters", "stored numbers", "multiply-adds per image", "receptive field, pixels", "ops")
    }


def test_comparison_shows_best_row_of_each_network(home: Workspace):
    record.write(home.records, evidence(SMALL, [70, 71, 72], name="tiny"))
    record.write(home.records, evidence(LARGE, [50] * 5 + [51]))
    recipe = Recipe(epochs=3, warmup=0.1)
    worse = evidence(LARGE, [90, 91], recipe=recipe, recipe_hash=recipe.hash)
    seeds = tuple(seed_run(LARGE, recipe, index, 90) for index in (0, 1))
    record.write(home.records, replace(worse, seeds=seeds))

    facts = compare(home, SMALL, LARGE)

    assert [side.name for side in facts.sides] == ["tiny", NAMES[1]]
    assert texts_of(facts, "tier") == ["measured", "verified"]
    assert texts_of(facts, "mean test errors") == ["71.0", "50.2"]
    assert texts_of(facts, "seeds at the target") == ["0", "6"]
    assert facts.sides[1].test_pct == (99.5,) * 5 + (99.49,)
    assert ", a significant difference (p = " in facts.sentences[0]
    assert facts.notes == [f"The page shows the best row of each network; {NAMES[1]} has 1 more row."]
    assert facts.recipes == []


def test_comparison_lists_recipe_differences_and_notes_single_seed(home: Workspace):
    recipe = Recipe(epochs=3, warmup=0.1)
    record.write(home.records, evidence(SMALL, [70]))
    measured = evidence(LARGE, [], recipe=recipe, recipe_hash=recipe.hash)
    record.write(home.records, replace(measured, seeds=tuple(seed_run(LARGE, recipe, n, 50) for n in (0, 1))))

    facts = compare(home, SMALL, LARGE)

    assert {line.name: line.texts for line in facts.recipes} == {
        "epochs": [str(Recipe().epochs), "3"],
        "warmup": [str(Recipe().warmup), "0.1"],
    }
    assert [note.partition(" ")[0] for note in facts.notes] == ["The", "A"]


@pytest.mark.parametrize(
    "changes", [{"dataset": "fashion-mnist", "target_pct": 90.0}, {"device": "cuda: another"}], ids=["data", "machine"]
)
def test_rows_of_different_data_or_machines_are_not_compared(home: Workspace, changes: Any):
    record.write(home.records, evidence(SMALL, [70, 71]))
    device = changes.pop("device", None)
    second = evidence(LARGE, [50, 51], **changes)
    if device:
        elsewhere = replace(ENVIRONMENT, device=device)
        second = replace(second, seeds=tuple(replace(run, environment=elsewhere) for run in second.seeds))
    record.write(home.records, second)

    facts = compare(home, SMALL, LARGE)

    assert bool(facts.mistakes) == bool(device)
    assert ("cannot be compared" in facts.sentences[0]) == (not device)
    [line] = [line for line in facts.quantities if line.name == "training time per seed"]
    assert (line.texts, line.ratios[1] is None) == (["55 s", "55 s"], bool(device))


def with_wrong_images(source: Record, *images_of_seeds: tuple[int, ...]) -> Record:
    """Return a record whose seeds, in order, classify exactly these images wrong."""
    seeds = [
        replace(run, wrong=tuple((image, 3) for image in images), test_errors=len(images))
        for run, images in zip(source.seeds, images_of_seeds, strict=True)
    ]
    return replace(source, seeds=tuple(seeds))


def test_mistakes_are_images_wrong_in_at_least_half_of_seeds(home: Workspace):
    # 947 is a confirmed label error.
    record.write(home.records, with_wrong_images(evidence(SMALL, [0] * 4), (5, 947), (5, 947), (5, 20), (7,)))
    record.write(home.records, with_wrong_images(evidence(LARGE, [0, 0]), (30, 947), (31,)))

    facts = compare(home, SMALL, LARGE)

    assert [item.images for item in facts.mistakes] == [{5, 947}, {947, 30, 31}]
    assert [item.alone for item in facts.mistakes] == [{5}, {30, 31}]
    assert [item.mislabelled_count for item in facts.mistakes] == [1, 1]
    assert facts.shared == {947}


def test_inspected_images_are_shown_only_for_equal_weights(home: Workspace):
    small, large = evidence(SMALL, [3, 3]), evidence(LARGE, [2, 1])
    for item in (small, large):
        record.write(home.records, item)
    SyntheticStudy(home).inspect(small)

    facts = compare(home, SMALL, LARGE)

    assert facts.shared == {image for run in large.seeds for image, _ in run.wrong}
    assert facts.shared | facts.mistakes[0].alone == {*facts.seen}
    other_seeds = tuple(replace(run, weights_sha256=f"{run.index + 100:064x}") for run in small.seeds)
    record.path_of(home.records, small).unlink()
    record.write(home.records, replace(small, seeds=other_seeds))
    assert compare(home, SMALL, LARGE).seen == {}


# Studies --------------------------------------------------------------------------------------------------------------


def test_comparison_of_studies_shows_results_and_settings(new_study: Any, home: Workspace):
    first = new_study(name="first")
    proposal = first.propose(network(6, 8, 10))
    first.finish(proposal, 50)
    first.confirm(proposal, [50, 51, 52])
    first.decide("confirmed", proposal, [50, 51, 52], budget=proposal["parameters"] - 1)
    first.log("rejected", reason="parameters")
    first.decide("winner", proposal, [50, 51, 52])
    first.log("ended", 30.0, reason="time")
    second = new_study(name="second", config=replace(CONFIG, seed=1, budget=5_000))
    second.finish(second.propose(network(4, 5, 6)), 200, status=Status.PRUNED, epochs=4)
    second.events[0]["workers"] = 8

    facts = read_studies([study.write() for study in (first, second)], home)

    assert texts_of(facts, "outcome") == ["not verified yet", "no result yet"]
    assert texts_of(facts, "parameters") == [f"{proposal['parameters']:,}", "\u2013"]
    assert texts_of(facts, "proposals") == ["2", "1"]
    assert texts_of(facts, "networks pruned") == ["0", "1"]
    assert texts_of(facts, "effective budget at the end") == [f"{proposal['parameters'] - 1:,}", "5,000"]
    assert facts.sentences[0].endswith("The sizes cannot be compared: no answer of second.")
    assert {line.name: line.texts for line in facts.settings} == {"budget": ["20000", "5000"], "seed": ["0", "1"]}
    assert {"dataset", "recipe: epochs", "definition of the space"} <= set(facts.equal)
    assert any(note.startswith("Machines or numbers of workers differ") for note in facts.notes)


@pytest.mark.parametrize(
    "names", [["a", "b.c-2"], ["<x>", "y"], ["x" * 200, "y" * 200], ["a b", "c"], ["\udcff", "d"], ["ä", "ö"]]
)
def test_unusual_names_give_short_distinct_ascii_file_name(names: list[str]):
    name = _file_name(names)

    assert len(name.encode()) < 140
    assert name.isascii()
    assert name != _file_name(names[::-1])
    assert (name == "comparison-a-b.c-2.html") == (names == ["a", "b.c-2"])


# Search methods -------------------------------------------------------------------------------------------------------


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
    chart = charts.bench_curves(facts).to_dict(validate=False)

    rows = chart["datasets"]["curves"]
    assert [row["method"] for row in rows[::3]] == [*reversed(METHODS)]
    # Colours repeat, so the legend has the dashes, too.
    [legend] = vl_convert.vegalite_to_vega(chart)["legends"]
    assert {"stroke", "strokeDash"} <= {*legend}
    assert [row["size"] for row in rows[:3]] == [None, 900.0, 502.0]
    assert rows[1]["high"] == 1.1 * 900, "a band reaches the top of the chart, not beyond"
    no_answers = {name: [(0.0, math.inf, math.inf, math.inf)] for name in METHODS}
    assert charts.bench_curves(Findings(facts.document, no_answers, facts.scores)) is None


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
