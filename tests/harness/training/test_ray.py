"""A real cluster on this machine: searches end as without one, and a node that is killed costs nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import own
from harness.data.training_images import load, stored_files
from harness.studies.events import RunEnded
from harness.studies.log import read_state
from harness.system.errors import DataError, DeviceError
from harness.training.executors import ray
from harness.training.executors.base import DataLocation
from harness.training.recipe import Recipe
from harness.training.result import Purpose
from harness.training.run import Job, TrainingData, execute
from search_spaces.notation import parse_network
from tests.conftest import REPOSITORY

SPACE = "net = conv3x3({2, 3, 4}, stride=2) bn relu | maxpool(4) | conv1x1({4, 8}) bn relu | gap | linear(10);"
RECIPE = "epochs = 4\nbatch_size = 500\naugmented_share = 0.0\nlearning_rate = 0.2\naverage_start = 0.5\n"
TOKEN = "0123456789abcdef" * 2
# Two cores shared with other tests may need minutes for what takes seconds.
PATIENCE = 600.0


def test_an_address_at_which_nobody_listens_is_named():
    with pytest.raises(DeviceError), ray.executor_at("127.0.0.1:9", None):
        pass


def test_a_node_gets_the_data_that_it_lacks_and_has_them_the_next_time(
    mnist_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    known = load("mnist", mnist_folder, allow_download=False)
    stored, elsewhere = stored_files(known.dataset, mnist_folder), DataLocation("mnist", tmp_path / "nothing")
    given = (elsewhere, known.data_hash, "cpu", "torch")
    with pytest.raises(DataError):
        ray._facts(*given, {name: content[:-1] for name, content in stored.items()})
    source, there, _ = ray._facts(*given, stored)
    assert there.data_hash == known.data_hash
    assert source.folder is not None
    assert ray._facts(*given, {})[0] == source


def test_a_node_trains_on_a_person_s_own_data_as_the_coordinator_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = np.random.default_rng(1).integers(0, 256, (120, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", X=images, y=np.arange(120) % 3)
    places = [tmp_path / "here", tmp_path / "node"]
    for place in places:
        place.mkdir()
    monkeypatch.setenv("HARNESS_WORKSPACE", str(places[0]))
    name = own.data_name(str(tmp_path / "mine.npz"))
    here, stored = load(name), stored_files(load(name).dataset, None)
    job = Job(
        architecture=parse_network("conv3x3(4) bn relu | gap | linear(3)", here.dataset.task),
        recipe=Recipe(epochs=2),
        recipe_name="fast-2ep",
        purpose=Purpose.SEARCH,
        seed_index=0,
    )
    ours = execute(job, TrainingData(here))

    monkeypatch.setenv("HARNESS_WORKSPACE", str(places[1]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for sent in (stored, {}):
        source = ray._facts(DataLocation(name, None), here.data_hash, "cpu", "torch", sent)[0]
        theirs = execute(job, TrainingData(load(source.dataset, source.folder, allow_download=False)))
        assert (theirs.weights_sha256, theirs.validation_errors) == (ours.weights_sha256, ours.validation_errors)


@pytest.mark.parametrize(
    ("changes", "refused", "refused_where_alike"),
    [
        ({}, False, False),
        ({"commit": "f" * 40}, True, True),
        ({"commit": None}, True, True),
        ({"dirty": None}, True, True),
        ({"torch": "1.0"}, True, True),
        ({"instructions": "other"}, False, True),
    ],
)
def test_nodes_of_other_code_or_torch_are_refused_and_kinds_are_told_apart(
    changes: dict[str, Any], refused: bool, refused_where_alike: bool
):
    ours = ray._facts(DataLocation("mnist-5k", None), load("mnist-5k").data_hash, "cpu", "torch", None)
    theirs = ours._replace(environment=replace(ours.environment, **changes))
    assert bool(ray._refusal(ours, theirs, None)) is refused
    assert bool(ray._refusal(ours, theirs, ours)) is refused_where_alike
    assert ray._refusal(ours, ours._replace(processor="another"), ours)


def searching(place: Path, *more: str) -> subprocess.Popen[str]:
    """Start a small search in a workspace of its own."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "few.space").write_text(SPACE)
    (place / "short.toml").write_text(RECIPE)
    command = [
        *(sys.executable, "-m", "harness", "search", "--dataset", "mnist-5k", "--study", "s", "--target", "15"),
        *("--space", f"@{place / 'few.space'}", "--recipe", f"@{place / 'short.toml'}"),
        *("--time", "100h", "--workers", "1", *more),
    ]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"HARNESS_WORKSPACE": str(place), "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def bits(place: Path) -> dict[tuple[int | None, str, int], tuple[str, str | None]]:
    """Return how each run of a study has ended."""
    found = read_state(place / "runs" / "s").results
    return {(run.trial, run.purpose.value, run.seed_index): (run.status.value, run.weights_sha256) for run in found}


