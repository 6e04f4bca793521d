"""The nodes of a Ray cluster as an executor: one Ray task a job (``docs/decisions.md#25``).

Nothing is repeated by Ray. The coordinator gives a job to a node with room; where the node is lost, the job waits for
another one and goes on from its last rung. Checkpoints and results travel in messages, the data once to each node. The
only file that knows Ray, which is imported when somebody asks for a cluster. ``python -m`` of this file tries an
address, in a process of its own: Ray itself would try for minutes, and write much.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from harness.data.testset import note_read
from harness.data.training_images import cache_folder, load, stored_files
from harness.system import errors, files
from harness.system.errors import DataError, DeviceError, UsageError, reason
from harness.system.machine import choose_device, core_count, processor_name
from harness.training.executor import Broken, Event, Executor, ExecutorOf, Finished, Limits, Place, Source
from harness.training.native import native
from harness.training.processes import settle, train
from harness.training.result import Environment, Status, environment, same_bits_due
from harness.training.run import Job, read_purpose

LOCAL, AUTO = "local", "auto"
_KEPT = "finished runs are kept; the same command continues"
_HINT = "docs/cluster.md says how a cluster is started"
# How long an address may take to answer, and a head that was there before.
_CONNECT_SECONDS = 20.0
_HEAD_SECONDS = 30.0
# Of the store through which the data go; Ray would take a third of the memory.
_STORE_BYTES = 256 << 20
# A node may take so long to start, to get the data and to compile the engine; further ones are awaited less long. Jobs
# wait half an hour while there is no node at all.
_JOIN_SECONDS, _START_SECONDS, _LOOK_SECONDS, _ALONE_SECONDS = 600.0, 15.0, 5.0, 1800.0
# A job that loses its node so often has crashed: it may be what takes the nodes down.
_MOST_ATTEMPTS = 5
# Fields of a job that name a file which it writes; each is sent whole.
_WRITTEN = ("checkpoint", "weights", "inspection")
_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("search_spaces", "harness")
_SUFFIXES = {".py", ".lark", ".space", ".cpp", ".h", ".json", ".csv"}


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node of the cluster: its id, its name for people (the machine's, where no other has it), and what it offers."""

    id: str
    name: str
    cores: int
    gpus: int = 0


class Kinds(StrEnum):
    """Which nodes may join: any; those like the first, which give the same bits; or those like this machine."""

    ANY = "any"
    ONE = "one"
    OURS = "ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of the nodes.

    Attributes:
        processes: on each node at most; None for one a core, or one a GPU.
        places: of all nodes together at most; None for all that there are.
    """

    device: str
    engine: str
    processes: int | None = None
    places: int | None = None
    kinds: Kinds = Kinds.ANY

    def places_of(self, node: NodeInfo) -> int:
        """Return how many jobs a node trains at once; none where it has no core or GPU to offer."""
        offered = node.gpus if self.device.startswith("cuda") else node.cores
        return offered if self.processes is None else min(self.processes, offered)


@dataclass(frozen=True, slots=True)
class _Facts:
    """A machine that trains, as it will stand in its results.

    Attributes:
        source: where it has the data, whose hash is in ``environment``.
        code: SHA-256 of the packages' sources.
        fault: why the native engine, which was asked for, is not there; empty where nothing is wrong.
    """

    source: Source
    environment: Environment
    code: str
    processor: str
    fault: str = ""

    def __str__(self) -> str:
        where = self.environment
        place = self.processor if where.device == "cpu" else where.device
        return f"{place}, {where.instructions}, {where.engine}, torch {where.torch}, Python {where.python}"


@dataclass(slots=True, eq=False)
class _Node:
    """A node that has joined, with room for ``count`` jobs."""

    info: NodeInfo
    facts: _Facts
    count: int


@dataclass(slots=True, eq=False)
class _Work:
    """A job; ``node`` and ``ref``, Ray's name for its present attempt, are None while it waits for room."""

    job: Job
    attempt: int = 0
    node: _Node | None = None
    ref: Any = None
    since: float = 0.0


