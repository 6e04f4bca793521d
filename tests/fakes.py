"""Fakes of servers, worker processes and trainings."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.bench import replay
from harness.data.datasets import dataset
from harness.evidence import verification_runs
from harness.searching import proposer, scheduler
from harness.system import files
from harness.training.executors import processes
from harness.training.executors.base import Executor, JobEnded, Slot, WorkerEvent
from harness.training.executors.processes import Processes
from harness.training.result import Environment, Result, Status
from harness.training.run import Job
from tests.factories import ENVIRONMENT, make_job_result

# Processes ------------------------------------------------------------------------------------------------------

PATIENCE = 600.0  # seconds; a test of seconds may take minutes on cores shared with other tests


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


# Servers ----------------------------------------------------------------------------------------------------------


@contextmanager
def mirror(contents: dict[str, bytes]) -> Iterator[str]:
    """A server on this machine that has ``contents`` by path and answers 404 to all further paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = contents.get(self.path.lstrip("/"))
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Workers that answer at once ----------------------------------------------------------------------------------


@dataclass(slots=True)
class InstantExecutor(Executor):
    """Workers that answer in ``wait``; ``watch`` is called at the submission and before the answer of a job."""

    answer: Callable[[Job], WorkerEvent]
    watch: Callable[[], None] = lambda: None
    jobs: list[Job | None] = field(default_factory=list)
    stopped: int = 0

    def start(self, count: int) -> None:
        self.jobs = [None] * count

    def slots(self) -> list[Slot]:
        return [Slot(job) for job in self.jobs]

    def submit(self, job: Job) -> None:
        self.watch()
        self.jobs[self.jobs.index(None)] = job

    def wait(self, seconds: float) -> list[WorkerEvent]:
        events = []
        for number, job in enumerate(self.jobs) if seconds else ():
            if job is not None:
                self.watch()
                self.jobs[number] = None
                events.append(self.answer(job))
        return events

    def stop(self) -> None:
        self.stopped += 1
        self.jobs = []


def replace_processes(executor: InstantExecutor, monkeypatch: pytest.MonkeyPatch) -> InstantExecutor:
    for name in ("start", "slots", "submit", "wait", "stop"):
        replacement = getattr(executor, name)
        monkeypatch.setattr(Processes, name, lambda self, *arguments, replacement=replacement: replacement(*arguments))
    return executor


