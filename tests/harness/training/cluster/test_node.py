"""A node without Ray: it trains in real processes, and what it says can travel."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.data.data_files import stored_files
from harness.data.datasets import dataset
from harness.data.training_images import load
from harness.system.errors import HarnessError
from harness.training.cluster import node
from harness.training.cluster.cluster import _same_kind
from harness.training.cluster.node import Key, Node, Order, Said, Terms
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Result, Status
from harness.training.run import Job, TrainingData, execute
from harness.training.workers import Limits, Source
from search_spaces.notation import parse_network
from tests.harness import clustered

JOB = Job(
    architecture=parse_network("conv3x3(2, stride=2) relu | maxpool(4) | gap | linear(10)"),
    recipe=Recipe(epochs=2, batch_size=500, augmented_share=0.0),
    recipe_name="toy",
    purpose=Purpose.SEARCH,
    seed_index=0,
    until_epoch=1,
)


def on_embedded_images() -> Terms:
    hashed = load("mnist-5k").data_hash
    return Terms(source=Source("mnist-5k", None), data_hash=hashed, device="cpu", engine="torch", limits=Limits(120.0))


@pytest.fixture
def terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terms:
    """The embedded images, and a cache of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return on_embedded_images()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that has joined, one for all tests, because its process takes seconds to start; each leaves it idle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        made = Node(on_embedded_images())
        made.join()
        yield made
        made.leave()


def heard(of: Node, count: int) -> list[Said]:
    """Return the next things that a node says, as they arrive elsewhere."""
    found: list[Said] = []
    until = time.monotonic() + 240
    while len(found) < count:
        assert time.monotonic() < until, found
        found += pickle.loads(pickle.dumps(of.events(5.0)))
    return found


def test_a_training_that_goes_on_through_messages_ends_with_the_bits_of_one_machine(begun: Node, tmp_path: Path):
    job = replace(JOB, checkpoint=tmp_path / "there" / "state.pt")
    begun.take([Order(Key(0, 1), 0, job)])
    epoch, rung = heard(begun, 2)
    assert isinstance(epoch.what, Epoch)
    assert isinstance(rung.what, Result)
    assert (rung.key, rung.what.status, set(rung.files)) == (Key(0, 1), Status.RUNNING, {"checkpoint"})
    # The coordinator's folder is not the node's.
    assert not (tmp_path / "there").exists()

    begun.take([Order(Key(1, 1), 0, replace(job, until_epoch=None), rung.files["checkpoint"])])
    whole = heard(begun, 2)[-1]
    assert isinstance(whole.what, Result)
    assert (whole.what.status, whole.files) == (Status.COMPLETE, {})

    alone = execute(replace(JOB, until_epoch=None), TrainingData.of(load("mnist-5k")))
    assert whole.what.weights_sha256 == alone.weights_sha256
    assert len(whole.what.history) == 2


def test_a_job_that_is_left_says_nothing_and_its_place_is_free(begun: Node):
    long = replace(JOB, recipe=replace(JOB.recipe, epochs=1000), until_epoch=None)
    begun.take([Order(Key(0, 1), 0, long), Order(Key(0, 1), 0), Order(Key(1, 1), 0, JOB), Order(Key(0, 1), 0)])
    said = heard(begun, 2)
    assert {each.key for each in said} == {Key(1, 1)}
    assert isinstance(said[-1].what, Result)


def test_a_node_that_is_left_alone_ends_its_processes_and_clears_away(
    terms: Terms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(node, "_SILENCE_SECONDS", 0.0)
    made = Node(terms)
    made.join()
    made.take([])
    with pytest.raises(HarnessError, match="left alone"):
        made.events(30.0)
    made.leave()
    assert list((tmp_path / "cache" / "harness" / "cluster").glob("work-*")) == []


def test_a_node_without_the_data_says_so_takes_them_and_keeps_them(mnist_folder: Path, terms: Terms):
    hashed = load("mnist", mnist_folder).data_hash
    lacking = replace(terms, source=Source("mnist", None), data_hash=hashed)
    made = Node(lacking)
    assert made.join().environment.data_hash == ""
    content = stored_files(dataset("mnist"), mnist_folder)
    damaged = {name: stored[:-1] for name, stored in content.items()}
    assert made.receive(damaged).environment.data_hash == ""
    assert made.receive(content).environment.data_hash == hashed
    assert Node(lacking).join().environment.data_hash == hashed


def test_files_of_a_job_are_elsewhere_on_a_node_and_come_back(tmp_path: Path):
    log = tmp_path / "records" / "test_reads.jsonl"
    job = replace(JOB, weights=tmp_path / "w.safetensors", test_log=log, teachers=tmp_path / "teachers")
    local = node._files_on_node(job, tmp_path / "node", tmp_path / "node-teachers")
    assert (local.weights, local.test_log) == (tmp_path / "node" / "w.safetensors", tmp_path / "node" / log.name)
    assert (local.teachers, local.checkpoint, local.inspection) == (tmp_path / "node-teachers", None, None)
    node.put_files(local, {"weights": b"learned", "test_log": b"a\nb\n"})
    node.put_files(job, node._written_files(local))
    assert (tmp_path / "w.safetensors").read_bytes() == b"learned"
    assert log.read_text() == "a\nb\n"


def test_other_code_has_another_hash(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(node, "_ROOT", tmp_path)
    hashed = node._code_sha256.__wrapped__
    first = hashed()
    (tmp_path / "harness" / "notes.txt").write_text("no code")
    assert hashed() == first
    (tmp_path / "harness" / "a.py").write_text("x = 2\n")
    assert hashed() != first


@pytest.mark.parametrize(
    ("field", "same"),
    [("commit", True), ("dirty", True), ("instructions", False), ("engine", False), ("python", False)],
)
def test_a_kind_is_what_decides_the_bits(field: str, same: bool):
    other = clustered.facts(**{field: "other"})
    assert _same_kind(clustered.OURS, other) is same
    assert not _same_kind(clustered.OURS, replace(other, processor="another"))
