"""Trainings whose validation errors are kept, a line each; what is on file is not trained again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from benchmarks.sources import DATASET, Recorded, recorded
from benchmarks.stratified import Planned
from harness.evidence.study import finished_results, read_config
from harness.system import files
from harness.system.errors import HarnessError
from harness.training import workers
from harness.training.recipe import named_recipe
from harness.training.result import PROTOCOL_VERSION, Purpose, Result, Status, derive_seed
from harness.training.run import Job
from harness.training.workers import Broken, Finished, Limits, Source
from search_spaces.notation import parse_network

RECIPE = "small"
WORKERS = 2
# Seed 0 of the purpose `reference`, by which the networks of other measurements are trained too.
SEED = 0


def record(planned: Iterable[Planned], folder: Path | None, path: Path) -> None:
    """Train what is not on file, two processes at a time, and append each run to ``path`` when it has ended.

    A training that breaks or diverges is named on stderr and left out.

    Raises:
        HarnessError: the first training broke, so that the others would too.
        ContentError: ``path`` holds something else than a recording.
    """
    _drop_torn_line(path)
    reference = (RECIPE, SEED, Purpose.REFERENCE)
    done = {(line.hash, line.epochs) for line in _on_file(path) if (line.recipe, line.seed, line.purpose) == reference}
    waiting = [job for job in map(_job, planned) if (job.architecture.hash, job.recipe.epochs) not in done]
    print(f"{len(waiting):,} trainings are not on file", flush=True)
    if not waiting:
        return
    finished = 0
    pool = workers.start(Source(DATASET, folder), min(WORKERS, len(waiting)))
    try:
        while waiting or any(worker.job for worker in pool):
            for worker in pool:
                if worker.job is None and waiting:
                    workers.assign(worker, waiting.pop(0))
            for event in workers.poll(pool, Limits(), 1.0):
                if isinstance(event, Finished):
                    finished += 1
                    _keep(event.result, path)
                elif isinstance(event, Broken):
                    if not finished:
                        raise HarnessError(f"{event.job.architecture}: {event.message}")
                    print(f"broken: {event.job.architecture}: {event.message}", file=sys.stderr, flush=True)
    finally:
        workers.stop(pool)


def keep(studies: Iterable[Path], path: Path) -> int:
    """Append the whole trainings of searches that are not on file, with the errors at their end; return their number.

    All that came to their end, whatever came of them: a choice by the errors would make a model of them too hopeful.
    Pruned ones have no errors at the end and are missing, so what a model learns of such networks is somewhat hopeful.
    Only those on the fixed 50,000 images of mnist by the recipe ``small`` but for its epochs; a verification has other
    images.

    Raises:
        ContentError: a folder is no study, or ``path`` holds something else than a recording.
    """
    _drop_torn_line(path)
    done = {(line.hash, line.epochs, line.drawn_by) for line in _on_file(path)}
    before = len(done)
    for folder in studies:
        config = read_config(folder)
        if config.protocol_version != PROTOCOL_VERSION:
            continue
        for run in finished_results(folder):
            # Searches of before their seeds were a hash of their configuration had the study's own.
            drawn = derive_seed(run.hash, run.recipe_hash, run.purpose, run.seed_index, config.run_seed)
            line = _line(run, study_seed=config.run_seed if run.seed == drawn else config.seed)
            key = (run.hash, run.recipe.epochs, line.drawn_by)
            if _is_whole(run) and key not in done:
                files.append_line(path, json.dumps(asdict(line), allow_nan=False))
                done.add(key)
    return len(done) - before


def _is_whole(run: Result) -> bool:
    by_small = run.recipe == named_recipe(RECIPE, epochs=run.recipe.epochs).recipe
    searched = run.dataset == DATASET and run.purpose in (Purpose.SEARCH, Purpose.CONFIRM)
    return searched and by_small and run.status is Status.COMPLETE and run.validation_errors is not None


def _job(planned: Planned) -> Job:
    recipe = named_recipe(RECIPE, epochs=planned.epochs)
    return Job(
        architecture=parse_network(planned.architecture),
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        purpose=Purpose.REFERENCE,
        seed_index=SEED,
        engine="native",
    )


def _keep(run: Result, path: Path) -> None:
    if run.status is not Status.COMPLETE or run.validation_errors is None:
        print(f"{run.status}: {run.architecture}: {run.message}", file=sys.stderr, flush=True)
        return
    line = _line(run)
    files.append_line(path, json.dumps(asdict(line), allow_nan=False))
    print(f"{line.epochs} epochs, {line.parameters:,} parameters: {line.errors} errors, {line.seconds} s", flush=True)


def _line(run: Result, study_seed: int = 0) -> Recorded:
    return Recorded(
        hash=run.hash,
        recipe=RECIPE,
        epochs=run.recipe.epochs,
        seed=run.seed_index,
        parameters=run.parameters,
        macs=run.macs,
        errors=run.validation_errors,
        seconds=round(run.train_seconds, 1),
        network=str(run.architecture),
        purpose=run.purpose,
        study_seed=study_seed,
    )


def _on_file(path: Path) -> tuple[Recorded, ...]:
    return recorded(path) if path.exists() else ()


def _drop_torn_line(path: Path) -> None:
    """Take away a last line that has no end: what wrote it was killed, and its run is trained again."""
    if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        files.write_bytes(path, content[: content.rfind(b"\n") + 1])
