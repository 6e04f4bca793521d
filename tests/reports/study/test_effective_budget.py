from __future__ import annotations

from typing import Any

import pytest

from reports.study.search_course import effective_budget
from tests.harness import logged
from tests.reports.conftest import files_of


@pytest.fixture
def budget_of() -> Any:
    """The effective budget that a list of events gives; they are (kind, seconds, hash, budget)."""

    def of(*events: tuple[str, float, str, int]) -> Any:
        entries = tuple(
            logged.entry(kind, elapsed, hash=name, parameters=budget + 1, budget=budget)
            if kind == "standing"
            else logged.entry(kind, elapsed, hash=name, parameters=5)
            for kind, elapsed, name, budget in events
        )
        return effective_budget(files_of(*entries), ())

    return of


def test_nothing_stands_so_the_whole_budget_is_open(budget_of: Any):
    found = budget_of(("session", 60.0, "", 0))

    assert (found.first, found.last, found.trials, found.elapsed) == (20_000, 20_000, (), 60.0)


def test_each_network_that_stands_lowers_the_budget(budget_of: Any):
    found = budget_of(("standing", 10, "a", 900), ("refuted", 20, "x", 0), ("standing", 30, "b", 500))

    assert [trial.budget for trial in found.trials] == [900, 900, 500]
    assert [trial.stands for trial in found.trials] == [True, False, True]


def test_the_budget_opens_again_when_the_only_network_that_stood_falls(budget_of: Any):
    found = budget_of(("standing", 10, "a", 900), ("refuted", 20, "a", 0))

    assert [trial.budget for trial in found.trials] == [900, 20_000]


def test_the_budget_does_not_open_when_another_network_takes_the_place_at_once(budget_of: Any):
    found = budget_of(("standing", 10, "a", 900), ("refuted", 20, "a", 0), ("standing", 20.01, "b", 1200))

    assert [trial.budget for trial in found.trials] == [900, 900, 1200]
