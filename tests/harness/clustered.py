"""A cluster without Ray: nodes that a test makes come, go, speak and fall silent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.training.cluster.cluster import Asked, Cluster, _Patience
from harness.training.cluster.node import Facts, Order, Said, Terms
from harness.training.cluster.ray_link import NodeFault, NodeInfo, NodeLost
from harness.training.recipe import Recipe
from harness.training.result import Environment, Epoch, Purpose, Result, Status
from harness.training.run import Job
from harness.training.workers import Limits, Source
from search_spaces.notation import parse_network

DATA = "d" * 64
OURS = Facts(
    environment=Environment(
        commit="a" * 40,
        dirty=False,
        python="3.11.7",
        torch="2.13.0",
        device="cpu",
        instructions="x86_64 AVX512",
        threads=1,
        data_hash=DATA,
        engine="native avx512 12345678",
    ),
    code="c" * 64,
    processor="a processor",
)
NETWORK = parse_network("conv3x3(2) gap linear(10)")
RECIPE = Recipe(epochs=4)


def facts(code: str = OURS.code, fault: str = "", **changes: Any) -> Facts:
    """Return what a node is that differs from the coordinator's machine in these fields."""
    return replace(OURS, code=code, fault=fault, environment=replace(OURS.environment, **changes))


def job(index: int = 0, checkpoint: Path | None = None, **changes: Any) -> Job:
    """Return a job of a search."""
    plain = Job(
        architecture=NETWORK,
        recipe=RECIPE,
        recipe_name="short",
        purpose=Purpose.SEARCH,
        seed_index=index,
        checkpoint=checkpoint,
    )
    return replace(plain, **changes)


def result(status: Status = Status.COMPLETE, weights: str = "w", errors: int = 5) -> Result:
    """Return what a job has given, on a machine such as the coordinator's."""
    return Result(
        architecture=NETWORK,
        hash="ab" * 6,
        parameters=1,
        macs=1,
        recipe=RECIPE,
        recipe_name="short",
        recipe_hash="r",
        dataset="mnist-5k",
        purpose=Purpose.SEARCH,
        seed_index=0,
        seed=1,
        status=status,
        history=(Epoch(1, 0.1, 0.5, 1.0),),
        validation_errors=errors,
        validation_size=500,
        weights_sha256=weights,
        environment=OURS.environment,
    )


@dataclass(eq=False)
class FakeNode:
    """A node as the coordinator meets it.

    Attributes:
        begun: the orders to train that it was given, ``ended`` those to leave a job.
        says: what it will say when it is asked next.
        is_silent: it does not answer; ``lost`` says why it never will, by its own fault where ``is_at_fault``.
    """

    info: NodeInfo
    facts: Facts = OURS
    begun: list[Order] = field(default_factory=list)
    ended: list[Order] = field(default_factory=list)
    says: list[Said] = field(default_factory=list)
    is_silent: bool = False
    lost: str = ""
    is_at_fault: bool = False
    terms: Terms | None = None
    processes: int = 0
    is_killed: bool = False

    def say(self, order: Order, what: Any, **files: bytes) -> None:
        """Say something of a job at the next call."""
        self.says.append(Said(order.key, what, files))

    def answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Do what a call asks."""
        match method:
            case "receive":
                assert isinstance(arguments[0], Mapping)
                self.facts = replace(self.facts, environment=replace(self.facts.environment, data_hash=DATA))
            case "take":
                for order in arguments[0]:
                    (self.begun if order.job is not None else self.ended).append(order)
                return None
            case "events":
                said, self.says = self.says, []
                return said
            case "leave":
                return None
        return self.facts


@dataclass(eq=False)
class Call:
    """A call to a node."""

    node: FakeNode
    method: str
    arguments: tuple[Any, ...]


@dataclass
class FakeLink:
    """A cluster of fake nodes; those in ``there`` are found by the next look."""

    there: list[FakeNode] = field(default_factory=list)
    shared: int = 0

    def nodes(self) -> list[NodeInfo]:
        return [node.info for node in self.there]

    def start(self, node: NodeInfo, terms: Terms, processes: int) -> FakeNode:
        (found,) = [each for each in self.there if each.info == node]
        found.terms, found.processes = terms, processes
        return found

    def call(self, handle: FakeNode, method: str, *arguments: Any) -> Call:
        return Call(handle, method, arguments)

    def wait(self, calls: Sequence[Call], timeout: float) -> list[Call]:
        ended = [call for call in calls if self._has_ended(call)]
        if not ended:
            time.sleep(min(timeout, 0.01))
        return ended

    def _has_ended(self, call: Call) -> bool:
        if call.node.is_silent:
            return False
        return bool(call.node.lost) or call.method != "events" or bool(call.node.says)

    def result(self, call: Call) -> Any:
        if call.node.lost:
            raise (NodeFault if call.node.is_at_fault else NodeLost)(call.node.lost)
        return call.node.answer(call.method, call.arguments)

    def share(self, value: Any) -> Any:
        self.shared += 1
        return value

    def end(self, handle: FakeNode) -> None:
        handle.is_killed = True


def node(name: str, cores: int = 1, **changes: Any) -> FakeNode:
    """Return a node with so many cores."""
    return FakeNode(NodeInfo(f"id-{name}", name, cores), **changes)


def cluster(*nodes: FakeNode, **asked: Any) -> tuple[Cluster, FakeLink]:
    """Return a cluster of these nodes, not yet started, that looks for others at every poll and waits for nothing."""
    link = FakeLink(list(nodes))
    made = Cluster(
        Source("mnist-5k", None),
        Limits(),
        link,
        Asked(device="cpu", engine="native", **asked),
        _Patience(look=-1.0, again=0.0, start=0.05, join=0.2, answer=60.0),
    )
    return made, link
