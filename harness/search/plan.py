"""What a search is about to do, with every value resolved: made from the command line, before anything is trained."""

from __future__ import annotations

import hashlib
import json
import random
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.datasets import AUTO, Dataset, asked_for, dataset
from harness.data.training_images import load
from harness.evidence.bounds import ErrorRatio, error_ratio_of
from harness.evidence.study import StudyConfig, check_config, config_document, read_config
from harness.search.augmentation import CHOICES, choose, recipe_for
from harness.search.clock import PACES, Effort, step_work
from harness.search.optuna_sampler import sampler_name
from harness.search.race import CONFIDENCE, CONFIRM_SEEDS, MOST_SEEDS, needed_share, rungs
from harness.search.surrogate import PastTraining, alike, kept, past_trainings, shipped_sha256
from harness.system import statistics
from harness.system.errors import ContentError, DeviceError, UsageError, typed
from harness.system.files import Workspace
from harness.system.machine import choose_device, worker_count
from harness.system.user_code import source_sha256
from harness.training.executor import ExecutorOf, Limits, Source
from harness.training.native.native import Choice, choose_engine
from harness.training.processes import Processes
from harness.training.ray import NodeInfo, nodes_now
from harness.training.recipe import NamedRecipe, check_batch, named_recipe, recipe_from
from search_spaces.catalog import space as space_of
from search_spaces.errors import SearchSpaceError, ShapeError
from search_spaces.network import Task, analyse
from search_spaces.notation import parse_network, with_conditions
from search_spaces.space import (
    MOST_EXACT,
    Condition,
    Metric,
    SearchSpace,
    contradictory,
    draw,
    feasible,
    judge,
    smallest,
    uniform,
)

