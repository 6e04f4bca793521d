"""Tests of static analysis beside building."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import static_analysis
from search_spaces.notation import parse_network
from tests.benchmarks.made_up import ask


def test_both_sides_count_and_their_speeds_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(static_analysis, "RESULTS", tmp_path / "static-analysis.json")
    monkeypatch.setattr(static_analysis, "machine", lambda: {"cores": 1})
    monkeypatch.setattr(static_analysis, "CLOSED_FORM_BLOCK", 20)
    monkeypatch.setattr(static_analysis, "BUILT_BLOCK", 2)

    ask(monkeypatch, static_analysis.main, "--blocks", "3", "--space", "tiny")

    found = json.loads((tmp_path / "static-analysis.json").read_text(encoding="utf-8"))
    assert (found["machine"], found["space"], found["blocks"]) == ({"cores": 1}, "tiny", 3)
    # Formulas are many times as fast as building; ten times leaves room for the noise of so few.
    assert found["closed_form_a_second"] > 10 * found["built_a_second"] > 0
    assert 1 < found["ratio_least"] <= found["ratio"] <= found["ratio_most"]


def test_both_sides_count_the_same():
    network = parse_network("conv3x3(4) bn relu | maxpool | conv3x3(4, tie=a) conv3x3(4, tie=a) | gap | linear(10)")

    assert static_analysis.closed_form(network) == static_analysis.built(network) == 36 + 8 + 144 + 50
