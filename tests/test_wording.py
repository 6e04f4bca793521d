from __future__ import annotations

from tests.wording import lacking


def test_facts_that_are_missing_or_in_another_order_are_returned():
    said = "It fell to 4,999\N{NO-BREAK SPACE}parameters\nafter 10 min."

    assert lacking(said, "4,999 parameters after", "10 min") == []
    assert lacking(said, "10 min", "4,999") == ["4,999"]
    assert lacking(said, "5,000", "10 min") == ["5,000"]
