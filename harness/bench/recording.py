"""A recording: which networks of a space it is of, what it takes, and its runs, rung by rung, until all have ended."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

import torch

from harness.bench.table import Facts, Machine, Question, Row, Sample, Table, engine_kind
from harness.data.datasets import dataset, task_of
from harness.data.training_images import resolve, split
from harness.search import pruning
from harness.search.clock import PACES, Timing, add_timing, slowdown, taught, training_seconds
from harness.search.features import work
from harness.system import files, statistics
from harness.system.document import WrittenNetwork, document_of, documented, read_as
from harness.system.errors import ContentError, UsageError
from harness.system.machine import choose_device, core_count, device_name, processor_name, worker_count
from harness.system.terminal import duration_text
from harness.training import result
from harness.training.executor import Broken, Event, Executor, ExecutorOf, Limits, Source, run_all
from harness.training.native.native import TORCH, Choice, choose_engine
from harness.training.processes import Processes
from harness.training.progress import Reporter
from harness.training.ray import Asked, Cluster, Kinds, joined_by
from harness.training.recipe import check_batch, check_statistics, named_recipe, recipe_document
from harness.training.result import PROTOCOL_VERSION, Purpose, Result, Status, accuracy_pct, environment, same_bits_due
from harness.training.run import Job
from search_spaces.catalog import space as space_of
from search_spaces.count import configurations
from search_spaces.draw import Draw, draw, enumerate_draws, judge, uniform
from search_spaces.errors import DrawError
from search_spaces.network import Architecture
from search_spaces.space import SearchSpace

_BANDS = 8
# Spaces with no more configurations than this are looked at as a whole: ten seconds.
_MOST_ENUMERATED = 100_000
# Of larger spaces so many times the networks wanted are drawn at most, and so many draws a network wanted looked at:
# a band that a space seldom hits is filled from far more draws than the others.
_POOL_FACTOR = 20
_DRAWS_FACTOR = 500
_LEAST_DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class _SampledNetwork:
    """One network that was chosen, and what it costs."""

    architecture: Architecture
    parameters: int
    macs: int


@dataclass(frozen=True, slots=True)
class _SampledNetworks:
    """The networks that were chosen, in an order of which each beginning has all sizes.

    Attributes:
        considered: distinct networks they were chosen from; all of the space where ``enumerated``.
    """

    sample: Sample
    networks: tuple[_SampledNetwork, ...]
    considered: int
    enumerated: bool


def _sampled(space: SearchSpace, count: int, seed: int, budget: int | None = None) -> _SampledNetworks:
    """Choose ``count`` distinct networks of a space, or all where it has no more.

    They are stratified by size: the same number from each of eight bands of parameters that are equally wide in the
    logarithm, and where a band has too few, more from the others.
    """
    rng = random.Random(seed)
    enumerated = configurations(space) <= _MOST_ENUMERATED
    drawn = (draw(space, uniform(rng)) for _ in range(max(_LEAST_DRAWS, _DRAWS_FACTOR * count)))
    draws, most = (enumerate_draws(space), math.inf) if enumerated else (drawn, _POOL_FACTOR * count)
    pool = _pool(space, draws, most, budget)
    if not pool:
        raise DrawError(
            f"no network of the space '{space.name}' keeps its conditions"
            + ("" if budget is None else f" and the budget of {budget:,} parameters"),
            hint="raise the budget, or loosen the space's conditions",
        )
    chosen = tuple(_stratified(pool, rng))[:count]
    bands = 0 if enumerated and len(pool) <= count else _BANDS
    return _SampledNetworks(
        Sample(seed=seed, networks=count, bands=bands, budget=budget), chosen, len(pool), enumerated
    )


def _pool(space: SearchSpace, draws: Iterable[Draw], most: float, budget: int | None) -> list[_SampledNetwork]:
    found: dict[str, _SampledNetwork] = {}
    for each in draws:
        judgement = judge(space, each.architecture, budget)
        if judgement.accepted and (analysis := judgement.analysis) is not None:
            network = _SampledNetwork(each.architecture, analysis.parameters, analysis.macs)
            found.setdefault(each.architecture.hash, network)
        # Before the next draw, which would take random numbers.
        if len(found) >= most:
            break
    return list(found.values())


def _stratified(pool: list[_SampledNetwork], rng: random.Random) -> Iterator[_SampledNetwork]:
    low = math.log(min(network.parameters for network in pool))
    high = math.log(max(network.parameters for network in pool))
    bands: list[list[_SampledNetwork]] = [[] for _ in range(_BANDS)]
    for network in pool:
        share = (math.log(network.parameters) - low) / (high - low) if high > low else 0.0
        bands[min(_BANDS - 1, int(share * _BANDS))].append(network)
    for band in bands:
        # The order of the pool is that of the draws; that of the hashes is nobody's.
        band.sort(key=lambda network: network.architecture.hash)
        rng.shuffle(band)
    while any(bands):
        for band in bands:
            if band:
                yield band.pop()


# A run of a recording: hash of its network, index of its seed.
_Key = tuple[str, int]


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Which networks get more runs once all have theirs: those about which a comparison's answer turns.

    Attributes:
        target_pct: validation accuracy at the last rung.
        within_pct: how far from it, in points, the mean of a network's first runs may be.
        seeds: runs of such a network, the first ones included.
    """

    target_pct: float
    within_pct: float
    seeds: int


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class _Recording(Question):
    """What decides the content of a table; a recording never changes it.

    Attributes:
        machine: where it is trained; its environment is without a commit.
        networks: in the order in which they are trained.
        seeds: runs a network, more of those that are ``near``.
    """

    seeds: int
    sample: Sample
    machine: Machine
    networks: tuple[WrittenNetwork, ...]
    near: Near | None = None
    protocol_version: int = PROTOCOL_VERSION
    schema_version: Literal[1] = 1


