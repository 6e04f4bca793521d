"""The table of speeds in docs/engine.md."""

from __future__ import annotations

from benchmarks import speed_page


def test_the_page_has_the_measured_speeds():
    assert speed_page.current() in speed_page.PAGE.read_text(encoding="utf-8")
