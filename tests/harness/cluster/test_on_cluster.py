"""Commands with ``--cluster``: results on Ray nodes equal the results of this machine."""

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
def make_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Workspace]:
    """Return a function that makes a workspace with a space and a recipe, and selects the workspace for commands."""

    def make(name: str) -> Workspace:
        root = tmp_path / name
        root.mkdir()
        (root / "few.space").write_text(SPACE)
        (root / "short.toml").write_text(RECIPE)
        monkeypatch.setenv("HARNESS_WORKSPACE", str(root))
        monkeypatch.chdir(root)
        return Workspace(root)

    return make


def on_cluster(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a command with a new cluster in a subprocess, because Ray reads the environment only once per process."""
    return subprocess.Popen([sys.executable, "-m", "harness", *arguments, "--cluster", "local"])


@pytest.mark.slow  # two minutes
def test_verification_on_two_nodes_equals_verification_on_one_machine(make_workspace: Callable[[str], Workspace]):
    verify = ["verify", NETWORK, *ALL, "--target", "5", "--seeds", "2"]
    cluster_home = make_workspace("there")
    cluster = on_cluster(*verify)
    local_home = make_workspace("here")
    assert run(verify) in (0, 3)
    assert cluster.wait() in (0, 3)

    (cluster_result,), (local_result,) = (record.read_all(root.records) for root in (cluster_home, local_home))
    assert [(seed.weights_sha256, seed.test_errors, seed.wrong) for seed in cluster_result.seeds] == [
        (seed.weights_sha256, seed.test_errors, seed.wrong) for seed in local_result.seeds
    ]
    assert [len(root.test_log.read_text().splitlines()) for root in (cluster_home, local_home)] == [2, 2]


@pytest.mark.slow
def test_table_of_two_nodes_equals_table_of_one_machine(make_workspace: Callable[[str], Workspace]):
    table = ["bench", "table", "mine", *ALL, "--space", "@few.space", "--rungs", "1,2", "--seeds", "1"]
    cluster_home = make_workspace("there")
    cluster = on_cluster(*table)
    local_home = make_workspace("here")
    assert run(table) == cluster.wait() == 0

    cluster_result, local_result = (read_table(root.table("mine")) for root in (cluster_home, local_home))
    assert {(row.hash, row.seed, row.rung, row.validation_accuracy_pct) for row in cluster_result.rows} == {
        (row.hash, row.seed, row.rung, row.validation_accuracy_pct) for row in local_result.rows
    }


@pytest.mark.slow
def test_live_comparison_trains_on_nodes(make_workspace: Callable[[str], Workspace]):
    make_workspace("there")
    options = ["--space", "@few.space", "--target", "99", "--time", "30s", "--method", "random", "--repeats", "1"]

    assert on_cluster("bench", "run", "--live", *ALL, *options).wait() == 0
