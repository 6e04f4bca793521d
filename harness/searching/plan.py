"""Plan of a search: the configuration, the study folder and the prior observations.

Planning does not write into the folder of the study. A recipe that is chosen by trainings is stored beside the data
set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.data.datasets import AUTO, Dataset, dataset_of_option
from harness.data.training_images import ImageData, image_digests, load
from harness.evidence.bounds import ErrorRatio, error_ratio_of
from harness.searching import resolve
from harness.searching.augmentation import SHORT_CHOICE, choose
from harness.searching.optuna_sampler import sampler_name
from harness.searching.request import SearchRequest
from harness.searching.resolve import Goal, LimitedSpace, TrainingChoice
from harness.searching.scheduler import rungs
from harness.searching.start_networks import networks_of, suitable
from harness.searching.surrogate.past import (
    PastTraining,
    alike,
    past_trainings,
    read_prior,
    sets_with_images,
    shipped_sha256,
)
from harness.searching.time_budget import Effort, pace_of, step_work
from harness.spaces.chips import Chip
from harness.spaces.counting import FeasibleCount, feasible
from harness.spaces.space import Metric, SearchSpace
from harness.studies.candidate import CONFIDENCE, MAX_SEEDS, confirm_seeds_of, needed_share
from harness.studies.config import StudyConfig, check_config, config_document, read_config, study_exists
from harness.studies.group_spread import GROUP_CONFIDENCE
from harness.system import clock
from harness.system.errors import ContentError, DeviceError
from harness.system.files import Workspace
from harness.system.machine import choose_device
from harness.system.terminal import busy
from harness.system.user_code import source_sha256
from harness.training.executors.base import DataLocation, ExecutorFactory
from harness.training.executors.clusters import Cluster, NodeInfo
from harness.training.executors.processes import Processes
from harness.training.recipe import named_recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """A search that is ready to start.

    Attributes:
        folder: Folder of the study; not created yet if the study is new.
        config: Configuration of the study.
        effort: Limits of time, trials and workers.
        source: Location of the data set.
        space: Search space, the stated limits included (``LimitedSpace``).
        error_ratio: Ratio of errors on unseen images to validation errors; converts the target into the threshold.
        past: Earlier trainings, the prior observations of the surrogate model.
        left_out: Messages about earlier trainings that could not be read.
        training: Recipe, engine and lengths of the trainings.
        recorded_origins: Source of each argument (option, environment, call or default), by the key in ``config.json``.
        make_executor: Factory of the executor: processes of this machine, or nodes of a cluster.
        nodes: Nodes of the cluster; empty if this machine trains.
        chip: Chip whose memory limits the networks; None for no chip.
    """

    workspace: Workspace
    folder: Path
    data: Dataset
    config: StudyConfig
    effort: Effort
    source: DataLocation
    space: SearchSpace
    error_ratio: ErrorRatio
    past: tuple[PastTraining, ...]
    left_out: tuple[str, ...]
    training: TrainingChoice
    recorded_origins: dict[str, str]
    make_executor: ExecutorFactory = Processes
    nodes: tuple[NodeInfo, ...] = ()
    chip: Chip | None = None


def plan_search(
    request: SearchRequest,
    workspace: Workspace,
    *,
    recipe_choice: Literal["by training", "left open", "as in short searches"] = "by training",
) -> SearchPlan:
    """Return the plan of a search; all options are checked before the images are read.

    Args:
        request: Request for the search.
        workspace: Workspace of the study.
        recipe_choice: Treatment of a default recipe that is not known for the data: ``by training`` trains a network
            with each recipe, for up to minutes; ``left open`` lists the choices in the plan; ``as in short searches``
            takes ``SHORT_CHOICE``, the recipe of searches that are too short for a choice.

    Raises:
        UsageError: An option is invalid, or two options are contradictory.
        ContentError: The space does not fit the images, the limits, the chip or the precision.
        DataError: The images are missing or damaged.
        DeviceError: The device or the engine is not available.
    """
    with busy("checking the options and reading the images"):
        goal = resolve.goal_of(dataset_of_option(request.dataset), request.target_pct)
        sampler = sampler_name(request.sampler)
        sampler_sha256 = source_sha256(sampler, "sampler") if ":" in sampler else ""
        named_folder = None if request.study is None else workspace.study(request.study)
        start_networks = () if request.start_from is None else networks_of(request.start_from, workspace)
        device = choose_device(request.device)
        space_choice = resolve.limited_space(request, goal.data)
        training = resolve.training_of(request, goal.data, space_choice.space, workspace, device)
        effort = resolve.effort_of(request, training.engine.kind, device)
        images = load(request.dataset, request.data)
    if images.dataset != goal.data:  # ``auto``, and MNIST is not available
        # Space, recipe and lengths remain chosen for MNIST, so that studies of earlier versions can be resumed.
        goal = resolve.goal_of(images.dataset, request.target_pct)
    # Only a default recipe is adapted to few images.
    if request.recipe == AUTO and request.trainer is None and not training.recipe_choices:
        training = replace(training, named_recipe=training.named_recipe.with_feasible_batch(goal.data.train_size))
    training.named_recipe.recipe.check_batch(goal.data.train_size)
    source = DataLocation(goal.data.name, request.data)
    training = _with_recipe(training, recipe_choice, goal.data, space_choice, effort, source, workspace)
    error_ratio = error_ratio_of(goal.data, goal.target_pct)
    config = _config(request, goal, space_choice, training, error_ratio)
    config = replace(config, data_hash=images.data_hash, sampler=sampler, sampler_sha256=sampler_sha256)
    # The name of the folder must not depend on the start networks, which are entered below.
    digest = hashlib.sha256(json.dumps(config_document(config), sort_keys=True).encode()).hexdigest()[:6]
    default_folder = workspace.study(f"{config.dataset}-{config.space}-{config.budget}-{digest}")
    folder = named_folder or default_folder
    config = replace(config, known=_start_networks(request, start_networks, space_choice, folder))
    with busy("reading past runs"):
        past, faults = _past(config, images, workspace, folder)
    return SearchPlan(
        workspace=workspace,
        folder=folder,
        data=goal.data,
        config=config,
        effort=effort,
        source=source,
        space=space_choice.space,
        error_ratio=error_ratio,
        training=training,
        past=past,
        left_out=tuple(error.message for error in faults),
        chip=request.chip,
        recorded_origins={
            option.source_key: source for option, source in request.sources.items() if option.source_key is not None
        },
    )


def _with_recipe(
    training: TrainingChoice,
    recipe_choice: str,
    data: Dataset,
    space_choice: LimitedSpace,
    effort: Effort,
    source: DataLocation,
    workspace: Workspace,
) -> TrainingChoice:
    """Return the training with a recipe in place of the recipes to choose from, see ``plan_search``."""
    if recipe_choice == "left open" or not training.recipe_choices:
        return training
    if recipe_choice == "as in short searches":
        recipe = named_recipe(SHORT_CHOICE).with_feasible_batch(data.train_size)
        return replace(training, named_recipe=recipe, recipe_choices=())
    began = clock.now()
    executor = Processes(source, effort.limits)
    with busy("choosing an augmentation"):
        recipe = choose(data, space_choice.space, space_choice.budget, executor, effort, workspace)
    return replace(training, named_recipe=recipe, recipe_choices=(), planning_seconds=clock.now() - began)


def _start_networks(
    request: SearchRequest, networks: Sequence[str], space_choice: LimitedSpace, folder: Path
) -> tuple[str, ...]:
    """Return the networks of ``start_from`` that suit the search, none without ``start_from``."""
    if request.start_from is None:
        return ()
    if study_exists(folder):
        # The source of ``start_from`` may have grown since; a continued study keeps the first set of networks.
        return read_config(folder).config.known
    return suitable(networks, space_choice.space, space_choice.budget, request.start_from)


def _past(
    config: StudyConfig, images: ImageData, workspace: Workspace, folder: Path
) -> tuple[tuple[PastTraining, ...], list[ContentError]]:
    past = read_prior(folder)
    if past is not None:
        return past, []  # a continued study keeps the first prior observations
    overlapping_sets = sets_with_images(image_digests(images.train_images.numpy()))
    return past_trainings(config.prior, workspace, config.dataset, config.data_hash, overlapping_sets)


def _config(
    request: SearchRequest, goal: Goal, space_choice: LimitedSpace, training: TrainingChoice, error_ratio: ErrorRatio
) -> StudyConfig:
    """Return the configuration of a study; ``plan_search`` adds the hash of the images and the sampler."""
    recipe = training.named_recipe.recipe
    # No rungs for a user's trainer: a trainer cannot continue from a checkpoint, so each part of a training would
    # begin at epoch 0. No rungs for several starts: all starts are trained in a single job (``Job.__post_init__``).
    has_rungs = not recipe.trainer and recipe.starts == 1
    # Fixed validation groups of ``group_by`` decide the threshold only.
    is_of_copies = bool(goal.data.validation_group_sizes) and not goal.data.group_by
    has_effective_groups = is_of_copies or bool(goal.data.group_folds)
    return StudyConfig(
        dataset=goal.data.name,
        data_hash="",
        budget=space_choice.budget,
        target_pct=goal.target_pct,
        threshold_pct=round(error_ratio.threshold_pct(goal.target_pct), 6),
        space=space_choice.space.name,
        space_text=space_choice.space.text,
        sampler="",
        recipe=recipe,
        recipe_name=training.named_recipe.name,
        rungs=rungs(recipe.epochs) if has_rungs else (),
        seed=request.seed,
        lengths=training.lengths,
        prior=request.prior,
        prior_sha256="" if request.prior == "none" else shipped_sha256(goal.data.name),
        start_from=request.start_from or "",
        image_folds=goal.data.image_folds,
        group_folds=goal.data.group_folds,
        validation_groups=round(goal.data.validation_cases, 3) if has_effective_groups else 0.0,
        test_groups=round(goal.data.test_cases, 3) if has_effective_groups else 0.0,
        **space_choice.objectives,
    )


def on_cluster(plan: SearchPlan, cluster: Cluster, processes: int | None) -> SearchPlan:
    """Return the plan with the nodes of a cluster in place of the processes of this machine.

    Args:
        plan: Plan for this machine.
        cluster: Connected cluster.
        processes: Training processes per node; None for all cores or GPUs.

    Raises:
        DeviceError: No node has a core or, if the plan requires a GPU, no node has a GPU.
    """
    device = plan.effort.device
    nodes = tuple(node for node in cluster.nodes if node.room(device, processes))
    if not nodes:
        raise DeviceError(f"no node of the cluster has {'a GPU' if device.startswith('cuda') else 'a core'}")
    effort = replace(plan.effort, workers=sum(node.room(device, processes) for node in nodes))
    return replace(plan, effort=effort, make_executor=cluster.make_executor, nodes=nodes)


def plan_document(plan: SearchPlan) -> dict[str, Any]:
    """Return the plan as plain JSON values, for ``--plan``.

    Raises:
        ContentError: The study exists with a different configuration.
    """
    config = plan.config
    exists = study_exists(plan.folder)
    if exists:
        check_config(plan.folder, config)
    count = feasible(plan.space, config.budget)
    # Published keys: ``derivations`` are configurations, ``offset`` is the error ratio, ``stand_seeds`` are the fewest
    # seeds of a confirmation.
    return {
        "study": plan.folder.name,
        "folder": str(plan.folder),
        "exists": exists,
        "config": config_document(config),
        "origins": plan.recorded_origins,
        "offset": asdict(plan.error_ratio),
        "effort": asdict(plan.effort),
        "nodes": [asdict(node) for node in plan.nodes],
        **_optional_keys(plan),
        "derivations": count.derivations,
        "feasible": asdict(count),
        "feasible_share": [count.low / count.derivations, count.high / count.derivations],
        "lengths": config.epoch_choices,
        "estimated_seconds_a_training": _training_seconds(plan, count),
        "past_trainings": len(alike(plan.past, config.recipe)),
        "stand_seeds": confirm_seeds_of(config),
        "most_seeds": config.group_folds or MAX_SEEDS,
        "confidence": GROUP_CONFIDENCE if config.groups else CONFIDENCE,
        "needed_share": needed_share(confirm_seeds_of(config), config.groups),
    }


def _optional_keys(plan: SearchPlan) -> dict[str, Any]:
    """Return the keys of ``plan_document`` that only some plans have, with the values."""
    config = plan.config
    # Minimised metrics whose limit is no condition of the space: ``limited_space`` took the maximum over draws.
    drawn_limits = [
        metric
        for metric, limit in zip(config.minimised, config.limits, strict=True)
        if metric is not Metric.PARAMETERS and limit not in resolve.upper_bounds(plan.space.conditions, metric)
    ]
    chip_limits = [] if plan.chip is None else list(map(str, plan.chip.limits(plan.data.task)))
    values = {"recipe_choices": list(plan.training.recipe_choices), "chip": chip_limits, "drawn_ceilings": drawn_limits}
    return {key: value for key, value in values.items() if value}


def _training_seconds(plan: SearchPlan, count: FeasibleCount) -> list[float] | None:
    """Return the seconds of the shortest and the longest training of a network of median cost; None without medians."""
    if count.median_macs is None or count.median_numbers is None or count.median_parameters is None:
        return None
    pace = pace_of(plan.effort.engine, plan.effort.device).of_recipe(plan.config.recipe)
    work = step_work(count.median_macs, count.median_numbers, count.median_parameters)
    choices = plan.config.epoch_choices
    return [pace.seconds(epochs, plan.data.train_size, work) for epochs in (min(choices), max(choices))]
