"""Commands with ``--cluster``: what they find on Ray's nodes is what this machine finds alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bench.table import read_table
from harness.cli import run
from harness.evidence import record
from harness.system.files import Workspace

NETWORK = "conv3x3(2, stride=2) relu | maxpool(4) | gap | linear(10)"
SPACE = "net = conv3x3({2, 3}, stride=2) bn relu | maxpool(4) | gap | linear(10);"
RECIPE = "epochs = 2\nbatch_size = 500\naugmented_share = 0.0\nlearning_rate = 0.2\naverage_start = 0.5\n"
ALL = ("--dataset", "mnist-5k", "--recipe", "@short.toml", "--engine", "torch", "--workers", "2")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Workspace]:
    """Return an empty workspace with a space and a recipe, which commands use from then on."""

    def made(name: str) -> Workspace:
        place = tmp_path / name
        place.mkdir()
        (place / "few.space").write_text(SPACE)
        (place / "short.toml").write_text(RECIPE)
        monkeypatch.setenv("HARNESS_WORKSPACE", str(place))
        monkeypatch.chdir(place)
        return Workspace(place)

    return made


def on_cluster(*words: str) -> subprocess.Popen[bytes]:
    """Start a command on a cluster of its own, in a process of its own: Ray reads its environment once."""
    return subprocess.Popen([sys.executable, "-m", "harness", *words, "--cluster", "local"])


@pytest.mark.slow  # two minutes
def test_a_verification_on_two_nodes_records_what_one_machine_records(alone: Callable[[str], Workspace]):
    verify = ["verify", NETWORK, *ALL, "--target", "5", "--seeds", "2"]
    there = alone("there")
    cluster = on_cluster(*verify)
    here = alone("here")
    assert run(verify) in (0, 3)
    assert cluster.wait() in (0, 3)

    (found,), (known,) = (record.read_all(place.records) for place in (there, here))
    assert [(seed.weights_sha256, seed.test_errors, seed.wrong) for seed in found.seeds] == [
        (seed.weights_sha256, seed.test_errors, seed.wrong) for seed in known.seeds
    ]
    reads = [len(place.test_log.read_text().splitlines()) for place in (there, here)]
    assert reads == [2, 2]


@pytest.mark.slow
def test_a_table_that_two_nodes_record_is_that_of_one_machine(alone: Callable[[str], Workspace]):
    table = ["bench", "table", "mine", *ALL, "--space", "@few.space", "--rungs", "1,2", "--seeds", "1"]
    there = alone("there")
    cluster = on_cluster(*table)
    here = alone("here")
    assert run(table) == cluster.wait() == 0

    found, known = (read_table(place.table("mine")) for place in (there, here))
    assert {(row.hash, row.seed, row.rung, row.validation_accuracy_pct) for row in found.rows} == {
        (row.hash, row.seed, row.rung, row.validation_accuracy_pct) for row in known.rows
    }


@pytest.mark.slow
def test_a_live_comparison_trains_on_nodes(alone: Callable[[str], Workspace]):
    alone("there")
    options = ["--space", "@few.space", "--target", "99", "--time", "30s", "--method", "random", "--repeats", "1"]

    assert on_cluster("bench", "run", "--live", *ALL, *options).wait() == 0
