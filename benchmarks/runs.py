"""Runs for measurements: what is on file is kept, what is missing is trained, one single-threaded process a core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.system import files
from harness.system.document import read_as
from harness.system.errors import HarnessError
from harness.system.files import TEACHERS
from harness.system.machine import core_count
from harness.training import workers
from harness.training.native.native import TORCH, load
from harness.training.result import Result, code_version, instructions, to_document
from harness.training.run import Job
from harness.training.workers import Broken, Finished, Limits, Source


def trained(jobs: Sequence[Job], folder: Path | None, path: Path) -> list[Result]:
    """Return the results of all jobs in their order; ``path`` holds those of earlier calls and gains the new ones.

    Only runs of this commit, this machine's instruction set and this build of the engine are taken from the file; the
    others stay there.

    Raises:
        HarnessError: a worker broke.
    """
    here = (code_version()[0], instructions())
    native = load().name
    kept = _on_file(path)
    found = {
        _key(run): run
        for run in kept
        if (environment := run.environment) is not None
        and (environment.commit, environment.instructions) == here
        and environment.engine in (native, TORCH)
    }
    waiting = [job for job in jobs if _job_key(job) not in found]
    if waiting:
        pool = workers.start(Source("mnist", folder), min(len(waiting), core_count()))
        try:
            while waiting or any(worker.job for worker in pool):
                for worker in pool:
                    if worker.job is None and waiting:
                        workers.assign(worker, replace(waiting.pop(0), teachers=path.parent / TEACHERS))
                for event in workers.poll(pool, Limits(), 1.0):
                    if isinstance(event, Finished):
                        found[_key(event.result)] = event.result
                        kept.append(event.result)
                        files.write_json(path, [to_document(run) for run in kept])
                        print(_text(event.result), flush=True)
                    elif isinstance(event, Broken):
                        raise HarnessError(f"{event.job.recipe_name}, seed {event.job.seed_index}: {event.message}")
        finally:
            workers.stop(pool)
    return [found[_job_key(job)] for job in jobs]


def _on_file(path: Path) -> list[Result]:
    return read_as(list[Result], path.read_bytes(), str(path)) if path.exists() else []


def _key(run: Result) -> tuple[str, str, str, int, str]:
    engine = run.environment.engine.partition(" ")[0] if run.environment else ""
    return (run.hash, run.recipe_hash, run.purpose, run.seed_index, engine)


def _job_key(job: Job) -> tuple[str, str, str, int, str]:
    return (job.architecture.hash, job.recipe.hash, job.purpose, job.seed_index, job.engine)


def _text(run: Result) -> str:
    accuracy = run.validation_accuracy_pct if run.test_errors is None else run.test_accuracy_pct
    what = f"{run.recipe_name}, {run.parameters:,} parameters, seed {run.seed_index}"
    return f"{what}: {accuracy} %, {run.train_seconds:.0f} s"
