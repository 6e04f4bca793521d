"""Tests of the measured offset between validation and test accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import validation_offset
from harness.workspace import Workspace
from search_spaces.notation import parse_network
from tests.benchmarks.made_up import ask, trained_as
from tests.harness import unrun

ONE, TWO, THREE = "conv3x3(4) bn relu | gap | linear(10)", "gap | linear(10)", "maxpool | linear(10)"
VALIDATION = {ONE: (100, 80), TWO: (120, 120), THREE: (90, 90)}


@pytest.fixture
def offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two networks with a record of two seeds each, and a file of offsets that knows another data set."""
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))
    path = tmp_path / "offsets.json"
    path.write_text('{"other": {"errors_ratio": 1.0}}', encoding="utf-8")
    monkeypatch.setattr(validation_offset, "OFFSETS", path)
    monkeypatch.setattr(validation_offset, "code_version", lambda: ("c" * 40, False))
    errors = {str(parse_network(text)): given for text, given in VALIDATION.items()}
    made = trained_as(lambda job: errors[str(parse_network(job.architecture))][job.seed_index])
    monkeypatch.setattr(validation_offset, "trained", made)
    for text, tested in ((ONE, (60, 50)), (TWO, (100, 100))):
        seeds = unrun.without_training(monkeypatch)
        seeds.errors = tested.__getitem__
        unrun.run(Workspace(tmp_path), unrun.plan(range(2), architecture=parse_network(text)))
    return path


def test_the_offset_is_the_geometric_mean_over_networks_with_the_larger_of_two_errors(
    offsets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    ask(monkeypatch, validation_offset.main, "--seeds", "2", "--networks", ONE, TWO)

    found = json.loads(offsets.read_text(encoding="utf-8"))
    # 55 by 90 errors and 100 by 120; the logarithms deviate by 0.2197, over seeds the error is
    # sqrt((7.07 / 55)^2 + (14.14 / 90)^2) / sqrt(2) / 2 = 0.0718.
    assert found["mnist"]["errors_ratio"] == 0.7136
    assert found["mnist"]["relative_error"] == 0.1551
    names = [f"{parse_network(text).hash} (" for text in (ONE, TWO)]
    assert all(name in found["mnist"]["protocol"] for name in ("recipe fast, ", *names, "; commit cccccccccccc"))
    assert found["other"] == {"errors_ratio": 1.0}
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "test errors by validation errors 0.7136, relative standard error 0.1551"
    )


def test_of_one_network_the_error_is_that_over_seeds(offsets: Path, monkeypatch: pytest.MonkeyPatch):
    ask(monkeypatch, validation_offset.main, "--seeds", "2", "--networks", ONE)

    found = json.loads(offsets.read_text(encoding="utf-8"))["mnist"]
    assert (found["errors_ratio"], found["relative_error"]) == (0.6111, 0.1436)


def test_a_network_without_a_record_is_said_and_changes_nothing(
    offsets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before = offsets.read_bytes()

    ask(monkeypatch, validation_offset.main, "--seeds", "2", "--networks", THREE)

    assert "2 validation and 0 test runs; two of each are needed" in capsys.readouterr().out
    assert offsets.read_bytes() == before