class _ThisProcess:
    """A pool that trains in this process."""

    active = True

    def schedule(self, function: Any, arguments: tuple[Any, ...]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future

    def stop(self) -> None: ...

    join = stop


def train_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run real trainings in this process: each worker process would take seconds to import torch."""
    monkeypatch.setattr(processes, "_opened", lambda source: _ThisProcess())


def replay_in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replay the repeats of a comparison in this process; return the list of the replayed repeats."""
    repeats: list[int] = []

    def run_repeats(contest, table, processes, earlier_traces, on_trace):
        readings = replay._TableRuns(table, contest.comparison.spread)
        traces = {(trace.method, trace.repeat): trace for trace in earlier_traces}
        for method, repeat in contest.due_repeats(traces):
            repeats.append(repeat)
            traces[method.name, repeat] = replay.replay(method, contest.comparison, readings.read, repeat)
            on_trace(traces[method.name, repeat])
        return contest.in_order(traces)

    monkeypatch.setattr(replay, "run_repeats", run_repeats)
    return repeats


class Killed(BaseException):
    """Represents SIGKILL."""


@dataclass(slots=True)
class Trainer:
    """A simulated trainer that answers and stores jobs.

    Attributes:
        accuracy_pct: Function of parameters and seed: accuracy at the end of a training.
        special: Function of a job: answer in place of the usual answer, or None.
        jobs: All jobs in order; ``completed`` counts complete runs by trial, purpose and seed.
        kill_at: Number of the fault point at which the session is killed; ``points`` counts fault points.
        tears: Whether a kill during a write leaves half of the line.
    """

    accuracy_pct: Callable[[int, int], float]
    special: Callable[[Job], WorkerEvent | None] = lambda job: None
    jobs: list[Job] = field(default_factory=list)
    completed: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    epochs_done: dict[Path, int] = field(default_factory=dict)
    points: int = 0
    kill_at: int | None = None
    tears: bool = True

    def point(self) -> None:
        self.points += 1
        if self.points == self.kill_at:
            raise Killed

    def answer(self, job: Job) -> WorkerEvent:
        self.jobs.append(job)
        if (event := self.special(job)) is not None:
            return event
        return JobEnded(job, self._trained(job))

    def _trained(self, job: Job) -> Result:
        assert job.checkpoint is not None
        assert job.trial is not None
        until = job.until_epoch or job.recipe.epochs
        # A run continues from the checkpoint, even if the checkpoint is later than the rung.
        done = max(self.epochs_done.get(job.checkpoint, 0), until)
        self.epochs_done[job.checkpoint] = done
        job.checkpoint.parent.mkdir(exist_ok=True)
        job.checkpoint.touch()
        result = make_job_result(job, self.accuracy_pct, done)
        if result.status is Status.COMPLETE:
            self.completed[job.trial, job.purpose, job.seed_index] += 1
        return result


def by_size(parameters: int, seed: int, *, reached_at: int = 3_000, noise: float = 0.03) -> float:
    """Return an accuracy of 99 % at ``reached_at`` parameters, which increases with size and has noise per seed."""
    rise = 1.0 - reached_at / (parameters + reached_at) - 0.5
    return 99.0 + rise + random.Random(seed).gauss(0, noise)


def without_processes(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    trainer = Trainer(by_size)
    replace_processes(InstantExecutor(trainer.answer, trainer.point), monkeypatch)
    monkeypatch.setattr("harness.storage.mirror.Mirror.write_file", lambda state, path: None)
    monkeypatch.setattr(proposer, "_LADDER_DRAWS", 40)
    # The errors of simulated runs decrease to 0.35 and 0.6 times the errors at the rungs, unlike measured runs.
    monkeypatch.setattr(scheduler, "_PRIOR_RATIO", {0.25: 0.30, 0.5: 0.55})
    _count_writes(trainer, monkeypatch)
    return trainer


def _count_writes(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add fault points before and after each write, and a fault point at which half of a line is written."""
    append, write = files.append_line, files.write_bytes

    def torn_append(path: Path, line: str) -> None:
        trainer.point()
        try:
            trainer.point()
        except Killed:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line[: len(line) // 2] if trainer.tears else "")
            raise
        append(path, line)
        trainer.point()

    def torn_write(path: Path, content: bytes) -> None:
        trainer.point()
        try:
            trainer.point()
        except Killed:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.part").write_bytes(content[: len(content) // 2])
            raise
        write(path, content)
        trainer.point()

    monkeypatch.setattr(files, "append_line", torn_append)
    monkeypatch.setattr(files, "write_bytes", torn_write)
    # The kernel's cache is enough for a test, and many times as fast.
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@contextmanager
def killed_at(trainer: Trainer, point: int) -> Iterator[None]:
    """Kill the session in the block at a fault point, counted from the start of the block."""
    trainer.points, trainer.kill_at = 0, point
    try:
        with suppress(Killed):
            yield
    finally:
        trainer.kill_at = None


# Verifications without training ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Seeds:
    """Simulated seeds of a verification, with the jobs.

    Attributes:
        errors: Function of a seed index: number of wrong test images.
        weights: Function of a seed index: digest of the weights.
        in_flight: Number of simultaneous trainings.
        watch: Function that is called with each job before the answer.
    """

    errors: Callable[[int], int] = lambda index: 55
    weights: Callable[[int], str] = lambda index: f"{index:064x}"
    environment: Environment = ENVIRONMENT
    status: Callable[[int], Status] = lambda index: Status.COMPLETE
    watch: Callable[[Job], None] = lambda job: None
    in_flight: int = 1
    jobs: list[Job] = field(default_factory=list)

    @property
    def indices(self) -> list[int]:
        return [job.seed_index for job in self.jobs]

    def answer(self, job: Job, dataset_name: str) -> Result:
        self.jobs.append(job)
        self.watch(job)
        count, number = self.errors(job.seed_index), len(self.jobs)
        return replace(
            job.initial_result(dataset(dataset_name)),
            status=self.status(job.seed_index),
            test_errors=count,
            test_size=dataset(dataset_name).test_size,
            wrong=tuple((image, 3) for image in range(count)),
            weights_sha256=self.weights(job.seed_index),
            train_seconds=50.0,
            environment=self.environment,
            # All runs have different start times.
            started_utc=f"2026-11-20T08:{number // 60:02d}:{number % 60:02d}+00:00",
        )

    def run_all(self, waiting: list[Job], executor: Processes, workers: int, *callbacks: Any) -> Iterator[JobEnded]:
        launched: list[Job] = []
        while waiting or launched:
            while waiting and len(launched) < self.in_flight:
                launched.append(waiting.pop(0))
            yield JobEnded(job := launched.pop(0), self.answer(job, executor.source.dataset))


def without_training(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    seeds = Seeds()
    monkeypatch.setattr(verification_runs, "run_all", seeds.run_all)
    # The kernel's cache is enough for a test, and many times as fast.
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return seeds