# Epochs that the default recipe may have: a large network reaches in a few what a small one needs many for. Each is at
# most twice the one before, as errors fall by a seventh or so when the length doubles.
LENGTHS = (5, 8, 12, 20, 30, 60)
# With fewer images than these to train on, lengths are so many times longer, up to 33 times, that networks see as many.
_FEW_IMAGES, _MOST_TIMES = 5_000, 33
# Of smaller pictures the spaces of several poolings leave nothing.
_SMALL_EDGE = 12
_MOST_EPOCHS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """A search, ready to begin.

    Attributes:
        offset: by which the threshold on validation images stands for the target.
        past: earlier trainings that the search learns from; ``left_out`` says what could not be read.
        executor_of: who trains; ``nodes`` are those of a cluster, none where this machine trains.
        planned_seconds: of the search, which the choice of an augmentation has taken.
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
    planned_seconds: float = 0.0


def make_plan(given: dict[str, Any], origins: dict[str, str], place: Workspace) -> SearchPlan:
    """Return the plan for the options of ``harness search``.

    Raises:
        UsageError: an unknown sampler, recipe, data set, device or engine, a study cannot have that name, or what is
            minimised has no limit.
        ContentError: the recipe does not suit the data set, or no network of a small space keeps the budget.
        SearchSpaceError: the space is unknown, or its text is wrong.
        DataError: the data are missing or damaged.
    """
    sampler, name, prior = sampler_name(given["sampler"]), given["name"], given["prior"]
    if prior not in (known := ("shipped", "own", "none")):
        raise UsageError(f"unknown prior {prior!r}; known are {', '.join(known)}")
    about, started = asked_for(given["dataset"]), time.monotonic()
    usual = recipe_for(about, place, given["seconds"]) if given["recipe"] == AUTO else named_recipe(given["recipe"])
    if (trainer := given.get("trainer")) is not None:
        if given["recipe"] != AUTO:
            raise UsageError("--recipe and --trainer exclude each other: a trainer of one's own is the recipe")
        code = source_sha256(trainer, "--trainer")
        usual = NamedRecipe(trainer, recipe_from({"trainer": trainer, "trainer_sha256": code}, "--trainer"))
    recipe = usual or named_recipe(CHOICES[0])
    device = choose_device(given["device"])
    if name is not None:
        place.study(name)
    minimised = tuple(dict.fromkeys(map(Metric, given["minimise"])))
    if len(minimised) > 2:
        raise UsageError(f"--minimise {', '.join(minimised)}: allowed are one or two")
    space, budget, ceilings = _limited_space(given, about.task, minimised)
    engine = choose_engine(given["engine"], recipe.recipe, device, space.op_types)
    epochs = given["epochs"]
    if epochs is None:
        chosen = origins.get("recipe", "default") != "default" and given["recipe"] != AUTO
        epochs = (recipe.recipe.epochs,) if chosen else _lengths(about.train_size)
    elif not all(1 <= each <= _MOST_EPOCHS for each in epochs):
        raise UsageError(f"--epochs {','.join(map(str, epochs))}: each is from 1 to {_MOST_EPOCHS:,}")
    _check_target(given["target"], about)
    # Images are read, or fetched, after all that the options alone can have wrong.
    data = load(given["dataset"], given["folder"])
    check_batch(recipe.recipe, data.dataset.train_size)
    target = _check_target(given["target"], data.dataset)
    offset, workers = error_ratio_of(data.dataset, target), worker_count(given["workers"], device)
    source, limits = Source(data.dataset.name, given["folder"]), Limits(given["trial_time"], given["trial_memory"])
    if usual is None and not given.get("plan"):
        processes = Processes(source, limits)
        recipe = choose(data.dataset, space, budget, processes, workers, engine.kind, place, given["seconds"])
    config = StudyConfig(
        dataset=data.dataset.name,
        data_hash=data.data_hash,
        budget=budget,
        target_pct=target,
        threshold_pct=round(offset.threshold_pct(target), 6),
        space=space.name,
        space_text=space.text,
        sampler=sampler,
        sampler_sha256=source_sha256(sampler, "--sampler") if ":" in sampler else "",
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        # What somebody's code has trained for a while begins anew: its stretches would be paid for twice.
        rungs=() if recipe.recipe.trainer else rungs(recipe.recipe.epochs),
        seed=given["seed"],
        lengths=tuple(sorted(set(epochs))),
        prior=prior,
        prior_sha256="" if prior == "none" else shipped_sha256(data.dataset.name),
        minimise=minimised[0],
        most=None if minimised[0] is Metric.PARAMETERS else ceilings[0],
        second=minimised[1] if minimised[1:] else None,
        second_most=ceilings[1] if minimised[1:] else None,
        start_from=given.get("start_from") or "",
    )
    # A name that no other configuration has.
    digest = hashlib.sha256(json.dumps(config_document(config), sort_keys=True).encode()).hexdigest()[:6]
    folder = place.study(name or f"{config.dataset}-{config.space}-{config.budget}-{digest}")
    if config.start_from:
        # What there is grows by what is found; a study goes on with what it began with.
        exists = (folder / "config.json").exists()
        begun_with = read_config(folder).config.known if exists else _known(given, space, budget)
        config = replace(config, known=begun_with)
    past, left_out = kept(folder), list[ContentError]()
    if past is None:
        past, left_out = past_trainings(prior, place, data.dataset.name, data.data_hash)
    return SearchPlan(
        workspace=place,
        folder=folder,
        config=config,
        effort=Effort(
            seconds=given["seconds"],
            trials=given["trials"],
            workers=workers,
            device=str(device),
            limits=limits,
            engine=engine.kind,
        ),
        source=source,
        recipe=recipe,
        space=space,
        offset=offset,
        engine=engine,
        past=past,
        left_out=tuple(error.message for error in left_out),
        planned_seconds=time.monotonic() - started if usual is None else 0.0,
        origins={("study" if name == "name" else name): origin for name, origin in origins.items()},
    )


def _lengths(images: int) -> tuple[int, ...]:
    # Of few images an epoch has few steps.
    times = min(_MOST_TIMES, max(1, round(_FEW_IMAGES / images)))
    return tuple(times * each for each in LENGTHS)


def usual_space(task: Task) -> str:
    """Return the space whose networks suit images of this shape."""
    _, rows, columns = task.input_shape
    return "series" if rows == 1 else "small" if min(rows, columns) < _SMALL_EDGE else "all"


def _limited_space(
    given: dict[str, Any], task: Task, minimised: tuple[Metric, ...]
) -> tuple[SearchSpace, int, list[int]]:
    """Return the space with its limits, the budget, and the most of each metric that is minimised."""
    limits = given["limits"] or ()

    def upper_bounds(conditions: tuple[Condition, ...], metric: Metric) -> list[int]:
        upper = [each for each in conditions if each.metric is metric and each.comparison in ("<=", "<", "==")]
        return [each.bound - (each.comparison == "<") for each in upper]

    if clash := contradictory(limits):
        raise UsageError(f"--limit {', '.join(map(str, clash))}: no network can meet these together")
    budget: int = min([given["budget"], *upper_bounds(limits, Metric.PARAMETERS)])
    is_plain = minimised == (Metric.PARAMETERS,)
    limits = limits if is_plain else (Condition(Metric.PARAMETERS, "<=", budget), *limits)
    space = with_conditions(space_of(usual_space(task) if given["space"] == AUTO else given["space"], task), limits)
    try:
        analyse(draw(space, uniform(random.Random(0))).architecture, task)
    except ShapeError as error:
        # Without a place it is the last op: the network ends in another number of classes.
        if not error.path:
            hint = "write 'classes' for their number, as in linear(classes)"
            raise ContentError(f"space '{space.name}': {error.message}", hint=hint) from None
    ceilings = []
    for metric in minimised:
        bounds = [budget] if metric is Metric.PARAMETERS else upper_bounds(space.conditions, metric)
        if not bounds:
            raise UsageError(
                f"--minimise {metric} needs an upper limit, from which the search goes down",
                hint=f"give one that large networks meet, such as --limit '{metric}<=1000000'",
            )
        ceilings.append(min(bounds))
    if space.configurations <= MOST_EXACT:
        fewest = smallest(space)
        if fewest is None:
            conditions = dict.fromkeys(map(str, space.conditions))
            check = typed("spaces", "check", given["space"])
            raise ContentError(
                " and ".join([f"no network of space '{space.name}' suits the images", *conditions]),
                hint="loosen --limit or raise --budget" if limits else f"see why with '{check}'",
            )
        if fewest > budget:
            raise ContentError(
                f"no network of space '{space.name}' meets a budget of {budget:,} parameters: "
                f"its smallest has {fewest:,}",
                hint=f"give a budget of {fewest} or more",
            )
    return space, budget, ceilings


def _known(given: dict[str, Any], space: SearchSpace, budget: int) -> tuple[str, ...]:
    """Return those of the networks that ``--from`` names which the space's conditions and images allow."""
    found = set[str]()
    for text in given["known"]:
        with suppress(SearchSpaceError):
            if judge(space, parse_network(text, space.task), budget).accepted:
                found.add(text)
    if not found:
        shape = "x".join(map(str, space.task.input_shape))
        raise UsageError(
            f"--from {given['start_from']}: no network there suits {shape}, {space.task.classes} classes and the limits"
        )
    return tuple(sorted(found))


