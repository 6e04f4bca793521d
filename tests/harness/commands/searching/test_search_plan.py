"""What ``harness search --plan`` says to people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.commands.searching.search_plan import plan_facts


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The plan of a search of four networks, two of which keep the budget."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    (tmp_path / "few.space").write_text("net = conv3x3({4, 8, 12, 16}) gap linear(10);", encoding="utf-8")
    given = ("--dataset", "mnist-5k", "--device", "cpu", "--space", "@few.space", "--budget", "200")
    assert run(["search", *given, "--plan", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_share_has_a_line_of_its_own_that_says_what_becomes_of_the_others(document: dict[str, Any]):
    facts = plan_facts(document)

    assert facts["space"] == "few: 4 configurations (ways to draw a network)"
    assert facts["share"].startswith("50 % of the configurations ")
    assert "counted" in facts["share"]
    assert "200 parameters" in facts["share"]
    assert "rejected" in facts["share"]


def test_an_estimated_share_says_from_how_many_draws(document: dict[str, Any]):
    count = document["feasible"] | {"exact": False, "looked_at": 2_000, "confidence": 0.95}
    share = plan_facts(document | {"feasible": count, "feasible_share": [0.589, 0.632]})["share"]

    assert share.startswith("58.9 to 63.2 % of the configurations ")
    assert "2,000 " in share
    assert "95 %" in share


def test_the_threshold_says_what_it_is_for_and_how_sure_its_ratio_is(document: dict[str, Any]):
    measured = {"errors_ratio": 0.906, "relative_error": 0.0124, "protocol": "measured"}

    threshold = plan_facts(document | {"offset": document["offset"] | measured})["threshold"]

    assert "stands for the target" in threshold
    assert "0.906 test errors" in threshold
    assert "1.2 %" in threshold


def test_a_threshold_without_a_measured_ratio_is_the_target_and_says_why(document: dict[str, Any]):
    threshold = plan_facts(document)["threshold"]

    assert threshold.startswith("97 % ")
    assert "as many errors" in threshold
    assert "not measured" in threshold
