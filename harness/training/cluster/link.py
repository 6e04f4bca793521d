"""A cluster as its coordinator sees it: nodes that come and go, and calls to them that may never be answered.

``ray_link`` is the real one; tests have others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.training.cluster.message import Terms


class NodeLost(Exception):
    """Raise where a node will not answer a call; the message says why, as far as that is known."""


class NodeFault(NodeLost):
    """Raise where the node itself has failed to do what a call asks."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node of the cluster.

    Attributes:
        id: that no other node has.
        name: for people; that of the machine where no other node has it.
        cores: that it offers; ``gpus`` likewise.
    """

    id: str
    name: str
    cores: int
    gpus: int = 0


class Link(Protocol):
    """Starts a ``Node`` on each node of a cluster and calls it. A call is made once and never repeated."""

    def nodes(self) -> list[NodeInfo]:
        """Return the nodes that are there now.

        Raises:
            DeviceError: the cluster itself does not answer any more.
        """
        ...

    def start(self, node: NodeInfo, terms: Terms, processes: int) -> Any:
        """Start a ``Node`` for so many processes, and return its handle at once."""
        ...

    def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """Call a method of a node, and return the call at once."""
        ...

    def wait(self, calls: Sequence[Any], timeout: float) -> list[Any]:
        """Return the calls that have ended, as soon as there is one, after at most ``timeout`` seconds."""
        ...

    def result(self, call: Any) -> Any:
        """Return what a call that has ended has given.

        Raises:
            NodeLost: nothing, and nothing will come; ``NodeFault`` where the node says why.
        """
        ...

    def share(self, value: Any) -> Any:
        """Return a stand-in for a large argument, which travels to a node once."""
        ...

    def end(self, handle: Any) -> None:
        """End a ``Node`` and its processes now."""
        ...
