"""The contract of all executors: processes, nodes of a Ray cluster, and the simulated clock of the bench."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from harness.bench.replay import Replayed, SimulatedExecutor
from harness.cluster import ray
from harness.spaces.notation import parse_network
from harness.system.errors import DataError, DeviceError, StorageError
from harness.training.executors import processes
from harness.training.executors.base import DataLocation, Executor, JobEnded, JobFailed, Limits, WorkerEvent, run_all
from harness.training.executors.clusters import ClusterOptions, NodeInfo
from harness.training.executors.processes import Processes
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from tests.factories import make_job_result
from tests.fakes import InstantExecutor

SOURCE = DataLocation("mnist-5k", None)
LIMITS = Limits(seconds=120)
JOB = Job(
    architecture=parse_network("conv3x3(2, stride=2) bn relu | maxpool(4) | gap | linear(10)"),
    recipe=Recipe(epochs=2, batch_size=500),
    recipe_name="toy",
    purpose=Purpose.SEARCH,
    seed_index=0,
)
LONG = replace(JOB, recipe=replace(JOB.recipe, epochs=1000))


RESULT = make_job_result(JOB, lambda parameters, seed: 99.0, 2)


def read_outcome(job: Job, repeat: int) -> Replayed:
    """Return the outcome of a run with a second per epoch."""
    epochs = range(1, job.recipe.epochs + 1)
    return Replayed("ab" * 6, 1, 1, 500, dict.fromkeys(epochs, 5), {n: float(n) for n in epochs}, Status.COMPLETE)


@pytest.fixture(scope="module")
def simulated() -> Executor:
    executor = SimulatedExecutor(read_outcome, 0, 1e9)
    executor.start(2)
    return executor


@pytest.fixture(scope="module")
def pool() -> Iterator[Processes]:
    executor = Processes(SOURCE, LIMITS)
    executor.start(2)
    yield executor
    executor.stop()


@pytest.fixture(scope="module")
def ray_nodes() -> Iterator[Executor]:
    if not find_spec("ray"):  # Ray reads the environment at import
        pytest.skip("Ray is not installed")
    with ray.connected("local", ClusterOptions(2, "cpu", "torch")) as cluster:
        executor = cluster.make_executor(SOURCE, LIMITS)
        executor.start(2)
        yield executor
        executor.stop()


REAL = ["pool", pytest.param("ray_nodes", marks=pytest.mark.slow)]
KINDS = ["simulated", *REAL]


@pytest.fixture
def executor(request: pytest.FixtureRequest) -> Any:
    """Started executor with two idle slots."""
    started = request.getfixturevalue(request.param)
    started.limits = LIMITS
    assert (started.idle(), len(started.slots())) == (2, 2)
    return started


def wait_for_all(executor: Executor) -> list[WorkerEvent]:
    """Wait until all slots are idle; return the events."""
    events: list[WorkerEvent] = []
    while executor.idle() < len(executor.slots()):
        # The executor checks time limits only at the end of each wait.
        events += executor.wait(0.05)
    return events


def result_of(executor: Executor, job: Job) -> Result:
    executor.submit(job)
    (outcome,) = wait_for_all(executor)
    assert isinstance(outcome, JobEnded), outcome
    assert outcome.job == job
    return outcome.result


def failure_of(executor: Executor, job: Job) -> JobFailed:
    executor.submit(job)
    (outcome,) = wait_for_all(executor)
    assert isinstance(outcome, JobFailed), outcome
    assert outcome.job == job
    return outcome


@pytest.mark.parametrize("executor", KINDS, indirect=True)
def test_job_occupies_first_idle_slot_until_end(executor: Executor):
    second_job = replace(JOB, seed_index=1)
    executor.submit(JOB)
    assert [slot.job for slot in executor.slots()] == [JOB, None]
    executor.submit(second_job)
    assert (executor.idle(), executor.wait(0.0)) == (0, [])

    events = wait_for_all(executor)

    assert {event.job.seed_index for event in events if isinstance(event, JobEnded)} == {0, 1}
    assert [slot.job for slot in executor.slots()] == [None, None]


@pytest.mark.parametrize("executor", KINDS, indirect=True)
def test_training_in_parts_equals_uninterrupted_training_bit_for_bit(executor: Executor, tmp_path: Path):
    unbroken = result_of(executor, JOB)
    part = replace(JOB, checkpoint=tmp_path / "state.pt", until_epoch=1)

    at_rung = result_of(executor, part)
    end = result_of(executor, replace(part, until_epoch=None, spent_seconds=at_rung.train_seconds))

    assert (at_rung.status, end.status, unbroken.status) == (Status.RUNNING, Status.COMPLETE, Status.COMPLETE)
    assert [len(run.history) for run in (at_rung, end)] == [1, 2]
    assert (end.weights_sha256, end.validation_errors) == (unbroken.weights_sha256, unbroken.validation_errors)
    assert unbroken.train_seconds > 0


@pytest.mark.parametrize("executor", KINDS, indirect=True)
def test_run_all_completes_all_jobs_including_jobs_added_later(executor: Executor, tmp_path: Path):
    jobs = [replace(JOB, seed_index=seed, until_epoch=1, checkpoint=tmp_path / str(seed)) for seed in range(3)]
    methods = {name: getattr(executor, name) for name in ("slots", "idle", "submit", "wait")}
    # ``run_all`` neither starts nor stops the executor of the module.
    started: Any = SimpleNamespace(**methods, start=lambda count: None, stop=lambda: None)
    rows = []

    for finished in run_all(jobs, started, 2, list[WorkerEvent]().append):
        rows.append((finished.job.seed_index, finished.result.status))
        if finished.result.status is Status.RUNNING:
            jobs.insert(0, replace(finished.job, until_epoch=None))

    assert sorted(rows) == [(seed, status) for seed in range(3) for status in (Status.COMPLETE, Status.RUNNING)]


def write_process_number(path: str) -> str:
    Path(path).write_text(str(os.getpid()))
    return "a study"


@dataclass(frozen=True)
class ProcessReport:
    """Return the number of the training process as the study of a job."""

    path: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return write_process_number, (str(self.path),)


def reporting_job(path: Path) -> Job:
    return replace(LONG, study=ProcessReport(path))  # type: ignore[arg-type]


def process_of(executor: Executor, path: Path) -> int:
    """Return the number of the process that started a reporting job, after half a second."""
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        assert executor.wait(0.05) == []
    executor.wait(0.5)
    number = int(path.read_text())
    path.unlink()
    return number


@pytest.mark.nightly
@pytest.mark.parametrize("executor", REAL, indirect=True)
def test_killed_process_breaks_only_own_job_and_is_replaced(executor: Executor, tmp_path: Path):
    checkpoint, weights = tmp_path / "state.pt", tmp_path / "w" / "seed.safetensors"
    weights.parent.mkdir()
    executor.submit(replace(reporting_job(tmp_path / "process"), checkpoint=checkpoint, weights=weights))
    number = process_of(executor, tmp_path / "process")
    second_job = replace(JOB, seed_index=1)
    executor.submit(second_job)
    for path in (checkpoint, weights):
        path.with_name(f".harness-{path.name}.x1234567").touch()

    os.kill(number, signal.SIGKILL)
    events = wait_for_all(executor)

    (crash,) = [event for event in events if isinstance(event, JobFailed)]
    assert crash.status is Status.CRASHED
    assert [event.job for event in events if isinstance(event, JobEnded)] == [second_job]
    if isinstance(executor, Processes):
        assert "signal 9" in crash.message
        assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []
    assert result_of(executor, JOB).status is Status.COMPLETE


def test_crashed_job_is_repeated():
    remaining_crashes, events = Counter({0: 2}), list[WorkerEvent]()

    def answer(job: Job) -> WorkerEvent:
        remaining_crashes[job.seed_index] -= 1
        if remaining_crashes[job.seed_index] >= 0:
            return JobFailed(job, Status.CRASHED, "signal 9", DeviceError)
        return JobEnded(job, replace(RESULT, seed_index=job.seed_index))

    workers = InstantExecutor(answer)
    results = list(run_all([replace(JOB, seed_index=seed) for seed in range(2)], workers, 9, events.append))
    assert [finished.result.seed_index for finished in results] == [1, 0]
    assert [type(event) for event in events if event.job.seed_index == 0] == [JobFailed, JobFailed, JobEnded]
    assert workers.stopped == 1

    remaining_crashes[1] = 3
    with pytest.raises(DeviceError):
        list(run_all([replace(JOB, seed_index=1)], workers, 1))
    assert workers.stopped == 2


@pytest.mark.parametrize("executor", REAL, indirect=True)
def test_job_is_stopped_at_time_limit_that_includes_earlier_seconds(executor: Any):
    executor.limits = Limits(seconds=100.3)
    assert failure_of(executor, replace(LONG, spent_seconds=100.0)).status is Status.TIMED_OUT
    assert result_of(executor, JOB).status is Status.COMPLETE


@pytest.mark.parametrize("executor", REAL, indirect=True)
@pytest.mark.parametrize("engine", ["torch", "native"])
def test_job_over_memory_limit_fails_and_next_job_completes(executor: Any, engine: str):
    executor.limits = replace(LIMITS, memory_mb=1.0)
    failure = failure_of(executor, replace(JOB, engine=engine))
    assert (failure.status, failure.error_type) == (Status.OUT_OF_MEMORY, DeviceError)
    executor.limits = replace(LIMITS, memory_mb=400.0)
    large = parse_network("conv3x3(64) relu | gap | linear(10)")
    recipe = replace(JOB.recipe, batch_size=4000, epochs=1)
    assert failure_of(executor, replace(JOB, architecture=large, recipe=recipe, engine=engine)).status is (
        Status.OUT_OF_MEMORY
    )
    assert result_of(executor, JOB).status is Status.COMPLETE


@pytest.mark.parametrize("executor", REAL, indirect=True)
def test_invalid_job_is_reported_as_crashed(executor: Executor):
    event = failure_of(executor, replace(JOB, recipe=replace(JOB.recipe, batch_size=10_000)))
    assert (event.status, "batch_size" in event.message) == (Status.CRASHED, True)
    assert result_of(executor, JOB).status is Status.COMPLETE


def test_data_and_storage_errors_are_raised(pool: Processes, tmp_path: Path):
    (tmp_path / "file").touch()
    pool.submit(replace(JOB, checkpoint=tmp_path / "file" / "state.pt"))
    with pytest.raises(StorageError, match=r"state\.pt"):
        wait_for_all(pool)
    with pytest.raises(DataError):
        processes.train(JOB, DataLocation("mnist", tmp_path), LIMITS.memory_mb)


def test_process_is_reused_and_has_a_single_thread(pool: Processes, tmp_path: Path):
    first = result_of(pool, JOB)
    assert first.environment is not None
    assert first.environment.threads == 1
    assert (first.dataset, first.validation_size) == ("mnist-5k", 500)
    numbers = []
    for _ in range(2):
        result_of(pool, replace(reporting_job(tmp_path / "process"), recipe=JOB.recipe))
        numbers.append(int((tmp_path / "process").read_text()))
    assert numbers[0] == numbers[1]


@pytest.mark.nightly
@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_process_killed_while_idle_does_not_fail_next_job(pause: float, pool: Processes, tmp_path: Path):
    result_of(pool, replace(reporting_job(tmp_path / "process"), recipe=JOB.recipe))
    os.kill(int((tmp_path / "process").read_text()), signal.SIGKILL)
    time.sleep(pause)
    assert result_of(pool, JOB).status is Status.COMPLETE


class BrokenPool:
    """A pool that breaks at a job, because the idle process has died."""

    active = True

    def schedule(self, *arguments: Any) -> Future[WorkerEvent]:
        self.active = False
        return Future()

    def stop(self) -> None:
        pass

    join = stop


def test_job_lost_by_broken_pool_is_submitted_again(pool: Processes, monkeypatch: pytest.MonkeyPatch):
    started_pools = [pool.workers[0].pool]
    pool.workers[0].pool = BrokenPool()  # type: ignore[assignment]
    # The replacement is the pool of the worker before this test, because a new process takes seconds to start.
    monkeypatch.setattr(processes, "_opened", lambda source: started_pools.pop())
    assert result_of(pool, JOB).status is Status.COMPLETE
    assert started_pools == []


@pytest.mark.nightly
@pytest.mark.parametrize("is_idle", [True, False])
def test_suspended_process_is_replaced_at_time_limit(
    is_idle: bool, pool: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    result_of(pool, replace(reporting_job(tmp_path / "process"), recipe=JOB.recipe))
    number = int((tmp_path / "process").read_text())
    monkeypatch.setattr(processes, "_LOST_SECONDS", 1.0)
    monkeypatch.setattr(pool, "limits", replace(LIMITS, seconds=1.0))
    if not is_idle:
        pool.submit(LONG)
        while not pool.workers[0].has_begun:
            assert pool.wait(0.1) == []
    os.kill(number, signal.SIGSTOP)
    if is_idle:
        pool.submit(LONG)
    (event,) = wait_for_all(pool)
    assert isinstance(event, JobFailed)
    # A job that has not started may be repeated.
    assert event.status is (Status.CRASHED if is_idle else Status.TIMED_OUT)
    assert not is_running(number)


def is_running(number: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while not (is_met := condition()) and time.monotonic() < until:
        time.sleep(0.02)
    return is_met


@pytest.mark.nightly
def test_stop_ends_running_processes(pool: Processes, tmp_path: Path):
    executor = Processes(SOURCE, LIMITS)
    # A new process would take seconds to start. ``pool`` replaces the ended process at the next job.
    executor.workers = [processes._Worker(pool.workers[0].pool)]
    executor.submit(reporting_job(tmp_path / "process"))
    number = process_of(executor, tmp_path / "process")
    began = time.monotonic()
    executor.stop()
    assert time.monotonic() - began < 2.0
    assert not is_running(number)
    assert executor.slots() == []


def test_error_that_refuses_all_nodes_of_a_cluster_ends_the_operation():
    class RemoteError(Exception):
        cause = StorageError("cannot write state: No space left on device")

    def fail(ref: object) -> None:
        raise RemoteError

    exceptions = SimpleNamespace(RayError=RemoteError, OutOfMemoryError=MemoryError, WorkerCrashedError=OSError)
    library = SimpleNamespace(exceptions=exceptions, get=fail, cancel=Mock(), wait=lambda refs, **_: (refs[:1], []))
    executor = ray.Nodes(SOURCE, LIMITS, ClusterOptions(None, "cpu", "torch"), ray=library, last_look=math.inf)
    first, second = (ray._Node(NodeInfo(name, name, 1), None, SOURCE, room=1) for name in ("first", "second"))
    executor.nodes = {"first": first, "second": second}
    executor.work = [ray._Work(JOB, 1, node, ref=node, since=math.inf) for node in (first, second)]

    assert executor.wait(0.0) == []
    with pytest.raises(StorageError, match="No space left"):
        executor.wait(0.0)


def test_idle_processes_are_reused_by_later_executors_on_same_data():
    def started_executor(source: DataLocation, count: int) -> Processes:
        executor = Processes(source, LIMITS)
        executor.start(count)
        return executor

    with processes.kept_processes():
        first = started_executor(SOURCE, 2)
        busy, idle = (worker.pool for worker in first.workers)
        first.submit(LONG)
        first.stop()
        assert (busy.active, idle.active) == (False, True)
        different_data = started_executor(DataLocation("mnist", None), 1)
        later = started_executor(SOURCE, 1)
        assert [worker.pool is idle for worker in (*different_data.workers, *later.workers)] == [False, True]
        different_data.stop()
        later.stop()
    assert not idle.active
    unshared = started_executor(SOURCE, 1)
    pool = unshared.workers[0].pool
    unshared.stop()
    assert not pool.active


def test_native_training_does_not_import_the_compiler_of_torch(tmp_path: Path):
    # The compiler and SymPy would take a second and 72 MiB per worker.
    executor = Processes(SOURCE, LIMITS)
    executor.start(1)
    part = replace(JOB, engine="native", checkpoint=tmp_path / "state.pt", until_epoch=1)
    for job in (part, replace(part, until_epoch=None)):
        result_of(executor, job)
    (worker,) = executor.workers

    modules = worker.pool.schedule(eval, ("{*__import__('sys').modules}",)).result()

    executor.stop()
    assert modules.isdisjoint({"torch._dynamo", "sympy"})


@pytest.mark.nightly
def test_workers_end_with_killed_coordinator(tmp_path: Path):
    program = (
        "import time\nfrom pathlib import Path\n"
        "from harness.training.executors.processes import Processes\n"
        "from tests.harness.training.test_executors import LIMITS, SOURCE, reporting_job\n"
        "executor = Processes(SOURCE, LIMITS)\n"
        "executor.start(1)\n"
        f"executor.submit(reporting_job(Path({str(tmp_path / 'process')!r})))\n"
        "time.sleep(600)\n"
    )
    coordinator = subprocess.Popen([sys.executable, "-c", program])
    process = tmp_path / "process"
    assert wait_for(lambda: process.exists() and process.read_text() != "")  # the file exists before its content
    worker = int(process.read_text())
    coordinator.kill()
    coordinator.wait()
    assert wait_for(lambda: not is_running(worker))


def error_with_cause(fault: BaseException) -> RuntimeError:
    """Return an error with a cause."""
    error = RuntimeError(str(fault))
    error.__cause__ = fault
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), Status.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), Status.OUT_OF_MEMORY),
        (error_with_cause(torch.OutOfMemoryError("CUDA out of memory")), Status.OUT_OF_MEMORY),
        (error_with_cause(RuntimeError("no such kernel")), Status.CRASHED),
        (ZeroDivisionError("by zero"), Status.CRASHED),
        (StorageError("cannot write x"), None),
        (OSError(28, "No space left on device", "x"), None),
        (error_with_cause(OSError(122, "Disk quota exceeded")), None),
    ],
)
def test_error_in_run_sets_status_or_raises(error: Exception, status: Status | None, monkeypatch: pytest.MonkeyPatch):
    def raise_error(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(processes, "execute", raise_error)
    monkeypatch.setattr(processes, "_limited", lambda job, memory_mb: nullcontext())
    if status is None:
        with pytest.raises(StorageError):
            processes.train(JOB, SOURCE, 4096)
    else:
        event = processes.train(JOB, SOURCE, 4096)
        assert isinstance(event, JobFailed)
        assert event.status is status
