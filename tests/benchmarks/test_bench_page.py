"""The page's table of search methods is that of the committed result, and the default sampler what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_page
from benchmarks.marked_block import with_block
from harness.search.proposals import sampler


def method(
    name: str, ratio: float, size: float | None, expected: float | None, hits: int, **more: Any
) -> dict[str, Any]:
    runtimes = [
        {"size": 1_854, "expected_seconds": None, "hits": 0, "repeats": 200},
        {"size": 2_039, "expected_seconds": expected, "hits": hits, "repeats": 200},
    ]
    given = {
        "is_variant": False,
        "false": 0.125,
        "mean_rank": 2.0,
        "networks": 38.8,
        "says": f"the default, but {name}",
    }
    return {"name": name, "ratio": ratio, "final_size": size, "runtimes": runtimes} | given | more


def pair(first: str, second: str, when: str, ratio: float, **more: Any) -> dict[str, Any]:
    given = {"low": ratio - 0.1, "high": ratio + 0.1, "differs": False}
    return {"first": first, "second": second, "when": when, "ratio": ratio} | given | more


TUNED: dict[str, Any] = {
    "table": "mnist-bench",
    "repeats": 200,
    "seconds": 103.9,
    "workers": 2,
    "target_pct": 98.69,
    "smallest": 1_854,
    "sentences": ["The default is better than random: 0.812 times as large.", "no-aim is not shown to differ."],
    "methods": [
        method("random", 1.5, 2_100.0, 1_249.3, 71),
        method("default", 1.2, None, 9_000.0, 4, false=0.0, mean_rank=1.0),
    ],
    "pairs": [pair("random", "default", "over time", 1.25), pair("random", "default", "at the end", 2.0)],
}
UNSEEN = TUNED | {
    "table": "mnist-forms",
    "methods": [method("default", 1.2, 2_000.0, 50.0, 200, mean_rank=1.5), method("random", 1.6, 2_100.0, 249.3, 100)],
    "pairs": [pair("random", "default", "over time", 1.0), pair("random", "default", "at the end", 1.6)],
}
PARTS: dict[str, Any] = TUNED | {
    "methods": [method("default", 1.2, None, None, 0), method("no-aim", 1.2, 1.0, 1.0, 1, is_variant=True)],
    "variants": [
        pair("no-aim", "default", "over time", 1.043),
        pair("no-aim", "default", "at the end", 1.1, differs=True),
    ],
}
UNSEEN_PARTS = PARTS | {
    "table": "mnist-forms",
    "variants": [
        pair("no-aim", "default", "over time", 0.95, differs=True),
        pair("no-aim", "default", "at the end", 1.0),
    ],
}


def test_both_tables_stand_side_by_side_each_method_relative_to_random_draws():
    lines = bench_page.side_by_side(TUNED, UNSEEN).splitlines()

    assert lines[0].count("mnist-bench") == lines[0].count("mnist-forms") == 3
    assert lines[2:] == [
        "| random | 1.000 | 1.000 | 1.000 | 1.000 | 2.00 | 2.00 |",
        "| default | 0.800 | 1.000 | 0.500 | 0.625 | 1.00 | 1.50 |",
    ]


def test_the_section_of_a_table_has_a_line_a_method_and_every_sentence():
    lines = bench_page.section(TUNED).splitlines()

    assert lines[0] == (
        "200 repeats of each method on the table `mnist-bench`, 104 seconds of simulated time each on 2 workers, "
        "target 98.69 % validation; the smallest network that reaches it has 1,854 parameters."
    )
    assert "2,039 parameters" in lines[2]
    assert lines[4:6] == [
        "| random | 1.500 | 2,100 | 39 | 71 of 200 | 1,249 | 12 % |",
        "| default | 1.200 | none | 39 | 4 of 200 | too few | 0 % |",
    ]
    assert lines[7:] == [f"- {sentence}" for sentence in TUNED["sentences"]]


def test_the_parts_have_a_line_a_variant_with_what_differs_in_bold():
    assert bench_page.parts_section(PARTS, UNSEEN_PARTS).splitlines()[2:] == [
        "| variant | its change | over time, mnist-bench | over time, mnist-forms "
        "| at the end, mnist-bench | at the end, mnist-forms |",
        "| --- | --- | --- | --- | --- | --- |",
        "| no-aim | no-aim | 1.043 (0.943 to 1.143) | **0.950 (0.850 to 1.050)** "
        "| **1.100 (1.000 to 1.200)** | 1.000 (0.900 to 1.100) |",
    ]


def test_the_page_holds_what_the_committed_result_says():
    page = bench_page.PAGE.read_text(encoding="utf-8")

    assert with_block(page, bench_page.MARKS, bench_page.current()) == page


@pytest.mark.parametrize(
    ("methods", "parts"),
    [(bench_page.METHODS, bench_page.PARTS), (bench_page.UNSEEN_METHODS, bench_page.UNSEEN_PARTS)],
)
def test_the_same_seeds_gave_the_default_the_same_figures_in_both_files(methods: Path, parts: Path):
    of_all, of_parts = (
        next(each for each in bench_page.document(path)["methods"] if each["name"] == "default")
        for path in (methods, parts)
    )
    # Its rank is among other methods.
    assert of_all | {"mean_rank": 1.0} == of_parts | {"mean_rank": 1.0}


@pytest.mark.parametrize("path", [bench_page.PARTS, bench_page.UNSEEN_PARTS])
def test_no_other_sampler_is_shown_to_be_better_than_the_default(path: Path):
    changed = [pair for pair in bench_page.document(path)["variants"] if pair["first"].startswith("with-")]

    assert {pair["first"] for pair in changed} == {
        f"with-{name}" for name in sampler.SAMPLERS if name != sampler.DEFAULT
    }
    assert [pair["first"] for pair in changed if pair["differs"] and pair["ratio"] < 1] == []


def better_than_the_default(document: dict[str, Any], when: str) -> dict[str, bool]:
    """The other methods that differ from the default, and whether they are better than it."""
    found = {}
    for pair in document["pairs"]:
        if pair["differs"] and pair["when"] == when and "default" in (pair["first"], pair["second"]):
            other = pair["second"] if pair["first"] == "default" else pair["first"]
            found[other] = (pair["ratio"] < 1) == (pair["first"] == other)
    return found


OTHERS = {"random", "tpe", "nsga2", "evolution", "halving"} | {
    f"{name}-aided" for name in ("random", "tpe", "nsga2", "evolution")
}


def test_the_default_is_better_than_every_other_method_on_its_own_table_and_at_the_end_on_both():
    tuned, unseen = map(bench_page.document, (bench_page.METHODS, bench_page.UNSEEN_METHODS))

    for document in (tuned, unseen):
        assert document["repeats"] >= 200
        assert {method["name"] for method in document["methods"]} == {"default", *OTHERS}
        assert better_than_the_default(document, "at the end") == dict.fromkeys(OTHERS, False)
    assert better_than_the_default(tuned, "over time") == dict.fromkeys(OTHERS, False)


def test_over_time_halving_and_the_aided_samplers_are_better_than_the_default_on_the_other_table():
    document = bench_page.document(bench_page.UNSEEN_METHODS)

    better = {name for name in OTHERS if name == "halving" or name.endswith("-aided")}
    assert better_than_the_default(document, "over time") == dict.fromkeys(better, True)


def test_only_the_ladder_and_confirmation_cost_size_over_time_on_the_other_table():
    document = bench_page.document(bench_page.UNSEEN_PARTS)

    better = {
        pair["first"]
        for pair in document["variants"]
        if pair["when"] == "over time" and pair["differs"] and pair["ratio"] < 1
    }
    # Without confirmation answers come sooner, and many of them are false: at the end it is far worse.
    assert better == {"no-ladder", "no-confirmation"}
