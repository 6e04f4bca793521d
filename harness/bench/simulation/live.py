"""The same methods on real trainings: processes instead of a table, the machine's clock instead of a simulated one.

Asking a method takes its time here. When all repeats have ended every network that was an answer is judged on fresh
seeds of its own, which is on nobody's clock.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.bench.methods.external_method import Limits
from harness.bench.methods.method import Method
from harness.bench.methods.task import SearchTask
from harness.bench.results.comparison import Judged
from harness.bench.results.trace import Trace
from harness.bench.simulation.replay import run_repeat
from harness.evidence.verification.seed_training import train_one_by_one
from harness.search.effort import Effort
from harness.system import statistics
from harness.training.result import Result
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers.executor import ExecutorOf, Processes
from harness.training.workers.parallelism import Parallelism
from harness.training.workers.workers import Event, Source
from search_spaces.architecture import Architecture

# Checkpoints of a repeat, below the comparison's folder.
WORK = "work"


def live_repeat(
    method: Method,
    task: SearchTask,
    source: Source,
    effort: Effort,
    seed: int,
    repeat: int,
    limits: Limits,
    folder: Path,
    executor_of: ExecutorOf = Processes,
) -> Trace:
    """Run one repeat on this machine.

    Raises:
        DataError: the data went away.
        MethodError: a method of somebody else's misbehaved.
    """
    place = folder / WORK / f"{method.name}-{repeat}"
    executor = executor_of(source, effort.limits)
    try:
        return run_repeat(method, task, executor, seed, repeat, limits, place, effort)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def judged(
    traces: Iterable[Trace],
    task: SearchTask,
    source: Source,
    effort: Effort,
    seeds: int,
    folder: Path,
    on_event: Callable[[Event], None] = lambda event: None,
    executor_of: ExecutorOf = Processes,
) -> Judged:
    """Train every network that was an answer on so many fresh seeds and return their means."""
    answers = {answer.hash: answer for trace in traces for answer in trace.answers if answer.hash is not None}
    jobs = [
        _job(task, effort, answer.architecture, index, folder)
        for answer in answers.values()
        if answer.architecture is not None
        for index in range(seeds)
    ]
    results = list(train_one_by_one(jobs, executor_of(source, effort.limits), Parallelism(task.workers), on_event))
    accuracies = {key: _mean_pct(results, key) for key in answers}
    reaching = [
        answer.parameters
        for key, answer in answers.items()
        if answer.parameters is not None and statistics.reaches(accuracies[key], task.target_pct)
    ]
    return Judged(accuracies_pct=dict(sorted(accuracies.items())), smallest=min(reaching, default=None))


def _job(task: SearchTask, effort: Effort, architecture: Architecture, index: int, folder: Path) -> Job:
    return Job(
        architecture=architecture,
        recipe=task.recipe,
        recipe_name=task.recipe_name,
        purpose=Purpose.BENCH,
        seed_index=index,
        device=effort.device,
        engine=effort.engine,
        teachers=folder / WORK / ".teachers",
    )


def _mean_pct(results: Sequence[Result], network_hash: str) -> float:
    """Return the mean of a network's runs; one that diverged has the accuracy that it has."""
    return statistics.mean([found.validation_accuracy_pct or 0.0 for found in results if found.hash == network_hash])
