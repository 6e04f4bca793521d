"""How the seeds of a verification are trained: in worker processes, or all at once on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Generator

from harness.data.training_images import load
from harness.system.errors import DeviceError, HarnessError
from harness.training.result import Result
from harness.training.run import Job, TrainingData, execute_together
from harness.training.workers import Broken, Event, Executor, Finished, Source

RETRIES = 2
# Seeds that train at once; more would only ask for more memory.
MOST_TOGETHER = 32


def train_one_by_one(
    waiting: list[Job], executor: Executor, workers: int, on_event: Callable[[Event], None]
) -> Generator[Result, None, None]:
    """Train what is waiting, which the caller may empty, on so many workers, and yield each result as it comes.

    Raises:
        HarnessError: a seed broke its worker three times.
    """
    if not waiting:
        return
    broken: dict[int, int] = {}
    try:
        executor.start(min(workers, len(waiting)))
        while waiting or any(executor.jobs.values()):
            for place, running in executor.jobs.items():
                if running is None and waiting:
                    executor.assign(place, waiting.pop(0))
            for event in executor.poll(timeout=1.0):
                on_event(event)
                if isinstance(event, Finished):
                    yield event.result
                elif isinstance(event, Broken):
                    index = event.job.seed_index
                    broken[index] = broken.get(index, 0) + 1
                    if broken[index] > RETRIES:
                        raise HarnessError(f"seed {index} failed {broken[index]} times: {event.message}")
                    waiting.append(event.job)
    finally:
        executor.stop()


def train_together(
    waiting: list[Job], source: Source, on_event: Callable[[Event], None]
) -> Generator[Result, None, None]:
    """Train what is waiting, seeds of one network and recipe, many at once in this process; yield their results.

    Raises:
        DeviceError: the GPU's memory is too small, or it refuses the captured step.
    """
    loaded = TrainingData.of(load(source.dataset, source.folder)) if waiting else None
    while waiting and loaded is not None:
        jobs = waiting[:MOST_TOGETHER]
        del waiting[:MOST_TOGETHER]
        try:
            results = execute_together(jobs, loaded)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            message = f"{len(jobs)} seeds cannot be trained together: {reason}"
            raise DeviceError(message, hint="--engine torch trains them one after the other") from error
        for job, found in zip(jobs, results, strict=True):
            on_event(Finished(job, found))
            yield found
