"""Two workers in one real process: what happens to one job is no affair of the other, unless the process ends."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from harness.training.recipe import Recipe
from harness.training.result import Status
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import workers
from harness.training.workers.workers import Broken, Event, Finished, Limits, Progress, Source, Worker
from search_spaces.architecture import Architecture
from search_spaces.language.notation import parse_network

JOB = Job(
    architecture=parse_network("conv3x3(2, stride=2) relu dropout(0.1) | maxpool(4) | gap | linear(10)"),
    recipe=Recipe(epochs=2, batch_size=500, augmented_share=0.0),
    recipe_name="toy",
    purpose=Purpose.SEARCH,
    seed_index=0,
)
OTHER = replace(JOB, architecture=parse_network("avgpool(4) linear(10)"), seed_index=1)
ENDLESS = replace(JOB, recipe=replace(JOB.recipe, epochs=100_000))
PATIENT = Limits(seconds=600)


class Crash:
    """Ends the process that unpickles it, as a fault in a library would."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (7,)


@pytest.fixture(scope="module")
def pool() -> Iterator[list[Worker]]:
    made = workers.start(Source("mnist-5k", None), 2, side_by_side=2)
    yield made
    workers.stop(made)


def events_until_idle(pool: list[Worker], *watched: Worker) -> list[Event]:
    events: list[Event] = []
    while any(worker.job is not None for worker in watched or pool):
        events += workers.poll(pool, PATIENT, timeout=5.0)
    return events


def first_progress(pool: list[Worker]) -> None:
    while not any(isinstance(event, Progress) for event in workers.poll(pool, PATIENT, timeout=5.0)):
        pass


def digests(events: list[Event]) -> dict[Architecture, str | None]:
    return {
        event.job.architecture: event.result.weights_sha256
        for event in events
        if isinstance(event, Finished) and event.result.status is Status.COMPLETE
    }


def test_two_jobs_of_one_process_end_as_each_does_alone(pool: list[Worker]):
    alone: dict[Architecture, str | None] = {}
    for job in (JOB, OTHER):
        workers.assign(pool[0], job)
        alone |= digests(events_until_idle(pool))

    workers.assign(pool[0], JOB)
    workers.assign(pool[1], OTHER)
    together = events_until_idle(pool)

    assert digests(together) == alone
    assert len(alone) == 2
    for job in (JOB, OTHER):
        assert [event.epoch.epoch for event in together if isinstance(event, Progress) and event.job == job] == [1, 2]
    assert pool[0].process is pool[1].process


def test_a_job_over_its_time_is_stopped_and_the_one_beside_it_goes_on(pool: list[Worker]):
    process = pool[0].process
    workers.assign(pool[0], ENDLESS)
    first_progress(pool)
    workers.assign(pool[1], OTHER)
    pool[0].since -= 1000

    (event,) = [event for event in workers.poll(pool, Limits(seconds=999), timeout=0.0) if isinstance(event, Broken)]
    assert event.status is Status.TIMED_OUT
    assert re.fullmatch(r"still training after 1\d\d\d s; 999 allowed", event.message)
    assert pool[0].job is None
    # The lane takes a job at once, and begins with it when it has left the other.
    workers.assign(pool[0], JOB)

    assert set(digests(events_until_idle(pool))) == {JOB.architecture, OTHER.architecture}
    assert pool[0].process is process
    assert pool[0].stopping is None


def test_a_job_that_is_abandoned_says_nothing_any_more(pool: list[Worker]):
    process = pool[0].process
    workers.assign(pool[0], ENDLESS)
    first_progress(pool)

    workers.abandon(pool[0])
    assert pool[0].job is None
    workers.assign(pool[1], OTHER)
    events = events_until_idle(pool)

    assert {event.job for event in events} == {OTHER}
    assert pool[0].process is process


def test_when_the_process_ends_all_its_jobs_have_crashed_and_a_fresh_one_does_them(pool: list[Worker]):
    process = pool[0].process
    workers.assign(pool[1], ENDLESS)
    first_progress(pool)
    workers.assign(pool[0], replace(JOB, study=Crash()))  # type: ignore[arg-type]  # that is the crash

    events = [event for event in events_until_idle(pool) if not isinstance(event, Progress)]

    message = "the worker process ended with exit code 7 (2 runs side by side)"
    assert [(type(event), getattr(event, "message", "")) for event in events] == [(Broken, message)] * 2
    assert {event.status for event in events if isinstance(event, Broken)} == {Status.CRASHED}
    assert {event.job.architecture for event in events} == {JOB.architecture}
    assert pool[0].process is pool[1].process
    assert pool[0].process is not process
    workers.assign(pool[1], OTHER)
    assert set(digests(events_until_idle(pool))) == {OTHER.architecture}


def test_where_memory_runs_out_nobody_knows_whose_fault_it_was(pool: list[Worker]):
    for worker in pool:
        workers.assign(worker, ENDLESS)
    first_progress(pool)

    events = [event for event in workers.poll(pool, Limits(memory_mb=1), 0.0) if isinstance(event, Broken)]

    assert {event.status for event in events} == {Status.CRASHED}
    assert len(events) == 2
    assert events[0].message.endswith(" MiB; 2 MiB allowed (2 runs side by side)")


def test_a_lane_that_does_not_stop_loses_the_process(pool: list[Worker], monkeypatch: pytest.MonkeyPatch):
    process = pool[0].process
    workers.assign(pool[1], OTHER)
    # As if it had been asked long ago.
    pool[0].stopping = -1000.0

    events = [event for event in workers.poll(pool, PATIENT, 0.0) if not isinstance(event, Progress)]

    assert events == [Broken(OTHER, Status.CRASHED, "a run beside it did not stop within 30 s")]
    assert pool[0].process is not process
    assert pool[0].stopping is None


def test_workers_are_divided_among_processes(monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []

    def start_process(source: Source, lanes: int) -> list[Worker]:
        sizes.append(lanes)
        return []

    monkeypatch.setattr(workers, "start_process", start_process)

    workers.start(Source("mnist-5k", None), 5, side_by_side=2)
    workers.start(Source("mnist-5k", None), 3)

    assert sizes == [2, 2, 1, 1, 1, 1]