def read_count(place: Path) -> int:
    return len((place / "runs" / "records" / "test_reads.jsonl").read_text().splitlines())


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of a head, which trains nothing, and a node; both on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", TOKEN)  # Ray reads it once a process, and other tests start clusters
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        utils = pytest.importorskip("ray.cluster_utils")
        made = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        made.trainers = [made.add_node(num_cpus=1)]
        yield made
        made.shutdown()


@pytest.mark.slow
def test_a_search_on_a_cluster_ends_as_it_does_without(nodes: Any, tmp_path: Path):
    there = searching(tmp_path / "cluster", "--trials", "2", "--cluster", nodes.address, "--json")
    here = searching(tmp_path / "alone", "--trials", "2", "--json")
    out, err = there.communicate(timeout=PATIENCE)
    assert there.returncode == 0, err
    alone, _ = here.communicate(timeout=PATIENCE)

    assert bits(tmp_path / "cluster") == bits(tmp_path / "alone") != {}
    found, known = json.loads(out), json.loads(alone)
    for key in ("proposed", "trained", "rejected", "reached"):
        assert found[key] == known[key]
    assert found["winner"]["mean_test_accuracy_pct"] == known["winner"]["mean_test_accuracy_pct"]
    runs = read_state(tmp_path / "cluster" / "runs" / "s").results
    assert {bool(run.node) for run in runs} == {True}
    reads = [read_count(tmp_path / name) for name in ("cluster", "alone")]
    assert reads[0] == reads[1] == known["winner"]["seeds"]


@pytest.mark.slow
def test_a_node_that_is_killed_costs_what_it_did_since_the_last_rung(nodes: Any, tmp_path: Path):
    wrong = os.environ | {"RAY_AUTH_TOKEN": "f" * 32}
    nodes.trainers.append(nodes.add_node(num_cpus=1))
    command = [sys.executable, "-m", "harness", "search", "--dataset", "mnist-5k", "--plan", "--cluster", nodes.address]
    refused = subprocess.Popen(command, cwd=REPOSITORY, env=wrong, stderr=subprocess.PIPE, text=True)
    search = searching(tmp_path, "--trials", "5", "--cluster", nodes.address, "--json")
    folder = tmp_path / "runs" / "s"
    wait_for(search, lambda: ended(folder) >= 2)
    nodes.remove_node(nodes.trainers.pop(), allow_graceful=False)
    before = ended(folder)
    wait_for(search, lambda: ended(folder) >= before + 1)
    nodes.trainers.append(nodes.add_node(num_cpus=1))
    out, err = search.communicate(timeout=PATIENCE)

    assert search.returncode == 0, err
    # Ray may still list it when the verification begins; it is asked in vain then.
    assert len(set(re.findall("node (.*) is lost", err))) == 1, err
    assert "Traceback" not in err
    found_study = read_state(folder)
    runs = found_study.results
    first = [run.trial for run in runs if run.purpose.value == "search"]
    assert first == list(found_study.proposals)
    assert json.loads(out)["trained"] == len(first)
    assert {run.status.value for run in runs} <= {"complete", "pruned"}
    assert len(found_study.of_kind(RunEnded)) == len(runs)
    assert "RAY_AUTH_TOKEN" in refused.communicate(timeout=PATIENCE)[1]
    assert refused.returncode == 6


def ended(folder: Path) -> int:
    log = folder / "log.jsonl"
    return log.read_text().count('"finished"') if log.exists() else 0


def wait_for(search: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert search.poll() is None, search.communicate()
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.1)
