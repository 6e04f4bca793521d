"""A comparison on real trainings and the machine's clock; in the end every answer is judged on fresh seeds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.bench import comparison
from harness.bench.comparison import Comparison, Judged, SearchTask, Trace, table_task
from harness.bench.methods import Method
from harness.bench.record import this_machine
from harness.bench.replay import run_repeat
from harness.bench.table import Table
from harness.data.training_images import ImageData, load
from harness.evidence.study import StudyConfig
from harness.search.clock import Effort
from harness.search.race import rungs as search_rungs
from harness.system import statistics
from harness.system.errors import ContentError
from harness.system.machine import choose_device
from harness.system.terminal import duration_text
from harness.training.executor import ExecutorOf, Limits, Source, run_all
from harness.training.native.native import choose_engine
from harness.training.processes import Processes
from harness.training.ray import Asked, Cluster, Kinds, joined_by
from harness.training.recipe import check_batch, named_recipe
from harness.training.result import Purpose
from harness.training.run import Job
from search_spaces.catalog import space as space_of
from search_spaces.notation import parse_space

# Checkpoints of a repeat, below the comparison's folder.
_WORK = "work"


@dataclass(frozen=True, slots=True)
class Running:
    """What trains: the data, the device with its limits, and where: on this machine or on others."""

    source: Source
    effort: Effort
    executor_of: ExecutorOf = Processes

    def on_cluster(self, link: Cluster) -> Running:
        """Return what trains with the nodes of a cluster in its place; only such as this machine, and as many."""
        effort = self.effort
        asked = Asked(device=effort.device, engine=effort.engine, places=effort.workers, kinds=Kinds.OURS)
        return replace(self, executor_of=joined_by(link, asked))


def prepared(given: dict[str, Any], methods: Sequence[Method], table: Table | None) -> tuple[Comparison, Running]:
    """Return the comparison that the options ask for, and what trains for it.

    Args:
        table: where it is given, its task is the comparison's: the same question, answered by trainings.
    """
    data = load(table.facts.dataset if table else given["dataset"], given["folder"])
    if table is not None and data.data_hash != table.facts.data_hash:
        raise ContentError(f"the data in {data.source} are not those that the table {table.facts.name!r} was made of")
    task = table_task(table, given) if table else _asked(given, data)
    device = choose_device(given["device"])
    engine = choose_engine(given["engine"], task.study.recipe, device, parse_space(task.study.space_text).op_types)
    effort = Effort(
        seconds=None, trials=None, workers=task.workers, device=str(device), limits=Limits(), engine=engine.kind
    )
    trainer = engine.engine.name if engine.engine else engine.kind
    named = [method.named(task) for method in methods]
    machine = this_machine(device, data.data_hash, trainer, task.workers)
    return Comparison.of(task, named, given, machine=machine), Running(
        Source(data.dataset.name, given["folder"]), effort
    )


def _asked(given: dict[str, Any], data: ImageData) -> SearchTask:
    recipe, space = named_recipe(given["recipe"]), space_of(given["space"])
    check_batch(recipe.recipe, data.dataset.train_size)
    epochs = recipe.recipe.epochs
    # Halving stops wherever epochs double, as they do in a table.
    doubled = [2**power for power in range(epochs.bit_length()) if 2**power < epochs]
    rungs = tuple(sorted({*doubled, *search_rungs(epochs), epochs}))
    study = StudyConfig(
        dataset=data.dataset.name,
        data_hash=data.data_hash,
        budget=given["budget"] or 20_000,
        target_pct=given["target"],
        threshold_pct=given["target"],
        space=space.name,
        space_text=space.text,
        sampler="random",
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        rungs=rungs,
        seed=0,
    )
    return SearchTask(study=study, seconds=given["seconds"], workers=given["workers"])


def carried_out(
    asked: Comparison,
    methods: Sequence[Method],
    running: Running,
    folder: Path,
    there: Sequence[Trace],
    say: Callable[[str], None],
) -> tuple[list[Trace], Judged]:
    """Run the repeats that are missing, repeat by repeat, and judge all answers."""
    done = {(trace.method, trace.repeat): trace for trace in there}
    for repeat in range(asked.repeats):
        for method in methods:
            if (method.name, repeat) in done:
                continue
            say(f"{method.name}, repeat {repeat + 1} of {asked.repeats}: {duration_text(asked.task.seconds)}")
            place = folder / _WORK / f"{method.name}-{repeat}"
            executor = running.executor_of(running.source, running.effort.limits)
            trace = run_repeat(method, asked, repeat, executor, place, running.effort)
            shutil.rmtree(place, ignore_errors=True)
            comparison.append_trace(folder, trace)
            done[method.name, repeat] = trace
    traces = [done[method.name, repeat] for method in methods for repeat in range(asked.repeats)]
    say("judging the answers on fresh seeds")
    found = _judged(traces, asked, running, folder)
    shutil.rmtree(folder / _WORK, ignore_errors=True)
    return traces, found


def _judged(traces: Sequence[Trace], asked: Comparison, running: Running, folder: Path) -> Judged:
    task, found = asked.task, [answer for trace in traces for answer in trace.answers]
    answers = {each.hash: each.architecture for each in found if each.hash and each.architecture}
    jobs = [
        Job(
            architecture=architecture,
            recipe=task.study.recipe,
            recipe_name=task.study.recipe_name,
            purpose=Purpose.BENCH,
            seed_index=index,
            device=running.effort.device,
            engine=running.effort.engine,
            teachers=folder / _WORK / ".teachers",
        )
        for architecture in answers.values()
        for index in range(asked.judge_seeds or 0)
    ]
    executor = running.executor_of(running.source, running.effort.limits)
    results = [ended.result for ended in run_all(jobs, executor, task.workers)]
    # A run that diverged has the accuracy that it has.
    accuracies = {
        key: statistics.mean([run.validation_accuracy_pct or 0.0 for run in results if run.hash == key])
        for key in answers
    }
    return Judged.of(accuracies, {run.hash: run.parameters for run in results}, task.study.target_pct)
