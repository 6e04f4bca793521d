"""The count by invented rates; the rate by real processes, on the processor that every machine has."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.training import gpu_workers
from harness.training.gpu_workers import best_count, measured_count
from harness.training.recipe import Recipe
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import Source

EMBEDDED = Source("mnist-5k", None)


def small_job(device: str, index: int) -> Job:
    return Job(
        architecture="conv3x3(2, stride=2) relu | maxpool(4) | gap | linear(10)",
        recipe=Recipe(epochs=gpu_workers.EPOCHS, batch_size=500),
        recipe_name="toy",
        purpose=Purpose.REFERENCE,
        seed_index=index,
        device=device,
    )


def test_processes_are_doubled_while_the_throughput_rises():
    rates = {1: 100.0, 2: 190.0, 4: 300.0, 8: 310.0, 16: 900.0}

    assert best_count(rates.__getitem__, 16) == (4, {1: 100.0, 2: 190.0, 4: 300.0, 8: 310.0})


def test_no_more_processes_are_tried_than_there_are_cores():
    assert best_count(lambda count: 100.0 * count, 6) == (4, {1: 100.0, 2: 200.0, 4: 400.0})


def test_processes_that_break_for_lack_of_memory_are_too_many():
    assert best_count(lambda count: 0.0 if count > 2 else 100.0 * count, 16)[0] == 2


def test_where_one_process_cannot_train_no_more_are_tried():
    assert best_count(lambda count: 0.0, 16) == (1, {1: 0.0})


def test_the_rate_is_measured_with_real_processes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu_workers, "_job", small_job)

    count, rates = measured_count(EMBEDDED, "cpu", most=2)

    assert count in (1, 2)
    assert set(rates) == {1, 2}
    assert all(rate > 0 for rate in rates.values())


def test_a_device_on_which_nothing_trains_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu_workers, "_job", small_job)

    with pytest.raises(HarnessError, match="no process can train on cuda:99"):
        measured_count(EMBEDDED, "cuda:99", most=4)
