"""The page's table of search methods is that of the committed result, and the default sampler what it shows."""

from __future__ import annotations

import json
from typing import Any

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
    given = {"is_variant": False, "false": 0.125, "mean_rank": 2.0, "says": f"does {name}"}
    return {"name": name, "ratio": ratio, "final_size": size, "runtimes": runtimes} | given | more


DOCUMENT = {
    "table": "mnist-bench",
    "repeats": 200,
    "seconds": 103.9,
    "workers": 2,
    "target_pct": 98.69,
    "smallest": 1_854,
    "sentences": ["The default is better than random: 0.812 times as large.", "no-aim is not shown to differ."],
    "methods": [
        method("random", 1.5, 2_100.0, 249.3, 71),
        method("default", 1.2, None, None, 0, false=0.0, mean_rank=1.0),
        method("no-aim", 1.2, 1.0, 1.0, 1, is_variant=True, mean_rank=None),
    ],
    "variants": [
        {"first": "no-aim", "when": "over time", "ratio": 1.043, "low": 0.99, "high": 1.1, "corrected_p": 0.25},
        {"first": "no-aim", "when": "at the end", "ratio": 1.1, "low": 1.05, "high": 1.2, "corrected_p": 0.00001},
    ],
}


def test_the_section_has_a_line_a_method_and_every_sentence():
    assert bench_page.section(DOCUMENT) == (
        "200 repeats of each method on the table `mnist-bench`, 104 seconds of simulated time each on 2 workers, "
        "target 98.69 % validation; the smallest network that reaches it has 1,854 parameters.\n"
        "\n"
        "| method | size over time, smallest = 1 | median size at the end | expected seconds to 2,039 parameters "
        "| repeats that get there | false answers | mean rank |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| random | 1.500 | 2,100 | 249 | 36 % | 12 % | 2.00 |\n"
        "| default | 1.200 | none | never | 0 % | 0 % | 1.00 |\n"
        "\n"
        "- The default is better than random: 0.812 times as large.\n"
        "- no-aim is not shown to differ.\n"
    )


def test_the_parts_have_a_line_a_variant_with_both_scores():
    assert bench_page.parts_section(DOCUMENT).splitlines()[2:] == [
        "| variant | what it does | over time | p | at the end | p |",
        "| --- | --- | --- | --- | --- | --- |",
        "| no-aim | does no-aim | 1.043 (0.990 to 1.100) | 0.25 | 1.100 (1.050 to 1.200) | below 0.0001 |",
    ]


def test_the_page_holds_what_the_committed_result_says():
    page = bench_page.PAGE.read_text(encoding="utf-8")

    assert with_block(page, bench_page.MARKS, bench_page.current()) == page


def test_no_other_sampler_is_shown_to_be_better_than_the_default():
    document = json.loads(bench_page.PARTS.read_text(encoding="utf-8"))

    changed = [pair for pair in document["variants"] if pair["first"].startswith("with-")]
    assert {pair["first"] for pair in changed} == {
        f"with-{name}" for name in sampler.SAMPLERS if name != sampler.DEFAULT
    }
    assert [pair["first"] for pair in changed if pair["differs"] and pair["ratio"] < 1] == []


def test_the_default_is_shown_to_be_better_than_every_other_method():
    document = json.loads(bench_page.METHODS.read_text(encoding="utf-8"))

    assert document["repeats"] >= 200
    beaten = {}
    for pair in document["pairs"]:
        if "default" in (pair["first"], pair["second"]) and pair["differs"]:
            other = pair["second"] if pair["first"] == "default" else pair["first"]
            beaten[other, pair["when"]] = (pair["ratio"] < 1) == (pair["first"] == "default")
    others = [method["name"] for method in document["methods"] if method["name"] != "default"]
    assert len(others) == 9
    assert beaten == {(name, when): True for name in others for when in ("over time", "at the end")}
