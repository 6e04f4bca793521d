"""A session without processes, and one network in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.searching.state import Search
from tests.harness import scripted
from tests.harness.scripted import Trainer

PROPOSAL = scripted.proposal(0, "conv3x3(4) gap linear(10)")
FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


@pytest.fixture
def opened(tmp_path: Path, trainer: Trainer) -> Search:
    found = scripted.taken_up(tmp_path, scripted.config(space_text=FEW), scripted.effort())
    scripted.apply(found, PROPOSAL)
    return found
