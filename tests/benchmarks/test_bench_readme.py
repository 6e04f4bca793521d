"""The README's table of search methods is that of the committed result, and the default sampler what it shows."""

from __future__ import annotations

import json

import pytest

from benchmarks import bench_readme
from harness.search import sampler

DOCUMENT = {
    "table": "mnist-bench",
    "repeats": 200,
    "seconds": 330.0,
    "target_pct": 98.9,
    "smallest": 1_854,
    "sentences": ["The default is better than random: 0.812 times as large.", "no-aim is not shown to differ."],
    "methods": [
        {"name": "random", "is_variant": False, "ratio": 1.5, "final_size": 2_100.0, "false": 0.125, "mean_rank": 2.0},
        {"name": "default", "is_variant": False, "ratio": 1.2, "final_size": None, "false": 0.0, "mean_rank": 1.0},
        {"name": "no-aim", "is_variant": True, "ratio": 1.2, "final_size": 1.0, "false": 0.0, "mean_rank": None},
    ],
}


def test_the_section_has_a_line_a_method_and_every_sentence():
    assert bench_readme.section(DOCUMENT) == (
        "200 repeats of each method on the table `mnist-bench`, 5.5 minutes of simulated time each, target 98.9 % "
        "validation; the smallest network that reaches it has 1,854 parameters.\n"
        "\n"
        "| method | size over time, smallest = 1 | median size at the end | false answers | mean rank |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| random | 1.500 | 2,100 | 12 % | 2.00 |\n"
        "| default | 1.200 | none | 0 % | 1.00 |\n"
        "\n"
        "- The default is better than random: 0.812 times as large.\n"
        "- no-aim is not shown to differ.\n"
    )


def test_only_what_stands_between_the_marks_changes():
    readme = f"before\n{bench_readme.BEGIN}old\n{bench_readme.END}after\n"

    assert bench_readme.with_section(readme, "new\n") == f"before\n{bench_readme.BEGIN}new\n{bench_readme.END}after\n"
    with pytest.raises(AssertionError, match="both marks"):
        bench_readme.with_section("nothing", "new\n")


def test_the_readme_holds_what_the_committed_result_says():
    readme = bench_readme.README.read_text(encoding="utf-8")

    assert bench_readme.with_section(readme, bench_readme.current()) == readme


def test_no_other_sampler_is_shown_to_be_better_than_the_default():
    if not bench_readme.RESULT.exists():
        pytest.skip("no result of the bench is committed yet")
    document = json.loads(bench_readme.RESULT.read_text(encoding="utf-8"))

    changed = [pair for pair in document["variants"] if pair["first"].startswith("with-")]
    assert {pair["first"] for pair in changed} == {
        f"with-{name}" for name in sampler.SAMPLERS if name != sampler.DEFAULT
    }
    assert [pair["first"] for pair in changed if pair["differs"] and pair["ratio"] < 1] == []
