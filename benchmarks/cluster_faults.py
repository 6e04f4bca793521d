"""Faults of a cluster: of a node, of the actor on it, and of the network between nodes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks import ray_nodes
from benchmarks.fault_kind import Kind, Surroundings
from benchmarks.ray_nodes import Network, Nodes
from benchmarks.small_search import SmallSearch, words_of

TRAINERS = 2
# The longest cut; a node is lost when it has not answered for a minute.
CUT_SECONDS = 90.0
# So long may a node that was given up go on speaking.
LATE_SECONDS = 5.0


def _kill_node(search: SmallSearch, rng: random.Random, given: Surroundings) -> None:
    """Kill a node of the cluster with all that runs on it; another one joins."""
    nodes: Nodes = given.thing
    nodes.kill(rng.choice(nodes.trainers))
    nodes.add()


def _kill_actor(search: SmallSearch, rng: random.Random, given: Surroundings) -> None:
    """Kill the actor of a node; Ray's part of the node stays, and is asked to join again."""
    nodes: Nodes = given.thing
    if actor := _actors(search, nodes, rng.choice(nodes.trainers)):
        os.kill(actor[0], signal.SIGKILL)


def _actors(search: SmallSearch, nodes: Nodes, node: object) -> list[int]:
    """Return the actor of a node, once there is one; nothing where the search ends before."""
    found: list[int] = []

    def is_found() -> bool:
        found[:] = [each for each in nodes.processes(node) if words_of(each).startswith("ray::NodeActor")]
        return bool(found)

    return found if search.wait_for(is_found) else []


def _freeze_node(search: SmallSearch, rng: random.Random, given: Surroundings) -> None:
    """Stop a node, or only the actor on it with its workers, until it counts as lost, then let it go on.

    Ray ends a node that it has given up, so another one joins in any case.
    """
    nodes: Nodes = given.thing
    node = rng.choice(nodes.trainers)
    if not (actor := _actors(search, nodes, node)):
        return
    frozen = nodes.processes(node) if rng.random() < 0.5 else ray_nodes.descendants(actor[0])
    lost = _losses(search)
    ray_nodes.send(frozen, signal.SIGSTOP)
    try:
        search.wait_for(lambda: _losses(search) > lost)
    finally:
        ray_nodes.send(frozen, signal.SIGCONT)
    # What it says now is too late.
    time.sleep(rng.uniform(0, LATE_SECONDS))
    nodes.kill(node)
    nodes.add()


def _losses(search: SmallSearch) -> int:
    """Return how many nodes the search has said to be lost."""
    return (search.place / "said.txt").read_text(errors="replace").count(" is lost: ")


def _cut_network(search: SmallSearch, rng: random.Random, given: Surroundings) -> None:
    """Pull the cable of a node for up to a minute and a half, which may or may not cost the node."""
    network: Network = given.thing
    number, until = rng.randint(1, TRAINERS), time.monotonic() + rng.uniform(0, CUT_SECONDS)
    network.plug(number, "down")
    search.wait_for(lambda: time.monotonic() > until)
    network.plug(number, "up")


@contextmanager
def _cluster(place: Path) -> Iterator[Surroundings]:
    """Start a Ray cluster of a head that trains nothing and two nodes of one core."""
    with ray_nodes.in_one_network(place, TRAINERS) as nodes:
        yield Surroundings(_options(nodes.cluster.address), nodes, left=lambda: ray_nodes.left_on(place))


@contextmanager
def _separate_networks(place: Path) -> Iterator[Surroundings]:
    """Start such a cluster with a network namespace for each node; the search runs beside the head."""
    place.mkdir(parents=True, exist_ok=True)
    with ray_nodes.in_namespaces(place, TRAINERS) as network:
        yield Surroundings(
            _options(network.head), network, left=lambda: ray_nodes.left_on(place), within=network.within(0)
        )


def _options(address: str) -> tuple[str, ...]:
    return "--workers", "1", "--cluster", address


def _no_cluster() -> str:
    return "" if find_spec("ray") else "Ray is not installed (the extra cluster)"


def _no_network() -> str:
    if why_not := _no_cluster():
        return why_not
    if shutil.which("ip") is None:
        return "there is no command ip (package iproute2)"
    try:
        with ray_nodes.network(2):
            return ""
    except (OSError, subprocess.CalledProcessError):
        return "this user may not make network namespaces"


_NODE = Kind(
    what="SIGKILL of a Ray node with its worker; another one joins",
    strike=_kill_node,
    around=_cluster,
    why_not=_no_cluster,
    each_session=False,
    is_repeatable=False,
    minutes=True,
    at_once=2,
)
KINDS = {
    "node": _NODE,
    "actor": replace(
        _NODE,
        what="SIGKILL of the process that looks after a node's workers; the node joins again",
        strike=_kill_actor,
    ),
    "frozen": replace(
        _NODE,
        what="SIGSTOP of a Ray node, or of its actor and workers, until it counts as lost, then SIGCONT",
        strike=_freeze_node,
    ),
    "cut": replace(
        _NODE,
        what=f"the network between a node and the head is cut for up to {CUT_SECONDS:.0f} s",
        strike=_cut_network,
        around=_separate_networks,
        why_not=_no_network,
    ),
}
