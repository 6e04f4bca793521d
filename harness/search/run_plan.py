"""What a search is about to do, with every value resolved: made from the command line, before anything is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.datasets import Dataset, asked_for, dataset, task_of
from harness.data.training_images import resolve
from harness.evidence.bounds import ErrorRatio, error_ratio_of
from harness.evidence.study import StudyConfig, check_config, config_document
from harness.search.clock import PACES, Effort, TimeLeft, taught
from harness.search.features import step_work
from harness.search.optuna_sampler import sampler_name
from harness.search.prior import PastTraining, Prior, digest, kept, observations, past_trainings, shipped
from harness.search.pruning import rungs
from harness.search.race import CONFIDENCE, CONFIRM_SEEDS, MOST_SEEDS, needed_share
from harness.system import statistics
from harness.system.errors import ContentError, UsageError, typed
from harness.system.files import Workspace
from harness.system.machine import choose_device, worker_count
from harness.training.executor import ExecutorOf, Limits, Source
from harness.training.native.native import Choice, choose_engine
from harness.training.processes import Processes
from harness.training.ray import Asked, Cluster, NodeInfo, joined_by, nodes_that_train
from harness.training.recipe import NamedRecipe, Recipe, check_batch, named_recipe
from search_spaces.catalog import space as space_of
from search_spaces.count import MOST_EXACT, configurations, feasible, smallest
from search_spaces.notation import with_conditions
from search_spaces.space import Condition, Metric, SearchSpace, contradictory

# Epochs that the default recipe may have: a large network reaches in a few what a small one needs many for. Each is at
# most twice the one before, as errors fall by a seventh or so when the length doubles.
LENGTHS = (5, 8, 12, 20, 30, 60)
_MOST_EPOCHS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """A search, ready to begin.

    Attributes:
        past: earlier trainings that the search learns from; ``left_out`` says what could not be read.
        executor_of: who trains; ``nodes`` are those of a cluster, none where this machine trains.
    """

    workspace: Workspace
    folder: Path
    config: StudyConfig
    effort: Effort
    source: Source
    recipe: NamedRecipe
    space: SearchSpace
    offset: ErrorRatio
    past: tuple[PastTraining, ...]
    left_out: tuple[str, ...]
    engine: Choice
    origins: dict[str, str]
    executor_of: ExecutorOf = Processes
    nodes: tuple[NodeInfo, ...] = ()


def make_plan(given: dict[str, Any], origins: dict[str, str], place: Workspace) -> SearchPlan:
    """Return the plan for the options of ``harness search``.

    Raises:
        UsageError: an unknown sampler, recipe, data set, device or engine, a study cannot have that name, or what is
            minimised has no limit.
        ContentError: the recipe does not suit the data set, or no network of a small space keeps the budget.
        SearchSpaceError: the space is unknown, or its text is wrong.
        DataError: the data are missing or damaged.
    """
    sampler = sampler_name(given["sampler"])
    recipe = named_recipe(given["recipe"])
    device = choose_device(given["device"])
    name = given["name"]
    if name is not None:
        place.study(name)
    minimise, limits = Metric(given["minimise"]), given["limits"] or ()
    _check_limits(limits)
    budget = min([given["budget"], *_upper_bounds(limits, Metric.PARAMETERS)])
    if minimise is not Metric.PARAMETERS:
        limits = (Condition(Metric.PARAMETERS, "<=", budget), *limits)
    space = with_conditions(space_of(given["space"], task_of(given["dataset"])), limits)
    engine = choose_engine(given["engine"], recipe.recipe, device, space.op_types)
    most = None if minimise is Metric.PARAMETERS else _most(space, minimise)
    epochs = _lengths(given["epochs"], recipe.recipe, chosen=origins.get("recipe", "default") != "default")
    if given["target"] is not None:
        _check_target(given["target"], asked_for(given["dataset"]))
    _check_budget(space, given["space"], budget, is_limited=bool(limits))
    # Images are read, or fetched, after all that the options alone can have wrong.
    data = resolve(given["dataset"], given["folder"])
    check_batch(recipe.recipe, data.dataset.train_size)
    offset = error_ratio_of(data.dataset.name)
    target = data.dataset.target_pct if given["target"] is None else given["target"]
    _check_target(target, data.dataset)
    config = StudyConfig(
        dataset=data.dataset.name,
        data_hash=data.data_hash,
        budget=budget,
        target_pct=target,
        threshold_pct=round(offset.threshold_pct(target), 6),
        space=space.name,
        space_text=space.text,
        sampler=sampler,
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        rungs=rungs(recipe.recipe.epochs),
        seed=given["seed"],
        lengths=epochs,
        prior=given["prior"],
        prior_sha256=_shipped_digest(Prior(given["prior"]), data.dataset.name),
        minimise=minimise,
        most=most,
    )
    folder = place.study(_default_name(config) if name is None else name)
    left_out: tuple[str, ...] = ()
    past = kept(folder)
    if past is None:
        past, damaged = past_trainings(Prior(given["prior"]), place, data.dataset.name, data.data_hash)
        left_out = tuple(error.message for error in damaged)
    return SearchPlan(
        workspace=place,
        folder=folder,
        config=config,
        effort=Effort(
            seconds=given["seconds"],
            trials=given["trials"],
            workers=worker_count(given["workers"], device),
            device=str(device),
            limits=Limits(given["trial_time"], given["trial_memory"]),
            engine=engine.kind,
        ),
        source=Source(data.dataset.name, given["folder"]),
        recipe=recipe,
        space=space,
        offset=offset,
        engine=engine,
        past=past,
        left_out=left_out,
        origins={("study" if name == "name" else name): origin for name, origin in origins.items()},
    )


def on_cluster(plan: SearchPlan, link: Cluster, processes: int | None) -> SearchPlan:
    """Return the plan with the nodes of a cluster in place of this machine's processes.

    Args:
        processes: of each node; None for one a core.

    Raises:
        DeviceError: no node offers a core, or a GPU where one is asked for.
    """
    asked = Asked(device=plan.effort.device, engine=plan.effort.engine, processes=processes)
    nodes = nodes_that_train(link, asked)
    return replace(
        plan,
        effort=replace(plan.effort, workers=sum(map(asked.places_of, nodes))),
        executor_of=joined_by(link, asked),
        nodes=nodes,
    )


def _lengths(given: tuple[int, ...] | None, recipe: Recipe, *, chosen: bool) -> tuple[int, ...]:
    if given is None:
        return (recipe.epochs,) if chosen else LENGTHS
    if not all(1 <= epochs <= _MOST_EPOCHS for epochs in given):
        raise UsageError(f"--epochs {','.join(map(str, given))}: each is from 1 to {_MOST_EPOCHS:,}")
    return tuple(sorted(set(given)))


def _shipped_digest(prior: Prior, name: str) -> str:
    found = () if prior is Prior.NONE else shipped(name)
    return digest(found) if found else ""


def _check_target(target_pct: float, data: Dataset) -> None:
    highest = 100 * (1 - 1 / data.test_size)
    if not statistics.reaches(highest, target_pct):
        raise UsageError(
            f"--target {target_pct:.12g} allows less than one error on the {data.test_size:,} test images of "
            f"{data.title}; the highest target of a search is {highest:.12g}"
        )


def _most(space: SearchSpace, metric: Metric) -> int:
    bounds = _upper_bounds(space.conditions, metric)
    if not bounds:
        raise UsageError(
            f"--minimise {metric} needs an upper limit, from which the search goes down",
            hint=f"give one that large networks meet, such as --limit '{metric}<=1000000'",
        )
    return min(bounds)


def _upper_bounds(conditions: Iterable[Condition], metric: Metric) -> list[int]:
    upper = [each for each in conditions if each.metric is metric and each.comparison in ("<=", "<", "==")]
    return [each.bound - (each.comparison == "<") for each in upper]


def _check_limits(limits: Sequence[Condition]) -> None:
    if clash := contradictory(limits):
        raise UsageError(f"--limit {', '.join(map(str, clash))}: no network can meet these together")


def _check_budget(space: SearchSpace, name: str, budget: int, *, is_limited: bool) -> None:
    if configurations(space) > MOST_EXACT:
        return
    fewest = smallest(space)
    if fewest is None:
        check = f"see why with '{typed('spaces', 'check', name)}'"
        raise ContentError(
            f"no network of space '{space.name}' keeps all conditions ({', '.join(map(str, space.conditions))})",
            hint="loosen --limit or raise --budget" if is_limited else check,
        )
    if fewest > budget:
        raise ContentError(
            f"no network of space '{space.name}' meets a budget of {budget:,} parameters: its smallest has {fewest:,}",
            hint=f"give a budget of {fewest} or more",
        )


def plan_document(plan: SearchPlan) -> dict[str, Any]:
    """Return what ``--plan`` shows, as plain JSON values.

    Raises:
        ContentError: a study of that name has another configuration.
    """
    exists = (plan.folder / "config.json").exists()
    if exists:
        check_config(plan.folder, plan.config)
    count = feasible(plan.space, plan.config.budget)
    data = dataset(plan.config.dataset)
    time_left = TimeLeft(data.train_size, taught(PACES[plan.effort.engine], plan.config.recipe, data.task))
    each: list[float] = []
    if count.median_macs is not None and count.median_numbers is not None and count.median_parameters is not None:
        work = step_work(count.median_macs, count.median_numbers, count.median_parameters)
        each = [time_left.takes(epochs, work) for epochs in plan.config.all_lengths]
    return {
        "study": plan.folder.name,
        "folder": str(plan.folder),
        "exists": exists,
        "config": config_document(plan.config),
        "origins": plan.origins,
        "offset": asdict(plan.offset),
        "effort": asdict(plan.effort),
        "nodes": [asdict(node) for node in plan.nodes],
        "derivations": count.derivations,
        "feasible": asdict(count),
        "feasible_share": [count.low / count.derivations, count.high / count.derivations],
        "lengths": plan.config.all_lengths,
        "estimated_seconds_a_training": [min(each), max(each)] if each else None,
        "past_trainings": len(observations(plan.past, plan.config.recipe, data.task)),
        "stand_seeds": CONFIRM_SEEDS,
        "most_seeds": MOST_SEEDS,
        "confidence": CONFIDENCE,
        "needed_share": needed_share(),
    }


def _default_name(config: StudyConfig) -> str:
    """Return a name that no other configuration has."""
    digest = hashlib.sha256(json.dumps(config_document(config), sort_keys=True).encode()).hexdigest()[:6]
    return f"{config.dataset}-{config.space}-{config.budget}-{digest}"
