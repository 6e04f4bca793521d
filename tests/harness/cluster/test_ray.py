"""Ray clusters on this machine: data on nodes, refused nodes, results as without a cluster, and lost nodes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from harness.cluster import ray
from harness.data import user
from harness.data.training_images import load, stored_files
from harness.spaces.notation import parse_network
from harness.studies.events import RunEnded
from harness.studies.log import read_state
from harness.system.errors import DataError, DeviceError, HarnessError, StorageError
from harness.training.executors.base import DataLocation, Limits
from harness.training.executors.clusters import ClusterOptions, NodeInfo
from harness.training.recipe import Recipe
from harness.training.result import Purpose
from harness.training.run import Job, TrainingData, execute
from tests.conftest import REPOSITORY
from tests.fakes import PATIENCE, wait_for

SPACE = "net = conv3x3({2, 3, 4}, stride=2) bn relu | maxpool(4) | conv1x1({4, 8}) bn relu | gap | linear(10);"
RECIPE = "epochs = 4\nbatch_size = 500\naugmented_share = 0.0\nlearning_rate = 0.2\naverage_start = 0.5\n"
OPTIONS = ClusterOptions(None, "cpu", "torch")
TOKEN = "0123456789abcdef" * 2


def test_connection_refuses_address_without_cluster():
    with pytest.raises(DeviceError), ray.connected("127.0.0.1:9", OPTIONS):
        pass


def test_node_stores_received_data_for_next_call(mnist_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = load("mnist", mnist_folder, allow_download=False)
    stored, location = stored_files(data.dataset, mnist_folder), DataLocation("mnist", tmp_path / "nothing")
    arguments = (location, data.data_hash, "cpu", "torch")
    with pytest.raises(DataError):
        ray._facts(*arguments, {name: content[:-1] for name, content in stored.items()})
    source, facts, _ = ray._facts(*arguments, stored)
    assert facts.data_hash == data.data_hash
    assert source.folder is not None
    assert ray._facts(*arguments, {})[0] == source


def test_node_gives_results_of_coordinator_on_data_of_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = np.random.default_rng(1).integers(0, 256, (120, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", X=images, y=np.arange(120) % 3)
    workspaces = [tmp_path / "here", tmp_path / "node"]
    for workspace in workspaces:
        workspace.mkdir()
    monkeypatch.setenv("HARNESS_WORKSPACE", str(workspaces[0]))
    name = user.data_name(str(tmp_path / "mine.npz"))
    data, files = load(name), stored_files(load(name).dataset, None)
    job = Job(
        architecture=parse_network("conv3x3(4) bn relu | gap | linear(3)", data.dataset.task),
        recipe=Recipe(epochs=2),
        recipe_name="fast-2ep",
        purpose=Purpose.SEARCH,
        seed_index=0,
    )
    local = execute(job, TrainingData(data))

    monkeypatch.setenv("HARNESS_WORKSPACE", str(workspaces[1]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for node_files in (files, {}):
        source = ray._facts(DataLocation(name, None), data.data_hash, "cpu", "torch", node_files)[0]
        remote = execute(job, TrainingData(load(source.dataset, source.folder, allow_download=False)))
        assert (remote.weights_sha256, remote.validation_errors) == (local.weights_sha256, local.validation_errors)


@pytest.mark.parametrize(
    ("changes", "is_refused", "is_refused_if_alike"),
    [
        ({}, False, False),
        ({"commit": "f" * 40}, True, True),
        ({"commit": None}, True, True),
        ({"dirty": None}, True, True),
        ({"torch": "1.0"}, True, True),
        ({"instructions": "other"}, False, True),
    ],
)
def test_refusal_of_nodes_with_different_code_torch_or_processor(
    changes: dict[str, Any], is_refused: bool, is_refused_if_alike: bool
):
    coordinator = ray._facts(DataLocation("mnist-5k", None), load("mnist-5k").data_hash, "cpu", "torch", None)
    node = coordinator._replace(environment=replace(coordinator.environment, **changes))
    assert bool(ray._refusal(coordinator, node, None)) is is_refused
    assert bool(ray._refusal(coordinator, node, coordinator)) is is_refused_if_alike
    assert ray._refusal(coordinator, coordinator._replace(processor="another"), coordinator)


@pytest.mark.parametrize(
    ("cause", "kind"), [(DataError("gone"), DataError), (KeyError(), DeviceError), (OSError(28, "full"), StorageError)]
)
def test_exception_on_every_node_ends_command_in_one_line(cause: Exception, kind: type[HarnessError]):
    exceptions = pytest.importorskip("ray.exceptions")
    node = ray._Node(NodeInfo("id", "host", 1), None, room=1)
    nodes = ray.Nodes(DataLocation("mnist-5k", None), Limits(), OPTIONS, nodes={"id": node})
    nodes.ray = Mock(exceptions=exceptions)
    nodes.ray.get.side_effect = exceptions.RayTaskError("_train", "traceback", cause)
    with pytest.raises(kind, match=r"\A.+\Z"):
        nodes._ended(ray._Work(Mock(), 1, node))


def start_search(workspace: Path, *options: str) -> subprocess.Popen[str]:
    """Start a small search in a new workspace."""
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / "few.space").write_text(SPACE)
    (workspace / "short.toml").write_text(RECIPE)
    command = [
        *(sys.executable, "-m", "harness", "search", "--dataset", "mnist-5k", "--study", "s", "--target", "15"),
        *("--space", f"@{workspace / 'few.space'}", "--recipe", f"@{workspace / 'short.toml'}"),
        *("--time", "100h", "--workers", "1", *options),
    ]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"HARNESS_WORKSPACE": str(workspace), "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def endings(workspace: Path) -> dict[tuple[int | None, str, int], tuple[str, str | None]]:
    """Return status and weights digest of each run of a study, by trial, purpose and seed index."""
    results = read_state(workspace / "runs" / "s").results
    return {(run.trial, run.purpose.value, run.seed_index): (run.status.value, run.weights_sha256) for run in results}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Start a cluster on this machine with a head without CPUs, which trains nothing, and a node with a CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", TOKEN)  # read once per process; further tests start clusters
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        utils = pytest.importorskip("ray.cluster_utils")
        cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        cluster.trainers = [cluster.add_node(num_cpus=1)]
        yield cluster
        cluster.shutdown()


@pytest.mark.slow
def test_search_on_cluster_has_results_of_local_search(nodes: Any, tmp_path: Path):
    cluster_search = start_search(tmp_path / "cluster", "--trials", "2", "--cluster", nodes.address, "--json")
    local_search = start_search(tmp_path / "alone", "--trials", "2", "--json")
    cluster_output, err = cluster_search.communicate(timeout=PATIENCE)
    assert cluster_search.returncode == 0, err
    local_output, _ = local_search.communicate(timeout=PATIENCE)

    assert endings(tmp_path / "cluster") == endings(tmp_path / "alone") != {}
    cluster_document, local_document = json.loads(cluster_output), json.loads(local_output)
    for key in ("proposed", "trained", "rejected", "reached"):
        assert cluster_document[key] == local_document[key]
    assert cluster_document["winner"]["mean_test_accuracy_pct"] == local_document["winner"]["mean_test_accuracy_pct"]
    assert {bool(run.node) for run in read_state(tmp_path / "cluster" / "runs" / "s").results} == {True}
    logs = [tmp_path / name / "runs" / "records" / "test_reads.jsonl" for name in ("cluster", "alone")]
    reads = [len(log.read_text().splitlines()) for log in logs]
    assert reads[0] == reads[1] == local_document["winner"]["seeds"]


@pytest.mark.slow
def test_search_loses_no_run_with_killed_node(nodes: Any, tmp_path: Path):
    wrong_token = os.environ | {"RAY_AUTH_TOKEN": "f" * 32}
    nodes.trainers.append(nodes.add_node(num_cpus=1))
    command = [sys.executable, "-m", "harness", "search", "--dataset", "mnist-5k", "--plan", "--cluster", nodes.address]
    refused_search = subprocess.Popen(command, cwd=REPOSITORY, env=wrong_token, stderr=subprocess.PIPE, text=True)
    search = start_search(tmp_path, "--trials", "5", "--cluster", nodes.address, "--json")
    folder = tmp_path / "runs" / "s"
    wait_for(search, lambda: finished_count(folder) >= 2)
    nodes.remove_node(nodes.trainers.pop(), allow_graceful=False)
    count = finished_count(folder)
    wait_for(search, lambda: finished_count(folder) >= count + 1)
    nodes.trainers.append(nodes.add_node(num_cpus=1))
    out, err = search.communicate(timeout=PATIENCE)

    assert search.returncode == 0, err
    # Ray may still list the removed node when the verification begins, so the loss may be reported twice.
    assert len(set(re.findall("node (.*) is lost", err))) == 1, err
    assert "Traceback" not in err
    study = read_state(folder)
    runs = study.results
    first = [run.trial for run in runs if run.purpose.value == "search"]
    assert first == list(study.proposals)
    assert json.loads(out)["trained"] == len(first)
    assert {run.status.value for run in runs} <= {"complete", "pruned"}
    assert len(study.of_kind(RunEnded)) == len(runs)
    assert "RAY_AUTH_TOKEN" in refused_search.communicate(timeout=PATIENCE)[1]
    assert refused_search.returncode == 6


def finished_count(folder: Path) -> int:
    log = folder / "log.jsonl"
    return log.read_text().count('"finished"') if log.exists() else 0
