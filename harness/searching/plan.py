"""Plan of a search: the configuration, the study folder and the prior observations; nothing is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.datasets import Dataset
from harness.evidence.bounds import ErrorRatio, error_ratio_of
from harness.searching.augmentation import CHOICES
from harness.searching.race import rungs
from harness.searching.resolve import Resolved, upper_bounds
from harness.searching.surrogate.past import PastTraining, alike, past_trainings, read_prior, shipped_sha256
from harness.searching.time_budget import Effort, pace_of, step_work
from harness.studies.candidate import CONFIDENCE, CONFIRM_SEEDS, MOST_SEEDS, needed_share
from harness.studies.config import StudyConfig, StudyObjective, check_config, config_document, read_config
from harness.system.errors import ContentError, DeviceError, UsageError
from harness.system.files import Workspace
from harness.training.executors.base import DataLocation, ExecutorOf
from harness.training.executors.processes import Processes
from harness.training.executors.ray import NodeInfo, nodes_now
from harness.training.native.engine import EngineChoice
from harness.training.recipe import NamedRecipe
from search_spaces.chips import Chip
from search_spaces.errors import SearchSpaceError
from search_spaces.notation import parse_network
from search_spaces.space import Metric, SearchSpace, feasible, judge

# Keys of ``origins`` in config.json if the key differs from the name of the argument.
_ORIGIN_KEYS = {"target_pct": "target", "time": "seconds", "data": "folder"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """A search that is ready to start.

    Attributes:
        folder: Folder of the study.
        recipe: Training recipe; the first of ``recipe_choices`` while the recipe is still to be chosen.
        offset: Ratio of errors on unseen images to validation errors; converts the target into the threshold.
        past: Earlier trainings, the prior observations of the surrogate model.
        left_out: Messages about earlier trainings that could not be read.
        origins: Source of each argument (option, environment, call or default), by key.
        nodes: Nodes of the cluster; empty if this machine trains.
        recipe_choices: Names of the recipes to choose from; empty if the recipe is known.
        chip: Chip whose memory limits the networks; None for no chip.
        planned_seconds: Seconds spent on choosing the augmentation; counted as time of the search.
    """

    workspace: Workspace
    folder: Path
    data: Dataset
    config: StudyConfig
    effort: Effort
    source: DataLocation
    recipe: NamedRecipe
    space: SearchSpace
    offset: ErrorRatio
    past: tuple[PastTraining, ...]
    left_out: tuple[str, ...]
    engine: EngineChoice
    origins: dict[str, str]
    executor_of: ExecutorOf = Processes
    nodes: tuple[NodeInfo, ...] = ()
    recipe_choices: tuple[str, ...] = ()
    chip: Chip | None = None
    planned_seconds: float = 0.0


def make_plan(resolved: Resolved, origins: dict[str, str], known: Sequence[str] = ()) -> SearchPlan:
    """Return the plan of a search whose images have been read.

    If the recipe is still to be chosen, the plan has the default recipe.

    Args:
        resolved: Checked options.
        origins: Source of each argument, by name.
        known: Texts of the networks that ``start_from`` names.

    Raises:
        UsageError: None of the ``known`` networks fits the images, classes and limits.
    """
    workspace = resolved.workspace
    offset = error_ratio_of(resolved.data, resolved.target_pct)
    config = _config(resolved, round(offset.threshold_pct(resolved.target_pct), 6))
    # The digest makes the default folder name unique to the configuration.
    digest = hashlib.sha256(json.dumps(config_document(config), sort_keys=True).encode()).hexdigest()[:6]
    folder = resolved.folder or workspace.study(f"{config.dataset}-{config.space}-{config.budget}-{digest}")
    if config.start_from:
        # The source of ``start_from`` may have grown since; a continued study keeps its first set of networks.
        exists = (folder / "config.json").exists()
        networks = read_config(folder).config.known if exists else _suitable(known, resolved)
        config = replace(config, known=networks)
    past = read_prior(folder)
    left_out: list[ContentError] = []
    if past is None:
        past, left_out = past_trainings(config.prior, workspace, config.dataset, config.data_hash, resolved.same_images)
    return SearchPlan(
        workspace=workspace,
        folder=folder,
        data=resolved.data,
        config=config,
        effort=resolved.effort,
        source=resolved.source,
        recipe=resolved.usual_recipe,
        space=resolved.space,
        offset=offset,
        engine=resolved.engine,
        past=past,
        left_out=tuple(error.message for error in left_out),
        recipe_choices=CHOICES if resolved.recipe is None else (),
        chip=resolved.request.chip,
        planned_seconds=resolved.choice_seconds,
        origins={_ORIGIN_KEYS.get(name, name): origin for name, origin in origins.items()},
    )


def _config(resolved: Resolved, threshold_pct: float) -> StudyConfig:
    request = resolved.request
    recipe = resolved.usual_recipe
    objectives = tuple(map(StudyObjective, resolved.minimise, resolved.ceilings))
    if objectives[0].metric is Metric.PARAMETERS:
        objectives = (StudyObjective(Metric.PARAMETERS), *objectives[1:])
    return StudyConfig(
        dataset=resolved.data.name,
        data_hash=resolved.data_hash,
        budget=resolved.budget,
        target_pct=resolved.target_pct,
        threshold_pct=threshold_pct,
        space=resolved.space.name,
        space_text=resolved.space.text,
        sampler=resolved.sampler,
        sampler_sha256=resolved.sampler_sha256,
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        # No rungs for a user's trainer: every stretch restarts from epoch 0, so epochs would be paid twice. No rungs
        # for several starts either: a run trains all starts to the end in a single job (``Job.__post_init__``).
        rungs=() if recipe.recipe.trainer or recipe.recipe.starts > 1 else rungs(recipe.recipe.epochs),
        seed=request.seed,
        lengths=resolved.lengths,
        prior=request.prior,
        prior_sha256="" if request.prior == "none" else shipped_sha256(resolved.data.name),
        objectives=objectives,
        start_from=request.start_from or "",
    )


def _suitable(known: Sequence[str], resolved: Resolved) -> tuple[str, ...]:
    """Return the networks of ``--from`` that the images, the space's conditions and the budget allow."""
    space = resolved.space
    suitable = set[str]()
    for text in known:
        with suppress(SearchSpaceError):
            if judge(space, parse_network(text, space.task), resolved.budget).accepted:
                suitable.add(text)
    if not suitable:
        shape = "x".join(map(str, space.task.input_shape))
        source = resolved.request.start_from
        raise UsageError(
            f"--from {source}: no network fits images of {shape}, {space.task.classes} classes and the limits"
        )
    return tuple(sorted(suitable))


