"""A search whose trainings are made up: all reach 99.5 % on validation."""

from __future__ import annotations

import pytest

from tests.harness import scripted, unrun
from tests.harness.scripted import Trainer
from tests.harness.unrun import Seeds


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = scripted.without_processes(monkeypatch)
    made.accuracy_pct = lambda parameters, seed: 99.5
    return made


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return unrun.without_training(monkeypatch)
