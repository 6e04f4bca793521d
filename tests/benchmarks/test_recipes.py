"""Tests of the comparison of recipes: means, differences and their errors from accuracies that are given."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import recipes
from harness.training.recipe import Recipe
from tests.benchmarks.made_up import ask, trained_as

ERRORS = {"fast": (100, 110, 120), "rate 0.2": (80, 80, 80), "no average": (130, 100, 130)}


def test_recipes_are_compared_with_fast_and_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(recipes, "HERE", tmp_path)
    monkeypatch.setattr(recipes, "machine", lambda: {"cores": 1})
    monkeypatch.setattr(recipes, "VARIANTS", {name: recipes.VARIANTS[name] for name in ERRORS})
    monkeypatch.setattr(recipes, "trained", trained_as(lambda job: ERRORS[job.recipe_name][job.seed_index]))

    ask(monkeypatch, recipes.main, "--epochs", "2", "--seeds", "3", "--network", "gap linear(10)")

    found: dict[str, Any] = json.loads((tmp_path / "recipes.json").read_text(encoding="utf-8"))
    assert {name: found[name] for name in ("machine", "network", "epochs", "seeds")} == {
        "machine": {"cores": 1},
        "network": "gap linear(10)",
        "epochs": 2,
        "seeds": 3,
    }
    assert [row["recipe"] for row in found["rows"]] == ["rate 0.2", "fast", "no average"]
    best, fast, last = found["rows"]
    assert best["validation_accuracy_pct"] == [99.2] * 3
    assert fast["difference_pct"] == 0
    # Means of errors are 80, 110 and 120; variances 0, 100 and 300 of hundredths of a per cent.
    assert best["difference_pct"] == pytest.approx(0.30)
    assert best["error_pct"] == pytest.approx(math.sqrt(0.01 / 3))
    assert last["difference_pct"] == pytest.approx(-0.10)
    assert last["error_pct"] == pytest.approx(math.sqrt(0.04 / 3))
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_each_variant_is_a_recipe_of_its_own():
    made = [Recipe(**changes) for changes in recipes.VARIANTS.values()]

    assert recipes.VARIANTS["fast"] == {}
    assert len({recipe.hash for recipe in made}) == len(made)
