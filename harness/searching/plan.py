"""Plan of a search: the configuration, the study folder and the prior observations.

Planning does not write into the folder of the study. A recipe that is chosen by trainings is stored beside the data
set.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.data.datasets import AUTO, Dataset, dataset_of_option
from harness.data.groups import GROUP_CONFIDENCE
from harness.data.training_images import image_digests, load
from harness.evidence.bounds import ErrorRatio
from harness.searching.augmentation import CHOICES, SHORT_CHOICE, choose, recipe_for
from harness.searching.limited_space import LimitedSpace, limited_space, upper_bounds
from harness.searching.request import SearchRequest
from harness.searching.scheduler import rungs
from harness.searching.surrogate.prior import PriorTraining, comparable_trainings, package_prior_sha256, prior_of
from harness.searching.time_budget import Effort, equivalent_macs, pace_of
from harness.spaces.counting import FeasibleCount, feasible
from harness.spaces.integer_plan import without_integer_form
from harness.spaces.space import Metric, SearchSpace
from harness.studies.candidate import CONFIDENCE, MAX_SEEDS, SURROGATE, confirm_seeds_of, needed_share
from harness.studies.config import StudyConfig, check_config, config_document, read_config, study_exists
from harness.system import clock, statistics
from harness.system.errors import ContentError, DeviceError, UsageError
from harness.system.files import Workspace
from harness.system.machine import choose_device, worker_count
from harness.system.terminal import busy
from harness.system.user_code import source_sha256
from harness.training.executors.base import DataLocation, ExecutorFactory, Limits
from harness.training.executors.clusters import Cluster, NodeInfo
from harness.training.executors.processes import Processes
from harness.training.native.engine import EngineChoice, choose_engine
from harness.training.recipe import NamedRecipe, length_factor, named_recipe, recipe_from

if TYPE_CHECKING:
    import torch

# Epochs of the default recipe: small networks need more. Doubling the length lowers the errors by about a seventh.
LENGTHS = (5, 8, 12, 20, 30, 60)
# For small data sets: networks of some hundred parameters make a seventh fewer errors with four times the epochs (diary
# 127).
_LONG_LENGTHS = (120, 240)
_MAX_SEEN = 3_000_000  # images seen in a training of a long length: 60 epochs of MNIST
_MIN_SEEN = 3_000  # images seen in ``length_factor`` epochs; with fewer images long lengths do not help
_MAX_EPOCHS = 10_000  # largest allowed value of ``--epochs``


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingChoice:
    """Recipe, engine and lengths of the trainings.

    Attributes:
        named_recipe: The first of ``recipe_choices`` while the recipe is still to be chosen.
        recipe_choices: Names of the recipes to choose from by trainings; empty if the recipe is known.
        planning_seconds: Seconds of the trainings that chose the recipe, counted as time of the search.
    """

    named_recipe: NamedRecipe
    recipe_choices: tuple[str, ...] = ()
    engine: EngineChoice
    lengths: tuple[int, ...]
    planning_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """A search that is ready to start.

    Attributes:
        folder: Not created yet if the study is new.
        space: Search space, the stated limits included (``LimitedSpace``).
        prior: Prior observations of the surrogate model.
        recorded_origins: Source of each argument (option, environment, call or default), by the key in ``config.json``.
        chip_limits: Conditions of the chip whose memory limits the networks; empty without a chip.
    """

    workspace: Workspace
    folder: Path
    data: Dataset
    config: StudyConfig
    effort: Effort
    source: DataLocation
    space: SearchSpace
    prior: tuple[PriorTraining, ...]
    left_out: tuple[str, ...]
    training: TrainingChoice
    recorded_origins: dict[str, str]
    make_executor: ExecutorFactory = Processes
    nodes: tuple[NodeInfo, ...] = ()
    chip_limits: tuple[str, ...] = ()


def plan_search(
    request: SearchRequest,
    workspace: Workspace,
    *,
    recipe_choice: Literal["by training", "left open", "as in short searches"] = "by training",
) -> SearchPlan:
    """Return the plan of a search; all options are checked before the images are read.

    Args:
        recipe_choice: If the default recipe is not known for the data, ``by training`` trains a network with each
            recipe, for up to minutes; ``left open`` lists the choices; ``as in short searches`` takes ``SHORT_CHOICE``.

    Raises:
        UsageError: An option is invalid, or two options are contradictory.
        ContentError: The space does not fit the images, the limits, the chip or the precision.
        DataError: The images are missing or damaged.
        DeviceError: The device or the engine is not available.
    """
    with busy("checking the options and reading the images"):
        data = dataset_of_option(request.dataset)
        target_pct = _target_pct(data, request.target_pct)
        named_folder = None if request.study is None else workspace.study(request.study)
        device = choose_device(request.device)
        recipe, recipe_choices = _recipe(request, data, workspace)
        limited = limited_space(request, data, recipe.recipe.weight_bits)
        training = _training(request, data, recipe, limited.space, device)
        effort = Effort(
            seconds=request.time,
            trials=request.trials,
            workers=worker_count(request.workers, device),
            device=str(device),
            limits=Limits(request.trial_time, request.trial_memory),
            engine=training.engine.kind,
        )
        images = load(request.dataset, request.data)
    if images.dataset != data:  # ``auto``, and MNIST is not available
        # Remain as chosen for MNIST, so that studies of earlier versions can be resumed.
        data = images.dataset
        target_pct = _target_pct(data, request.target_pct)
    training.named_recipe.recipe.check_batch(data.train_size)
    source = DataLocation(data.name, request.data)
    if recipe_choices:
        training = replace(training, recipe_choices=recipe_choices)
        training = _with_recipe(training, recipe_choice, data, limited, effort, source, workspace)
    config = _config(request, data, target_pct, limited, training, images.data_hash)
    # The start networks, entered below, must not change the name of the folder.
    digest = hashlib.sha256(json.dumps(config_document(config), sort_keys=True).encode()).hexdigest()[:6]
    default_folder = workspace.study(f"{config.dataset}-{config.space}-{config.budget}-{digest}")
    folder = named_folder or default_folder
    if request.start_from is not None and study_exists(folder):
        # A continued study keeps the first set of networks.
        config = replace(config, known=read_config(folder).config.known)
    elif request.start_from is not None:
        config = replace(config, known=request.start_from.suitable(limited.space, limited.budget))
    with busy("reading past runs"):
        prior, faults = prior_of(config, folder, workspace, lambda: image_digests(images.train_images.numpy()))
    return SearchPlan(
        workspace=workspace,
        folder=folder,
        data=data,
        config=config,
        effort=effort,
        source=source,
        space=limited.space,
        training=training,
        prior=prior,
        left_out=tuple(error.message for error in faults),
        chip_limits=tuple(map(str, limited.chip_limits)),
        recorded_origins={
            option.source_key: source for option, source in request.sources.items() if option.source_key is not None
        },
    )


def _target_pct(data: Dataset, stated_pct: float | None) -> float:
    target_pct = data.target(stated_pct)
    highest = 100 * (1 - 1 / data.test_size)
    if not statistics.reaches(highest, target_pct):
        raise UsageError(
            f"the target {target_pct:.12g} % allows less than one error on the {data.test_size:,} test images of "
            f"{data.title}; the highest target of a search is {highest:.12g}"
        )
    return target_pct


def _recipe(request: SearchRequest, data: Dataset, workspace: Workspace) -> tuple[NamedRecipe, tuple[str, ...]]:
    """The names are the recipes to choose from by trainings, if the recipe is not known yet."""
    if request.trainer is not None:
        if request.recipe != AUTO:
            raise UsageError("the options recipe and trainer cannot be combined: the trainer replaces the recipe")
        fields = {"trainer": request.trainer, "trainer_sha256": source_sha256(request.trainer, "trainer")}
        return NamedRecipe(request.trainer, recipe_from(fields, "trainer")), ()
    if request.recipe != AUTO:
        return named_recipe(request.recipe), ()
    default = recipe_for(data, workspace, request.time)
    if default is None:
        return named_recipe(CHOICES[0]), CHOICES
    return default.with_feasible_batch(data.train_size), ()  # only a default recipe is adapted to few images


def _training(
    request: SearchRequest, data: Dataset, recipe: NamedRecipe, space: SearchSpace, device: torch.device
) -> TrainingChoice:
    names = without_integer_form(space.op_types)
    if names and (request.chip is not None or recipe.recipe.precision == "int8"):
        need = "required by precision int8" if request.chip is None else "required by the chip"
        raise ContentError(f"space '{space.name}' has ops without integer form: {', '.join(names)} ({need})")
    engine = choose_engine(request.engine, recipe.recipe, device, space.op_types)
    if request.epochs is not None:
        if not all(1 <= length <= _MAX_EPOCHS for length in request.epochs):
            raise UsageError(f"epochs {','.join(map(str, request.epochs))}: allowed are 1 to {_MAX_EPOCHS:,}")
        lengths = tuple(sorted(set(request.epochs)))
    elif request.recipe != AUTO:
        lengths = (recipe.recipe.epochs,)
    else:
        lengths = _default_lengths(data.train_size)
    return TrainingChoice(named_recipe=recipe, engine=engine, lengths=lengths)


def _default_lengths(images: int) -> tuple[int, ...]:
    factor = length_factor(images)
    image_count = factor * images
    longer = [length for length in _LONG_LENGTHS if image_count >= _MIN_SEEN and length * image_count <= _MAX_SEEN]
    return tuple(factor * length for length in (*LENGTHS, *longer))


def _with_recipe(
    training: TrainingChoice,
    recipe_choice: str,
    data: Dataset,
    limited: LimitedSpace,
    effort: Effort,
    source: DataLocation,
    workspace: Workspace,
) -> TrainingChoice:
    if recipe_choice == "left open":
        return training
    if recipe_choice == "as in short searches":
        recipe = named_recipe(SHORT_CHOICE).with_feasible_batch(data.train_size)
        return replace(training, named_recipe=recipe, recipe_choices=())
    began = clock.now()
    executor = Processes(source, effort.limits)
    with busy("choosing an augmentation"):
        recipe = choose(data, limited.space, limited.budget, executor, effort, workspace)
    return replace(training, named_recipe=recipe, recipe_choices=(), planning_seconds=clock.now() - began)


def _config(
    request: SearchRequest,
    data: Dataset,
    target_pct: float,
    limited: LimitedSpace,
    training: TrainingChoice,
    data_hash: str,
) -> StudyConfig:
    sampler = SURROGATE if request.sampler == AUTO else request.sampler
    recipe = training.named_recipe.recipe
    # A user's trainer cannot continue from a checkpoint. All starts are trained in a single job
    # (``Job.__post_init__``).
    has_rungs = not recipe.trainer and recipe.starts == 1
    # Fixed validation groups of ``group_by`` decide the threshold only.
    is_of_copies = bool(data.validation_group_sizes) and not data.group_by
    has_effective_groups = is_of_copies or bool(data.group_folds)
    return StudyConfig(
        dataset=data.name,
        data_hash=data_hash,
        budget=limited.budget,
        target_pct=target_pct,
        threshold_pct=round(ErrorRatio.of(data, target_pct).threshold_pct(target_pct), 6),
        space=limited.space.name,
        space_text=limited.space.text,
        sampler=sampler,
        sampler_sha256=source_sha256(sampler, "sampler") if ":" in sampler else "",
        recipe=recipe,
        recipe_name=training.named_recipe.name,
        rungs=rungs(recipe.epochs) if has_rungs else (),
        seed=request.seed,
        lengths=training.lengths,
        prior=request.prior,
        prior_sha256="" if request.prior == "none" else package_prior_sha256(data.name),
        start_from=str(request.start_from or ""),
        image_folds=data.image_folds,
        group_folds=data.group_folds,
        validation_groups=round(data.validation_cases, 3) if has_effective_groups else 0.0,
        test_groups=round(data.test_cases, 3) if has_effective_groups else 0.0,
        **limited.objectives,
    )


def on_cluster(plan: SearchPlan, cluster: Cluster, processes: int | None) -> SearchPlan:
    """Return the plan with the nodes of a cluster in place of the processes of this machine.

    Args:
        processes: Processes per node; None for all cores or GPUs.

    Raises:
        DeviceError: No node has a core or, if the plan requires a GPU, no node has a GPU.
    """
    device = plan.effort.device
    nodes = tuple(node for node in cluster.nodes if node.room(device, processes))
    if not nodes:
        raise DeviceError(f"no node of the cluster has {'a GPU' if device.startswith('cuda') else 'a core'}")
    effort = replace(plan.effort, workers=sum(node.room(device, processes) for node in nodes))
    return replace(plan, effort=effort, make_executor=cluster.make_executor, nodes=nodes)


def search_plan_json(plan: SearchPlan) -> dict[str, Any]:
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
        "offset": asdict(ErrorRatio.of(plan.data, config.target_pct)),
        "effort": asdict(plan.effort),
        "nodes": [asdict(node) for node in plan.nodes],
        **_optional_keys(plan),
        "derivations": count.derivations,
        "feasible": asdict(count),
        "feasible_share": [count.low / count.derivations, count.high / count.derivations],
        "lengths": config.epoch_choices,
        "estimated_seconds_a_training": _training_seconds(plan, count),
        "past_trainings": len(comparable_trainings(plan.prior, config.recipe)),
        "stand_seeds": confirm_seeds_of(config),
        "most_seeds": config.group_folds or MAX_SEEDS,
        "confidence": GROUP_CONFIDENCE if config.groups else CONFIDENCE,
        "needed_share": needed_share(confirm_seeds_of(config), config.groups),
    }


def _optional_keys(plan: SearchPlan) -> dict[str, Any]:
    config = plan.config
    # ``limited_space`` took the maximum over draws.
    drawn_limits = [
        metric
        for metric, limit in zip(config.minimised, config.limits, strict=True)
        if metric is not Metric.PARAMETERS and limit not in upper_bounds(plan.space.conditions, metric)
    ]
    values = {
        "recipe_choices": list(plan.training.recipe_choices),
        "chip": list(plan.chip_limits),
        "drawn_ceilings": drawn_limits,
    }
    return {key: value for key, value in values.items() if value}


def _training_seconds(plan: SearchPlan, count: FeasibleCount) -> list[float] | None:
    """Return the seconds of a training of a network of median cost; None without medians."""
    if count.median_macs is None or count.median_numbers is None or count.median_parameters is None:
        return None
    pace = pace_of(plan.effort.engine, plan.effort.device).of_recipe(plan.config.recipe)
    macs = equivalent_macs(count.median_macs, count.median_numbers, count.median_parameters)
    choices = plan.config.epoch_choices
    return [pace.seconds(epochs, plan.data.train_size, macs) for epochs in (min(choices), max(choices))]