def check_rungs(rungs: Sequence[int], epochs: int) -> None:
    """Raise UsageError unless rungs are epochs in ascending order, the last one the recipe's last."""
    shown = ",".join(map(str, rungs))
    if not rungs or list(rungs) != sorted(set(rungs)) or rungs[0] < 1:
        raise UsageError(f"rungs {shown or 'none'}: they are epochs from 1 in ascending order, such as 1,2,4,8")
    if rungs[-1] != epochs:
        raise UsageError(
            f"rungs {shown}: the last rung is the end of the recipe, which has {epochs} epochs",
            hint=f"--epochs {rungs[-1]} shortens or lengthens the recipe",
        )


def _default_rungs(epochs: int) -> tuple[int, ...]:
    """Return the rungs of a search, an earlier one and the last epoch, ascending: 1, 2, 4, 8 of 8."""
    return tuple(sorted({max(1, epochs // 8), *pruning.rungs(epochs), epochs}))


def _split_digest(validation: Sequence[int]) -> str:
    """Return the SHA-256 of the validation images' indices, ascending, joined by commas."""
    return hashlib.sha256(",".join(map(str, validation)).encode()).hexdigest()


def _open_recording(folder: Path, recording: _Recording) -> None:
    """Write a new recording's configuration, or check it against the one that is there."""
    path = folder / "recording.json"
    if path.exists():
        check_recording(folder, recording)
    else:
        files.write_json(path, document_of(recording) | {"recipe": recipe_document(recording.recipe)})


def check_recording(folder: Path, recording: _Recording) -> None:
    """Raise ContentError where a folder holds another recording: a table never mixes recipes, engines or splits."""
    path = folder / "recording.json"
    there = read_as(_Recording, path.read_bytes(), f"the recording {path}") if path.exists() else recording
    other = [item.name for item in fields(_Recording) if getattr(recording, item.name) != getattr(there, item.name)]
    if other:
        raise ContentError(
            f"the recording {recording.name!r} in {folder} was begun with another {other[0]}",
            hint="record under another name and merge the tables, or repeat the command that began it",
        )


def run_path(folder: Path, key: _Key) -> Path:
    """Return the file of one finished run."""
    return folder / "results" / f"{key[0]}-{key[1]}.json"


def finished_runs(folder: Path, recording: _Recording) -> dict[_Key, Result]:
    """Return all finished runs."""
    found: dict[_Key, Result] = {}
    for path in sorted((folder / "results").glob("*.json")):
        each = result.read(path)
        ours = recording.machine.environment
        if (
            each.purpose is not Purpose.BENCH
            or each.recipe != recording.recipe
            or each.dataset != recording.dataset
            or each.protocol_version != recording.protocol_version
            or each.environment is None
            or not same_bits_due(each.environment, ours)
        ):
            raise ContentError(
                f"{path} is a run of another recipe, data set, engine or machine than the recording {recording.name!r}",
                hint="move the file away, and the run is trained again",
            )
        found[each.hash, each.seed_index] = each
    return found


def _keys_of(recording: _Recording, runs: Mapping[_Key, Result]) -> list[tuple[Architecture, _Key]]:
    """Return the network and the key of each run that is due, in the order in which they are trained.

    All networks with the first seed come first, then with the next. What is near the target is known, and so due, once
    all networks have their first runs.
    """
    networks = [(each, each.hash) for each in recording.networks]
    due = [(each, (key, seed)) for seed in range(recording.seeds) for each, key in networks]
    if recording.near is None or any(key not in runs for _, key in due):
        return due
    target, within = recording.near.target_pct, recording.near.within_pct

    def mean_pct(key: str) -> float:
        return statistics.mean([runs[key, seed].validation_accuracy_pct or 0.0 for seed in range(recording.seeds)])

    near = [(each, key) for each, key in networks if abs(mean_pct(key) - target) <= within]
    more = range(recording.seeds, recording.near.seeds)
    return due + [(each, (key, seed)) for seed in more for each, key in near]


def _table_of(recording: _Recording, runs: Mapping[_Key, Result]) -> Table:
    """Return the table that finished runs make."""
    ordered = [runs[key] for key in sorted(runs)]
    machines: list[Machine] = []
    rows: list[Row] = []
    for run in ordered:
        assert run.environment is not None, "finished_runs lets none without one pass"
        machine = replace(recording.machine, environment=run.environment)
        if machine not in machines:
            machines.append(machine)
        rows += _rows_of(run, recording.rungs, machines.index(machine))
    asked = {item.name: getattr(recording, item.name) for item in fields(Question)}
    version = recording.protocol_version
    facts = Facts(**asked, samples=(recording.sample,), machines=tuple(machines), protocol_version=version)
    return Table(facts, tuple(rows))


def _rows_of(run: Result, rungs: Sequence[int], machine: int) -> list[Row]:
    """Return a finished run's rows; after it has diverged they keep what its last weights gave."""
    rows, network = [], (str(run.architecture), run.hash, run.parameters, run.macs)
    for rung in rungs:
        epoch = run.history[min(rung, len(run.history)) - 1]
        accuracy = accuracy_pct(epoch.validation_errors, run.validation_size)
        assert accuracy is not None, "a recording looks at every rung"
        rows.append(Row(*network, run.seed_index, rung, accuracy, round(epoch.train_seconds, 3), run.status, machine))
    return rows


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A recording with what is needed to train it here."""

    recording: _Recording
    chosen: _SampledNetworks
    source: Source
    device: torch.device
    choice: Choice


def prepared(
    *,
    name: str,
    space: str,
    networks: int,
    seeds: int,
    rungs: tuple[int, ...] | None,
    recipe: str,
    epochs: int | None,
    budget: int | None,
    seed: int,
    workers: int | None,
    dataset: str,
    folder: Path | None,
    device: str,
    engine: str,
    near: Near | None = None,
) -> _Prepared:
    """Choose the networks, load the data and name the machine.

    Args:
        rungs: None for those of the recipe.
        workers: None for one a core.
    """
    named = named_recipe(recipe, epochs=epochs)
    rungs = _default_rungs(named.recipe.epochs) if rungs is None else rungs
    check_rungs(rungs, named.recipe.epochs)
    known = space_of(space, task_of(dataset))
    chosen = _sampled(known, networks, seed, budget)
    for network in chosen.networks:
        check_statistics(named.recipe, network.architecture, known.task)
    trainer = choose_device(device)
    choice = choose_engine(engine, named.recipe, trainer, known.op_types)
    data = resolve(dataset, folder)
    check_batch(named.recipe, data.dataset.train_size)
    built = TORCH if choice.engine is None else choice.engine.name
    recording = _Recording(
        name=name,
        dataset=data.dataset.name,
        data_hash=data.data_hash,
        split_sha256=_split_digest(split(data).validation.tolist()),
        space=known.text,
        space_name=known.name,
        recipe=named.recipe,
        recipe_name=named.name,
        rungs=rungs,
        seeds=seeds,
        sample=chosen.sample,
        machine=this_machine(trainer, data.data_hash, built, worker_count(workers, trainer)),
        networks=tuple(network.architecture for network in chosen.networks),
        near=near,
    )
    return _Prepared(recording, chosen, Source(data.dataset.name, folder), trainer, choice)


def this_machine(device: torch.device, data_hash: str, engine: str, workers: int) -> Machine:
    """Return the facts of this machine, without a commit: a recording may go on with a later one."""
    facts = replace(environment(device, data_hash, engine), commit=None, dirty=None, threads=1)
    processor = processor_name() if device.type == "cpu" else device_name(device)
    return Machine(processor=processor, cores=core_count(), workers=workers, environment=facts)


def plan_document(ready: _Prepared, ended: Mapping[_Key, Result]) -> dict[str, Any]:
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
    keys = _keys_of(recording, ended)
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
        "parameters": {"low": sizes[0], "median": median(sizes), "high": sizes[-1]},
        "mean_macs": fmean(network.macs for network in chosen.networks),
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


def plan_text(ready: _Prepared, plan: Mapping[str, Any]) -> str:
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


def on_cluster(ready: _Prepared, link: Cluster) -> ExecutorOf:
    """Return what trains a recording on a cluster: nodes such as the machine that the table names, each as busy."""
    machine = ready.recording.machine
    asked = Asked(device=str(ready.device), engine=engine_kind(machine), processes=machine.workers, kinds=Kinds.OURS)
    return joined_by(link, asked)


def record(
    folder: Path, ready: _Prepared, teachers: Path, reporter: Reporter, executor_of: ExecutorOf = Processes
) -> Table:
    """Train what is left of a recording and return its table; each run that ends leaves its result."""
    recording = ready.recording
    for place in (folder, folder / "results", folder / "checkpoints"):
        files.sweep(place)
    _open_recording(folder, recording)
    while True:
        ended = finished_runs(folder, recording)
        for done in ended:
            (folder / "checkpoints" / f"{done[0]}-{done[1]}.pt").unlink(missing_ok=True)
        keys = _keys_of(recording, ended)
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
                checkpoint=folder / "checkpoints" / f"{key[0]}-{key[1]}.pt",
                teachers=teachers,
                study=recording.name,
            )
            for network, key in keys
            if key not in ended
        ]
        if not waiting:
            return _table_of(recording, ended)
        # Once all have their first runs, those near the target are due.
        reporter.show(total=len(keys))
        _train_all(folder, ready, waiting, reporter, executor_of(ready.source, Limits()))


def _train_all(folder: Path, ready: _Prepared, waiting: list[Job], reporter: Reporter, executor: Executor) -> None:
    def say(event: Event) -> None:
        if isinstance(event, Broken):
            reporter.say(f"seed {event.job.seed_index} of {event.job.architecture}: {event.message}; it is run again")

    for ended in run_all(waiting, executor, ready.recording.machine.workers, say):
        job, found = ended.job, ended.result
        if found.status is Status.RUNNING:
            until = next(rung for rung in ready.recording.rungs if rung > len(found.history))
            waiting.insert(0, replace(job, until_epoch=until, spent_seconds=found.train_seconds))
            continue
        result.write(run_path(folder, (job.architecture.hash, job.seed_index)), found)
        assert job.checkpoint is not None, "every run of a recording keeps its state"
        job.checkpoint.unlink(missing_ok=True)
        reporter.advance()
