"""Budgets and conditions that no network of a space keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.search.run_plan import plan_document
from harness.system.errors import ContentError
from tests.harness.search.test_run_plan import plan


def test_a_budget_that_no_network_of_the_space_keeps_is_refused_with_the_least_there_is(tmp_path: Path):
    space = tmp_path / "few.space"
    space.write_text("net = conv3x3({4, 8, 12, 16}) gap linear(10); where parameters >= 170")

    # conv3x3(8) gap linear(10) has 8 * 9 + 90 parameters, conv3x3(12) 12 * 9 + 130.
    with pytest.raises(ContentError, match=r"budget of 200 parameters: its smallest has 238$") as caught:
        plan(tmp_path, space=f"@{space}", budget=200)
    assert caught.value.hint is not None
    assert "238" in caught.value.hint
    assert plan_document(plan(tmp_path, space=f"@{space}", budget=238))["feasible"]["high"] == 1


def test_a_space_whose_conditions_nothing_keeps_is_refused(tmp_path: Path):
    space = tmp_path / "none.space"
    space.write_text("net = conv3x3({4, 8}) gap linear(10); where macs <= 10")

    with pytest.raises(ContentError, match=r"'.*none' keeps all conditions \(macs <= 10\)$") as caught:
        plan(tmp_path, space=f"@{space}")
    assert f"spaces check @{space}" in (caught.value.hint or "")
