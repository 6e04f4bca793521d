"""Commands with ``--cluster`` on real nodes without Ray: what they find is what this machine finds alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.bench.table_files import read_table
from harness.cli import run
from harness.evidence import record
from harness.system.files import Workspace
from harness.training.cluster import ray_link
from harness.training.cluster.node import Node, Terms
from harness.training.cluster.ray_link import NodeFault, NodeInfo

NETWORK = "conv3x3(2, stride=2) relu | maxpool(4) | gap | linear(10)"
SPACE = "net = conv3x3({2, 3}, stride=2) bn relu | maxpool(4) | gap | linear(10);"
RECIPE = "epochs = 2\nbatch_size = 500\naugmented_share = 0.0\nlearning_rate = 0.2\naverage_start = 0.5\n"
ALL = ("--dataset", "mnist-5k", "--recipe", "@short.toml", "--engine", "torch", "--workers", "1")


@dataclass
class NodesHere:
    """Two nodes of one core in this process; calls are made by threads.

    Attributes:
        trained: how many jobs each node was given.
    """

    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16))
    made: list[Node] = field(default_factory=list)
    trained: dict[int, int] = field(default_factory=dict)

    def nodes(self) -> list[NodeInfo]:
        return [NodeInfo(name, name, 1) for name in ("one", "two")]

    def start(self, node: NodeInfo, terms: Terms, processes: int) -> Node:
        self.made.append(Node(terms))
        return self.made[-1]

    def call(self, handle: Node, method: str, *arguments: Any) -> Future[Any]:
        if method == "take":
            begun = sum(order.job is not None for order in arguments[0])
            self.trained[id(handle)] = self.trained.get(id(handle), 0) + begun
        return self.pool.submit(getattr(handle, method), *arguments)

    def wait(self, calls: Sequence[Future[Any]], timeout: float) -> list[Future[Any]]:
        return list(wait(calls, timeout, FIRST_COMPLETED).done)

    def result(self, call: Future[Any]) -> Any:
        if (error := call.exception()) is not None:
            raise NodeFault(str(error))
        return call.result()

    def share(self, value: Any) -> Any:
        return value

    def end(self, handle: Node) -> None:
        handle.leave()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[NodesHere]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    made = NodesHere()
    monkeypatch.setattr(ray_link, "connected", lambda address, processes=None: nullcontext(made))
    yield made
    for node in made.made:
        node.leave()
    made.pool.shutdown()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: NodesHere) -> Callable[[str], Workspace]:
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


@pytest.mark.slow
def test_a_verification_on_two_nodes_records_what_one_machine_records(
    nodes: NodesHere, alone: Callable[[str], Workspace]
):
    verify = ["verify", NETWORK, *ALL, "--target", "5", "--seeds", "2"]
    there = alone("there")
    assert run([*verify, "--cluster", "auto"]) in (0, 3)
    here = alone("here")
    assert run(verify) in (0, 3)

    assert list(nodes.trained.values()) == [1, 1]
    (found,), (known,) = (record.read_all(place.records) for place in (there, here))
    assert [(seed.weights_sha256, seed.test_errors, seed.wrong) for seed in found.seeds] == [
        (seed.weights_sha256, seed.test_errors, seed.wrong) for seed in known.seeds
    ]
    reads = [len(place.test_log.read_text().splitlines()) for place in (there, here)]
    assert reads == [2, 2]


@pytest.mark.slow
def test_a_table_that_two_nodes_record_is_that_of_one_machine(nodes: NodesHere, alone: Callable[[str], Workspace]):
    table = ["bench", "table", "mine", *ALL, "--space", "@few.space", "--rungs", "1,2", "--seeds", "1"]
    there = alone("there")
    assert run([*table, "--cluster", "auto"]) == 0
    here = alone("here")
    assert run(table) == 0

    assert list(nodes.trained.values()) == [2, 2]
    found, known = (read_table(place.table("mine")) for place in (there, here))
    assert {(row.hash, row.seed, row.rung, row.validation_accuracy_pct) for row in found.rows} == {
        (row.hash, row.seed, row.rung, row.validation_accuracy_pct) for row in known.rows
    }


@pytest.mark.slow
def test_a_live_comparison_trains_on_nodes(nodes: NodesHere, alone: Callable[[str], Workspace]):
    alone("there")
    options = ["--space", "@few.space", "--target", "99", "--time", "30s", "--method", "random", "--repeats", "1"]

    assert run(["bench", "run", "--live", *ALL, *options, "--cluster", "auto"]) == 0

    assert sum(nodes.trained.values()) >= 1
