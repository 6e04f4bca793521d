"""A recording in progress: what it would take, and its runs through workers, rung by rung, until all have ended."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.bench.recording import (
    Key,
    Prepared,
    checkpoint_path,
    finished_runs,
    keys_of,
    open_recording,
    run_path,
    table_of,
)
from harness.bench.table import Table, engine_kind
from harness.data.datasets import dataset
from harness.evidence import study
from harness.search.clock import PACES, Timing, add_timing, slowdown, taught, training_seconds
from harness.search.features import work
from harness.system.errors import HarnessError
from harness.system.terminal import duration_text
from harness.training import result
from harness.training.cluster.cluster import Asked, Kinds, joined_by
from harness.training.cluster.ray_link import Link
from harness.training.progress import Reporter
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from harness.training.workers import Broken, Executor, ExecutorOf, Finished, Limits, Processes

RETRIES = 2


def plan_document(ready: Prepared, ended: Mapping[Key, Result]) -> dict[str, Any]:
    """Return what a recording is and what is left of it, of which these runs have ended; hashes stand for what is long.

    The estimate is of training on one core, with the recording's workers side by side; runs that have ended here
    correct it.
    """
    recording, chosen = ready.recording, ready.chosen
    data = dataset(recording.dataset)
    pace = taught(PACES[engine_kind(recording.machine)], recording.recipe, data.task)
    timing = Timing(data.train_size, pace)
    for run in ended.values():
        add_timing(timing, run, work(run.architecture, data.task))
    slow = slowdown(timing)
    keys = keys_of(recording, ended)
    left = Counter(network for network, key in keys if key not in ended)
    epochs, workers = recording.recipe.epochs, recording.machine.workers
    seconds = sum(
        count * training_seconds(epochs, data.train_size, work(network, data.task), pace)
        for network, count in left.items()
    )
    sizes = sorted(network.parameters for network in chosen.networks)
    return {
        "name": recording.name,
        "space": recording.space_name,
        "networks": len(recording.networks),
        "considered": chosen.considered,
        "enumerated": chosen.enumerated,
        "parameters": {"low": sizes[0], "median": statistics.median(sizes), "high": sizes[-1]},
        "mean_macs": statistics.fmean(network.macs for network in chosen.networks),
        "seeds": recording.seeds,
        "near": None if recording.near is None else asdict(recording.near),
        "rungs": list(recording.rungs),
        "recipe": recording.recipe_name,
        "recipe_hash": recording.recipe.hash,
        "dataset": recording.dataset,
        "runs": len(keys),
        "ended": len(keys) - left.total(),
        "workers": workers,
        "engine": recording.machine.environment.engine,
        "estimated_seconds_left": seconds * (slow or 1.0) / workers,
        "estimate_is_measured": slow is not None,
    }


def plan_text(ready: Prepared, plan: Mapping[str, Any]) -> str:
    """Return the plan for people."""
    recording, near = ready.recording, ready.recording.near
    if plan["enumerated"] and plan["networks"] == plan["considered"]:
        chosen = f"all {plan['networks']:,} networks of the space"
    else:
        source = "distinct networks" if plan["enumerated"] else "distinct draws"
        chosen = f"{plan['networks']:,} of {plan['considered']:,} {source} from the space"
    limit = "" if recording.sample.budget is None else f" of at most {recording.sample.budget:,} parameters"
    more = "" if near is None else f", then {near.seeds} within {near.within_pct:g} points of {near.target_pct:g} %"
    sizes, guess = plan["parameters"], "measured here" if plan["estimate_is_measured"] else "a guess"
    return "\n".join(
        (
            f"table {plan['name']}: {chosen} {plan['space']!r}{limit}",
            f"  {sizes['low']:,} to {sizes['high']:,} parameters, median {sizes['median']:,.0f}; "
            f"{plan['mean_macs']:,.0f} multiply-adds in the mean",
            f"  {plan['seeds']} seeds each{more}, {plan['dataset']}, recipe {plan['recipe']} "
            f"({recording.recipe.epochs} epochs, batch {recording.recipe.batch_size}), validated after epochs "
            f"{', '.join(map(str, plan['rungs']))}; the test set is not read",
            f"  {plan['runs']:,} runs, {plan['ended']:,} of them ended; {plan['workers']} at a time on "
            f"{recording.machine.processor} ({plan['engine']})",
            f"  about {duration_text(plan['estimated_seconds_left'])} left, {guess}",
        )
    )


def on_cluster(ready: Prepared, link: Link) -> ExecutorOf:
    """Return what trains a recording on a cluster: nodes such as the machine that the table names, each as busy.

    Raises:
        DeviceError: no node has anything to offer.
    """
    machine = ready.recording.machine
    asked = Asked(device=str(ready.device), engine=engine_kind(machine), processes=machine.workers, kinds=Kinds.OURS)
    return joined_by(link, asked)


def record(
    folder: Path, ready: Prepared, teachers: Path, reporter: Reporter, executor_of: ExecutorOf = Processes
) -> Table:
    """Train what is left of a recording and return its table; each run that ends leaves its result.

    Raises:
        ContentError: the folder holds another recording.
        HarnessError: a run broke its worker three times.
        DataError: the data went away.
    """
    recording = ready.recording
    study.mend(folder)
    open_recording(folder, recording)
    while True:
        ended = finished_runs(folder, recording)
        keys = keys_of(recording, ended)
        waiting = [
            Job(
                architecture=network,
                recipe=recording.recipe,
                recipe_name=recording.recipe_name,
                purpose=Purpose.BENCH,
                seed_index=key[1],
                device=str(ready.device),
                engine=engine_kind(recording.machine),
                until_epoch=recording.rungs[0],
                checkpoint=checkpoint_path(folder, key),
                teachers=teachers,
                study=recording.name,
            )
            for network, key in keys
            if key not in ended
        ]
        if not waiting:
            return table_of(recording, ended)
        # Once all have their first runs, those near the target are due.
        reporter.show(total=len(keys))
        _train_all(folder, ready, waiting, reporter, executor_of(ready.source, Limits()))


def _train_all(folder: Path, ready: Prepared, waiting: list[Job], reporter: Reporter, executor: Executor) -> None:
    rungs, broken = ready.recording.rungs, Counter[Key]()
    try:
        executor.start(min(ready.recording.machine.workers, len(waiting)))
        while waiting or any(executor.jobs.values()):
            for place, running in executor.jobs.items():
                if running is None and waiting:
                    executor.assign(place, waiting.pop(0))
            for event in executor.poll(timeout=1.0):
                job = event.job
                key = (job.architecture.hash, job.seed_index)
                assert job.checkpoint is not None, "every run of a recording keeps its state"
                if isinstance(event, Finished) and event.result.status is Status.RUNNING:
                    until = next(rung for rung in rungs if rung > len(event.result.history))
                    spent = event.result.train_seconds
                    waiting.insert(0, replace(job, until_epoch=until, spent_seconds=spent))
                elif isinstance(event, Finished):
                    result.write(run_path(folder, key), event.result)
                    job.checkpoint.unlink(missing_ok=True)
                    reporter.advance()
                elif isinstance(event, Broken):
                    broken[key] += 1
                    told = f"seed {job.seed_index} of {job.architecture}"
                    if broken[key] > RETRIES:
                        raise HarnessError(
                            f"{told} failed {broken[key]} times: {event.message}",
                            hint="finished trainings are kept; the same command continues",
                        )
                    if broken[key] == RETRIES:
                        job.checkpoint.unlink(missing_ok=True)
                    reporter.say(f"{told}: {event.message}; it is run again")
                    waiting.append(replace(job, until_epoch=rungs[0], spent_seconds=0.0))
    finally:
        executor.stop()
