"""Faults of a cluster: of a node, of the actor on it, and of the network between nodes.

The nodes are Ray's, on this machine: in one network, or each in a network namespace of its own. What a search starts
on them is found by a mark in the environment of all their processes.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.faults import Kind, Surroundings
from benchmarks.small_search import SmallSearch, Stuck, marked, survivors, words_of

TRAINERS = 2
# The longest cut; a node is lost when it has not answered for a minute.
CUT_SECONDS = 90.0
# So long may a node that was given up go on speaking.
LATE_SECONDS = 5.0
TOKEN = "0123456789abcdef" * 2
MARK = "CHAOS_NODES"
START_SECONDS = 600.0
# Of the store of a node, in bytes: Ray refuses less than 75 MiB.
STORE_BYTES = 100 << 20
ADDRESSES = "10.93.7."


@contextmanager
def _marked(place: Path) -> Iterator[None]:
    """Let what is started in the block have the mark; the token stays for the search."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    # Ray lets all that it starts give way to other programs (15); the searches that these are compared with do not.
    os.environ |= {"RAY_worker_niceness": "0"}
    os.environ[MARK] = str(place)
    try:
        yield
    finally:
        del os.environ[MARK]


def of_searches(place: Path) -> list[int]:
    """Return the processes that searches have started on the nodes of a place: actors and their workers."""
    found = {number: words_of(number) for number in marked(f"{MARK}={place}")}
    return [number for number, words in found.items() if words.startswith("ray::NodeActor") or "spawn_main" in words]


def left_on(place: Path) -> list[str]:
    """Return what searches have left on the nodes of a place when they had a while to end."""
    return survivors(lambda: of_searches(place))


def descendants(number: int) -> list[int]:
    """Return a process and all that come from it, it first."""
    children: list[int] = []
    for task in Path(f"/proc/{number}/task").glob("*"):
        with suppress(OSError):
            children += map(int, (task / "children").read_text().split())
    return [number, *(each for child in children for each in descendants(child))]


def send(numbers: Sequence[int], what: signal.Signals) -> None:
    """Send a signal to processes; those that are gone are passed over."""
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, what)


@dataclass(slots=True)
class Nodes:
    """A cluster of a head that trains nothing, and nodes of one core, in one network.

    Attributes:
        cluster: Ray's own, for tests; ``trainers`` its nodes but for the head.
    """

    place: Path
    cluster: Any
    trainers: list[Any]

    def add(self) -> None:
        """Let one more node join."""
        with _marked(self.place):
            self.trainers.append(self.cluster.add_node(num_cpus=1))

    def kill(self, node: Any) -> None:
        """Kill all processes of a node with SIGKILL."""
        self.trainers.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def processes(self, node: Any) -> list[int]:
        """Return the processes of a node, Ray's own first."""
        return descendants(node.all_processes["raylet"][0].process.pid)


@contextmanager
def _one_network(place: Path, count: int) -> Iterator[Nodes]:
    """Start a head and so many nodes for the block."""
    with _marked(place):
        from ray.cluster_utils import Cluster

        made: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = Nodes(place, made, [])
        for _ in range(count):
            nodes.add()
        yield nodes
    finally:
        made.shutdown()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass(frozen=True, slots=True)
class Network:
    """Namespaces that are joined by a bridge in the first one, that of the head.

    Attributes:
        names: of the namespaces.
    """

    names: tuple[str, ...]

    @property
    def head(self) -> str:
        """The address of the head."""
        return f"{ADDRESSES}1:6379"

    def within(self, number: int) -> list[str]:
        """Return what starts a command in a namespace."""
        return ["ip", "netns", "exec", self.names[number]]

    def plug(self, number: int, state: str) -> None:
        """Pull the cable of a node out of the bridge (``down``), or put it in again (``up``)."""
        _ip("-n", self.names[0], "link", "set", f"plug{number}", state)


@contextmanager
def network(count: int) -> Iterator[Network]:
    """Make so many network namespaces for the block, and end all processes in them.

    Raises:
        CalledProcessError: this user may not.
    """
    names = tuple(f"chaos-{os.getpid()}-{number}" for number in range(count))
    try:
        for number, name in enumerate(names):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            if not number:
                _ip("-n", name, "link", "add", "bridge", "type", "bridge")
            else:
                plug = ("link", "add", f"plug{number}", "type", "veth", "peer", "name", "cable", "netns", name)
                _ip("-n", names[0], *plug)
                _ip("-n", names[0], "link", "set", f"plug{number}", "master", "bridge", "up")
            device = "cable" if number else "bridge"
            _ip("-n", name, "address", "add", f"{ADDRESSES}{number + 1}/24", "dev", device)
            _ip("-n", name, "link", "set", device, "up")
        yield Network(names)
    finally:
        for name in names:
            said = subprocess.run(["ip", "netns", "pids", name], check=False, capture_output=True, text=True).stdout
            send([int(number) for number in said.split()], signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@contextmanager
def _namespaces(place: Path, count: int) -> Iterator[Network]:
    """Start a head and so many nodes of one core for the block, each in a network namespace of its own.

    A node of which Ray itself has ended is started again, as a service manager would do.

    Raises:
        CalledProcessError: this user may not make namespaces.
        Stuck: Ray does not start.
    """
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    ray += ["--object-store-memory", str(STORE_BYTES)]
    with network(count + 1) as made, _marked(place):
        for number in range(count + 1):
            address = f"{ADDRESSES}{number + 1}"
            there = ["--address", made.head, "--num-cpus", "1"]
            if not number:
                there = ["--head", "--port", "6379", "--num-cpus", "0", "--include-dashboard", "false"]
            again = ["sh", "-c", 'while :; do "$@"; sleep 1; done', "sh"] if number else []
            said = place / f"ray-{number}.txt"
            with said.open("wb") as log:
                subprocess.Popen(
                    [*made.within(number), *again, *ray, *there, "--node-ip-address", address],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            _await(said)
        yield made


def _await(said: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while "Ray runtime started" not in said.read_text(errors="replace"):
        if time.monotonic() > until:
            raise Stuck(f"Ray has not started in {START_SECONDS:.0f} s: {said}")
        time.sleep(0.1)


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
    frozen = nodes.processes(node) if rng.random() < 0.5 else descendants(actor[0])
    lost = _losses(search)
    send(frozen, signal.SIGSTOP)
    try:
        search.wait_for(lambda: _losses(search) > lost)
    finally:
        send(frozen, signal.SIGCONT)
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
    with _one_network(place, TRAINERS) as nodes:
        yield Surroundings(_options(nodes.cluster.address), nodes, left=lambda: left_on(place))


@contextmanager
def _separate_networks(place: Path) -> Iterator[Surroundings]:
    """Start such a cluster with a network namespace for each node; the search runs beside the head."""
    place.mkdir(parents=True, exist_ok=True)
    with _namespaces(place, TRAINERS) as network:
        yield Surroundings(_options(network.head), network, left=lambda: left_on(place), within=network.within(0))


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
        with network(2):
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
