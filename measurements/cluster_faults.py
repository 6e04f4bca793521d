"""Faults of a cluster: killed nodes, killed training processes, frozen nodes.

All Ray nodes run on this machine. A variable in the environment identifies the processes.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from measurements.faults import Kind, Surroundings
from measurements.small_search import SmallSearch, command_line, marked, survivors

TRAINERS = 2  # nodes that train
LATE_SECONDS = 5.0  # longest time that a node may send messages after the node was declared lost
TOKEN = "0123456789abcdef" * 2  # token of Ray's authentication
MARK = "CHAOS_NODES"  # environment variable that marks the processes of a cluster
TRAINER = "ray::_train"  # process title of a Ray worker that trains


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """Set the variables with which Ray nodes are started; ``MARK`` names the folder of the search in the block."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    # Ray's default niceness of workers is 15; the undisturbed searches run with 0.
    os.environ |= {"RAY_worker_niceness": "0"}
    os.environ[MARK] = str(folder)
    try:
        yield
    finally:
        del os.environ[MARK]


def trainers_of(folder: Path) -> list[int]:
    """Return the ids of the training processes on the nodes of the search in ``folder``."""
    return [number for number in marked(f"{MARK}={folder}") if _trains(number)]


def descendants(number: int) -> list[int]:
    """Return the ids of a process and of all descendants, parents first."""
    children: list[int] = []
    for task in Path(f"/proc/{number}/task").glob("*"):
        with suppress(OSError):
            children += map(int, (task / "children").read_text().split())
    return [number, *(each for child in children for each in descendants(child))]


def send(numbers: Sequence[int], signal_number: signal.Signals) -> None:
    """Send a signal to processes; processes that have ended are skipped."""
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal_number)


@dataclass(slots=True)
class Nodes:
    """Ray cluster: a head node without workers, and ``trainers``, nodes with a single core.

    ``folder`` is the folder of the search.
    """

    folder: Path
    cluster: Any
    trainers: list[Any]

    def add(self) -> None:
        """Add a node."""
        with _marked(self.folder):
            self.trainers.append(self.cluster.add_node(num_cpus=1))

    def kill(self, node: Any) -> None:
        """Kill all processes of a node with SIGKILL."""
        self.trainers.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def processes(self, node: Any) -> list[int]:
        """Return the process ids of a node, the raylet first."""
        return descendants(node.all_processes["raylet"][0].process.pid)


def _kill_node(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    nodes: Nodes = surroundings.thing
    nodes.kill(rng.choice(nodes.trainers))
    nodes.add()


def _kill_trainer(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    nodes: Nodes = surroundings.thing
    trainers: list[int] = []

    def is_found() -> bool:
        trainers[:] = [each for node in nodes.trainers for each in nodes.processes(node) if _trains(each)]
        return bool(trainers)

    if search.wait_for(is_found):
        os.kill(rng.choice(trainers), signal.SIGKILL)


def _trains(number: int) -> bool:
    return command_line(number).startswith(TRAINER)


def _freeze_node(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    """Stop a node until the search reports it as lost, then continue the node.

    Ray ends a node that was declared lost, so a new node is added in all cases.
    """
    nodes: Nodes = surroundings.thing
    node = rng.choice(nodes.trainers)
    frozen = nodes.processes(node)
    lost = _losses(search)
    send(frozen, signal.SIGSTOP)
    try:
        search.wait_for(lambda: _losses(search) > lost)
    finally:
        send(frozen, signal.SIGCONT)
    # The node may send late messages for some time, which the search must ignore.
    time.sleep(rng.uniform(0, LATE_SECONDS))
    nodes.kill(node)
    nodes.add()


def _losses(search: SmallSearch) -> int:
    """Return the number of nodes that the search has reported as lost."""
    return (search.place / "said.txt").read_text(errors="replace").count(" is lost")


@contextmanager
def _cluster(folder: Path) -> Iterator[Surroundings]:
    """Start a Ray cluster with a head node that does not train and two nodes with a single core."""
    with _marked(folder):
        from ray.cluster_utils import Cluster

        cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = Nodes(folder, cluster, [])
        for _ in range(TRAINERS):
            nodes.add()
        yield Surroundings(
            ("--workers", "1", "--cluster", cluster.address), nodes, left=lambda: survivors(lambda: trainers_of(folder))
        )
    finally:
        cluster.shutdown()


_NODE = Kind(
    what="SIGKILL of a Ray node with its worker; another one joins",
    strike=_kill_node,
    around=_cluster,
    why_not=lambda: "" if find_spec("ray") else "Ray is not installed (the extra cluster)",
    each_session=False,
    is_repeatable=False,
    minutes=True,
    at_once=2,
)
_TRAINER = "SIGKILL of the process that trains on a node"
_FROZEN = "SIGSTOP of a Ray node until it counts as lost, then SIGCONT"
KINDS = {
    "node": _NODE,
    "actor": replace(_NODE, what=_TRAINER, strike=_kill_trainer),
    "frozen": replace(_NODE, what=_FROZEN, strike=_freeze_node),
}
