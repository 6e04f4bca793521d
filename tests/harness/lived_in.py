"""A workspace that was lived in honestly, and ways of changing it afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.evidence import leaderboard, ledger, record, verify
from harness.system import files
from harness.system.files import Workspace
from harness.training.modules import build
from harness.training.run import Job, to_safetensors
from search_spaces.network import MNIST
from tests.harness import unrun


def lived_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make a workspace with two verifications and a certification of one network, declared at 7 and run from 8 on."""
    place, seeds = Workspace(root), unrun.without_training(monkeypatch)
    monkeypatch.setattr(ledger, "_now", lambda: "2026-11-20T07:00:00+00:00")
    monkeypatch.setattr(verify, "code_version", lambda: ("1" * 40, False))

    @cache
    def learned(index: int) -> bytes:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(index)
            return to_safetensors(build(unrun.NETWORK, MNIST), {"architecture": str(unrun.NETWORK)})

    def digest(index: int) -> str:
        files.write_bytes(root / "learned", learned(index))
        return record.read_weights(root / "learned").sha256

    def train(job: Job) -> None:
        purpose = f"verify {unrun.NETWORK.hash} {job.recipe_name} seed {job.seed_index}"
        read = {"date_utc": str(len(seeds.asked)), "dataset": "mnist", "purpose": purpose}
        files.append_line(place.test_log, json.dumps(read))
        assert job.weights is not None
        files.write_bytes(job.weights, learned(job.seed_index))

    seeds.watch, seeds.weights, seeds.errors = train, digest, lambda index: 50 + index % 4
    unrun.run(place, unrun.plan(range(3)))
    unrun.run(place, unrun.plan(range(6)))
    certification = unrun.plan(certify=True)
    unrun.declared(place, certification, 20)
    unrun.run(place, certification)
    unrun.run(place, unrun.plan(range(2), target_pct=99.0))
    leaderboard.refresh(place)
    unrun.git(place, "add", "runs/leaderboard.csv")
    unrun.commit(place, "2026-11-20T09:00:00+00:00")
    return place


def forget(place: Workspace) -> None:
    """Take the repository away."""
    shutil.rmtree(place.root / ".git")


def record_of(place: Workspace, target: str = "99_4") -> Path:
    """Return the file of the record."""
    [path] = place.records.glob(f"*-{target}.json")
    return path


def weights(place: Workspace, index: int) -> Path:
    """Return the file of a seed's weights."""
    [path] = place.records.glob(f"weights/*/seed-{index:04d}.safetensors")
    return path


def edit(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the seeds of a record."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document["seeds"])
    path.write_text(json.dumps(document), encoding="utf-8")


def drop(path: Path, which: Callable[[dict[str, Any]], bool]) -> None:
    """Drop exactly one line of a log."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    left = [line for line in lines if not which(json.loads(line))]
    assert len(left) == len(lines) - 1
    path.write_text("".join(left), encoding="utf-8")
