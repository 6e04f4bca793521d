"""What docs/measurements.md says of search methods is what the committed results show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.searching import optuna_sampler as sampler
from tests.conftest import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results"
AIDED = {f"{name}-aided" for name in ("random", "tpe", "nsga2", "evolution")}
OTHERS = {"random", "tpe", "nsga2", "evolution", "halving"} | AIDED


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("table", ["bench", "bench-forms"])
def test_the_same_seeds_gave_the_default_the_same_figures_in_both_files(table: str):
    of_all, of_parts = (
        next(each for each in document(name)["methods"] if each["name"] == "default")
        for name in (table, f"{table}-parts")
    )
    # Its rank is among other methods.
    assert of_all | {"mean_rank": 1.0} == of_parts | {"mean_rank": 1.0}


@pytest.mark.parametrize("name", ["bench-parts", "bench-forms-parts"])
def test_no_other_sampler_is_shown_to_be_better_than_the_default(name: str):
    changed = [pair for pair in document(name)["variants"] if pair["first"].startswith("with-")]
    others = {f"with-{name}" for name in sampler.SAMPLERS if name != sampler.DEFAULT}
    assert {pair["first"] for pair in changed} == others
    assert [pair["first"] for pair in changed if pair["differs"] and pair["ratio"] < 1] == []


def better_than_the_default(name: str, when: str) -> dict[str, bool]:
    """The other methods that differ from the default, and whether they are better than it."""
    counts = {}
    for pair in document(name)["pairs"]:
        if pair["differs"] and pair["when"] == when and "default" in (pair["first"], pair["second"]):
            other = pair["second"] if pair["first"] == "default" else pair["first"]
            counts[other] = (pair["ratio"] < 1) == (pair["first"] == other)
    return counts


@pytest.mark.parametrize(
    ("name", "when", "better"),
    [
        ("bench", "at the end", dict.fromkeys(OTHERS, False)),
        ("bench", "over time", dict.fromkeys(OTHERS, False)),
        ("bench-forms", "at the end", dict.fromkeys(OTHERS, False)),
        ("bench-forms", "over time", dict.fromkeys(AIDED | {"halving"}, True)),
    ],
)
def test_which_methods_are_better_than_the_default_and_which_are_worse(name: str, when: str, better: dict[str, bool]):
    assert document(name)["repeats"] >= 200
    assert better_than_the_default(name, when) == better


def test_only_the_ladder_and_confirmation_cost_size_over_time_on_the_other_table():
    costly = {
        pair["first"]
        for pair in document("bench-forms-parts")["variants"]
        if pair["when"] == "over time" and pair["differs"] and pair["ratio"] < 1
    }
    # Without confirmation answers come sooner, and many of them are false: at the end it is far worse.
    assert costly == {"no-ladder", "no-confirmation"}
