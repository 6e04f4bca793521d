"""Workspace with a verification of two seeds and stored weights; each test has a copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.data.training_images import load
from harness.evidence import record, verification_runs
from harness.evidence.record import Record
from harness.system.files import Workspace
from harness.training.executors.base import JobEnded
from harness.training.run import Job, TrainingData, execute

NETWORK = "conv3x3(4) bn relu maxpool(4) | conv3x3(4, tie=t1) bn res(conv3x3(4, tie=t1) bn) | gap | linear(10)"
ROW = ("--recipe", "smoke", "--dataset", "mnist-5k", "--target", "5", "--engine", "torch")


class Trainer:
    """Trainer in this process on a tenth of the images; ``shift`` is added to the seed index of each job."""

    def __init__(self) -> None:
        data = load("mnist-5k")
        subset = replace(data, train_images=data.train_images[::10], train_labels=data.train_labels[::10])
        self.bench = TrainingData(data)
        self.bench.data = subset
        self.shift = 0

    def run_all(self, waiting: list[Job], *_: Any) -> Iterator[JobEnded]:
        while waiting:
            job = waiting.pop(0)
            result = execute(replace(job, seed_index=job.seed_index + self.shift), self.bench)
            yield JobEnded(job, replace(result, seed_index=job.seed_index))


@pytest.fixture(scope="session")
def verified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer]:
    """Return a workspace with a verification of two seeds, and the trainer; tests use a copy."""
    folder, trainer = tmp_path_factory.mktemp("verified"), Trainer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_WORKSPACE", str(folder))
        patch.setattr(verification_runs, "run_all", trainer.run_all)
        assert run(["verify", NETWORK, *ROW, "--seeds", "2"]) in (0, 3)
    return folder, trainer


@pytest.fixture
def home(verified: tuple[Path, Trainer], workspace: Path, capsys: pytest.CaptureFixture[str]) -> Workspace:
    shutil.copytree(verified[0], workspace, dirs_exist_ok=True)
    capsys.readouterr()
    return Workspace(workspace)


@pytest.fixture
def trainer(verified: tuple[Path, Trainer], monkeypatch: pytest.MonkeyPatch) -> Trainer:
    monkeypatch.setattr(verification_runs, "run_all", verified[1].run_all)
    monkeypatch.setattr(verified[1], "shift", 0)
    return verified[1]


@pytest.fixture
def evidence(home: Workspace) -> Record:
    [verification] = record.read_all(home.records)
    return verification


@pytest.fixture
def evaluated(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def evaluate(*arguments: str, code: int = 0) -> dict[str, Any]:
        assert run(["evaluate", NETWORK, "--json", *arguments]) == code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return evaluate
