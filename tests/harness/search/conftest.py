"""A session without processes, and one network in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.search.race import Candidate
from harness.search.resume import open_session
from harness.search.session import Session, update_contenders
from harness.training.executor import Source
from tests.harness import scripted
from tests.harness.scripted import Trainer
from tests.harness.silent import Silent

PROPOSAL = scripted.proposal(0, "conv3x3(4) gap linear(10)")
FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


@pytest.fixture
def opened(tmp_path: Path, trainer: Trainer) -> Session:
    found = open_session(
        tmp_path,
        scripted.config(space_text=FEW),
        scripted.effort(),
        Source("mnist", None),
        Silent(),
    )
    found.candidates[0] = Candidate(PROPOSAL, PROPOSAL.parameters)
    update_contenders(found, found.candidates[0])
    return found
