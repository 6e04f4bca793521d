"""The committed comparisons of search methods support the statements in docs/evidence/measurements.md."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.searching.optuna_sampler import SAMPLERS
from harness.studies.candidate import SURROGATE
from tests.conftest import REPOSITORY

RESULTS = REPOSITORY / "measurements" / "results"
AIDED = {f"{name}-aided" for name in ("random", "tpe", "nsga2", "evolution")}
RIVALS = {"random", "tpe", "nsga2", "evolution", "halving"} | AIDED


def document(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("table", ["bench", "bench-forms"])
def test_default_has_equal_figures_in_both_files_with_the_same_seeds(table: str):
    among_methods, among_variants = (
        next(each for each in document(name)["methods"] if each["name"] == "default")
        for name in (table, f"{table}-parts")
    )
    # The rank depends on the methods in a file.
    assert among_methods | {"mean_rank": 1.0} == among_variants | {"mean_rank": 1.0}


@pytest.mark.parametrize("name", ["bench-parts", "bench-forms-parts"])
def test_no_sampler_is_significantly_better_than_the_default(name: str):
    sampler_pairs = [pair for pair in document(name)["variants"] if pair["first"].startswith("with-")]
    rivals = {f"with-{name}" for name in SAMPLERS if name != SURROGATE}
    assert {pair["first"] for pair in sampler_pairs} == rivals
    assert [pair["first"] for pair in sampler_pairs if pair["differs"] and pair["ratio"] < 1] == []


def better_than_the_default(name: str, when: str) -> dict[str, bool]:
    """Return the methods with a significant difference from the default, and whether a method is better."""
    counts = {}
    for pair in document(name)["pairs"]:
        if pair["differs"] and pair["when"] == when and "default" in (pair["first"], pair["second"]):
            rival = pair["second"] if pair["first"] == "default" else pair["first"]
            counts[rival] = (pair["ratio"] < 1) == (pair["first"] == rival)
    return counts


@pytest.mark.parametrize(
    ("name", "when", "better"),
    [
        ("bench", "at the end", dict.fromkeys(RIVALS, False)),
        ("bench", "over time", dict.fromkeys(RIVALS, False)),
        ("bench-forms", "at the end", dict.fromkeys(RIVALS, False)),
        ("bench-forms", "over time", dict.fromkeys(AIDED | {"halving"}, True)),
    ],
)
def test_methods_with_significant_difference_from_the_default(name: str, when: str, better: dict[str, bool]):
    assert document(name)["repeats"] >= 200
    assert better_than_the_default(name, when) == better


def test_only_ladder_and_confirmation_cost_size_over_time_on_table_forms():
    costly = {
        pair["first"]
        for pair in document("bench-forms-parts")["variants"]
        if pair["when"] == "over time" and pair["differs"] and pair["ratio"] < 1
    }
    # Without confirmation, answers come sooner, but many answers are false: the sizes at the end are far worse.
    assert costly == {"no-ladder", "no-confirmation"}
