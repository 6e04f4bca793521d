"""Faults of a cluster, struck on processes that play its nodes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks import cluster_faults, small_search
from benchmarks.cluster_faults import KINDS
from benchmarks.faults import Surroundings
from benchmarks.small_search import SmallSearch

# A node of Ray, on which something trains.
NODE = """
import subprocess
subprocess.Popen(["bash", "-c", "exec -a ray::_train sleep 60"]).wait()
"""


@pytest.fixture
def search(tmp_path: Path) -> Iterator[SmallSearch]:
    made = SmallSearch(tmp_path)
    (tmp_path / "said.txt").touch()
    made.process = subprocess.Popen(["sleep", "60"])
    yield made
    made.process.kill()
    made.process.wait()


@dataclass
class PlayedNodes:
    """Nodes that are processes of a test; a node that is killed is noted."""

    trainers: list[subprocess.Popen[bytes]]
    killed: list[object] = field(default_factory=list)
    added: int = 0

    def processes(self, node: subprocess.Popen[bytes]) -> list[int]:
        return cluster_faults.descendants(node.pid)

    def kill(self, node: object) -> None:
        self.killed.append(node)

    def add(self) -> None:
        self.added += 1


@pytest.fixture
def nodes() -> Iterator[PlayedNodes]:
    node = subprocess.Popen([sys.executable, "-c", NODE])
    yield PlayedNodes([node])
    cluster_faults.send(cluster_faults.descendants(node.pid), signal.SIGKILL)
    node.wait()


def state(number: int) -> str:
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]


def until(is_so: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_what_trains_is_killed_and_the_node_stays(search: SmallSearch, nodes: PlayedNodes):
    (node,) = nodes.trainers

    KINDS["actor"].strike(search, random.Random(0), Surroundings(thing=nodes))

    node.wait(60)
    assert (nodes.killed, nodes.added) == ([], 0)


def test_a_frozen_node_goes_on_when_it_counts_as_lost(
    search: SmallSearch, nodes: PlayedNodes, monkeypatch: pytest.MonkeyPatch
):
    (node,) = nodes.trainers
    asked: list[str] = []

    def losses(search: SmallSearch) -> int:
        """Stand for the search: it loses the node when it has stopped."""
        if asked:
            until(lambda: set(states(nodes, node)) == {"T"})
        asked.append(states(nodes, node))
        return len(asked)

    monkeypatch.setattr(cluster_faults, "_losses", losses)
    monkeypatch.setattr(cluster_faults, "LATE_SECONDS", 0.0)

    KINDS["frozen"].strike(search, random.Random(0), Surroundings(thing=nodes))

    assert len(asked) == 2
    until(lambda: "T" not in states(nodes, node))
    assert (nodes.killed, nodes.added) == ([node], 1)


def states(nodes: PlayedNodes, node: subprocess.Popen[bytes]) -> str:
    return "".join(map(state, nodes.processes(node)))


def test_what_a_search_leaves_on_a_node_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(small_search, "GRACE_SECONDS", 0.2)
    with cluster_faults._marked(tmp_path):
        planted = subprocess.Popen(["bash", "-c", "exec -a ray::_train sleep 60"])
        rays_own = subprocess.Popen(["sleep", "61"])
    elsewhere = subprocess.Popen(["bash", "-c", "exec -a ray::_train sleep 62"])
    try:
        until(lambda: len(cluster_faults.of_searches(tmp_path)) == 1)
        (left,) = cluster_faults.left_on(tmp_path)
    finally:
        for each in (planted, rays_own, elsewhere):
            each.kill()
            each.wait()

    assert left.startswith("process ")
    assert cluster_faults.left_on(tmp_path) == []
