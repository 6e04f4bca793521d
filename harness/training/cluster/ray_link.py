"""Ray Core as a link to nodes: one actor a node (``docs/decisions.md#25``).

The only file that knows Ray, which is imported when somebody asks for a cluster. ``python -m`` of this file tries an
address, in a process of its own: Ray itself would try for minutes, and write much.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from harness.system import errors
from harness.system.errors import DeviceError, reason
from harness.system.machine import core_count
from harness.training.cluster.node import Node, Terms

LOCAL, AUTO = "local", "auto"
# How long an address may take to answer, and a head that was there before.
_CONNECT_SECONDS = 20.0
_HEAD_SECONDS = 30.0
# Of the store through which the data go; Ray would take a third of the memory.
_STORE_BYTES = 256 << 20


class NodeLost(Exception):
    """Raise where a node will not answer a call; the message says why, as far as that is known."""


class NodeFault(NodeLost):
    """Raise where the node itself has failed to do what a call asks."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node of the cluster: its id, its name for people (the machine's, where no other has it), and what it offers."""

    id: str
    name: str
    cores: int
    gpus: int = 0


class Link(Protocol):
    """Starts a ``Node`` on each node of a cluster and calls it. A call is made once and never repeated."""

    def nodes(self) -> list[NodeInfo]:
        """Return the nodes that are there now; raise DeviceError where the cluster itself does not answer any more."""

    def start(self, node: NodeInfo, terms: Terms, processes: int) -> Any:
        """Start a ``Node`` for so many processes, and return its handle at once."""

    def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """Call a method of a node, and return the call at once."""

    def wait(self, calls: Sequence[Any], timeout: float) -> list[Any]:
        """Return the calls that have ended, as soon as there is one, after at most ``timeout`` seconds."""

    def result(self, call: Any) -> Any:
        """Return what an ended call has given; raise NodeLost where nothing will come, NodeFault where it says why."""

    def share(self, value: Any) -> Any:
        """Return a stand-in for a large argument, which travels to a node once."""

    def end(self, handle: Any) -> None:
        """End a ``Node`` and its processes now."""


@contextmanager
def connected(address: str, processes: int | None = None) -> Iterator[_RayLink]:
    """Connect to a cluster, or start one on this machine, for the block.

    Args:
        address: ``local``, ``auto`` or ``HOST:PORT``.
        processes: that this machine offers where the cluster is started here; None for one a core.

    Raises:
        DeviceError: Ray is not installed, or no cluster answers there in 20 s, or it refuses this program.
    """
    errors.require("cluster", ("ray",), "--cluster")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:
        # Whoever reaches a cluster runs code there; this one is nobody else's.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    else:
        _try(address)
    import ray

    try:
        _connect(address, processes or core_count())
        yield _RayLink()
    finally:
        ray.shutdown()


def _connect(address: str, processes: int) -> None:
    import ray
    from ray._private import worker

    # Messages of nodes would come among the results: Ray prints them on stdout, and has no option against it.
    vars(worker)["print_to_stdstream"] = lambda *what, **how: None
    # Ray would end the program at once; what a signal means the program itself says.
    handler = signal.getsignal(signal.SIGTERM)
    ours: dict[str, Any] = {"address": address}
    if address == LOCAL:
        ours |= {"num_cpus": processes, "object_store_memory": _STORE_BYTES, "_node_ip_address": "127.0.0.1"}
        ours |= {"include_dashboard": False}
    ray.init(**ours, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=True)
    signal.signal(signal.SIGTERM, handler)


def _try(address: str) -> None:
    if address != AUTO:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        except OSError as error:
            raise DeviceError(
                f"no cluster answers at {address}: {reason(error)}",
                hint="ray start --head starts one (docs/cluster.md)",
            ) from error
    command = [sys.executable, "-m", __name__, address]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise DeviceError(_why_not(address, answer.stderr), hint="docs/cluster.md says how a cluster is started")