# What a node does -----------------------------------------------------------------------------------------------------


def _facts(source: Source, data_hash: str, device: str, engine: str, stored: Mapping[str, bytes] | None) -> _Facts:
    """Return what this machine is; the data are written where they are not, the engine is compiled if it never was.

    Raises:
        DataError: the data are not those of the hash, even so.
        DeviceError: the device is not there.
    """
    kept = cache_folder() / "cluster" / f"data-{data_hash[:16]}"
    for found in (source, replace(source, folder=kept)):
        try:
            # A copy in the user's cache is looked for only where the coordinator too took none from elsewhere.
            known = load(found.dataset, found.folder, allow_download=False).data_hash
        except (DataError, UsageError):
            if found.folder != kept or not stored:
                continue
            files.write_together({kept / name: content for name, content in stored.items()})
            known = load(found.dataset, found.folder, allow_download=False).data_hash
        if known == data_hash:
            break
    else:
        raise DataError("the data that it was sent are not whole there")
    chosen = choose_device(device)
    name, fault = native.TORCH, ""
    if engine != native.TORCH and chosen.type == "cpu":
        try:
            name = native.load().name
        except native.EngineUnavailable as error:
            fault = str(error) if engine == "native" else ""
    # What trains has one thread, however many this process has.
    here = replace(environment(chosen, data_hash, name), threads=1)
    return _Facts(found, here, _code_sha256(), processor_name(), fault)


