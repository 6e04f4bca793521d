"""Verifications with simulated results, a workspace with consistent evidence, and functions that change evidence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data import datasets
from harness.evidence import leaderboard_table, ledger, record, verification_runs
from harness.evidence.leaderboard_table import Verification
from harness.evidence.ledger import Attempt
from harness.evidence.verification_runs import VerifyPlan
from harness.spaces.network import MNIST
from harness.spaces.notation import parse_network
from harness.system import files
from harness.system.files import Workspace
from harness.training.executors.base import DataLocation, Limits
from harness.training.recipe import RECIPES
from harness.training.run import Job, to_safetensors
from harness.training.torch_network import build
from tests import fakes

NETWORK = parse_network("conv3x3(4) bn relu | maxpool | gap | linear(10)")


def make_plan(indices: range | list[int] = range(5), **fields: Any) -> VerifyPlan:
    """Return the plan of a verification of a small network on MNIST; the target is 99.4 %."""
    defaults: dict[str, Any] = {
        "architecture": NETWORK,
        "named_recipe": RECIPES["fast"],
        "data": datasets.dataset("mnist"),
    }
    return VerifyPlan(indices=tuple(indices), **defaults | {"target_pct": 99.4} | fields)


def declare_in_git(workspace: Workspace, plan: VerifyPlan, seeds: int) -> Attempt:
    attempt = verification_runs.declare_attempt(plan, workspace, seeds)
    commit_evidence(workspace)
    return attempt


def commit_evidence(workspace: Workspace, date: str = "2026-11-20T07:30:00+00:00") -> None:
    if not (workspace.root / ".git").exists():
        git(workspace, "init", "--quiet")
    git(workspace, "add", "--all", "runs/records")
    git(workspace, "commit", "--quiet", "--allow-empty", "--message", "evidence", date=date)


def git(workspace: Workspace, *arguments: str, date: str = "") -> None:
    """Run git in a workspace, independent of the user's configuration of git."""
    variables = {f"GIT_{role}_{field}": "someone" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
    variables |= {f"GIT_{role}_DATE": date for role in ("AUTHOR", "COMMITTER") if date}
    variables |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "-C", str(workspace.root), *arguments], env={**os.environ, **variables}, check=True)


def run_plan(workspace: Workspace, plan: VerifyPlan) -> Verification:
    return verification_runs.run_seeds(
        plan, workspace, DataLocation(plan.data.name, None), Limits(), lambda event: None
    )


def create_evidence(root: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Return a workspace with verifications at two targets and a certification of a network.

    The certification is declared at 7:00, committed at 7:30 and run from 8:00; the results are committed at 9:00.
    """
    workspace = Workspace(root)
    seeds = fakes.without_training(monkeypatch)
    monkeypatch.setattr(ledger, "_now", lambda: "2026-11-20T07:00:00+00:00")
    monkeypatch.setattr(verification_runs, "code_version", lambda: ("1" * 40, False))

    @cache
    def weights_of_seed(index: int) -> bytes:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(index)
            return to_safetensors(build(NETWORK, MNIST), {"architecture": str(NETWORK)})

    def digest(index: int) -> str:
        files.write_bytes(root / "learned", weights_of_seed(index))
        return record.read_weights(root / "learned").sha256

    def train(job: Job) -> None:
        purpose = f"verify {NETWORK.hash} {job.recipe_name} seed {job.seed_index}"
        test_read = {"date_utc": str(len(seeds.jobs)), "dataset": "mnist", "purpose": purpose}
        files.append_line(workspace.test_log, json.dumps(test_read))
        assert job.weights is not None
        files.write_bytes(job.weights, weights_of_seed(job.seed_index))

    seeds.watch = train
    seeds.weights = digest
    seeds.errors = lambda index: 50 + index % 4
    run_plan(workspace, make_plan(range(3)))
    run_plan(workspace, make_plan(range(6)))
    certification = make_plan(certify=True)
    declare_in_git(workspace, certification, 20)
    run_plan(workspace, certification)
    run_plan(workspace, make_plan(range(2), target_pct=99.0))
    leaderboard_table.refresh(workspace)
    git(workspace, "add", "runs/leaderboard.csv")
    commit_evidence(workspace, "2026-11-20T09:00:00+00:00")
    return workspace


def delete_git(workspace: Workspace) -> None:
    shutil.rmtree(workspace.root / ".git")


def record_of(workspace: Workspace, target: str = "99_4") -> Path:
    [path] = workspace.records.glob(f"*-{target}.json")
    return path


def weights(workspace: Workspace, index: int) -> Path:
    [path] = workspace.records.glob(f"weights/*/seed-{index:04d}.safetensors")
    return path


def edit(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document["seeds"])
    path.write_text(json.dumps(document), encoding="utf-8")


def delete_line(path: Path, condition: Callable[[dict[str, Any]], bool]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    remaining = [line for line in lines if not condition(json.loads(line))]
    assert len(remaining) == len(lines) - 1
    path.write_text("".join(remaining), encoding="utf-8")
