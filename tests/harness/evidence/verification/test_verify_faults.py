"""Verifications that were interrupted, and seeds whose workers break."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.evidence import record
from harness.evidence.study import owned
from harness.evidence.verification import verify
from harness.evidence.verification.plan import folder_of
from harness.system.errors import HarnessError, StorageError, UsageError
from harness.system.files import Workspace
from harness.training import workers
from harness.training.result import Status
from harness.training.run import Job
from harness.training.workers import Broken, Event, Finished, Limits, Source, Worker
from tests.harness import unrun
from tests.harness.unrun import Seeds


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return unrun.without_training(monkeypatch)


def recorded_indices(place: Workspace) -> list[int]:
    [there] = record.read_all(place.records)
    return [run.index for run in there.seeds]


def test_what_an_interrupted_call_has_finished_is_not_run_twice(place: Workspace, seeds: Seeds):
    seeds.watch = interrupt_at(3)
    with pytest.raises(KeyboardInterrupt):
        unrun.run(place, unrun.plan())
    assert recorded_indices(place) == [0, 1, 2]
    assert verify.finished_indices(unrun.plan([2, 3]), place) == {2}
    seeds.asked.clear()
    seeds.watch = lambda job: None

    verdict = unrun.run(place, unrun.plan())

    assert seeds.indices == [3, 4]
    assert [run.index for run in verdict.runs] == [0, 1, 2, 3, 4]
    assert (verdict.reruns, verdict.contradicted) == ((), False)
    assert list(place.runs.iterdir()) == []


def test_a_seed_that_was_finished_but_not_recorded_is_recorded(
    place: Workspace, seeds: Seeds, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(record, "write", lambda folder, made: interrupt_at(0)(seeds.asked[0]))
        with pytest.raises(KeyboardInterrupt):
            unrun.run(place, unrun.plan(range(2)))

    unrun.run(place, unrun.plan(range(2)))

    assert seeds.indices == [0, 1]
    assert recorded_indices(place) == [0, 1]


def test_two_processes_do_not_verify_the_same_row(place: Workspace, seeds: Seeds):
    with owned(folder_of(unrun.plan(), place)), pytest.raises(UsageError, match="another process is working in"):
        unrun.run(place, unrun.plan())

    assert seeds.asked == []


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_full_disk_is_met_before_a_seed_is_run(
    call: str, place: Workspace, seeds: Seeds, monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "mkdir" else os, call, full)
        with pytest.raises(StorageError, match="No space left on device"):
            unrun.run(place, unrun.plan())

    assert seeds.asked == []


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    """Workers that answer at once; ``breaking`` says which break."""
    started: list[Worker] = []

    def start(source: Source, count: int) -> list[Worker]:
        started.extend(Worker(None, None, source) for _ in range(count))  # type: ignore[arg-type]
        return started

    monkeypatch.setattr(workers, "start", start)
    monkeypatch.setattr(workers, "assign", lambda worker, job: setattr(worker, "job", job))
    monkeypatch.setattr(workers, "stop", lambda pool: pool.clear())
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return started


def breaking(times: dict[int, int], answers: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers of some seeds break so many times."""

    def poll(pool: list[Worker], limits: Limits, timeout: float) -> list[Event]:
        events: list[Event] = []
        for worker in pool:
            if (job := worker.job) is not None:
                worker.job = None
                if times.get(job.seed_index, 0) > 0:
                    times[job.seed_index] -= 1
                    events.append(Broken(job, Status.CRASHED, "ended with signal 9"))
                else:
                    events.append(Finished(job, answers.answer(job, "mnist")))
        return events

    monkeypatch.setattr(workers, "poll", poll)


def test_a_seed_whose_worker_breaks_is_run_again(place: Workspace, pool: list[Worker], monkeypatch: pytest.MonkeyPatch):
    seeds = Seeds()
    breaking({1: 2, 3: 1}, seeds, monkeypatch)

    verdict = unrun.run(place, unrun.plan(workers=2))

    assert sorted(seeds.indices) == [0, 1, 2, 3, 4]
    assert [run.index for run in verdict.runs] == [0, 1, 2, 3, 4]
    assert pool == []


def test_a_seed_that_breaks_three_times_ends_it_and_the_others_are_kept(
    place: Workspace, pool: list[Worker], monkeypatch: pytest.MonkeyPatch
):
    breaking({1: 3}, Seeds(), monkeypatch)

    with pytest.raises(HarnessError, match=r"^seed 1 failed 3 times: ended with signal 9$"):
        unrun.run(place, unrun.plan(range(3)))

    assert pool == []
    assert verify.finished_indices(unrun.plan(range(3)), place) == {0, 2}


def test_no_more_workers_are_started_than_there_are_seeds(
    place: Workspace, pool: list[Worker], monkeypatch: pytest.MonkeyPatch
):
    breaking({}, Seeds(), monkeypatch)
    asked: list[int] = []
    start = workers.start

    def counted(source: Source, count: int) -> list[Worker]:
        asked.append(count)
        return start(source, count)

    monkeypatch.setattr(workers, "start", counted)

    unrun.run(place, unrun.plan(range(2), workers=8))

    assert asked == [2]


def interrupt_at(index: int) -> Callable[[Job], None]:
    """Return what is called with a job and presses Ctrl-C at that seed."""

    def watch(job: Job) -> None:
        if job.seed_index == index:
            raise KeyboardInterrupt

    return watch
