"""A node as its coordinator calls it: one object a machine, which looks after the worker processes there.

It obeys orders, and makes ready to travel what its workers say. A thread does the work, so that a call never waits for
a training. A node that hears nothing from its coordinator for long ends its processes: nobody wants what they do. Ray
is not known here.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue

from harness.data.training_images import cache_folder, load
from harness.system import files
from harness.system.errors import DataError, HarnessError
from harness.system.machine import choose_device, processor_name
from harness.training.executor import Broken, Event, Limits, Source
from harness.training.native import native
from harness.training.native.native import TORCH
from harness.training.processes import Fault, Processes
from harness.training.result import Environment, Result, Status, environment
from harness.training.run import Job

# How soon an order is obeyed, at the latest; and how long a coordinator may be silent, asleep or at a long proposal.
_POLL_SECONDS = 0.1
_SILENCE_SECONDS = 600.0
# Fields of a job that name a file which it writes; each is sent whole.
_WRITTEN = ("checkpoint", "weights", "inspection", "test_log")
_ROOT = Path(__file__).resolve().parents[3]
_PACKAGES = ("search_spaces", "harness")
_SUFFIXES = {".py", ".lark", ".space", ".cpp", ".h", ".json", ".csv"}


@dataclass(frozen=True, slots=True)
class Key:
    """Names one attempt at a job: the number of the job, and the number of the attempt from 1 on."""

    job: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a node is asked to do.

    Attributes:
        source: the data, in the folder where the coordinator finds them; ``data_hash`` names their bytes.
        engine: ``native``, ``torch`` or ``auto``.
    """

    source: Source
    data_hash: str
    device: str
    engine: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Order:
    """Asks a node to train, from the state ``checkpoint`` on where there is one; without a job, to leave its place."""

    key: Key
    place: int
    job: Job | None = None
    checkpoint: bytes | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What a node says of a job: how it has ended.

    Attributes:
        files: what the job has written, by the field of ``Job`` that says where it belongs.
    """

    key: Key
    what: Result | Fault
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """A machine that trains, as it will stand in its results.

    Attributes:
        environment: with the hash of the data that it has; empty where it has none.
        code: SHA-256 of the packages' sources.
        fault: why the native engine, which was asked for, is not there; empty where nothing is wrong.
    """

    environment: Environment
    code: str
    processor: str
    fault: str = ""


def facts_here(device: str, engine: str, data_hash: str) -> Facts:
    """Return what this machine is; the native engine is compiled now where it is asked for and never was.

    Raises:
        DeviceError: the device is not there.
    """
    chosen = choose_device(device)
    name, fault = TORCH, ""
    if engine != TORCH and chosen.type == "cpu":
        try:
            name = native.load().name
        except native.EngineUnavailable as error:
            fault = str(error) if engine == "native" else ""
    # A worker has one thread, however many this process has.
    facts = replace(environment(chosen, data_hash, name), threads=1)
    return Facts(facts, _code_sha256(), processor_name(), fault)


@functools.cache
def _code_sha256() -> str:
    whole = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.suffix in _SUFFIXES:
                whole.update(path.relative_to(_ROOT).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _files_on_node(job: Job, folder: Path, teachers: Path) -> Job:
    here = {name: folder / path.name for name, path in _paths(job).items()}
    return replace(job, teachers=None if job.teachers is None else teachers, **here)  # type: ignore[arg-type]


def _written_files(job: Job) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in _paths(job).items() if path.exists()}


def _paths(job: Job) -> dict[str, Path]:
    return {name: path for name in _WRITTEN if (path := getattr(job, name)) is not None}


def put_files(job: Job, content: Mapping[str, bytes]) -> None:
    """Write the files of a job where they belong; lines of the log of reads are added to those that are there."""
    for name, written_bytes in content.items():
        path: Path | None = getattr(job, name)
        assert path is not None, "a node returns only what was asked for"
        if name == "test_log":
            for line in written_bytes.decode().splitlines():
                files.append_line(path, line)
        else:
            files.write_bytes(path, written_bytes)


@dataclass(frozen=True, slots=True)
class _Running:
    """A job at work; its paths are the node's."""

    key: Key
    job: Job
    folder: Path


