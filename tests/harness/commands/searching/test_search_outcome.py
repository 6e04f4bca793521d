"""What a search says at its end when there is an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.commands.searching.search_outcome import smaller_that_passed
from tests.harness import scripted
from tests.harness.scripted import Made


def test_smaller_networks_that_passed_once_wait_for_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Threshold 99 %: one stands, and of the smaller ones two have passed and were not given up."""
    scripted.without_processes(monkeypatch)
    stands = (99.4, 99.4, 99.4, 99.4, 99.4, 99.4)
    networks = [
        Made(12, fresh=stands),
        Made(14, first=99.5),
        Made(10, first=99.5),
        Made(8, first=98.9),
        Made(6, first=99.3, fresh=(99.3,)),
        Made(4, first=99.1, fresh=(97.0, 97.0)),
        Made(2, first=None),
    ]
    session = scripted.opened(tmp_path, networks)

    found = smaller_that_passed(session.contenders.values(), scripted.TARGET_PCT, session.candidates[0].cost)

    assert [candidate.proposal.trial for candidate in found] == [2, 4]
