"""Recording of a table: chooses networks of a space and trains all their runs.

A recording is a study with the sampler name ``stratified``. All networks are proposed at the beginning, and each run is
trained from rung to rung to the last epoch. The same command resumes an interrupted recording.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from harness.bench.table import Machine, Row, Sample, Table, TableFacts
from harness.data.datasets import dataset, dataset_of_option
from harness.data.training_images import load, split
from harness.searching import scheduler
from harness.searching.time_budget import Timing, pace_of, step_macs
from harness.spaces.catalog import space as space_of
from harness.spaces.counting import MAX_RECORDED
from harness.spaces.network import Analysis, Architecture
from harness.spaces.space import SearchSpace, draw, enumerate_draws, judge, uniform
from harness.spaces.space_errors import DrawError
from harness.studies.config import StudyConfig, check_config, open_study, read_config, study_exists
from harness.studies.events import Entry, Proposal, RunEnded
from harness.studies.log import StudyLog
from harness.studies.study_state import StudyState
from harness.system.errors import ContentError, UsageError
from harness.system.machine import choose_device, worker_count
from harness.system.statistics import mean
from harness.system.terminal import counted, duration_text
from harness.training.executors.base import DataLocation, ExecutorFactory, JobFailed, Limits, WorkerEvent, run_all
from harness.training.executors.processes import Processes
from harness.training.native.engine import EngineChoice, choose_engine
from harness.training.progress import Progress
from harness.training.recipe import NamedRecipe, check_network, named_recipe
from harness.training.result import Errors, Purpose, Result, Status
from harness.training.run import Job

_BANDS = 8  # bands of parameters
_POOL_FACTOR = 20  # distinct candidates per requested network, after which drawing stops
# Many more draws than candidates, to fill bands that draws rarely hit.
_DRAWS_FACTOR = 500
_MIN_DRAWS = 10_000


class Near(NamedTuple):
    """Rule for further runs of networks near the target, which decide the result of a comparison.

    After the first runs of all networks, a network gets ``seeds`` runs in total if the mean validation accuracy at the
    last rung is within ``within_pct`` points of ``target_pct``.
    """

    target_pct: float
    within_pct: float
    seeds: int


class _Subset(NamedTuple):
    """Chosen networks with their analyses, in an order in which each prefix covers all sizes.

    ``candidate_count`` is the number of distinct candidates, the whole space if ``is_enumerated``.
    """

    sample: Sample
    networks: dict[Architecture, Analysis]
    candidate_count: int
    is_enumerated: bool


def _choose(space: SearchSpace, count: int, seed: int, budget: int | None = None) -> _Subset:
    """Choose ``count`` distinct networks of a space, or all networks if the space has fewer.

    Each of eight bands of parameters, equally wide in the logarithm, contributes the same number of networks. If a band
    has too few, the remaining bands contribute more.
    """
    rng = random.Random(seed)
    is_enumerable = space.configurations <= MAX_RECORDED
    if is_enumerable:
        candidates = enumerate_draws(space)
        pool_limit = math.inf
    else:
        candidates = (draw(space, uniform(rng)) for _ in range(max(_MIN_DRAWS, _DRAWS_FACTOR * count)))
        pool_limit = _POOL_FACTOR * count
    pool: dict[str, tuple[Architecture, Analysis]] = {}
    for candidate in candidates:
        judgement = judge(space, candidate.architecture, budget)
        if judgement.accepted and judgement.analysis is not None:
            pool.setdefault(candidate.architecture.hash, (candidate.architecture, judgement.analysis))
        # A further draw would change the random numbers of the shuffles below.
        if len(pool) >= pool_limit:
            break
    if not pool:
        raise DrawError(f"no network of the space {space.name!r} meets the conditions and the budget")
    # Sort by hash: the order of the draws must not influence the choice.
    bands = _bands({key: math.log(pool[key][1].parameters) for key in sorted(pool)})
    for band in bands:
        rng.shuffle(band)
    is_whole_space = is_enumerable and len(pool) <= count
    sample = Sample(seed=seed, networks=count, bands=0 if is_whole_space else _BANDS, budget=budget)
    order: list[str] = []
    while any(bands):
        order += [band.pop() for band in bands if band]
    return _Subset(sample, dict(pool[key] for key in order[:count]), len(pool), is_enumerable)


def _bands(sizes: Mapping[str, float]) -> list[list[str]]:
    low = min(sizes.values())
    extent = max(sizes.values()) - low or 1.0  # with equal sizes, all keys are in the first band
    bands: list[list[str]] = [[] for _ in range(_BANDS)]
    for key, size in sizes.items():
        bands[min(_BANDS - 1, int((size - low) / extent * _BANDS))].append(key)
    return bands


@dataclass(frozen=True, slots=True)
class TableRecording:
    """Study from which a table is made.

    Attributes:
        facts: Facts of the table, with this machine.
        subset: Networks to record; a run is identified by the index of its network in ``subset.networks``.
        seeds: Number of first runs per network.
        near: Rule for further runs; None for no further runs.
        origins: Further options that decide the content of the table, stored in the folder of the study.
    """

    state: StudyState
    facts: TableFacts
    subset: _Subset
    seeds: int
    near: Near | None
    origins: dict[str, str]
    source: DataLocation
    device: torch.device
    choice: EngineChoice

    @property
    def finished_runs(self) -> dict[tuple[int, int], Result]:
        """Finished runs by (index of the network, index of the seed)."""
        runs = {}
        for run in self.state.results:
            assert run.trial is not None, "each run of a recording belongs to a network"
            runs[run.trial, run.seed_index] = run
        return runs

    @property
    def due_runs(self) -> list[tuple[int, int]]:
        """Runs to train as (index of the network, index of the seed), ordered by seed.

        Further runs near the target come after the first runs of all networks.
        """
        networks = range(len(self.subset.networks))
        finished_runs = self.finished_runs
        first_runs = [(number, seed) for seed in range(self.seeds) for number in networks]
        near = self.near
        if near is None or not finished_runs.keys() >= {*first_runs}:
            return first_runs
        near_networks = []
        for number in networks:
            # A diverged run has the accuracy of its last weights.
            average = mean([finished_runs[number, seed].required_validation.accuracy_pct for seed in range(self.seeds)])
            if abs(average - near.target_pct) <= near.within_pct:
                near_networks.append(number)
        return first_runs + [(number, seed) for seed in range(self.seeds, near.seeds) for number in near_networks]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """Options of ``harness bench table`` with ``--space``; None for the default."""

    space: str
    networks: int
    seeds: int
    near: float | None = None
    within: float = 0.1
    near_seeds: int = 4
    rungs: tuple[int, ...] | None
    recipe: str
    epochs: int | None
    budget: int | None
    seed: int
    workers: int | None
    cluster: str | None = None
    dataset: str
    data: Path | None
    device: str
    engine: str

    def __post_init__(self) -> None:
        if self.near is not None and self.near_seeds <= self.seeds:
            raise UsageError(f"near_seeds {self.near_seeds} must be larger than seeds {self.seeds}")


def prepare(folder: Path, name: str, request: TableRequest) -> TableRecording:
    """Return the recording: choose networks, load data and read the state in ``folder``; no file is written.

    Raises:
        UsageError: Recipe, rungs or data do not suit a table.
        ContentError: ``folder`` has a recording of a different machine or with different options.
        DrawError: No network meets the conditions and the budget.
    """
    recipe = _recipe_of(request)
    rungs = _rungs_of(request, recipe.recipe.epochs)
    near = None if request.near is None else Near(request.near, request.within, request.near_seeds)
    space = space_of(request.space, dataset_of_option(request.dataset).task)
    subset = _choose(space, request.networks, request.seed, request.budget)
    for network in subset.networks:
        check_network(recipe.recipe, network, space.task)
    device = choose_device(request.device)
    choice = choose_engine(request.engine, recipe.recipe, device, space.op_types)
    data = load(request.dataset, request.data)
    if data.dataset.group_folds:
        raise UsageError(f"tables need one validation part; {data.dataset.name} validates by folds of groups")
    recipe.recipe.check_batch(data.dataset.train_size)
    trainer = choice.engine.name if choice.engine else choice.kind
    machine = Machine.here(device, data.data_hash, trainer, worker_count(request.workers, device))
    facts = TableFacts(
        name=name,
        dataset=data.dataset.name,
        data_hash=data.data_hash,
        split_sha256=hashlib.sha256(",".join(map(str, split(data).validation.tolist())).encode()).hexdigest(),
        space=space.text,
        space_name=space.name,
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        rungs=rungs,
        samples=(subset.sample,),
        machines=(machine,),
    )
    # A recording trains all networks to the end, so budget and target decide nothing.
    budget = request.budget or max(analysis.parameters for analysis in subset.networks.values())
    config = facts.config(budget, 100.0 if near is None else near.target_pct, request.seed)
    origins = {
        "networks": str(request.networks),
        "seeds": str(request.seeds),
        "near": str(near),
        "machine": json.dumps(asdict(machine), sort_keys=True),
    }
    state = _state_in(folder, config, origins)
    source = DataLocation(data.dataset.name, request.data)
    return TableRecording(state, facts, subset, request.seeds, near, origins, source, device, choice)


def _recipe_of(request: TableRequest) -> NamedRecipe:
    recipe = named_recipe(request.recipe, epochs=request.epochs)
    if recipe.recipe.starts > 1:
        raise UsageError(
            f"recipe {recipe.name} has several starts, but a run of a table has a single start",
            hint="use the recipe small, or a recipe with a single start",
        )
    return recipe


def _rungs_of(request: TableRequest, epochs: int) -> tuple[int, ...]:
    rungs = request.rungs
    if rungs is None:
        # 1, 2, 4, 8 for 8 epochs.
        rungs = tuple(sorted({max(1, epochs // 8), *scheduler.rungs(epochs), epochs}))
    is_ascending = all(before < after for before, after in pairwise((0, *rungs)))
    if not is_ascending or rungs[-1] != epochs:
        raise UsageError(
            f"rungs {','.join(map(str, rungs))} must be ascending epochs up to the last epoch of the recipe, {epochs}"
        )
    return rungs


def _state_in(folder: Path, config: StudyConfig, origins: Mapping[str, str]) -> StudyState:
    state = StudyState(folder, config)
    if study_exists(folder):
        check_config(folder, config)
        if read_config(folder).origins != origins:
            raise ContentError(
                f"the recording in {folder} is from a different machine, or of different networks or seeds; record "
                "under a new name and merge the tables"
            )
        StudyLog(folder).fold_into(state)
    return state


def recording_json(recording: TableRecording) -> dict[str, Any]:
    """Return the plan of a recording; the time left is scaled by the measured time of finished runs."""
    facts = recording.facts
    finished_runs = recording.finished_runs
    due_runs = recording.due_runs
    machine = facts.machines[0]
    data = dataset(facts.dataset)
    networks = recording.subset.networks
    pace = pace_of(machine.engine, machine.environment.device).of_recipe(facts.recipe)
    timing = Timing(data.train_size, pace)
    for run in finished_runs.values():
        timing.add(run, step_macs(run.architecture, data.task))
    slowdown = timing.slowdown()  # measured over estimated seconds
    epochs = facts.recipe.epochs
    run_seconds = [pace.seconds(epochs, data.train_size, step_macs(network, data.task)) for network in networks]
    seconds = sum(run_seconds[number] for number, seed in due_runs if (number, seed) not in finished_runs)
    if slowdown is not None:
        seconds *= slowdown
    sizes = [analysis.parameters for analysis in networks.values()]
    return {
        "name": facts.name,
        "space": facts.space_name,
        "networks": len(networks),
        "considered": recording.subset.candidate_count,
        "enumerated": recording.subset.is_enumerated,
        "parameters": {"low": min(sizes), "median": median(sizes), "high": max(sizes)},
        "mean_macs": mean([float(analysis.macs) for analysis in networks.values()]),
        "seeds": recording.seeds,
        "near": None if recording.near is None else recording.near._asdict(),
        "rungs": list(facts.rungs),
        "recipe": facts.recipe_name,
        "recipe_hash": facts.recipe.hash,
        "dataset": facts.dataset,
        "runs": len(due_runs),
        "ended": len(finished_runs),
        "workers": machine.workers,
        "engine": machine.environment.engine,
        "estimated_seconds_left": seconds / machine.workers,
        "estimate_is_measured": slowdown is not None,
    }


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return the plan (``recording_json``) as text."""
    near = plan["near"]
    sizes = plan["parameters"]
    rungs = ", ".join(map(str, plan["rungs"]))
    seeds = f"{counted(plan['seeds'], 'seed')} each"
    if near is not None:
        seeds += f", {counted(near['seeds'], 'seed')} within {near['within_pct']:g} points of {near['target_pct']:g} %"
    return (
        f"table {plan['name']}: {plan['networks']:,} of {plan['considered']:,} networks of the space "
        f"{plan['space']!r}, {sizes['low']:,} to {sizes['high']:,} parameters\n"
        f"  {seeds}, {plan['dataset']}, recipe {plan['recipe']}, validated after {rungs}\n"
        f"  {plan['runs']:,} runs, {plan['ended']:,} finished; {plan['workers']} at a time ({plan['engine']}), "
        f"about {duration_text(plan['estimated_seconds_left'])} left"
    )


