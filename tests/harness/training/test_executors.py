"""The contract of all executors: processes, nodes of a Ray cluster, and the simulated clock of the bench."""

from __future__ import annotations

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
from typing import Any

import pytest
import torch

from harness.bench.replay import RunOutcome, SimulatedExecutor
from harness.system.errors import DataError, HarnessError, StorageError
from harness.training.executors import processes, ray
from harness.training.executors.base import DataLocation, Executor, JobEnded, JobFailed, Limits, WorkerEvent, run_all
from harness.training.executors.processes import Processes
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from search_spaces.notation import parse_network
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


def read(job: Job, repeat: int) -> RunOutcome:
    """A second per epoch, and thousands for the long job."""
    epochs = range(1, job.recipe.epochs + 1)
    return RunOutcome("ab" * 6, 1, 1, 500, dict.fromkeys(epochs, 5), {n: float(n) for n in epochs}, Status.COMPLETE)


@pytest.fixture(scope="module")
def simulated() -> Executor:
    executor = SimulatedExecutor(read, 0, 1e9)
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
    with ray.executor_at("local", 2, device="cpu", engine="torch") as make_executor:
        made = make_executor(SOURCE, LIMITS)
        made.start(2)
        yield made
        made.stop()


REAL = ["pool", pytest.param("ray_nodes", marks=pytest.mark.slow)]
KINDS = ["simulated", *REAL]


@pytest.fixture
def executor(request: pytest.FixtureRequest) -> Any:
    """An executor that was started once, with two idle slots."""
    made = request.getfixturevalue(request.param)
    made.limits = LIMITS
    assert (made.idle(), len(made.slots())) == (2, 2)
    return made


def ended(executor: Executor) -> list[WorkerEvent]:
    """Wait until all is done."""
    events: list[WorkerEvent] = []
    while executor.idle() < len(executor.slots()):
        events += executor.wait(5.0)
    return events


def result(executor: Executor, job: Job) -> Result:
    executor.submit(job)
    (event,) = ended(executor)
    assert isinstance(event, JobEnded), event
    assert event.job == job
    return event.result


def failed(executor: Executor, job: Job) -> JobFailed:
    executor.submit(job)
    (event,) = ended(executor)
    assert isinstance(event, JobFailed), event
    assert event.job == job
    return event


@pytest.mark.parametrize("executor", KINDS, indirect=True)
def test_a_job_takes_the_first_idle_slot_until_it_ends(executor: Executor):
    other = replace(JOB, seed_index=1)
    executor.submit(JOB)
    assert [slot.job for slot in executor.slots()] == [JOB, None]
    executor.submit(other)
    assert (executor.idle(), executor.wait(0.0)) == (0, [])

    events = ended(executor)

    assert {event.job.seed_index for event in events if isinstance(event, JobEnded)} == {0, 1}
    assert [slot.job for slot in executor.slots()] == [None, None]


@pytest.mark.parametrize("executor", KINDS, indirect=True)
def test_a_training_in_parts_gives_the_bits_of_one_that_was_not_interrupted(executor: Executor, tmp_path: Path):
    whole = result(executor, JOB)
    part = replace(JOB, checkpoint=tmp_path / "state.pt", until_epoch=1)

    at_rung = result(executor, part)
    end = result(executor, replace(part, until_epoch=None, spent_seconds=at_rung.train_seconds))

    assert (at_rung.status, end.status, whole.status) == (Status.RUNNING, Status.COMPLETE, Status.COMPLETE)
    assert [len(found.history) for found in (at_rung, end)] == [1, 2]
    assert (end.weights_sha256, end.validation_errors) == (whole.weights_sha256, whole.validation_errors)
    assert whole.train_seconds > 0


@dataclass
class Kept:
    """An executor that is started already, and is not to be ended by ``run_all``."""

    executor: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.executor, name)

    def start(self, count: int) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("executor", KINDS, indirect=True)
def test_all_jobs_of_a_list_are_done_and_parts_may_join_it(executor: Executor, tmp_path: Path):
    jobs = [replace(JOB, seed_index=seed, until_epoch=1, checkpoint=tmp_path / str(seed)) for seed in range(3)]
    rows = []

    for finished in run_all(jobs, Kept(executor), 2, list[WorkerEvent]().append):
        rows.append((finished.job.seed_index, finished.result.status))
        if finished.result.status is Status.RUNNING:
            jobs.insert(0, replace(finished.job, until_epoch=None))

    assert sorted(rows) == [(seed, status) for seed in range(3) for status in (Status.COMPLETE, Status.RUNNING)]


def note_process(path: str) -> str:
    Path(path).write_text(str(os.getpid()))
    return "a study"


@dataclass(frozen=True)
class Noting:
    """Return the number of the training process as the study of a job."""

    path: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return note_process, (str(self.path),)


def noting(path: Path) -> Job:
    return replace(LONG, study=Noting(path))  # type: ignore[arg-type]