def _why_not(address: str, said: str) -> str:
    if "InvalidAuthToken" in said or "AuthenticationError" in said:
        return f"the cluster at {address} refuses the token: RAY_AUTH_MODE=token and the cluster's own RAY_AUTH_TOKEN"
    if address == AUTO and "Could not find any running Ray" in said:
        return "no cluster runs on this machine: 'ray start' joins one, and --cluster HOST:PORT names one"
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    if not last or "rpc_client" in last or "gcs_client" in last:
        return f"{address} has not answered as a Ray cluster for {_CONNECT_SECONDS:.0f} s"
    return f"the cluster at {address} cannot be used: {last.partition(': ')[2] or last}"


class _NodeActor(Node):
    """A ``Node`` as Ray starts it."""

    def __init__(self, terms: Terms) -> None:
        # Worker processes do not load Ray: a new process imports the file of its parent's main module.
        vars(sys.modules["__main__"]).pop("__file__", None)
        super().__init__(terms)


class _RayLink:
    """A cluster that this process is connected to, as a ``harness.training.cluster.ray_link.Link``."""

    def __init__(self) -> None:
        import ray

        self._ray = ray
        self._head = ray.get_runtime_context().gcs_address
        self._answered = time.monotonic()

    def nodes(self) -> list[NodeInfo]:
        if not self._has_head():
            return []
        alive = [node for node in self._ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # Ray leaves it untyped
        names = Counter(node["NodeManagerHostname"] for node in alive)
        found = []
        for node in alive:
            id_, host, offered = node["NodeID"], node["NodeManagerHostname"], node["Resources"]
            name = host if names[host] == 1 else f"{host}-{id_[:6]}"
            found.append(NodeInfo(id_, name, int(offered.get("CPU", 0)), int(offered.get("GPU", 0))))
        return found

    def start(self, node: NodeInfo, terms: Terms, processes: int) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        on_gpu = terms.device.startswith("cuda")
        actor = self._ray.remote(_NodeActor).options(
            num_cpus=0 if on_gpu else processes,
            num_gpus=processes if on_gpu else 0,
            # A call is made once: whether a lost one has had an effect nobody knows, so nothing is repeated unasked.
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=4,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )
        return actor.remote(terms)

    def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        return getattr(handle, method).remote(*arguments)

    def wait(self, calls: Sequence[Any], timeout: float) -> list[Any]:
        if not calls:
            time.sleep(timeout)
            return []
        first, _ = self._ray.wait(list(calls), num_returns=1, timeout=timeout)
        if not first:
            return []
        ended: list[Any] = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)[0]
        return ended

    def result(self, call: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(call, timeout=_CONNECT_SECONDS)
        except errors.RayTaskError as error:
            raise NodeFault(_line(error.cause)) from error
        except errors.ActorUnavailableError as error:
            raise NodeLost("it cannot be reached") from error
        except errors.ActorDiedError as error:
            if "creation task" in str(error):
                raise NodeFault(_line(error)) from error
            raise NodeLost("its process has died") from error
        except errors.RayError as error:
            raise NodeLost(_line(error)) from error

    def share(self, value: Any) -> Any:
        return self._ray.put(value)

    def end(self, handle: Any) -> None:
        self._ray.kill(handle, no_restart=True)

    def _has_head(self) -> bool:
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host, int(port)), 5.0).close()
        except OSError as error:
            if time.monotonic() - self._answered > _HEAD_SECONDS:
                raise DeviceError(
                    f"the head of the cluster, {self._head}, does not answer any more",
                    hint="finished runs are kept; when the cluster is there again, the same command continues",
                ) from error
            return False
        self._answered = time.monotonic()
        return True


def _line(error: BaseException) -> str:
    # The first line, or the last of a trace.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1 if "Traceback" in str(error) else 0] if lines else type(error).__name__


if __name__ == "__main__":
    # Ray itself tries for minutes.
    threading.Timer(_CONNECT_SECONDS, os._exit, (1,)).start()
    _connect(sys.argv[1], 1)
    # Its own leave-taking may wait for the timer.
    os._exit(0)
