"""From a request to the plan of a search, in three steps: what is asked for, what the data are, which recipe.

``resolve`` reads the options, ``read_data`` the images, ``choose_recipe`` trains where a recipe is to be chosen, and
``make_plan`` puts together what they say. Nothing is written but the recipe that was chosen.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.datasets import AUTO, Dataset, asked_for, dataset
from harness.data.training_images import ImageData, load
from harness.evidence.bounds import ErrorRatio, error_ratio_of
from harness.searching.augmentation import CHOICES, choose, recipe_for
from harness.searching.clock import PACES, Effort, step_work
from harness.searching.optuna_sampler import sampler_name
from harness.searching.race import rungs
from harness.searching.request import SearchRequest
from harness.searching.surrogate import PastTraining, alike, kept, past_trainings, shipped_sha256
from harness.studies.candidate import CONFIDENCE, CONFIRM_SEEDS, MOST_SEEDS, needed_share
from harness.studies.config import StudyConfig, StudyObjective, check_config, config_document, read_config
from harness.system import statistics
from harness.system.errors import ContentError, DeviceError, UsageError, typed
from harness.system.files import Workspace
from harness.system.machine import choose_device, worker_count
from harness.system.user_code import source_sha256
from harness.training.executor import ExecutorOf, Limits, Source
from harness.training.native.native import Choice, choose_engine
from harness.training.processes import Processes
from harness.training.ray import NodeInfo, nodes_now
from harness.training.recipe import NamedRecipe, check_batch, for_few, named_recipe, recipe_from
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

if TYPE_CHECKING:
    import torch

# Epochs that the default recipe may have: a large network reaches in a few what a small one needs many for. Each is at
# most twice the one before, as errors fall by a seventh or so when the length doubles.
LENGTHS = (5, 8, 12, 20, 30, 60)
# With fewer images than these to train on, lengths are so many times longer, up to 33 times, that networks see as many.
_FEW_IMAGES, _MOST_TIMES = 5_000, 33
# Of smaller pictures the spaces of several poolings leave nothing.
_SMALL_EDGE = 12
_MOST_EPOCHS = 10_000
# Documents of a study have called these arguments so from the first.
_ORIGIN_KEYS = {"target_pct": "target", "time": "seconds", "data": "folder"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """A search, ready to begin.

    Attributes:
        offset: by which the threshold on validation images stands for the target.
        past: earlier trainings that the search learns from; ``left_out`` says what could not be read.
        executor_of: who trains; ``nodes`` are those of a cluster, none where this machine trains.
        recipe_choices: the recipes of which the search takes one; none where it is known.
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
    recipe_choices: tuple[str, ...] = ()
    planned_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a request asks for, as far as its options alone say it: no image has been read.

    Attributes:
        dataset: what is known of the data before they are read.
        recipe: None where it is to be chosen by ``choose_recipe``.
        engine: who trains this recipe, or one of the recipes that may be chosen.
        ceilings: the most that a network may have of each metric of ``minimise``.
        lengths: the epochs that a network may be trained for.
    """

    request: SearchRequest
    workspace: Workspace
    dataset: Dataset
    sampler: str
    recipe: NamedRecipe | None
    device: torch.device
    engine: Choice
    space: SearchSpace
    budget: int
    minimise: tuple[Metric, ...]
    ceilings: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def may_shorten(self) -> bool:
        """Whether few images may change the recipe, as nobody has named one."""
        return self.request.recipe == AUTO and self.request.trainer is None

    @property
    def source(self) -> Source:
        """Where workers read the images."""
        return Source(self.dataset.name, self.request.data)

    @property
    def limits(self) -> Limits:
        """The limits of one run."""
        return Limits(self.request.trial_time, self.request.trial_memory)

    @property
    def workers(self) -> int:
        """How many runs train at once."""
        return worker_count(self.request.workers, self.device)


def resolve(request: SearchRequest, workspace: Workspace) -> Resolved:
    """Return what the options ask for; all that they alone can have wrong is refused before images are read."""
    sampler = sampler_name(request.sampler)
    about = asked_for(request.dataset)
    recipe = _recipe(request, about, workspace)
    device = choose_device(request.device)
    if request.study is not None:
        workspace.study(request.study)
    minimise = tuple(dict.fromkeys(map(Metric, request.minimise)))
    if len(minimise) > 2:
        raise UsageError(f"--minimise {', '.join(minimise)}: allowed are one or two")
    space, budget, ceilings = _limited_space(request, about.task, minimise)
    likely_recipe = recipe or named_recipe(CHOICES[0])
    engine = choose_engine(request.engine, likely_recipe.recipe, device, space.op_types)
    lengths = request.epochs
    if lengths is None:
        lengths = _lengths(about.train_size) if request.recipe == AUTO else (likely_recipe.recipe.epochs,)
    elif not all(1 <= length <= _MOST_EPOCHS for length in lengths):
        raise UsageError(f"--epochs {','.join(map(str, lengths))}: each is from 1 to {_MOST_EPOCHS:,}")
    _check_target(request.target_pct, about)
    return Resolved(
        request=request,
        workspace=workspace,
        dataset=about,
        sampler=sampler,
        recipe=recipe,
        device=device,
        engine=engine,
        space=space,
        budget=budget,
        minimise=minimise,
        ceilings=tuple(ceilings),
        lengths=tuple(sorted(set(lengths))),
    )


def _recipe(request: SearchRequest, about: Dataset, workspace: Workspace) -> NamedRecipe | None:
    """Return the recipe that is named, or usual for the data; None where it is to be chosen."""
    if request.trainer is None:
        return recipe_for(about, workspace, request.time) if request.recipe == AUTO else named_recipe(request.recipe)
    if request.recipe != AUTO:
        raise UsageError("--recipe and --trainer exclude each other: a trainer of one's own is the recipe")
    fields = {"trainer": request.trainer, "trainer_sha256": source_sha256(request.trainer, "--trainer")}
    return NamedRecipe(request.trainer, recipe_from(fields, "--trainer"))


def read_data(resolved: Resolved) -> tuple[Resolved, ImageData]:
    """Read, or fetch, the images; return what is asked for with what they say of themselves, and them."""
    images = load(resolved.request.dataset, resolved.request.data)
    recipe = resolved.recipe
    if recipe is not None and resolved.may_shorten:
        recipe = for_few(recipe, images.dataset.train_size)
    check_batch((recipe or named_recipe(CHOICES[0])).recipe, images.dataset.train_size)
    _check_target(resolved.request.target_pct, images.dataset)
    return replace(resolved, dataset=images.dataset, recipe=recipe), images


def usual_recipe(resolved: Resolved) -> NamedRecipe:
    """Return the recipe, the first of those to choose from where it is not chosen yet."""
    if resolved.recipe is not None:
        return resolved.recipe
    return for_few(named_recipe(CHOICES[0]), resolved.dataset.train_size)


def choose_recipe(resolved: Resolved) -> NamedRecipe:
    """Train a network with each of the recipes that may suit new data, for up to minutes, and return the best."""
    best = choose(
        resolved.dataset,
        resolved.space,
        resolved.budget,
        Processes(resolved.source, resolved.limits),
        resolved.workers,
        resolved.engine.kind,
        resolved.workspace,
        resolved.request.time,
    )
    return for_few(best, resolved.dataset.train_size)


def make_plan(
    resolved: Resolved,
    recipe: NamedRecipe,
    data_hash: str,
    origins: dict[str, str],
    known: Sequence[str] = (),
    *,
    recipe_choices: tuple[str, ...] = (),
    planned_seconds: float = 0.0,
) -> SearchPlan:
    """Return the plan of a search whose data are read and whose recipe is chosen; nothing is trained.

    Args:
        origins: by name of an argument, who has set it.
        known: texts of the networks that ``start_from`` names.
    """
    request = resolved.request
    data = resolved.dataset
    space = resolved.space
    target_pct = _check_target(request.target_pct, data)
    offset = error_ratio_of(data, target_pct)
    objectives = tuple(map(StudyObjective, resolved.minimise, resolved.ceilings))
    if objectives[0].metric is Metric.PARAMETERS:
        objectives = (StudyObjective(Metric.PARAMETERS), *objectives[1:])
    config = StudyConfig(
        dataset=data.name,
        data_hash=data_hash,
        budget=resolved.budget,
        target_pct=target_pct,
        threshold_pct=round(offset.threshold_pct(target_pct), 6),
        space=space.name,
        space_text=space.text,
        sampler=resolved.sampler,
        sampler_sha256=source_sha256(resolved.sampler, "--sampler") if ":" in resolved.sampler else "",
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        # What somebody's code has trained for a while begins anew: its stretches would be paid for twice.
        rungs=() if recipe.recipe.trainer else rungs(recipe.recipe.epochs),
        seed=request.seed,
        lengths=resolved.lengths,
        prior=request.prior,
        prior_sha256="" if request.prior == "none" else shipped_sha256(data.name),
        objectives=objectives,
        start_from=request.start_from or "",
    )
    # No other configuration has this name.
    digest = hashlib.sha256(json.dumps(config_document(config), sort_keys=True).encode()).hexdigest()[:6]
    name = request.study or f"{config.dataset}-{config.space}-{config.budget}-{digest}"
    folder = resolved.workspace.study(name)
    if config.start_from:
        # What a study or the leaderboard holds grows; a study goes on with the networks that it began with.
        exists = (folder / "config.json").exists()
        networks = read_config(folder).config.known if exists else _known(request, known, space, resolved.budget)
        config = replace(config, known=networks)
    past = kept(folder)
    left_out: list[ContentError] = []
    if past is None:
        past, left_out = past_trainings(request.prior, resolved.workspace, data.name, data_hash)
    return SearchPlan(
        workspace=resolved.workspace,
        folder=folder,
        config=config,
        effort=Effort(
            seconds=request.time,
            trials=request.trials,
            workers=resolved.workers,
            device=str(resolved.device),
            limits=resolved.limits,
            engine=resolved.engine.kind,
        ),
        source=resolved.source,
        recipe=recipe,
        space=space,
        offset=offset,
        engine=resolved.engine,
        past=past,
        left_out=tuple(error.message for error in left_out),
        recipe_choices=recipe_choices,
        planned_seconds=planned_seconds,
        origins={_ORIGIN_KEYS.get(name, name): origin for name, origin in origins.items()},
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
    request: SearchRequest, task: Task, minimised: tuple[Metric, ...]
) -> tuple[SearchSpace, int, list[int]]:
    """Return the space with its limits, the budget, and the most of each metric that is minimised."""
    limits = request.limits or ()

    def upper_bounds(conditions: tuple[Condition, ...], metric: Metric) -> list[int]:
        upper = [each for each in conditions if each.metric is metric and each.comparison in ("<=", "<", "==")]
        return [each.bound - (each.comparison == "<") for each in upper]

    if clash := contradictory(limits):
        raise UsageError(f"--limit {', '.join(map(str, clash))}: no network can meet these together")
    budget: int = min([request.budget, *upper_bounds(limits, Metric.PARAMETERS)])
    is_plain = minimised == (Metric.PARAMETERS,)
    limits = limits if is_plain else (Condition(Metric.PARAMETERS, "<=", budget), *limits)
    space = with_conditions(space_of(usual_space(task) if request.space == AUTO else request.space, task), limits)
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
            check = typed("spaces", "check", request.space)
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


def _known(request: SearchRequest, known: Sequence[str], space: SearchSpace, budget: int) -> tuple[str, ...]:
    """Return those of the networks that ``--from`` names which the space's conditions and images allow."""
    suitable = set[str]()
    for text in known:
        with suppress(SearchSpaceError):
            if judge(space, parse_network(text, space.task), budget).accepted:
                suitable.add(text)
    if not suitable:
        shape = "x".join(map(str, space.task.input_shape))
        raise UsageError(
            f"--from {request.start_from}: no network there suits {shape}, {space.task.classes} classes and the limits"
        )
    return tuple(sorted(suitable))


def _check_target(target_pct: float | None, data: Dataset) -> float:
    target_pct = data.target_pct if target_pct is None else target_pct
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
    """
    device = plan.effort.device
    nodes = tuple(node for node in nodes_now() if node.room(device, processes))
    if not nodes:
        raise DeviceError(f"no node of the cluster offers {'a GPU' if device.startswith('cuda') else 'a core'}")
    effort = replace(plan.effort, workers=sum(node.room(device, processes) for node in nodes))
    return replace(plan, effort=effort, executor_of=executor_of, nodes=nodes)


def plan_document(plan: SearchPlan) -> dict[str, Any]:
    """Return what ``--plan`` shows, as plain JSON values."""
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
        **({"recipe_choices": list(plan.recipe_choices)} if plan.recipe_choices else {}),
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