class Node:
    """The worker processes of a machine, and what they have said since the coordinator asked last."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._source: Source | None = None
        self._orders: SimpleQueue[Order] = SimpleQueue()
        self._said: list[Said] = []
        self._news = threading.Condition()
        self._failure = ""
        self._ended = False
        self._heard = time.monotonic()
        self._silence_seconds = _SILENCE_SECONDS
        self._thread: threading.Thread | None = None
        # What each place is at.
        self._running: dict[int, _Running] = {}

    def join(self) -> Facts:
        """Return what this machine is; without the data set, where it does not have it.

        Raises:
            DeviceError: the device is not there.
        """
        source, data_hash = self._terms.source, self._terms.data_hash
        for found in (source, replace(source, folder=_data_folder(data_hash))):
            try:
                # A copy in the user's cache is looked for only where the coordinator too took none from elsewhere.
                data = load(found.dataset, found.folder, allow_download=False)
            except DataError:
                continue
            if data.data_hash == data_hash:
                self._source = found
                break
        return facts_here(self._terms.device, self._terms.engine, data_hash if self._source else "")

    def receive(self, content: Mapping[str, bytes]) -> Facts:
        """Keep the files of the data set, which are checked as they are read, and do as ``join``."""
        folder = _data_folder(self._terms.data_hash)
        files.write_together({folder / name: stored for name, stored in content.items()})
        return self.join()

    def take(self, orders: Sequence[Order]) -> None:
        """Take orders, to be obeyed in this order."""
        self._heard = time.monotonic()
        for order in orders:
            self._orders.put(order)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def events(self, seconds: float) -> list[Said]:
        """Return what there is to say, as soon as there is something, at the latest after so many seconds.

        Raises:
            HarnessError: the node cannot go on.
        """
        self._heard = time.monotonic()
        with self._news:
            self._news.wait_for(lambda: self._said or self._failure, seconds)
            said, self._said = self._said, []
        self._heard = time.monotonic()
        if self._failure and not said:
            raise HarnessError(self._failure)
        return said

    def leave(self) -> None:
        """End all processes."""
        self._ended = True
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        """Obey and listen until the end; the body of the thread, which is the parent of all processes."""
        assert self._source is not None, "who has no data is given no order"
        folder, processes = _work_folder(), Processes(self._source, self._terms.limits)
        try:
            while not self._ended and time.monotonic() - self._heard < self._silence_seconds:
                while not self._orders.empty():
                    self._obey(processes, folder, self._orders.get())
                self._say([self._report(event) for event in processes.wait(_POLL_SECONDS)])
        except Exception as error:
            self._say([], error.message if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}")
        else:
            self._say([], "it was left alone by its coordinator")
        finally:
            processes.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _obey(self, processes: Processes, folder: Path, order: Order) -> None:
        key, place = order.key, order.place
        if order.job is not None:
            own = folder / f"{key.job}-{key.attempt}"
            local = _files_on_node(order.job, own, cache_folder() / "cluster" / "teachers")
            if local.checkpoint is not None and order.checkpoint is not None:
                files.write_bytes(local.checkpoint, order.checkpoint)
            # A process is started with its first job.
            processes.assign(place, local)
            self._running[place] = _Running(key, local, own)
        # An order to leave what is not at work any more has no effect.
        elif place in self._running and self._running[place].key == key:
            processes.abandon(place)
            self._forget(place)

    def _report(self, event: Event) -> Said:
        # A worker reports the very job that it was given.
        place, running = next(item for item in self._running.items() if item[1].job is event.job)
        content = _written_files(event.job)
        self._forget(place)
        if isinstance(event, Broken):
            # What it has read of the test set before it broke is a read all the same.
            log = {name: text for name, text in content.items() if name == "test_log"}
            return Said(running.key, Fault(event.status, event.message), log)
        # Its state is wanted only where it goes on.
        if event.result.status is not Status.RUNNING:
            content.pop("checkpoint", None)
        return Said(running.key, event.result, content)

    def _forget(self, place: int) -> None:
        shutil.rmtree(self._running.pop(place).folder, ignore_errors=True)

    def _say(self, said: list[Said], failure: str = "") -> None:
        with self._news:
            self._said += said
            self._failure = failure
            self._news.notify()


# Where a node keeps the data that it was sent, for the next time too.
def _data_folder(data_hash: str) -> Path:
    return cache_folder() / "cluster" / f"data-{data_hash[:16]}"


def _work_folder() -> Path:
    # The folders of processes that were killed are removed.
    above = cache_folder() / "cluster"
    above.mkdir(parents=True, exist_ok=True)
    for left in above.glob("work-*"):
        if not Path(f"/proc/{left.name.split('-')[1]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"work-{os.getpid()}-", dir=above))