def _check_target(given: float | None, data: Dataset) -> float:
    target_pct = data.target_pct if given is None else given
    if not target_pct:
        raise UsageError(f"{data.name} has no usual target; give one, as in --target 95")
    highest = 100 * (1 - 1 / data.test_size)
    if not statistics.reaches(highest, target_pct):
        raise UsageError(
            f"--target {target_pct:.12g} allows less than one error on the {data.test_size:,} test images of "
            f"{data.title}; the highest target of a search is {highest:.12g}"
        )
    return target_pct


def on_cluster(plan: SearchPlan, executor_of: ExecutorOf, processes: int | None) -> SearchPlan:
    """Return the plan with the nodes of a cluster in place of this machine's processes.

    Args:
        processes: of each node; None for one a core.

    Raises:
        DeviceError: no node offers a core, or a GPU where one is asked for.
    """
    device = plan.effort.device
    nodes = tuple(node for node in nodes_now() if node.room(device, processes))
    if not nodes:
        raise DeviceError(f"no node of the cluster offers {'a GPU' if device.startswith('cuda') else 'a core'}")
    effort = replace(plan.effort, workers=sum(node.room(device, processes) for node in nodes))
    return replace(plan, effort=effort, executor_of=executor_of, nodes=nodes)


def plan_document(plan: SearchPlan) -> dict[str, Any]:
    """Return what ``--plan`` shows, as plain JSON values.

    Raises:
        ContentError: a study of that name has another configuration.
    """
    config = plan.config
    if exists := (plan.folder / "config.json").exists():
        check_config(plan.folder, config)
    count, data = feasible(plan.space, config.budget), dataset(config.dataset)
    seconds = None
    if count.median_macs is not None and count.median_numbers is not None and count.median_parameters is not None:
        pace = PACES[plan.effort.engine].taught(config.recipe, data.task)
        work = step_work(count.median_macs, count.median_numbers, count.median_parameters)
        lengths = min(config.all_lengths), max(config.all_lengths)
        seconds = [pace.seconds(epochs, data.train_size, work) for epochs in lengths]
    return {
        "study": plan.folder.name,
        "folder": str(plan.folder),
        "exists": exists,
        "config": config_document(config),
        "origins": plan.origins,
        "offset": asdict(plan.offset),
        "effort": asdict(plan.effort),
        "nodes": [asdict(node) for node in plan.nodes],
        "derivations": count.derivations,
        "feasible": asdict(count),
        "feasible_share": [count.low / count.derivations, count.high / count.derivations],
        "lengths": config.all_lengths,
        "estimated_seconds_a_training": seconds,
        "past_trainings": len(alike(plan.past, config.recipe)),
        "stand_seeds": CONFIRM_SEEDS,
        "most_seeds": MOST_SEEDS,
        "confidence": CONFIDENCE,
        "needed_share": needed_share(),
    }
