"""Real processes on the 5,000 embedded images: few starts, since each takes a second or two."""

from __future__ import annotations

import mmap
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.training import workers
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Status
from harness.training.run import Job
from harness.training.workers import Broken, Event, Finished, Limits, Progress, Source, Worker
from search_spaces.notation import parse_network

JOB = Job(
    architecture=parse_network("conv3x3(2, stride=2) relu | maxpool(4) | gap | linear(10)"),
    recipe=Recipe(epochs=2, batch_size=500, augmented_share=0.0),
    recipe_name="toy",
    purpose=Purpose.SEARCH,
    seed_index=0,
)
PATIENT = Limits(seconds=120)


class Crash:
    """Ends the process that unpickles it, as a fault in a library would."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (7,)


@pytest.fixture(scope="module")
def pool() -> Iterator[list[Worker]]:
    made = workers.start(Source("mnist-5k", None), 1)
    yield made
    workers.stop(made)


def events_until_idle(pool: list[Worker], limits: Limits = PATIENT) -> list[Event]:
    events: list[Event] = []
    while any(worker.job is not None for worker in pool):
        events += workers.poll(pool, limits, timeout=5.0)
    return events


def test_a_worker_reports_its_epochs_and_then_its_result(pool: list[Worker]):
    workers.assign(pool[0], JOB)

    *progress, finished = events_until_idle(pool)

    assert [type(event) for event in progress] == [Progress, Progress]
    epochs = [event.epoch for event in progress if isinstance(event, Progress)]
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert isinstance(finished, Finished)
    assert finished.job == JOB
    assert finished.result.status is Status.COMPLETE
    assert finished.result.history == tuple(epochs)
    assert finished.result.dataset == "mnist-5k"
    assert finished.result.validation_size == 500
    assert finished.result.environment is not None
    assert finished.result.environment.threads == 1


def test_a_worker_keeps_its_process_and_repeats_its_bits(pool: list[Worker]):
    process, results = pool[0].process.pid, []
    for _ in range(2):
        workers.assign(pool[0], JOB)
        event = events_until_idle(pool)[-1]
        assert isinstance(event, Finished)
        results.append(event.result.weights_sha256)

    assert results[0] == results[1]
    assert pool[0].process.pid == process


def test_what_is_wrong_with_a_job_is_its_outcome_and_not_the_end_of_the_worker(pool: list[Worker]):
    process = pool[0].process.pid
    outcomes = []
    for bad in (replace(JOB, device="cuda:99"), replace(JOB, recipe=replace(JOB.recipe, batch_size=4001))):
        workers.assign(pool[0], bad)
        outcomes += events_until_idle(pool)

    assert [type(event) for event in outcomes] == [Broken, Broken]
    messages = [event.message for event in outcomes if isinstance(event, Broken)]
    assert messages[0].startswith("cuda:99 was asked for, but torch ")
    assert messages[1] == "recipe: batch_size is 4001, but there are only 4000 images to train on"
    assert {event.status for event in outcomes if isinstance(event, Broken)} == {Status.CRASHED}
    assert pool[0].process.pid == process


def test_ctrl_c_is_left_to_the_coordinator(pool: list[Worker]):
    process = pool[0].process
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    workers.assign(pool[0], JOB)
    assert isinstance(events_until_idle(pool)[-1], Finished)
    assert pool[0].process is process


def test_a_worker_that_crashes_is_replaced_by_one_that_works(pool: list[Worker]):
    process = pool[0].process.pid
    workers.assign(pool[0], replace(JOB, study=Crash()))  # type: ignore[arg-type]  # that is the crash

    events = events_until_idle(pool)

    assert [(type(event), getattr(event, "status", None)) for event in events] == [(Broken, Status.CRASHED)]
    assert isinstance(events[0], Broken)
    assert events[0].message == "the worker process ended with exit code 7"
    assert pool[0].process.pid != process
    assert pool[0].process.is_alive()


def test_a_worker_that_is_killed_is_named_with_its_signal(pool: list[Worker]):
    workers.assign(pool[0], JOB)
    pool[0].process.kill()
    (event,) = events_until_idle(pool)
    assert isinstance(event, Broken)
    assert event.message == "the worker process ended with signal 9"


def test_what_a_killed_worker_has_half_written_is_removed_and_nothing_else(pool: list[Worker], tmp_path: Path):
    checkpoint = tmp_path / "trial-00001-search-0.pt"
    weights = tmp_path / "seed-0001.safetensors"
    half = [tmp_path / f".{path.name}.eis10mem" for path in (checkpoint, weights)]
    others = tmp_path / ".trial-00002-search-0.pt.abc"
    workers.assign(pool[0], replace(JOB, checkpoint=checkpoint, weights=weights))
    for path in (*half, others):
        path.write_bytes(b"the beginning of a file")
    pool[0].process.kill()
    events_until_idle(pool)

    assert [path.exists() for path in (*half, others)] == [False, False, True]


def test_a_worker_that_died_while_it_was_idle_is_replaced_before_it_gets_a_job(pool: list[Worker]):
    process = pool[0].process
    process.kill()
    process.join()
    workers.assign(pool[0], JOB)
    assert isinstance(events_until_idle(pool)[-1], Finished)
    assert pool[0].process is not process


def test_the_time_before_a_rung_counts_for_the_limit(pool: list[Worker]):
    workers.assign(pool[0], replace(JOB, recipe=replace(JOB.recipe, epochs=1000), spent_seconds=100.0))
    (event,) = workers.poll(pool, Limits(seconds=99.0), timeout=0.0)
    assert isinstance(event, Broken)
    assert event.status is Status.TIMED_OUT
    assert re.fullmatch(r"still training after 10\d s; 99 allowed", event.message)


def test_a_job_over_its_time_is_stopped(pool: list[Worker]):
    workers.assign(pool[0], replace(JOB, recipe=replace(JOB.recipe, epochs=1000)))
    process = pool[0].process
    pool[0].since -= 100

    events = workers.poll(pool, Limits(seconds=99.0), timeout=0.0)

    assert [(type(event), getattr(event, "message", "")) for event in events] == [
        (Broken, "still training after 100 s; 99 allowed")
    ]
    assert isinstance(events[0], Broken)
    assert events[0].status is Status.TIMED_OUT
    assert not is_running(process.pid)
    assert pool[0].job is None


def test_a_job_over_its_memory_is_stopped_and_the_next_one_is_done(pool: list[Worker]):
    workers.assign(pool[0], replace(JOB, recipe=replace(JOB.recipe, epochs=1000)))
    wait_for(lambda: workers._own_memory_mb(pool[0].process.pid or 0) > 20)

    events = workers.poll(pool, Limits(memory_mb=1.0), timeout=0.0)

    (broken,) = [event for event in events if isinstance(event, Broken)]
    assert broken.status is Status.OUT_OF_MEMORY
    assert broken.message.startswith("took ")
    assert broken.message.endswith(" MiB; 1 MiB allowed")
    workers.assign(pool[0], JOB)
    assert isinstance(events_until_idle(pool)[-1], Finished)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)


def is_running(process_id: int | None) -> bool:
    assert process_id is not None
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_memory_of_a_process_that_is_gone_is_zero():
    # The largest id a Linux process can have is below this.
    assert workers._own_memory_mb(2**22 + 1) == 0.0
    assert workers._own_memory_mb(os.getpid()) > 10


def test_pages_of_a_file_are_no_memory_of_the_process(tmp_path: Path):
    size = 64 * 2**20
    file = tmp_path / "library"
    file.write_bytes(bytes(size))
    before = workers._own_memory_mb(os.getpid())

    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[at] for at in range(0, size, 4096)) == 0
        assert workers._own_memory_mb(os.getpid()) < before + 16
    held = bytearray(b"x" * size)
    assert workers._own_memory_mb(os.getpid()) > before + 48
    assert len(held) == size


def test_an_idle_pool_has_no_events(pool: list[Worker]):
    assert workers.poll(pool, PATIENT, timeout=0.0) == []


def test_a_worker_does_one_job_at_a_time(pool: list[Worker]):
    busy = Worker(pool[0].process, pool[0].pipe, pool[0].source, job=JOB)
    with pytest.raises(AssertionError, match=r"^a worker does one job at a time$"):
        workers.assign(busy, JOB)


def test_stopped_workers_are_gone():
    made = workers.start(Source("mnist-5k", None), 2)
    ids = [worker.process.pid for worker in made]
    workers.stop(made)
    assert [is_running(process_id) for process_id in ids] == [False, False]


@pytest.mark.slow
def test_workers_die_with_their_coordinator():
    program = (
        "import time\nfrom harness.training.workers import workers\n"
        "made = workers.start(workers.Source('mnist-5k', None), 1)\n"
        "print(made[0].process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    coordinator = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert coordinator.stdout is not None
    worker = int(coordinator.stdout.readline())
    # Long enough for the worker to have asked for its signal.
    wait_for(lambda: workers._own_memory_mb(worker) > 150)

    coordinator.kill()
    coordinator.communicate()

    # A dead process that nobody has waited for yet still has its number, but no memory.
    wait_for(lambda: workers._own_memory_mb(worker) == 0)
    assert workers._own_memory_mb(worker) == 0
