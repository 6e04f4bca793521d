"""Tests of the candidates an hour, from searches that are made up."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import candidates
from harness.evidence import study
from harness.training import result
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Status
from harness.training.run import Job
from search_spaces.notation import parse_network
from tests.benchmarks.made_up import ask, validated

TEXT = "gap linear(10)"  # ten multiply-adds
# Purpose, status and epochs of the runs of each side.
RUNS = {
    "torch": [(Purpose.SEARCH, Status.COMPLETE, 15)],
    "native": [
        (Purpose.SEARCH, Status.COMPLETE, 15),
        (Purpose.SEARCH, Status.PRUNED, 4),
        (Purpose.SEARCH, Status.PRUNED, 8),
        (Purpose.CONFIRM, Status.COMPLETE, 15),
    ],
}


def searched(command: list[str], *, env: dict[str, str], **options: Any) -> Any:
    """Stand in for a search: leave the runs of a study behind."""
    assert command[3] == "search"
    side, folder = command[command.index("--engine") + 1], Path(env["HARNESS_WORKSPACE"]) / "runs" / "s"
    for trial, (purpose, status, epochs) in enumerate(RUNS[side]):
        job = Job(architecture=parse_network(TEXT), recipe=Recipe(), recipe_name="fast", purpose=purpose, seed_index=0)
        history = tuple(Epoch(number, 0.1, 1.0, 1.0) for number in range(1, epochs + 1))
        run = replace(validated(job, 100), status=status, history=history, trial=trial, study="s")
        result.write(study.result_path(folder, trial, purpose, 0), run)
    return subprocess.CompletedProcess(command, 3, "", "")


def test_networks_and_multiply_adds_an_hour_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(candidates, "RESULTS", tmp_path / "candidates.json")
    monkeypatch.setattr(candidates, "machine", lambda: {"cores": 2})
    monkeypatch.setattr(candidates, "subprocess", SimpleNamespace(run=searched))
    monkeypatch.setattr(candidates, "time", SimpleNamespace(monotonic=iter([0.0, 360.0, 0.0, 360.0]).__next__))

    ask(monkeypatch, candidates.main, "--minutes", "6")

    found = json.loads((tmp_path / "candidates.json").read_text(encoding="utf-8"))
    torch, native = found["sides"]
    assert (found["minutes"], torch["engine"], native["engine"], torch["seconds"]) == (6, "torch", "native", 360)
    assert [(side["networks"], side["whole"], side["fresh_seeds"]) for side in (torch, native)] == [
        (1, 1, 0),
        (3, 1, 1),
    ]
    assert (torch["networks_an_hour"], native["networks_an_hour"]) == (10, 30)
    # Of 50,000 images an epoch, in a tenth of an hour.
    assert torch["macs_an_hour"] == 10 * 50_000 * 15 * 10
    assert native["macs_an_hour"] == 10 * 50_000 * (15 + 4 + 8 + 15) * 10
    assert (found["networks_ratio"], found["macs_ratio"]) == (pytest.approx(3), pytest.approx(42 / 15))


def test_a_search_that_fails_is_no_measurement(monkeypatch: pytest.MonkeyPatch):
    failed = SimpleNamespace(run=lambda command, **options: subprocess.CompletedProcess(command, 5, "", "no data"))
    monkeypatch.setattr(candidates, "subprocess", failed)

    with pytest.raises(SystemExit, match=r"--engine torch ended with 5: no data$"):
        candidates.searched("torch", 1.0, None)