def record(recording: TableRecording, progress: Progress, make_executor: ExecutorFactory = Processes) -> Table:
    """Train the remaining runs from rung to rung, and return the table.

    Raises:
        HarnessError: A run broke repeatedly (``run_all``).
    """
    facts = recording.facts
    networks = list(recording.subset.networks)
    folder = recording.state.folder
    config = recording.state.config
    open_study(folder, config, recording.origins)
    # ``recording.state`` may already contain the entries of the log, which would be applied twice.
    recording = replace(recording, state=StudyLog(folder).recover_into(StudyState(folder, config)))
    _add_proposals(recording)

    def say(event: WorkerEvent) -> None:
        if isinstance(event, JobFailed):
            progress.say(f"seed {event.job.seed_index} of {event.job.architecture}: {event.message}; repeating the run")

    # ``due_runs`` grows after all first runs have ended.
    while due_keys := [key for key in recording.due_runs if key not in recording.finished_runs]:
        progress.show(total=len(recording.due_runs))
        queue = [_first_job(recording, networks[number], number, seed) for number, seed in due_keys]
        for event in run_all(queue, make_executor(recording.source, Limits()), facts.machines[0].workers, say):
            run = event.result
            if run.status is Status.RUNNING:
                until = next(rung for rung in facts.rungs if rung > run.trained_epochs)
                # ``run_all`` takes the jobs from the queue; the next part of this run comes first.
                queue.insert(0, replace(event.job, until_epoch=until, spent_seconds=run.train_seconds))
            else:
                _add(recording.state, RunEnded(run=run))
                progress.advance()
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return _table_of(recording)


