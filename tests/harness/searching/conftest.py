"""Fixtures: a search without worker processes, with a proposed network."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.searching.search_state import Search
from tests import searches
from tests.factories import make_proposal
from tests.fakes import Trainer, without_processes

PROPOSAL = make_proposal(0, "conv3x3(4) gap linear(10)")
FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Replace worker processes by a simulated trainer."""
    return without_processes(monkeypatch)


@pytest.fixture
def search(tmp_path: Path, trainer: Trainer) -> Search:
    """Return an open search with the candidate ``PROPOSAL``."""
    instance = searches.resume(tmp_path, searches.config(space_text=FEW), searches.effort())
    searches.apply(instance, PROPOSAL)
    return instance
