"""The parallelism by invented rates; the rate by real processes, on the processor that every machine has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.system.errors import HarnessError
from harness.training.recipe import Recipe
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import gpu_workers, workers
from harness.training.workers.gpu_workers import best_count, best_parallelism, measured_parallelism
from harness.training.workers.parallelism import Parallelism
from harness.training.workers.workers import Source, Worker
from search_spaces.language.notation import parse_network

EMBEDDED = Source("mnist-5k", None)


def small_job(device: str, index: int) -> Job:
    return Job(
        architecture=parse_network("conv3x3(2, stride=2) relu | maxpool(4) | gap | linear(10)"),
        recipe=Recipe(epochs=gpu_workers.EPOCHS, batch_size=500),
        recipe_name="toy",
        purpose=Purpose.REFERENCE,
        seed_index=index,
        device=device,
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Worker]]:
    """Small jobs, at most two of them a process; all workers that were started."""
    monkeypatch.setattr(gpu_workers, "_job", small_job)
    monkeypatch.setattr(gpu_workers, "MOST_SIDE_BY_SIDE", 2)
    started: list[Worker] = []
    start: Callable[[Source, int], list[Worker]] = workers.start_process

    def seen(source: Source, lanes: int) -> list[Worker]:
        started.extend(group := start(source, lanes))
        return group

    monkeypatch.setattr(workers, "start_process", seen)
    yield started
    assert not any(worker.process.is_alive() for worker in started)


def test_the_number_is_doubled_while_the_throughput_rises():
    rates = {1: 100.0, 2: 190.0, 4: 300.0, 8: 310.0, 16: 900.0}
    tried: list[int] = []

    def rate(count: int) -> float:
        tried.append(count)
        return rates[count]

    assert best_count(rate, 16) == 4
    assert tried == [1, 2, 4, 8]


def test_no_more_are_tried_than_are_allowed():
    assert best_count(lambda count: 100.0 * count, 6) == 4


def test_those_that_break_for_lack_of_memory_are_too_many():
    assert best_count(lambda count: 0.0 if count > 2 else 100.0 * count, 16) == 2


def test_where_one_cannot_train_no_more_are_tried():
    assert best_count({1: 0.0}.__getitem__, 16) == 1


def test_one_process_is_filled_before_another_is_tried():
    rates = {
        Parallelism(1, 1): 100.0,
        Parallelism(1, 2): 200.0,
        Parallelism(1, 4): 320.0,
        Parallelism(1, 8): 330.0,
        Parallelism(2, 4): 400.0,
        Parallelism(4, 4): 401.0,
    }

    assert best_parallelism(rates.__getitem__, 64) == (Parallelism(2, 4), rates)


def test_where_nothing_trains_no_second_process_is_tried():
    assert best_parallelism(lambda parallelism: 0.0, 64) == (Parallelism(1), {Parallelism(1): 0.0})


def test_the_rate_is_measured_with_real_processes(small: list[Worker]):
    parallelism, rates = measured_parallelism(EMBEDDED, "cpu", processes=1)

    assert parallelism in (Parallelism(1), Parallelism(1, 2))
    assert list(rates) == [Parallelism(1), Parallelism(1, 2)]
    assert all(rate > 0 for rate in rates.values())
    assert len({worker.process for worker in small}) == 1


def test_a_device_on_which_nothing_trains_is_an_error(small: list[Worker]):
    with pytest.raises(HarnessError, match="no process can train on cuda:99"):
        measured_parallelism(EMBEDDED, "cuda:99", processes=4)
