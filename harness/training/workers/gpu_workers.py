"""How many networks train at once on a GPU: as many as still raise the throughput, found by measuring.

A tiny network leaves a GPU idle between its kernels, so several share it well, up to a number that depends on the GPU,
its driver and the processor that feeds it. First in one process, where they run next to each other; processes only take
turns on the GPU, but each has an interpreter of its own to feed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from harness.data.datasets import dataset
from harness.system.errors import HarnessError
from harness.training.recipe import Recipe
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import workers
from harness.training.workers.parallelism import MOST_SIDE_BY_SIDE, Parallelism
from harness.training.workers.workers import Broken, Limits, Source, Worker
from search_spaces.catalog import preset
from search_spaces.language.notation import parse_network

# Twice as many must bring at least this much more, or the smaller number stays.
LEAST_GAIN = 1.15
NETWORK = "anchor3762"
EPOCHS = 2
LIMITS = Limits(seconds=600.0, memory_mb=float("inf"))


def best_count(images_a_second: Callable[[int], float], most: int) -> int:
    """Return the best number of those that are tried: 1, 2, 4 and so on up to ``most``, until one gains too little.

    Args:
        images_a_second: measures the rate of so many together; 0 where they cannot train.
    """
    best, highest, count = 1, 0.0, 1
    while count <= most and (rate := images_a_second(count)) and rate >= LEAST_GAIN * highest:
        best, highest, count = count, rate, 2 * count
    return best


def best_parallelism(
    images_a_second: Callable[[Parallelism], float], processes: int
) -> tuple[Parallelism, dict[Parallelism, float]]:
    """Return the best parallelism, and the rate of each that was tried: networks in one process, then processes.

    Args:
        images_a_second: measures the rate of a parallelism; 0 where it cannot train.
        processes: at most.
    """
    rates: dict[Parallelism, float] = {}

    def rate(parallelism: Parallelism) -> float:
        if parallelism not in rates:
            rates[parallelism] = images_a_second(parallelism)
        return rates[parallelism]

    side_by_side = best_count(lambda count: rate(Parallelism(1, count)), MOST_SIDE_BY_SIDE)
    best = best_count(lambda count: rate(Parallelism(count, side_by_side)), processes)
    return Parallelism(best, side_by_side), rates


def measured_parallelism(source: Source, device: str, processes: int) -> tuple[Parallelism, dict[Parallelism, float]]:
    """Measure with real processes that train a reference network, and return as ``best_parallelism`` does.

    Raises:
        DataError: the data cannot be loaded.
        HarnessError: not even one network can be trained.
    """
    pool: list[list[Worker]] = []
    try:
        found, rates = best_parallelism(lambda parallelism: _rate(pool, source, device, parallelism), processes)
    finally:
        workers.stop([worker for group in pool for worker in group])
    if not rates[Parallelism(1)]:
        raise HarnessError(f"no process can train on {device}", hint="--device cpu, or --workers 1 to see why")
    return found, rates


def _rate(pool: list[list[Worker]], source: Source, device: str, parallelism: Parallelism) -> float:
    """Return images a second of a parallelism; 0 where one of its workers breaks.

    Args:
        pool: the workers of each process; a process has as many as can ever be asked of it, and gains others beside it.
    """
    while len(pool) < parallelism.processes:
        pool.append(workers.start_process(source, MOST_SIDE_BY_SIDE))
    busy = [worker for group in pool[: parallelism.processes] for worker in group[: parallelism.side_by_side]]
    # The first job of a worker loads the data and starts the device.
    fresh = [worker for worker in busy if not worker.ticket]
    jobs = [_job(device, index) for index in range(len(busy))]
    if seconds_together(fresh, jobs) is None or (seconds := seconds_together(busy, jobs)) is None:
        return 0.0
    return parallelism.workers * EPOCHS * dataset(source.dataset).train_size / seconds


def seconds_together(pool: list[Worker], jobs: Sequence[Job]) -> float | None:
    """Return how long all workers of a pool take for a job each, begun together; None where one breaks."""
    began = time.monotonic()
    # There may be more jobs than workers.
    for worker, job in zip(pool, jobs, strict=False):
        workers.assign(worker, job)
    while any(worker.job is not None for worker in pool):
        if any(isinstance(event, Broken) for event in workers.poll(pool, LIMITS, timeout=1.0)):
            for worker in pool:
                if worker.job is not None:
                    workers.abandon(worker)
            return None
    return time.monotonic() - began


def _job(device: str, index: int) -> Job:
    return Job(
        architecture=parse_network(preset(NETWORK).text),
        recipe=Recipe(epochs=EPOCHS),
        recipe_name="workers",
        purpose=Purpose.REFERENCE,
        seed_index=index,
        device=device,
    )