def on_cluster(plan: SearchPlan, executor_of: ExecutorOf, processes: int | None) -> SearchPlan:
    """Return the plan with the nodes of a cluster in place of this machine's processes.

    Args:
        processes: Training processes per node; None for one per core or GPU.
    """
    device = plan.effort.device
    nodes = tuple(node for node in nodes_now() if node.room(device, processes))
    if not nodes:
        raise DeviceError(f"no node of the cluster has {'a GPU' if device.startswith('cuda') else 'a core'}")
    effort = replace(plan.effort, workers=sum(node.room(device, processes) for node in nodes))
    return replace(plan, effort=effort, executor_of=executor_of, nodes=nodes)


def plan_document(plan: SearchPlan) -> dict[str, Any]:
    """Return the plan as plain JSON values, for ``--plan``."""
    config = plan.config
    if exists := (plan.folder / "config.json").exists():
        check_config(plan.folder, config)
    count = feasible(plan.space, config.budget)
    drawn_ceilings = _drawn_ceilings(plan)
    seconds = None
    if count.median_macs is not None and count.median_numbers is not None and count.median_parameters is not None:
        pace = pace_of(plan.effort.engine, plan.effort.device).of_recipe(config.recipe)
        work = step_work(count.median_macs, count.median_numbers, count.median_parameters)
        lengths = min(config.all_lengths), max(config.all_lengths)
        seconds = [pace.seconds(epochs, plan.data.train_size, work) for epochs in lengths]
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
        **({} if plan.chip is None else {"chip": list(map(str, plan.chip.limits(plan.data.task)))}),
        **({"drawn_ceilings": drawn_ceilings} if drawn_ceilings else {}),
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


def _drawn_ceilings(plan: SearchPlan) -> list[Metric]:
    """Return the minimised metrics whose ceiling is the maximum over drawn networks because no limit is lower."""
    metrics = zip(plan.config.minimised, plan.config.ceilings, strict=True)
    others = [(metric, ceiling) for metric, ceiling in metrics if metric is not Metric.PARAMETERS]
    return [metric for metric, ceiling in others if ceiling not in upper_bounds(plan.space.conditions, metric)]
