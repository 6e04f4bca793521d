"""Tests of the comparison of two checkouts by speed, with made-up trainings in place of processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import engine_speed
from benchmarks.roofline import flops_of
from tests.benchmarks.made_up import ask

TEXT = "conv3x3(2) | gap | linear(10)"


def test_the_first_epoch_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An epoch of 4,000 images took 9 s, and two more 4 s together: 2,000 images a second and process."""
    answer = {"hash": "a", "recipe_hash": "b", "history": [{"train_seconds": at} for at in (9.0, 11.0, 13.0)]}
    started = subprocess.Popen

    def play(_command: list[str], **options: object) -> subprocess.Popen[bytes]:
        return started([sys.executable, "-c", f"print({json.dumps(json.dumps(answer))})"], stdout=subprocess.PIPE)

    monkeypatch.setattr(subprocess, "Popen", play)
    monkeypatch.setattr(engine_speed, "core_count", lambda: 3)

    assert engine_speed.speed(tmp_path, TEXT, "small", 3) == (6_000.0, "a b")


def test_ratios_are_taken_round_by_round():
    """One slow round slows both sides: the ratio stays, whereas that of the medians would be 3."""
    row = engine_speed.row("small", TEXT, [(100.0, 200.0), (10.0, 20.0), (400.0, 1_000.0)], peak=1e-3)

    assert (row["before"], row["after"]) == (100, 200)
    assert (row["ratio"], row["ratio_least"], row["ratio_most"]) == (2.0, 2.0, 2.5)
    assert row["share_of_peak"] == pytest.approx(flops_of(TEXT) * 200 / 1e6, abs=5e-4)


def test_checkouts_that_train_something_else_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_speed, "NETWORKS", {"small": (TEXT, "small", 2)})
    monkeypatch.setattr(engine_speed, "speed", lambda side, *_: (1.0, "new" if side == engine_speed.ROOT else "old"))

    with pytest.raises(SystemExit, match=r"small.*something else"):
        ask(monkeypatch, engine_speed.main, str(tmp_path))


def test_the_page_has_the_committed_results():
    assert engine_speed.current() in engine_speed.PAGE.read_text(encoding="utf-8")
