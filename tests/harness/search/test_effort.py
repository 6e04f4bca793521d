"""When the effort that a search is given is spent."""

from __future__ import annotations

from typing import Any

import pytest

from harness.search.clock import is_spent
from tests.harness import logged, scripted


@pytest.mark.parametrize(
    ("ended", "given", "finished"),
    [
        ({"reason": "time", "seconds": 60.0, "trials": None}, {"seconds": 60.0}, True),
        ({"reason": "time", "seconds": 60.0, "trials": None}, {"seconds": 61.0}, False),
        ({"reason": "time", "seconds": 60.0, "trials": None}, {"seconds": None}, False),
        ({"reason": "trials", "seconds": 60.0, "trials": 9}, {"trials": 9, "seconds": 90.0}, True),
        ({"reason": "trials", "seconds": 60.0, "trials": 9}, {"trials": 10}, False),
        ({"reason": "trials", "seconds": 60.0, "trials": 9}, {"trials": None}, False),
        ({"reason": "exhausted", "seconds": 60.0, "trials": 9}, {"trials": 99, "seconds": 60.0}, True),
        ({"reason": "exhausted", "seconds": 60.0, "trials": 9}, {"trials": 9, "seconds": 61.0}, False),
        ({"reason": "exhausted", "seconds": None, "trials": 9}, {"trials": 99, "seconds": 9e9}, True),
        ({"reason": "interrupted", "seconds": 60.0, "trials": 9}, {"trials": 9, "seconds": 60.0}, False),
    ],
)
def test_a_search_is_finished_when_no_more_effort_is_given(
    ended: dict[str, Any], given: dict[str, object], finished: bool
):
    spent = scripted.effort(**given)

    assert is_spent(spent, [logged.entry("ended", **ended)]) is finished
    assert not is_spent(spent, [logged.entry("ended", **ended), logged.entry("session")])
    assert not is_spent(spent, [])
