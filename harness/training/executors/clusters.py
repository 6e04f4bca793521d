"""Clusters: machines that train in place of this machine, chosen by ``--cluster``.

A cluster is an entry point of ``harness.executors``: ``--cluster NAME://ADDRESS`` selects the entry point NAME, and an
address without a name selects Ray.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Protocol

from harness.system import doors
from harness.system.doors import Door
from harness.training.executors.base import ExecutorFactory
from harness.training.executors.processes import Processes


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node of the cluster."""

    id: str
    name: str  # the host name, with a part of the id if the host has several nodes
    cores: int
    gpus: int = 0

    def room(self, device: str, processes: int | None) -> int:
        """Return the number of concurrent jobs: cores or GPUs, and at most ``processes``."""
        offer = self.gpus if device.startswith("cuda") else self.cores
        return offer if processes is None else min(processes, offer)


class Kinds(StrEnum):
    """Nodes that may join; all must have the code and the version of torch of this machine."""

    ANY = "any"
    FIRST = "first"  # of the same kind as the first node that joined
    OURS = "ours"  # of the same kind as this machine


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Options of the trainings on a cluster.

    Attributes:
        processes: Jobs per node, and cores of a cluster that is started here; None for all.
        slot_limit: Largest number of slots of all nodes together.
    """

    processes: int | None
    device: str
    engine: str
    slot_limit: int = sys.maxsize
    kinds: Kinds = Kinds.ANY


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connected cluster: the factory of the executor, and the nodes at the time of the connection."""

    make_executor: ExecutorFactory
    nodes: Sequence[NodeInfo] = ()


class Connect(Protocol):
    """Object of an entry point of ``harness.executors``."""

    def __call__(self, address: str, options: ClusterOptions) -> AbstractContextManager[Cluster]:
        """Connect to the cluster at an address for a block, or raise DeviceError."""


def connection(address: str | None) -> Callable[[ClusterOptions], AbstractContextManager[Cluster]]:
    """Return the function that connects to a cluster for a block; without an address, this machine is the cluster.

    The function raises DeviceError if the cluster does not respond or cannot be used.

    Raises:
        UsageError: No entry point has the name in the address.
        DeviceError: A library is not installed.
    """
    if address is None:
        return lambda options: nullcontext(Cluster(Processes))
    name, separator, rest = address.partition("://")
    if not separator:
        name = "ray"
        rest = address
    connect: Connect = doors.feature(Door.EXECUTORS, name, f"--cluster {name}")
    return partial(connect, rest)