def process_of(executor: Executor, path: Path) -> int:
    """Return the process that has begun with such a job, a moment later."""
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        assert executor.wait(0.05) == []
    executor.wait(0.5)
    number = int(path.read_text())
    path.unlink()
    return number


@pytest.mark.nightly
@pytest.mark.parametrize("executor", REAL, indirect=True)
def test_a_process_that_is_killed_breaks_its_job_alone_and_is_replaced(executor: Executor, tmp_path: Path):
    checkpoint, weights = tmp_path / "state.pt", tmp_path / "w" / "seed.safetensors"
    weights.parent.mkdir()
    executor.submit(replace(noting(tmp_path / "process"), checkpoint=checkpoint, weights=weights))
    number = process_of(executor, tmp_path / "process")
    other = replace(JOB, seed_index=1)
    executor.submit(other)
    for path in (checkpoint, weights):
        path.with_name(f".{path.name}.x1").touch()

    os.kill(number, signal.SIGKILL)
    events = ended(executor)

    (crash,) = [event for event in events if isinstance(event, JobFailed)]
    assert crash.status is Status.CRASHED
    assert [event.job for event in events if isinstance(event, JobEnded)] == [other]
    if isinstance(executor, Processes):
        assert "signal 9" in crash.message
        assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []
    assert result(executor, JOB).status is Status.COMPLETE


def test_a_job_that_breaks_is_done_again():
    breaks, seen = Counter({0: 2}), list[WorkerEvent]()

    def answer(job: Job) -> WorkerEvent:
        breaks[job.seed_index] -= 1
        if breaks[job.seed_index] >= 0:
            return JobFailed(job, Status.CRASHED, "signal 9")
        return JobEnded(job, replace(RESULT, seed_index=job.seed_index))

    workers = InstantExecutor(answer)
    results = list(run_all([replace(JOB, seed_index=seed) for seed in range(2)], workers, 9, seen.append))
    assert [finished.result.seed_index for finished in results] == [1, 0]
    assert [type(event) for event in seen if event.job.seed_index == 0] == [JobFailed, JobFailed, JobEnded]
    assert workers.stopped == 1

    breaks[1] = 3
    with pytest.raises(HarnessError):
        list(run_all([replace(JOB, seed_index=1)], workers, 1))
    assert workers.stopped == 2


@pytest.mark.parametrize("executor", REAL, indirect=True)
def test_a_job_over_its_time_is_stopped_with_what_was_spent_before(executor: Any):
    executor.limits = Limits(seconds=100.3)
    assert failed(executor, replace(LONG, spent_seconds=100.0)).status is Status.TIMED_OUT
    assert result(executor, JOB).status is Status.COMPLETE


@pytest.mark.parametrize("executor", REAL, indirect=True)
@pytest.mark.parametrize("engine", ["torch", "native"])
def test_a_job_over_its_memory_is_refused_it_and_the_next_one_is_done(executor: Any, engine: str):
    executor.limits = replace(LIMITS, memory_mb=1.0)
    assert failed(executor, replace(JOB, engine=engine)).status is Status.OUT_OF_MEMORY
    executor.limits = replace(LIMITS, memory_mb=400.0)
    large = parse_network("conv3x3(64) relu | gap | linear(10)")
    recipe = replace(JOB.recipe, batch_size=4000, epochs=1)
    assert failed(executor, replace(JOB, architecture=large, recipe=recipe, engine=engine)).status is (
        Status.OUT_OF_MEMORY
    )
    assert result(executor, JOB).status is Status.COMPLETE


@pytest.mark.parametrize("executor", REAL, indirect=True)
def test_what_is_wrong_with_a_job_is_its_outcome(executor: Executor):
    event = failed(executor, replace(JOB, recipe=replace(JOB.recipe, batch_size=10_000)))
    assert (event.status, "batch_size" in event.message) == (Status.CRASHED, True)
    assert result(executor, JOB).status is Status.COMPLETE


def test_data_and_storage_that_fail_are_no_outcome_of_a_job(pool: Processes, tmp_path: Path):
    (tmp_path / "file").touch()
    pool.submit(replace(JOB, checkpoint=tmp_path / "file" / "state.pt"))
    with pytest.raises(StorageError, match=r"state\.pt"):
        ended(pool)
    with pytest.raises(DataError):
        processes.train(JOB, DataLocation("mnist", tmp_path), LIMITS.memory_mb)


def test_a_process_keeps_its_data_and_has_one_thread(pool: Processes, tmp_path: Path):
    first = result(pool, JOB)
    assert first.environment is not None
    assert first.environment.threads == 1
    assert (first.dataset, first.validation_size) == ("mnist-5k", 500)
    numbers = []
    for _ in range(2):
        result(pool, replace(noting(tmp_path / "process"), recipe=JOB.recipe))
        numbers.append(int((tmp_path / "process").read_text()))
    assert numbers[0] == numbers[1]


