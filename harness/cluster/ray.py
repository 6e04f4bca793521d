"""Executor on the nodes of a Ray cluster: a Ray task per job (``docs/project/decisions.md#25``).

Ray never retries a task. If a node is lost, the job waits for a free slot and continues from the last rung. Checkpoints
and results travel in messages, the data once to each node. Ray is imported only if a cluster is requested.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.testset import note_read
from harness.data.training_images import cache_folder, load, stored_files
from harness.system import clock, errors, files
from harness.system.errors import DataError, DeviceError, HarnessError, UsageError
from harness.system.interruption import handled
from harness.system.machine import choose_device, core_count, processor_name
from harness.system.terminal import busy, counted, say
from harness.training.executors import base
from harness.training.executors.base import DataLocation, JobEnded, JobFailed, Limits, Slot, WorkerEvent
from harness.training.executors.clusters import Cluster, ClusterOptions, Kinds, NodeInfo
from harness.training.executors.processes import settle, train
from harness.training.native.engine import TORCH, EngineUnavailable
from harness.training.native.engine import load as load_engine
from harness.training.result import Environment, Status, environment
from harness.training.run import Job

_HINT = "the cluster may require RAY_AUTH_MODE=token and RAY_AUTH_TOKEN; see docs/use/cluster.md"
_CONNECTION_SECONDS = 20.0
_STORE_BYTES = 256 << 20  # of the object store, which carries the data; by default a third of the memory
_LOOK_SECONDS = 5.0  # interval between updates of the list of nodes
_MAX_ATTEMPTS = 5  # a job that loses so many nodes counts as crashed; the job may be the cause
_WRITTEN = ("checkpoint", "weights", "inspection")  # fields of ``Job`` for output files, which are sent whole


class _Facts(NamedTuple):
    source: DataLocation
    environment: Environment  # as in results
    processor: str  # name of the processor


@dataclass(slots=True, eq=False)
class _Node:
    """A node: first asked for facts, then refused or given slots."""

    info: NodeInfo
    facts_ref: Any  # None after the answer
    source: DataLocation | None = None  # None until the node has joined
    room: int = 0  # number of slots
    refusal: str = ""


@dataclass(slots=True, eq=False)
class _Work:
    job: Job
    attempt: int = 0
    node: _Node | None = None  # None while the job waits
    ref: Any = None  # reference of the result; None while the job waits
    since: float = 0.0  # on the monotonic clock


def _facts(
    source: DataLocation, data_hash: str, device: str, engine: str, data_files: Mapping[str, bytes] | None
) -> _Facts:
    """Return the facts of this machine; store the data if sent, and compile the native engine if missing.

    Args:
        source: Location of the data for the coordinator.
        data_files: Contents of the missing data files by name; None on the coordinator, and if the nodes have the data
            in an installed package.

    Raises:
        DataError: The data are missing or differ from the data of the coordinator.
        DeviceError: The device or the native engine, if requested, is not available.
    """
    if data_files is not None:
        folder = cache_folder() / "cluster" / f"data-{data_hash[:16]}"
        source = replace(source, folder=folder)
        try:
            load(source.dataset, source.folder)
        except (DataError, UsageError):  # user data are not registered on the node
            files.write_together({folder / name: content for name, content in data_files.items()})
    if load(source.dataset, source.folder, allow_download=False).data_hash != data_hash:
        raise DataError("the data of the node differ from the data of the coordinator")
    torch_device = choose_device(device)
    name = TORCH
    if engine != TORCH and torch_device.type == "cpu":
        try:
            name = load_engine().name
        except EngineUnavailable as error:
            if engine == "native":
                raise DeviceError(f"no native engine: {error}") from error
    # A job trains with a single thread (``train_job``), unlike this process.
    return _Facts(source, replace(environment(torch_device, data_hash, name), threads=1), processor_name())


def _train(
    job: Job, state: bytes | None, source: DataLocation, memory_mb: float
) -> tuple[WorkerEvent, dict[str, bytes]]:
    """Run a job on a node; return the event, and the contents of the output files by field of ``Job``.

    Args:
        job: Job with paths on the coordinator, which are replaced by paths in a temporary folder.
        state: Content of the checkpoint file; None to begin a run.
    """
    settle()
    with tempfile.TemporaryDirectory(prefix="harness-work-") as name:
        folder = Path(name)
        paths = {field: folder / field for field in _WRITTEN if getattr(job, field) is not None}
        if state is not None:
            paths["checkpoint"].write_bytes(state)
        # The coordinator has already logged the read of the test set (``Nodes._begin``).
        log = None if job.test_log is None else folder / "test_reads.jsonl"
        event = train(replace(job, test_log=log, **paths), source, memory_mb)  # type: ignore[arg-type]
        return event, {field: path.read_bytes() for field, path in paths.items() if path.exists()}


def _refusal(ours: _Facts, theirs: _Facts, like: _Facts | None) -> str:
    """Return the reason to refuse a node with the facts ``theirs``; empty if the node may join.

    ``like`` are the facts of a machine of the required kind; None if nodes of any kind may join.
    """
    # So that a search has a single version of the code; the processor is recorded per result.
    for field_name, name in (("commit", "commit"), ("dirty", "uncommitted changes"), ("torch", "torch")):
        our_value = getattr(ours.environment, field_name)
        their_value = getattr(theirs.environment, field_name)
        if our_value != their_value:
            return f"{name}: {their_value}, and {our_value} on this machine"
    if like is None or (like.processor == theirs.processor and like.environment.gives_bits_of(theirs.environment)):
        return ""
    # Equal seeds give equal bits, in about equal time, only on machines of the same kind.
    kind = f"{theirs.processor}, {theirs.environment.instructions}"
    return f"all runs need the same kind of machine, but this node is {kind}"


def _cause(error: Exception) -> HarnessError | None:
    cause = getattr(error, "cause", None)
    if cause is None or isinstance(cause, HarnessError):
        return cause
    line = " ".join(f"{type(cause).__name__}: {cause}".split())
    return errors.refused(cause) or DeviceError(f"the node failed: {line}")


@dataclass(slots=True)
class Nodes(base.Executor):
    """Executor on the nodes of the connected cluster.

    Attributes:
        nodes: Present nodes by id, refused nodes included.
        ours: Facts of this machine; set, as ``ray`` and ``data_hash``, by ``start``.
        like: Facts of a machine of the required kind, for equal bits in about equal time; None for any kind.
        data_reference: Ray's reference of the data files; None if the nodes load the data themselves.
        last_look: Time of the last update of ``nodes``, on the monotonic clock.
    """

    source: DataLocation
    limits: Limits
    options: ClusterOptions
    nodes: dict[str, _Node] = field(default_factory=dict)
    work: list[_Work] = field(default_factory=list)
    ray: Any = None
    ours: _Facts = field(init=False)
    like: _Facts | None = None
    data_hash: str = ""
    data_reference: Any = None
    last_look: float = float("-inf")

    def start(self, count: int) -> None:
        """Ask all nodes to join, and wait until a node has joined.

        Raises:
            DataError: The data are missing on this machine.
            DeviceError: All nodes are refused, or no node has cores (or GPUs, if requested).
        """
        import ray

        self.ray = ray
        images = load(self.source.dataset, self.source.folder, allow_download=False)
        data_files = stored_files(images.dataset, self.source.folder)
        if data_files:
            self.data_reference = ray.put(data_files)
        self.data_hash = images.data_hash
        self.ours = _facts(self.source, self.data_hash, self.options.device, self.options.engine, None)
        self.like = self.ours if self.options.kinds is Kinds.OURS else None
        while not any(node.room for node in self.nodes.values()):
            self.wait(0.5)
            if all(node.refusal for node in self.nodes.values()):
                why = "; ".join(dict.fromkeys(node.refusal for node in self.nodes.values()))  # each once, in order
                raise DeviceError(f"no node of the cluster can train: {why or 'no node offers processors or GPUs'}")

    def slots(self) -> list[Slot]:
        """Return the slots of all nodes and a slot per waiting job, or else a single idle slot."""
        slots = []
        for node in self.nodes.values():
            jobs = [work.job for work in self.work if work.node is node]
            slots += [Slot(job, node.info.name) for job in jobs]
            slots += [Slot(None, node.info.name)] * (node.room - len(jobs))
        slots += [Slot(work.job) for work in self.work if work.node is None]
        return slots or [Slot()]

    def submit(self, job: Job) -> None:
        """Give a job to the first node with a free slot; without a free slot the job waits."""
        self.work.append(_Work(job))
        self._begin()

    def wait(self, seconds: float) -> list[WorkerEvent]:
        """Return new events after at most ``seconds``; new nodes are asked to join."""
        if clock.now() - self.last_look > _LOOK_SECONDS:
            self._look()
        self._begin()
        questions = {node.facts_ref: node for node in self.nodes.values() if node.facts_ref is not None}
        attempts = {work.ref: work for work in self.work if work.ref is not None}
        events: list[WorkerEvent] = []
        if not questions and not attempts:
            time.sleep(seconds)
        else:
            for ref in self.ray.wait([*questions, *attempts], num_returns=1, timeout=seconds)[0]:
                if ref in questions:
                    self._introduce(questions[ref])
                else:
                    events += self._ended(attempts[ref])
        for work in list(self.work):
            if work.ref is not None and clock.now() - work.since > self.limits.seconds - work.job.spent_seconds:
                self._leave(work)
                self.work.remove(work)
                message = f"training exceeded the time limit of {self.limits.seconds:.0f} s"
                events.append(JobFailed(work.job, Status.TIMED_OUT, message))
        return events

    def stop(self) -> None:
        """Stop all jobs immediately."""
        for work in self.work:
            self._leave(work)
        self.work = []
        self.nodes = {}

    def _look(self) -> None:
        self.last_look = clock.now()
        offers = {info.id: info for info in _nodes_now() if info.room(self.options.device, self.options.processes)}
        for node in [node for id_, node in self.nodes.items() if id_ not in offers]:
            self._lose(node)
        arguments = (self.source, self.data_hash, self.options.device, self.options.engine, self.data_reference)
        for info in offers.values():
            if info.id not in self.nodes:
                self.nodes[info.id] = _Node(info, self._begun(_facts, info, "", *arguments))

    def _introduce(self, node: _Node) -> None:
        ref = node.facts_ref
        node.facts_ref = None
        try:
            # A node with an older installation answers with a plain tuple, and is refused below.
            facts = _Facts(*self.ray.get(ref))
        except self.ray.exceptions.RayError as error:
            self._lose(node, str(_cause(error) or ""))
            return
        why = _refusal(self.ours, facts, self.like)
        if why:
            self._lose(node, why)
            return
        if self.options.kinds is Kinds.FIRST:
            self.like = self.like or facts
        node.source = facts.source
        used_slots = sum(each.room for each in self.nodes.values())
        room = node.info.room(self.options.device, self.options.processes)
        node.room = min(room, self.options.slot_limit - used_slots)
        say(f"node {node.info.name} joined with {counted(node.room, 'slot')}")

    def _lose(self, node: _Node, refusal: str = "") -> None:
        if node.room or refusal:
            fate = f"refused: {refusal}" if refusal else "lost"
            say(f"node {node.info.name} is {fate}")
        node.room = 0
        node.refusal = refusal
        if not refusal:
            del self.nodes[node.info.id]
        for work in self.work:
            if work.node is node:
                self._leave(work)

    def _begin(self) -> None:
        """Start waiting jobs in the order of submission while slots are free; log reads of the test set first."""
        for work in self.work:
            if work.node is not None:
                continue
            used_slots = Counter(each.node for each in self.work)
            node = next((node for node in self.nodes.values() if used_slots[node] < node.room), None)
            if node is None:
                return
            job = work.job
            if job.test_log is not None:
                note_read(self.source.dataset, self.data_hash, purpose=job.purpose_of_read, log=job.test_log)
            state = job.checkpoint.read_bytes() if job.checkpoint is not None and job.checkpoint.exists() else None
            work.node = node
            work.attempt += 1
            work.since = clock.now()
            work.ref = self._begun(
                _train, node.info, self.options.device, job, state, node.source, self.limits.memory_mb
            )

    def _begun(self, function: Any, node: NodeInfo, device: str, *arguments: Any) -> Any:
        """Start ``function`` on a node with a core or GPU, none if ``device`` is empty; return Ray's reference."""
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        resources = {"num_cpus": int(device == "cpu"), "num_gpus": int(device.startswith("cuda"))}
        # Ray cannot know whether a lost attempt had effects.
        return self.ray.remote(max_retries=0, scheduling_strategy=strategy, **resources)(function).remote(*arguments)

    def _ended(self, work: _Work) -> list[WorkerEvent]:
        """Write the output files of an attempt that has ended, and return the event; none if the job waits again."""
        node = work.node
        job = work.job
        assert node is not None, "only work that runs on a node can end"
        try:
            event, content = self.ray.get(work.ref)
            for name, data in content.items():
                files.write_bytes(getattr(job, name), data)
            if isinstance(event, JobEnded):
                event = replace(event, result=replace(event.result, node=node.info.name))
        except self.ray.exceptions.OutOfMemoryError:
            message = f"Ray ended the run because node {node.info.name} is short of memory"
            event = JobFailed(job, Status.OUT_OF_MEMORY, message, DeviceError)
        except self.ray.exceptions.WorkerCrashedError:
            event = JobFailed(job, Status.CRASHED, f"the worker process on {node.info.name} died")
        except self.ray.exceptions.RayError as error:
            # No data or disk any more, or different user code.
            cause = _cause(error)
            self._lose(node, str(cause or ""))
            if cause is not None and all(each.refusal for each in self.nodes.values()):
                raise cause from error
            if work.attempt < _MAX_ATTEMPTS:
                return []
            event = JobFailed(job, Status.CRASHED, f"the node of the run was lost {work.attempt} times")
        self.work.remove(work)
        return [replace(event, job=job)]  # the job of the event has paths of the node

    def _leave(self, work: _Work) -> None:
        if work.ref is not None:
            self.ray.cancel(work.ref, force=True)
        work.node = work.ref = None


