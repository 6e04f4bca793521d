"""Two to four networks or studies side by side: figures, chance, shared mistakes, and what cannot be compared."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
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
from tests.outline import checked
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
def test_ratios_are_to_the_first_side_where_they_mean_something(values: Any, ratios: Any):
    assert _line("x", values, str).ratios == ratios
    assert _line("x", values, str, ratios=False).ratios == [None] * len(values)


def test_what_is_missing_is_a_dash_and_a_line_of_dashes_is_left_out():
    assert _line("errors", [60.25, None], lambda value: decimal(value, 1)).texts == ["60.2", "\u2013"]
    assert _line("b", ["x", 0, ""]).texts == ["x", "0", "\u2013"]
    assert _lines([1, 2], [("a", lambda side: None, None)]) == []


@given(ratio=st.floats(1e-9, 1e9))
def test_no_ratio_is_shown_wrong_by_more_than_half_a_per_cent(ratio: float):
    assert float(_three_digits(ratio).replace(",", "")) == pytest.approx(ratio, rel=0.0051)


PCT = st.lists(st.floats(90, 100), min_size=2, max_size=6)


@given(ours=PCT, theirs=PCT)
def test_chance_is_that_of_welchs_test(ours: list[float], theirs: list[float]):
    # scipy warns where the values of a sample are nearly equal.
    assume(all(max(values) - min(values) > 1e-3 for values in (ours, theirs)))

    assert _welch_p_value(ours, theirs) == pytest.approx(ttest_ind(ours, theirs, equal_var=False).pvalue, abs=1e-9)
    assert _welch_p_value(ours, theirs[:1]) is None


# Networks -------------------------------------------------------------------------------------------------------------


def compared(place: Workspace, *networks: Architecture) -> SimpleNamespace:
    return network_comparison(read_networks([("", item) for item in networks], place))


def shown(facts: SimpleNamespace, name: str) -> Any:
    [found] = [line.texts for line in facts.quantities if line.name == name]
    return found


def test_what_networks_cost_is_set_side_by_side_without_a_record_too(place: Workspace):
    facts = compared(place, LARGE, SMALL)

    [line] = [line for line in facts.quantities if line.name == "parameters"]
    assert line.texts == [f"{size:,}" for size in reversed(SIZES)]
    assert line.ratios == [None, SIZES[0] / SIZES[1]]
    assert [side.name for side in facts.sides] == NAMES[::-1]
    assert facts.sentences[0].startswith(f"{NAMES[0]} has {SIZES[0]:,} parameters, ")
    assert facts.sentences[0].endswith(f"{NAMES[1]} and {NAMES[0]}, so the accuracies cannot be compared.")
    assert {line.name for line in facts.quantities} == {
        *("hash", "parameters", "stored numbers", "multiply-adds per image", "receptive field, pixels", "ops")
    }


def test_records_speak_for_networks_and_the_best_row_of_each_is_shown(place: Workspace):
    record.write(place.records, evidence(SMALL, [70, 71, 72], name="tiny"))
    record.write(place.records, evidence(LARGE, [50] * 5 + [51]))
    recipe = Recipe(epochs=3, warmup=0.1)
    worse = evidence(LARGE, [90, 91], recipe=recipe, recipe_hash=recipe.hash)
    seeds = tuple(seed_run(LARGE, recipe, index, 90) for index in (0, 1))
    record.write(place.records, replace(worse, seeds=seeds))

    facts = compared(place, SMALL, LARGE)

    assert [side.name for side in facts.sides] == ["tiny", NAMES[1]]
    assert shown(facts, "tier") == ["measured", "verified"]
    assert shown(facts, "mean test errors") == ["71.0", "50.2"]
    assert shown(facts, "seeds at the target") == ["0", "6"]
    assert facts.sides[1].test_pct == (99.5,) * 5 + (99.49,)
    assert ", a significant difference (p = " in facts.sentences[0]
    assert facts.notes == [f"The page shows the best row of each network; {NAMES[1]} has 1 more row."]
    assert facts.recipes == []


def test_fields_in_which_the_recipes_differ_are_listed_and_a_single_seed_is_pointed_at(place: Workspace):
    recipe = Recipe(epochs=3, warmup=0.1)
    record.write(place.records, evidence(SMALL, [70]))
    measured = evidence(LARGE, [], recipe=recipe, recipe_hash=recipe.hash)
    record.write(place.records, replace(measured, seeds=tuple(seed_run(LARGE, recipe, n, 50) for n in (0, 1))))

    facts = compared(place, SMALL, LARGE)

    assert {line.name: line.texts for line in facts.recipes} == {
        "epochs": [str(Recipe().epochs), "3"],
        "warmup": [str(Recipe().warmup), "0.1"],
    }
    assert [note.partition(" ")[0] for note in facts.notes] == ["The", "A"]


@pytest.mark.parametrize(
    "changes", [{"dataset": "fashion-mnist", "target_pct": 90.0}, {"device": "cuda: another"}], ids=["data", "machine"]
)
def test_rows_on_other_data_and_times_of_other_machines_are_not_compared(place: Workspace, changes: Any):
    record.write(place.records, evidence(SMALL, [70, 71]))
    device = changes.pop("device", None)
    other = evidence(LARGE, [50, 51], **changes)
    if device:
        elsewhere = replace(ENVIRONMENT, device=device)
        other = replace(other, seeds=tuple(replace(run, environment=elsewhere) for run in other.seeds))
    record.write(place.records, other)

    facts = compared(place, SMALL, LARGE)

    assert bool(facts.mistakes) == bool(device)
    assert ("cannot be compared" in facts.sentences[0]) == (not device)
    [line] = [line for line in facts.quantities if line.name == "training time per seed"]
    assert (line.texts, line.ratios[1] is None) == (["55 s", "55 s"], bool(device))


def with_wrong(made: Record, *wrong: tuple[int, ...]) -> Record:
    """Return a record whose seeds, in order, get just these images wrong."""
    seeds = [
        replace(run, wrong=tuple((image, 3) for image in images), test_errors=len(images))
        for run, images in zip(made.seeds, wrong, strict=True)
    ]
    return replace(made, seeds=tuple(seeds))


def test_images_that_are_wrong_with_at_least_half_of_the_seeds_are_compared(place: Workspace):
    # 947 is a confirmed label error.
    record.write(place.records, with_wrong(evidence(SMALL, [0] * 4), (5, 947), (5, 947), (5, 20), (7,)))
    record.write(place.records, with_wrong(evidence(LARGE, [0, 0]), (30, 947), (31,)))

    facts = compared(place, SMALL, LARGE)

    assert [item.images for item in facts.mistakes] == [{5, 947}, {947, 30, 31}]
    assert [item.alone for item in facts.mistakes] == [{5}, {30, 31}]
    assert [item.mislabelled for item in facts.mistakes] == [1, 1]
    assert facts.shared == {947}


def test_images_that_were_kept_of_these_weights_are_shown(place: Workspace):
    one, two = evidence(SMALL, [3, 3]), evidence(LARGE, [2, 1])
    for made in (one, two):
        record.write(place.records, made)
    SyntheticStudy(place).inspect(one)

    facts = compared(place, SMALL, LARGE)

    assert facts.shared == {image for run in two.seeds for image, _ in run.wrong}
    assert facts.shared | facts.mistakes[0].alone == {*facts.seen}
    others = tuple(replace(run, weights_sha256=f"{run.index + 100:064x}") for run in one.seeds)
    record.path_of(place.records, one).unlink()
    record.write(place.records, replace(one, seeds=others))
    assert compared(place, SMALL, LARGE).seen == {}


# Studies --------------------------------------------------------------------------------------------------------------


def of(place: Workspace, *studies: Any) -> SimpleNamespace:
    return read_studies([study.write() for study in studies], place)


def test_what_studies_found_and_took_is_set_side_by_side(new_study: Any, place: Workspace):
    first = new_study(name="first")
    proposal = first.propose(network(6, 8, 10))
    first.finish(proposal, 50)
    first.confirm(proposal, [50, 51, 52])
    first.standing("standing", proposal, [50, 51, 52], budget=proposal["parameters"] - 1)
    first.note("rejected", reason="parameters")
    first.standing("winner", proposal, [50, 51, 52])
    first.note("ended", 30.0, reason="time")
    second = new_study(name="second", config=replace(CONFIG, seed=1, budget=5_000))
    second.finish(second.propose(network(4, 5, 6)), 200, status=Status.PRUNED, epochs=4)
    second.events[0]["workers"] = 8

    facts = of(place, first, second)

    assert shown(facts, "outcome") == ["not verified yet", "no result yet"]
    assert shown(facts, "parameters") == [f"{proposal['parameters']:,}", "\u2013"]
    assert shown(facts, "proposals") == ["2", "1"]
    assert shown(facts, "networks pruned") == ["0", "1"]
    assert shown(facts, "effective budget at the end") == [f"{proposal['parameters'] - 1:,}", "5,000"]
    assert facts.sentences[0].endswith("The sizes cannot be compared: no answer of second.")
    assert {line.name: line.texts for line in facts.settings} == {"budget": ["20000", "5000"], "seed": ["0", "1"]}
    assert {"dataset", "recipe: epochs", "definition of the space"} <= set(facts.equal)
    assert any(note.startswith("Machines or numbers of workers differ") for note in facts.notes)


@pytest.mark.parametrize(
    "names", [["a", "b.c-2"], ["<x>", "y"], ["x" * 200, "y" * 200], ["a b", "c"], ["\udcff", "d"], ["ä", "ö"]]
)
def test_odd_and_long_names_give_a_short_plain_file_name_of_their_own(names: list[str]):
    name = _file_name(names)

    assert len(name.encode()) < 140
    assert name.isascii()
    assert name != _file_name(names[::-1])
    assert (name == "comparison-a-b.c-2.html") == (names == ["a", "b.c-2"])


# Methods of search ----------------------------------------------------------------------------------------------------


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
        {"name": name, "says": f"what {name} does", "is_variant": False, "mean_rank": 3.0 - place, **figures}
        | {"final_size": 500.0 + place, "runtimes": [runtime | {"share_low": 0.3, "share_high": 0.99}]}
        for place, name in enumerate(METHODS)
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
    sizes = {name: (math.inf, 900.0, 500.0 + place) for place, name in enumerate(METHODS)}
    curves = {
        name: [(10.0 * step, size, size / 2, size * 2) for step, size in enumerate(each)]
        for name, each in sizes.items()
    }
    return Findings(document, curves, {})


@pytest.fixture
def comparison() -> Any:
    recipe = SimpleNamespace(epochs=4)
    study = {"space": "all", "budget": 1_000, "target_pct": 99.0, "recipe": recipe, "recipe_name": "fast"}
    task = SimpleNamespace(study=SimpleNamespace(**study, dataset="mnist"), seconds=20.0, workers=2)
    return SimpleNamespace(task=task, table=None, judge_seeds=3, seed=7, spread=None)


def test_the_matrix_has_the_inverse_ratios_in_its_other_half_and_only_those_of_one_score():
    cells = _matrix([pair("a", "b", 0.8, 0.01), pair("c", "b", 2.0), pair("a", "c", 3.0, when="")], "abc", "at the end")

    assert cells == [[None, (0.8, True), None], [(1.25, True), None, (0.5, False)], [None, (2.0, False), None]]


def test_the_page_has_every_method_with_its_figures_and_no_foreign_markup(facts: Findings, comparison: Any):
    page = checked(_bench_page(comparison, facts))

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
    assert [row["method"] for row in rows[::3]] == [*reversed(METHODS)]
    assert [row["size"] for row in rows[:3]] == [None, 900.0, 502.0]
    assert rows[1]["high"] == 1.1 * 900, "a band reaches the top of the chart, not beyond"
    nothing = {name: [(0.0, math.inf, math.inf, math.inf)] for name in METHODS}
    assert charts.bench_curves(Findings(facts.document, nothing, facts.scores)) is None


@pytest.mark.browser
def test_both_themes_are_without_violation(opened: browser.Page, facts: Findings, comparison: Any, tmp_path: Path):
    (path := tmp_path / "bench.html").write_text(_bench_page(comparison, facts), encoding="utf-8")
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