@functools.cache
def _code_sha256() -> str:
    whole = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.suffix in _SUFFIXES:
                whole.update(path.relative_to(_ROOT).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _train(job: Job, state: bytes | None, source: Source, memory_mb: float) -> tuple[Event, dict[str, bytes]]:
    """Do a job from a state on; return how it has ended and what it has written, by the field of the job."""
    settle()
    cache = cache_folder() / "cluster"
    cache.mkdir(parents=True, exist_ok=True)
    for left in cache.glob("work-*"):  # of processes that were killed
        if not Path(f"/proc/{left.name.split('-')[1]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"work-{os.getpid()}-", dir=cache))
    try:
        paths = {name: folder / name for name in _WRITTEN if getattr(job, name) is not None}
        if state is not None:
            paths["checkpoint"].write_bytes(state)
        # The coordinator has noted the read when it gave the job away.
        log = None if job.test_log is None else folder / "test_reads.jsonl"
        teachers = None if job.teachers is None else cache / "teachers"
        event = train(replace(job, teachers=teachers, test_log=log, **paths), source, memory_mb)  # type: ignore[arg-type]
        return event, {name: path.read_bytes() for name, path in paths.items() if path.exists()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# The coordinator ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Nodes(Executor):
    """The nodes of a cluster.

    Attributes:
        nodes: those that have joined, by their ids; ``refused`` says why others may not.
        asking: those that were asked what they are, by Ray's name of the question.
        work: jobs that are trained or wait for room.
        kind: what nodes have to be like; None for any.
        served: when there was a node last.
    """

    source: Source
    limits: Limits
    cluster: Cluster
    asked: Asked
    nodes: dict[str, _Node] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    asking: dict[Any, NodeInfo] = field(default_factory=dict)
    work: list[_Work] = field(default_factory=list)
    kind: _Facts | None = None
    ours: _Facts = field(init=False)
    stored: Any = None
    looked: float = float("-inf")
    served: float = 0.0

    def start(self, count: int) -> None:
        """Ask all nodes to join, and wait for those that are there.

        Raises:
            DataError: the data are missing or damaged here.
            DeviceError: no node has anything to offer, or may join, or answers.
        """
        images = load(self.source.dataset, self.source.folder, allow_download=False)
        stored = stored_files(images.dataset, self.source.folder)
        self.stored = self.cluster.ray.put(stored) if stored else None
        self.ours = _facts(self.source, images.data_hash, self.asked.device, self.asked.engine, None)
        self.kind = self.ours if self.asked.kinds is Kinds.OURS else None
        nodes_that_train(self.cluster, self.asked)
        began = self.served = time.monotonic()
        while self.asking or not (self.nodes or self.refused):
            allowed = _JOIN_SECONDS if self.asking and not self.nodes else _START_SECONDS
            if time.monotonic() - began > allowed:
                break
            self.wait(0.5)
        if not self.nodes:
            why = "; ".join(dict.fromkeys(self.refused.values())) or "none has joined in time"
            raise DeviceError(f"no node of the cluster can train: {why}")
        self.served = time.monotonic()

    def places(self) -> list[Place]:
        """Return what each node trains, and what waits; one is there even without a node, for what then waits."""
        found = []
        for node in self.nodes.values():
            jobs = [work.job for work in self.work if work.node is node]
            found += [Place(job, node.info.name) for job in [*jobs, *[None] * (node.count - len(jobs))]]
        return [*found, *(Place(work.job) for work in self.work if work.node is None)] or [Place()]

    def submit(self, job: Job) -> None:
        """Give a job to the first node with room; where it has gone meanwhile, the job waits for another."""
        self.work.append(_Work(job))
        self._begin()

    def wait(self, seconds: float) -> list[Event]:
        """Return what has happened, after at most ``seconds``; nodes that come are used.

        Raises:
            DeviceError: the cluster does not answer any more, or has had no node for long.
        """
        if time.monotonic() - self.looked > _LOOK_SECONDS:
            self._look()
        self._begin()
        events = []
        for ref in self.cluster.ended([*self.asking, *(work.ref for work in self.work if work.ref)], seconds):
            if ref in self.asking:
                self._introduce(self.asking.pop(ref), ref)
            # A node that is lost takes all its jobs with it.
            elif work := next((work for work in self.work if work.ref is ref), None):
                events += self._ended(work)
        for work in list(self.work):
            if work.ref is not None and time.monotonic() - work.since > self.limits.seconds - work.job.spent_seconds:
                self._leave(work)
                self.work.remove(work)
                told = f"still training after the {self.limits.seconds:.0f} s that are allowed"
                events.append(Broken(work.job, Status.TIMED_OUT, told))
        self._begin()
        if self.nodes:
            self.served = time.monotonic()
        elif time.monotonic() - self.served > _ALONE_SECONDS:
            told = f"the cluster has had no node that can train for {_ALONE_SECONDS:.0f} s"
            raise DeviceError(told, hint=_KEPT)
        return events

    def stop(self) -> None:
        """End all jobs now."""
        for work in self.work:
            self._leave(work)
        self.work, self.nodes = [], {}

    def _begin(self) -> None:
        for work in self.work:
            if work.node is not None:
                continue
            busy = Counter(other.node.info.id for other in self.work if other.node is not None)
            node = next((node for node in self.nodes.values() if busy[node.info.id] < node.count), None)
            if node is None:
                return
            job, data_hash = work.job, self.ours.environment.data_hash
            if job.test_log is not None:
                note_read(self.source.dataset, data_hash, purpose=read_purpose(job), log=job.test_log)
            state = job.checkpoint.read_bytes() if job.checkpoint is not None and job.checkpoint.exists() else None
            work.node, work.attempt, work.since = node, work.attempt + 1, time.monotonic()
            trains = self.cluster.on(self.cluster.train, node.info, self.asked.device)
            work.ref = trains.remote(job, state, node.facts.source, self.limits.memory_mb)

    def _ended(self, work: _Work) -> list[Event]:
        node, why = work.node, self.cluster.ray.exceptions
        assert node is not None, "it was given to one"
        try:
            event, content = self.cluster.ray.get(work.ref)
        except why.RayTaskError as error:
            # It has no data or no disk any more.
            self._refuse(node.info, _line(error.cause))
        except why.OutOfMemoryError as error:
            self.work.remove(work)
            return [Broken(work.job, Status.OUT_OF_MEMORY, _line(error))]
        except why.WorkerCrashedError:
            self.work.remove(work)
            return [Broken(work.job, Status.CRASHED, f"the worker process on {node.info.name} has died")]
        except why.RayError as error:
            self._part(node.info, f"node {node.info.name} is lost: {_line(error)}")
        else:
            self.work.remove(work)
            for name, written in content.items():
                files.write_bytes(getattr(work.job, name), written)
            if isinstance(event, Finished):
                return [Finished(work.job, replace(event.result, node=node.info.name))]
            return [replace(event, job=work.job)]
        if work.attempt < _MOST_ATTEMPTS:
            return []
        self.work.remove(work)
        return [Broken(work.job, Status.CRASHED, f"its node was lost {work.attempt} times")]

    def _leave(self, work: _Work) -> None:
        if work.ref is not None:
            self.cluster.ray.cancel(work.ref, force=True)
        work.node = work.ref = None

    def _look(self) -> None:
        self.looked = time.monotonic()
        if (there := self.cluster.nodes()) is None:
            return
        for gone in [node.info for node in self.nodes.values() if node.info.id not in {info.id for info in there}]:
            self._part(gone, f"node {gone.name} is lost")
        known = {*self.nodes, *self.refused, *(info.id for info in self.asking.values())}
        for info in there:
            if info.id not in known and self.asked.places_of(info):
                asks = self.cluster.on(self.cluster.facts, info, "")
                terms = (self.source, self.ours.environment.data_hash, self.asked.device, self.asked.engine)
                self.asking[asks.remote(*terms, self.stored)] = info

    def _introduce(self, info: NodeInfo, ref: Any) -> None:
        try:
            facts: _Facts = self.cluster.ray.get(ref)
        except self.cluster.ray.exceptions.RayTaskError as error:
            self._refuse(info, _line(error.cause))
            return
        except self.cluster.ray.exceptions.RayError:
            return  # it has gone again
        if why := _refusal(self.ours, facts) or (self.kind and _other_kind(self.kind, facts)):
            self._refuse(info, why)
            return
        if self.asked.kinds is Kinds.ONE:
            self.kind = self.kind or facts
        count = self.asked.places_of(info)
        if self.asked.places is not None:
            count = min(count, self.asked.places - sum(node.count for node in self.nodes.values()))
        _say(f"node {info.name} has joined: {count} places; {facts}")
        self.nodes[info.id] = _Node(info, facts, count)

    def _refuse(self, info: NodeInfo, why: str) -> None:
        self.refused[info.id] = f"node {info.name} is refused: {why}"
        self._part(info, self.refused[info.id])

    def _part(self, info: NodeInfo, why: str) -> None:
        _say(why)
        node = self.nodes.pop(info.id, None)
        for work in self.work:
            if node is not None and work.node is node:
                self._leave(work)


def _refusal(ours: _Facts, theirs: _Facts) -> str:
    # Another processor is no reason: its results say so. Another code or torch is one: nobody could say any more what
    # a search has run.
    here, there = ours.environment, theirs.environment
    if (here.commit, here.torch) != (there.commit, there.torch):
        return f"it has commit {there.commit} and torch {there.torch}, not {here.commit} and {here.torch}"
    if ours.code != theirs.code:
        return f"its code is of commit {there.commit} too, but has other changes"
    return f"it has no native engine: {theirs.fault}" if theirs.fault else ""


def _other_kind(one: _Facts, other: _Facts) -> str:
    # Equal seeds give equal bits on one kind of machine, in about equal time.
    if one.processor == other.processor and same_bits_due(one.environment, other.environment):
        return ""
    return f"it is another kind of machine ({other}), and these runs stay on one"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _line(error: BaseException) -> str:
    # The first line, or the last of a trace.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1 if "Traceback" in str(error) else 0] if lines else type(error).__name__


def joined_by(cluster: Cluster, asked: Asked) -> ExecutorOf:
    """Return what makes an executor of a cluster's nodes."""
    return partial(Nodes, cluster=cluster, asked=asked)


def nodes_that_train(cluster: Cluster, asked: Asked) -> tuple[NodeInfo, ...]:
    """Return the nodes that have something to offer; what they are is known when they join.

    Raises:
        DeviceError: there are none.
    """
    nodes = tuple(node for node in cluster.nodes() or () if asked.places_of(node))
    if not nodes:
        wanted = "a GPU" if asked.device.startswith("cuda") else "a core"
        raise DeviceError(f"no node of the cluster offers {wanted}")
    return nodes


# The connection -------------------------------------------------------------------------------------------------------


class Cluster:
    """A cluster that this process is connected to, with the functions that its nodes run."""

    def __init__(self) -> None:
        import ray

        self.ray: Any = ray
        self.train, self.facts = self.ray.remote(_train), self.ray.remote(_facts)
        self._head = self.ray.get_runtime_context().gcs_address
        self._answered = time.monotonic()

    def on(self, function: Any, node: NodeInfo, device: str) -> Any:
        """Return a function as it runs on one node; without a device it takes no place there."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return function.options(
            num_cpus=int(device == "cpu"),
            num_gpus=int(device.startswith("cuda")),
            # Whether a lost attempt has had an effect Ray does not know, so it repeats none.
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        )

    def ended(self, refs: list[Any], seconds: float) -> list[Any]:
        """Return what has ended of these, as soon as something has, after at most so many seconds."""
        if not refs:
            time.sleep(seconds)
            return []
        self.ray.wait(refs, num_returns=1, timeout=seconds)
        found: list[Any] = self.ray.wait(refs, num_returns=len(refs), timeout=0)[0]
        return found

    def nodes(self) -> list[NodeInfo] | None:
        """Return the nodes that are there now; None where the head does not answer at the moment.

        Raises:
            DeviceError: it has not answered for long.
        """
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host, int(port)), 5.0).close()
        except OSError as error:
            if time.monotonic() - self._answered > _HEAD_SECONDS:
                told = f"the head of the cluster, {self._head}, does not answer any more"
                raise DeviceError(told, hint=_KEPT) from error
            return None
        self._answered = time.monotonic()
        alive = [node for node in self.ray.nodes() if node["Alive"]]
        names = Counter(node["NodeManagerHostname"] for node in alive)
        found = []
        for node in alive:
            id_, host, offered = node["NodeID"], node["NodeManagerHostname"], node["Resources"]
            name = host if names[host] == 1 else f"{host}-{id_[:6]}"
            found.append(NodeInfo(id_, name, int(offered.get("CPU", 0)), int(offered.get("GPU", 0))))
        return found


@contextmanager
def connected(address: str, processes: int | None = None) -> Iterator[Cluster]:
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
        # Whoever reaches a cluster runs code there. Ray reads a token once a process: its clusters have the same one.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    else:
        _try(address)
    import ray

    try:
        _connect(address, processes or core_count())
        yield Cluster()
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
            raise DeviceError(f"no cluster answers at {address}: {reason(error)}", hint=_HINT) from error
    command = [sys.executable, "-m", __name__, address]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if answer.returncode:
        last = next((line for line in reversed(answer.stderr.splitlines()) if line.strip()), "it does not answer")
        if "InvalidAuthToken" in answer.stderr or "AuthenticationError" in answer.stderr:
            last = "RAY_AUTH_MODE=token and the cluster's own RAY_AUTH_TOKEN are needed"
        raise DeviceError(f"the cluster at {address} cannot be used: {last}", hint=_HINT)


if __name__ == "__main__":
    # Ray itself tries for minutes.
    threading.Timer(_CONNECT_SECONDS, os._exit, (1,)).start()
    _connect(sys.argv[1], 1)
    # Its own leave-taking may wait for the timer.
    os._exit(0)
