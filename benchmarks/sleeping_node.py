"""A node of a cluster whose workers sleep instead of training. All else is real: Ray, messages, processes, limits.

So the processor of one machine can serve several such nodes, and what a cluster costs besides training shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.simulated_search import MINUTE, MadeUp
from harness.bench.simulation.clock import result_of
from harness.system import files
from harness.training.cluster.message import Terms
from harness.training.cluster.ray_link import NodeActor
from harness.training.result import Result
from harness.training.run import Job
from harness.training.workers import lanes, workers
from harness.training.workers.lanes import Source

# A whole training; the state that a network of some thousand parameters has at a rung.
TRAINING_SECONDS = 10.0
STATE_BYTES = 40_000


def slept(found: Result) -> float:
    """Return how long a training has slept for a result."""
    return found.train_seconds * TRAINING_SECONDS / MINUTE


def sleep(job: Job, loaded: object, on_epoch: object = None, on_step: Callable[[], None] | None = None) -> Result:
    """Do as ``harness.training.run.execute`` does, with a made-up result, in its time."""
    found = result_of(job, MadeUp().read(job, 0))
    time.sleep((found.train_seconds - job.spent_seconds) * TRAINING_SECONDS / MINUTE)
    if job.checkpoint is not None:
        files.write_bytes(job.checkpoint, bytes(STATE_BYTES))
    return found


def serve(pipe: Connection, source: Source, count: int, parent: int) -> None:
    """Do as a worker process does, asleep."""
    vars(lanes)["execute"] = sleep
    lanes.serve(pipe, source, count, parent)


class SleepingActor(NodeActor):
    """A node as Ray starts it, whose workers sleep."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        parts: dict[str, Any] = vars(workers)
        parts["serve"] = serve