def _add(state: StudyState, event: Proposal | RunEnded) -> None:
    entry = Entry(state.seconds, event, datetime.now(UTC).isoformat(timespec="seconds"))
    StudyLog(state.folder).write_entry(entry)
    state.apply(entry)


def _add_proposals(recording: TableRecording) -> None:
    state = recording.state
    for number, (network, cost) in enumerate(recording.subset.networks.items()):
        if number not in state.proposals:
            proposal = Proposal(
                trial=number,
                architecture=network,
                hash=network.hash,
                parameters=cost.parameters,
                origin=state.config.sampler,
                decisions=(),
            )
            _add(state, proposal)


def _first_job(recording: TableRecording, network: Architecture, number: int, seed: int) -> Job:
    facts = recording.facts
    return Job(
        architecture=network,
        recipe=facts.recipe,
        recipe_name=facts.recipe_name,
        purpose=Purpose.BENCH,
        seed_index=seed,
        device=str(recording.device),
        engine=facts.machines[0].engine,
        until_epoch=facts.rungs[0],
        checkpoint=StudyLog(recording.state.folder).checkpoint(number, Purpose.BENCH, seed),
        study=facts.name,
        trial=number,
    )


def _table_of(recording: TableRecording) -> Table:
    """A diverged run keeps the last accuracy at all later rungs."""
    rows: list[Row] = []
    machines: dict[Machine, int] = {}
    for run in sorted(recording.finished_runs.values(), key=lambda run: (run.hash, run.seed_index)):
        assert run.environment is not None, "a worker records the environment"
        machine = replace(recording.facts.machines[0], environment=run.environment)
        machine_index = machines.setdefault(machine, len(machines))
        network = (str(run.architecture), run.hash, run.parameters, run.macs, run.seed_index)
        epochs = {epoch.epoch: epoch for epoch in run.history}
        for rung in recording.facts.rungs:
            epoch = epochs[min(rung, run.trained_epochs)]
            errors = Errors.of(epoch.validation_errors, run.validation_size)
            assert errors is not None, "a recording evaluates at every rung"
            seconds = round(epoch.train_seconds, 3)
            soft = (epoch.validation_soft_errors, epoch.validation_loss)
            rows.append(Row(*network, rung, errors.accuracy_pct, seconds, run.status, machine_index, *soft))
    data = dataset(recording.facts.dataset)
    return Table(replace(recording.facts, machines=tuple(machines)), tuple(rows), data if data.is_user_data else None)