def _nodes_now() -> list[NodeInfo]:
    import ray as library

    ray: Any = library
    head = ray.get_runtime_context().gcs_address
    hint = "finished runs are kept; repeat the command to continue"
    _reach(head, f"the cluster head {head} no longer responds", hint)
    alive = [node for node in ray.nodes() if node["Alive"]]
    hosts = Counter(node["NodeManagerHostname"] for node in alive)
    nodes = []
    for node in alive:
        id_ = node["NodeID"]
        host = node["NodeManagerHostname"]
        resources = node["Resources"]
        name = host if hosts[host] == 1 else f"{host}-{id_[:6]}"
        nodes.append(NodeInfo(id_, name, int(resources.get("CPU", 0)), int(resources.get("GPU", 0))))
    return nodes


def _reach(address: str, message: str, hint: str) -> None:
    """Raise DeviceError if no program listens at ``HOST:PORT``; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECTION_SECONDS).close()
    except OSError as error:
        raise DeviceError(f"{message}: {errors.reason(error)}", hint=hint) from error


@contextmanager
def connected(address: str, options: ClusterOptions) -> Iterator[Cluster]:
    """Connect to a cluster at ``HOST:PORT`` or ``auto``, or start a cluster on this machine (``local``), for the block.

    Raises:
        DeviceError: Ray is not installed, or the cluster does not respond or cannot be used.
    """
    errors.require("cluster", ("ray",), "a cluster")
    # Ray reads the settings at import, once per process.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"address": address}
    if address == "local":
        # Access to a cluster allows to run code. Ray keeps a single token for all clusters of a process.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        settings |= {"num_cpus": options.processes or core_count(), "object_store_memory": _STORE_BYTES}
        settings |= {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
    elif address != "auto":
        _reach(address, f"no cluster responds at {address}", _HINT)
        # Ask a cluster that refuses the token again for 5 seconds only.
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "5")
    import ray
    from ray._private import worker

    # Ray prints messages of nodes among the results, and has no option to prevent that.
    vars(worker)["print_to_stdstream"] = lambda *arguments, **options: None
    # The handler that ``ray.init`` installs ends the program at once.
    with handled({signal.SIGTERM: signal.getsignal(signal.SIGTERM)}), busy(f"connecting to the cluster ({address})"):
        try:
            ray.init(**settings, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=True)
        except Exception as error:
            raise DeviceError(f"the cluster at {address} cannot be used: {errors.reason(error)}", hint=_HINT) from error
    try:
        yield Cluster(partial(Nodes, options=options), _nodes_now())
    finally:
        ray.shutdown()
