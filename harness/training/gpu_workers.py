"""How many processes train side by side on a GPU: as many as still raise the throughput, found by measuring.

A tiny network leaves a GPU idle between its kernels, so several processes share it well, up to a number that depends
on the GPU, its driver and the processor that feeds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.data.datasets import dataset
from harness.errors import HarnessError
from harness.training import workers
from harness.training.recipe import Recipe
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import Broken, Limits, Source, Worker
from search_spaces.catalog import preset

# Twice the processes must bring at least this much more, or the smaller number stays.
LEAST_GAIN = 1.15
NETWORK = "anchor3762"
EPOCHS = 2
LIMITS = Limits(seconds=600.0, memory_mb=float("inf"))


def best_count(images_a_second: Callable[[int], float], most: int) -> tuple[int, dict[int, float]]:
    """Return the number of processes, and the rate at each number that was tried: 1, 2, 4 and so on up to ``most``.

    Args:
        images_a_second: measures the rate of so many processes together; 0 where they cannot train.
    """
    rates: dict[int, float] = {}
    best, count = 1, 1
    while count <= most:
        rates[count] = images_a_second(count)
        if not rates[count] or (count > 1 and rates[count] < LEAST_GAIN * rates[best]):
            break
        best, count = count, 2 * count
    return best, rates


def measured_count(source: Source, device: str, most: int) -> tuple[int, dict[int, float]]:
    """Measure with real processes that train a reference network, and return as ``best_count`` does.

    Raises:
        DataError: the data cannot be loaded.
        HarnessError: not even one process can train.
    """
    pool: list[Worker] = []
    try:
        found, rates = best_count(lambda count: _rate(pool, source, device, count), most)
    finally:
        workers.stop(pool)
    if not rates.get(1):
        raise HarnessError(f"no process can train on {device}", hint="--device cpu, or --workers 1 to see why")
    return found, rates


def _rate(pool: list[Worker], source: Source, device: str, count: int) -> float:
    """Return images a second of ``count`` processes side by side; 0 where one of them breaks."""
    fresh = [workers.start_worker(source) for _ in range(count - len(pool))]
    pool += fresh
    # The first job of a process loads the data and starts the device.
    if _seconds(fresh, device) is None or (seconds := _seconds(pool, device)) is None:
        return 0.0
    return count * EPOCHS * dataset(source.dataset).train_size / seconds


def _seconds(pool: list[Worker], device: str) -> float | None:
    """Return how long all processes of a pool take for a job each, begun together; None where one breaks."""
    began = time.monotonic()
    for index, worker in enumerate(pool):
        workers.assign(worker, _job(device, index))
    while any(worker.job is not None for worker in pool):
        if any(isinstance(event, Broken) for event in workers.poll(pool, LIMITS, timeout=1.0)):
            return None
    return time.monotonic() - began


def _job(device: str, index: int) -> Job:
    return Job(
        architecture=preset(NETWORK).text,
        recipe=Recipe(epochs=EPOCHS),
        recipe_name="workers",
        purpose=Purpose.REFERENCE,
        seed_index=index,
        device=device,
    )