@pytest.mark.nightly
@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_one_that_dies_before_it_has_a_job_is_no_fault_of_the_next(pause: float, pool: Processes, tmp_path: Path):
    result(pool, replace(noting(tmp_path / "process"), recipe=JOB.recipe))
    os.kill(int((tmp_path / "process").read_text()), signal.SIGKILL)
    time.sleep(pause)
    assert result(pool, JOB).status is Status.COMPLETE


class Forgetful:
    """A pool that breaks at a job, because the idle process has died."""

    active = True

    def schedule(self, *given: Any) -> Future[WorkerEvent]:
        self.active = False
        return Future()

    def stop(self) -> None:
        pass

    join = stop


def test_a_job_that_a_broken_pool_has_forgotten_is_begun_again(pool: Processes):
    pool.workers[0].pool.stop()  # type: ignore[no-untyped-call]
    pool.workers[0].pool = Forgetful()  # type: ignore[assignment]
    assert result(pool, JOB).status is Status.COMPLETE


@pytest.mark.nightly
@pytest.mark.parametrize("is_idle", [True, False])
def test_one_that_is_stopped_is_replaced_at_its_limit(
    is_idle: bool, pool: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    result(pool, replace(noting(tmp_path / "process"), recipe=JOB.recipe))
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
    (event,) = ended(pool)
    assert isinstance(event, JobFailed)
    # A job that has not begun may be done again.
    assert event.status is (Status.CRASHED if is_idle else Status.TIMED_OUT)
    assert not is_running(number)


def is_running(number: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


@pytest.mark.nightly
def test_stopping_ends_what_is_at_work(tmp_path: Path):
    executor = Processes(SOURCE, LIMITS)
    executor.start(1)
    executor.submit(noting(tmp_path / "process"))
    number = process_of(executor, tmp_path / "process")
    began = time.monotonic()
    executor.stop()
    assert time.monotonic() - began < 2.0
    assert not is_running(number)
    assert executor.slots() == []


def test_idle_processes_are_kept_for_later_executors_on_the_same_data():
    def opened(source: DataLocation, count: int) -> Processes:
        executor = Processes(source, LIMITS)
        executor.start(count)
        return executor

    with processes.kept_processes():
        first = opened(SOURCE, 2)
        busy, idle = (worker.pool for worker in first.workers)
        first.submit(LONG)
        first.stop()
        assert (busy.active, idle.active) == (False, True)
        other = opened(DataLocation("mnist", None), 1)
        later = opened(SOURCE, 1)
        assert [worker.pool is idle for worker in (*other.workers, *later.workers)] == [False, True]
        other.stop()
        later.stop()
    assert not idle.active
    alone = opened(SOURCE, 1)
    pool = alone.workers[0].pool
    alone.stop()
    assert not pool.active


def test_a_worker_starts_without_sympy():
    # The import of SymPy takes as long as the remaining imports of a worker.
    program = "import sys, harness.training.executors.processes; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.nightly
def test_workers_die_with_their_coordinator(tmp_path: Path):
    program = (
        "import time\nfrom pathlib import Path\n"
        "from harness.training.executors.processes import Processes\n"
        "from tests.harness.training.test_executors import LIMITS, SOURCE, noting\n"
        "made = Processes(SOURCE, LIMITS)\n"
        "made.start(1)\n"
        f"made.submit(noting(Path({str(tmp_path / 'process')!r})))\n"
        "time.sleep(600)\n"
    )
    coordinator = subprocess.Popen([sys.executable, "-c", program])
    assert wait_for((tmp_path / "process").exists)
    worker = int((tmp_path / "process").read_text())
    coordinator.kill()
    coordinator.wait()
    assert wait_for(lambda: not is_running(worker))


def caused_by(fault: BaseException) -> RuntimeError:
    """A fault with a cause."""
    error = RuntimeError(str(fault))
    error.__cause__ = fault
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), Status.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), Status.OUT_OF_MEMORY),
        (caused_by(torch.OutOfMemoryError("CUDA out of memory")), Status.OUT_OF_MEMORY),
        (caused_by(RuntimeError("no such kernel")), Status.CRASHED),
        (ZeroDivisionError("by zero"), Status.CRASHED),
        (StorageError("cannot write x"), None),
        (OSError(28, "No space left on device", "x"), None),
        (caused_by(OSError(122, "Disk quota exceeded")), None),
    ],
)
def test_a_fault_in_a_run_is_typed(error: Exception, status: Status | None, monkeypatch: pytest.MonkeyPatch):
    def fails(*given: object) -> None:
        raise error

    monkeypatch.setattr(processes, "execute", fails)
    monkeypatch.setattr(processes, "_limited", lambda job, memory_mb: nullcontext())
    if status is None:
        with pytest.raises(StorageError):
            processes.train(JOB, SOURCE, 4096)
    else:
        event = processes.train(JOB, SOURCE, 4096)
        assert isinstance(event, JobFailed)
        assert event.status is status
