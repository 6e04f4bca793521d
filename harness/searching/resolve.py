"""Resolve the options of a search: check each option before an image is read or a file is written.

The steps are ``resolve`` (options), ``read_data`` (images) and ``choose_recipe`` (trainings, if the recipe is still to
be chosen). Each step returns a ``Resolved``, the input of ``plan.make_plan``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.datasets import AUTO, Dataset, asked_for, target_of
from harness.data.training_images import image_digests, load
from harness.searching.augmentation import CHOICES, choose, recipe_for
from harness.searching.optuna_sampler import sampler_name
from harness.searching.request import SearchRequest
from harness.searching.surrogate.past import sets_with_images
from harness.searching.time_budget import Effort
from harness.system import statistics
from harness.system.errors import ContentError, UsageError, typed
from harness.system.files import Workspace
from harness.system.machine import choose_device, worker_count
from harness.system.user_code import source_sha256
from harness.training.executors.base import DataLocation, Limits
from harness.training.executors.processes import Processes
from harness.training.native.engine import EngineChoice, choose_engine
from harness.training.recipe import (
    NamedRecipe,
    Recipe,
    check_batch,
    for_few,
    length_factor,
    named_recipe,
    recipe_from,
)
from search_spaces.catalog import space as space_of
from search_spaces.chips import Chip
from search_spaces.deployment import without_integer_form
from search_spaces.errors import ShapeError
from search_spaces.network import Task, analyse
from search_spaces.notation import with_conditions
from search_spaces.space import (
    MOST_EXACT,
    Condition,
    Metric,
    SearchSpace,
    contradictory,
    draw,
    judge,
    measured,
    smallest,
    uniform,
)

# Training lengths of the default recipe, in epochs: small networks need more epochs than large networks. Each length
# is at most twice the length before, as doubling the length lowers the errors by about a seventh.
LENGTHS = (5, 8, 12, 20, 30, 60)
# Further lengths for small data sets: networks of some hundred parameters make a seventh fewer errors with four times
# the epochs (diary 127).
_LONG_LENGTHS = (120, 240)
_MOST_SEEN = 3_000_000  # images per training with a long length at most: 60 epochs of MNIST
_LEAST_SEEN = 3_000  # images of ``length_factor`` epochs below which long lengths do not help
# Images with a shorter edge need the space ``small``: several poolings would leave no pixels.
_SMALL_EDGE = 12
# Images with a longer edge need the space ``large``: at 64x64 pixels a training step of the median network of ``all``
# takes three times as long as at 28x28.
_USUAL_EDGE = 40
# Chips with fewer bytes of RAM per pixel need the space ``minute``; for ``large`` the bound is a byte per channel. At
# 28x28 pixels 10 % of 4,000 networks of ``all`` need at most 4,116 bytes for all maps, and no network less than 980. Of
# 400 networks of ``large`` 10 % need at most one byte per number of the image, at 64x64 and at 96x96 pixels.
_USUAL_BYTES_A_PIXEL = 5
_MOST_EPOCHS = 10_000  # largest allowed value of ``--epochs``
# Number of draws whose maximum is the ceiling of a metric without a limit.
_CEILING_DRAWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Resolved options of a search.

    Attributes:
        folder: Folder of the study; None if the request names no study.
        sampler_sha256: SHA-256 of the source of a user's sampler; empty for built-in samplers.
        recipe: Training recipe; None until ``choose_recipe`` has chosen a recipe.
        engine: Training engine for ``usual_recipe``.
        ceilings: Highest allowed value of each metric of ``minimise``; without a limit the maximum over drawn networks.
        lengths: Allowed training lengths, in epochs.
        data: Data set; before ``read_data`` as far as known without the images.
        data_hash: Hash of the images; empty before ``read_data``.
        same_images: Data sets of shipped trainings that have training images in common with the data set.
        choice_seconds: Wall-clock seconds of ``choose_recipe``.
    """

    request: SearchRequest
    workspace: Workspace
    folder: Path | None
    sampler: str
    sampler_sha256: str
    recipe: NamedRecipe | None
    engine: EngineChoice
    space: SearchSpace
    budget: int
    minimise: tuple[Metric, ...]
    ceilings: tuple[int, ...]
    lengths: tuple[int, ...]
    effort: Effort
    data: Dataset
    target_pct: float
    data_hash: str = ""
    same_images: frozenset[str] = frozenset()
    choice_seconds: float = 0.0

    @property
    def usual_recipe(self) -> NamedRecipe:
        """The recipe, or the first of the recipes to choose from."""
        return self.recipe or named_recipe(CHOICES[0])

    @property
    def source(self) -> DataLocation:
        """Name and folder of the images, for the workers."""
        return DataLocation(self.data.name, self.request.data)


def resolve(request: SearchRequest, workspace: Workspace) -> Resolved:
    """Return the resolved options of a request; no image is read.

    Raises:
        UsageError: An option is invalid, or two options contradict each other.
        ContentError: The space does not fit the images, the limits, the chip or the precision.
    """
    sampler = sampler_name(request.sampler)
    sampler_sha256 = source_sha256(sampler, "--sampler") if ":" in sampler else ""
    data = asked_for(request.dataset)
    recipe = _recipe(request.recipe, request.trainer, data, workspace, request.time)
    usual_recipe = (recipe or named_recipe(CHOICES[0])).recipe
    device = choose_device(request.device)
    folder = None if request.study is None else workspace.study(request.study)
    minimise = tuple(dict.fromkeys(map(Metric, request.minimise)))
    if len(minimise) > 2:
        raise UsageError(f"--minimise {', '.join(minimise)}: at most two objectives are allowed")
    chip_limits = _chip_limits(request.chip, data.task)
    limits = (*(request.limits or ()), *chip_limits)
    if clash := contradictory(limits):
        raise UsageError(f"--limit {', '.join(map(str, clash))}: no network can meet all these limits")
    budget = min([request.budget, *upper_bounds(limits, Metric.PARAMETERS)])
    if minimise != (Metric.PARAMETERS,):
        limits = (Condition(Metric.PARAMETERS, "<=", budget), *limits)
    space = _space(request.space, data, limits, request.chip)
    _check_integer_form(space, usual_recipe, request.chip)
    ceilings = tuple(_ceiling(metric, budget, space, chip_limits) for metric in minimise)
    check = typed("spaces", "check", request.space)
    _check_smallest(space, budget, "relax --limit or increase --budget" if limits else f"'{check}' lists the reasons")
    engine = choose_engine(request.engine, usual_recipe, device, space.op_types)
    return Resolved(
        request=request,
        workspace=workspace,
        folder=folder,
        sampler=sampler,
        sampler_sha256=sampler_sha256,
        recipe=recipe,
        engine=engine,
        space=space,
        budget=budget,
        minimise=minimise,
        ceilings=ceilings,
        lengths=_lengths(request, usual_recipe, data.train_size),
        effort=Effort(
            seconds=request.time,
            trials=request.trials,
            workers=worker_count(request.workers, device),
            device=str(device),
            limits=Limits(request.trial_time, request.trial_memory),
            engine=engine.kind,
        ),
        data=data,
        target_pct=_target(request.target_pct, data),
    )


def _recipe(
    name: str, trainer: str | None, data: Dataset, workspace: Workspace, seconds: float | None
) -> NamedRecipe | None:
    """Return the named recipe or the default recipe of the data; None if the recipe is to be chosen by trainings."""
    if trainer is None:
        return recipe_for(data, workspace, seconds) if name == AUTO else named_recipe(name)
    if name != AUTO:
        raise UsageError("--recipe and --trainer cannot be combined: the trainer replaces the recipe")
    fields = {"trainer": trainer, "trainer_sha256": source_sha256(trainer, "--trainer")}
    return NamedRecipe(trainer, recipe_from(fields, "--trainer"))


def upper_bounds(conditions: Sequence[Condition], metric: Metric) -> list[int]:
    """Return the highest value of a metric allowed by each condition on the metric."""
    strict = [each.bound - 1 for each in conditions if each.metric is metric and each.comparison == "<"]
    return strict + [each.bound for each in conditions if each.metric is metric and each.comparison in ("<=", "==")]


def usual_space(data: Dataset, chip: Chip | None = None) -> str:
    """Return the name of the default space for the images of a data set and the RAM of a chip."""
    channels, rows, columns = data.image_shape
    if rows == 1:
        return "series"
    if min(rows, columns) < _SMALL_EDGE:
        return "small"
    # The shipped prior and benchmarks/main_job.py use the space ``all``; a user's own data have no such prior.
    name = "pictures" if data.sha256 else "all"
    bytes_a_pixel = _USUAL_BYTES_A_PIXEL
    if max(rows, columns) > _USUAL_EDGE:
        name = "large"
        bytes_a_pixel = channels
    is_short = chip is not None and chip.limits(data.task)[1].bound < bytes_a_pixel * rows * columns
    return "minute" if is_short else name


def _space(name: str, data: Dataset, limits: tuple[Condition, ...], chip: Chip | None) -> SearchSpace:
    """Return a space with further conditions, and check that the networks end in the number of classes."""
    space = with_conditions(space_of(usual_space(data, chip) if name == AUTO else name, data.task), limits)
    try:
        analyse(draw(space, uniform(random.Random(0))).architecture, data.task)
    except ShapeError as error:
        # Without a path the error concerns the last op: the network ends in a different number of classes.
        if not error.path:
            hint = "write 'classes' for the number of classes, as in linear(classes)"
            raise ContentError(f"space '{space.name}': {error.message}", hint=hint) from None
    return space


def _chip_limits(chip: Chip | None, task: Task) -> tuple[Condition, ...]:
    """Return the conditions set by the memory of a chip; raise ContentError if stack and image exceed the RAM."""
    if chip is None:
        return ()
    limits = chip.limits(task)
    ram_left = limits[1].bound
    if ram_left <= 0:
        raise ContentError(
            f"no network for these images fits {chip}: stack and image alone exceed the RAM by {-ram_left:,} bytes",
            hint="smaller images need less RAM",
        )
    return limits


def _check_integer_form(space: SearchSpace, recipe: Recipe, chip: Chip | None) -> None:
    """Raise ContentError if integers are needed (chip, int8 recipe) but an op of the space has no integer form."""
    names = without_integer_form(space.op_types)
    if names and (chip is not None or recipe.precision == "int8"):
        need = "required by --chip" if chip is not None else "required by precision int8"
        raise ContentError(f"space '{space.name}' has ops without integer form: {', '.join(names)} ({need})")


def _ceiling(metric: Metric, budget: int, space: SearchSpace, chip_limits: Sequence[Condition]) -> int:
    """Return the highest allowed value of a minimised metric."""
    if metric is Metric.PARAMETERS:
        return budget
    bounds = upper_bounds(space.conditions, metric)
    # The memory of a chip may exceed the need of all networks, so a chip's limit alone is no useful ceiling.
    if not upper_bounds([each for each in space.conditions if each not in chip_limits], metric):
        bounds.append(_largest(metric, budget, space))
    return min(bounds)


def _largest(metric: Metric, budget: int, space: SearchSpace) -> int:
    """Return the maximum of a metric over drawn networks, within the parameter budget if any draw is."""
    rng = random.Random(0)
    unlimited = replace(space, conditions=())
    judgements = [judge(unlimited, draw(space, uniform(rng)).architecture) for _ in range(_CEILING_DRAWS)]
    analyses = [each.analysis for each in judgements if each.analysis is not None]
    within = [each for each in analyses if each.parameters <= budget]
    if not analyses:
        raise ContentError(f"no network of space '{space.name}' fits the images")
    return max(measured(each, metric) for each in within or analyses)


def _check_smallest(space: SearchSpace, budget: int, hint: str) -> None:
    """Raise ContentError if a space small enough to enumerate has no network within the conditions and the budget."""
    if space.configurations > MOST_EXACT:
        return
    feasibility = smallest(space)
    if feasibility.analysis is None or not feasibility.accepted:
        conditions = dict.fromkeys(map(str, space.conditions))
        message = " and ".join([f"no network of space '{space.name}' fits the images", *conditions])
        raise ContentError(f"{message}; nearest network: {feasibility.message}", hint=hint)
    fewest = feasibility.analysis.parameters
    if fewest > budget:
        raise ContentError(
            f"no network of space '{space.name}' meets a budget of {budget:,} parameters: the smallest has {fewest:,}",
            hint=f"set a budget of {fewest} or more",
        )


def _lengths(request: SearchRequest, recipe: Recipe, images: int) -> tuple[int, ...]:
    """Return the allowed training lengths in epochs, ascending."""
    if request.epochs is not None:
        if not all(1 <= length <= _MOST_EPOCHS for length in request.epochs):
            raise UsageError(f"--epochs {','.join(map(str, request.epochs))}: allowed are 1 to {_MOST_EPOCHS:,}")
        return tuple(sorted(set(request.epochs)))
    if request.recipe != AUTO:
        return (recipe.epochs,)
    factor = length_factor(images)
    seen = factor * images
    longer = [each for each in _LONG_LENGTHS if seen >= _LEAST_SEEN and each * seen <= _MOST_SEEN]
    return tuple(factor * each for each in (*LENGTHS, *longer))


def _target(target_pct: float | None, data: Dataset) -> float:
    """Return the target accuracy in per cent; by default the target of the data set."""
    target_pct = target_of(data, target_pct)
    highest = 100 * (1 - 1 / data.test_size)
    if not statistics.reaches(highest, target_pct):
        raise UsageError(
            f"--target {target_pct:.12g} allows less than one error on the {data.test_size:,} test images of "
            f"{data.title}; the highest target of a search is {highest:.12g}"
        )
    return target_pct


def read_data(resolved: Resolved) -> Resolved:
    """Read or download the images and return the options updated from the images."""
    request = resolved.request
    images = load(request.dataset, request.data)
    data = images.dataset
    recipe = resolved.recipe
    # A default recipe is adapted to few images; a named recipe stays as given.
    if recipe is not None and request.recipe == AUTO and request.trainer is None:
        recipe = for_few(recipe, data.train_size)
    check_batch((recipe or resolved.usual_recipe).recipe, data.train_size)
    target_pct = _target(request.target_pct, data)
    resolved = replace(resolved, same_images=sets_with_images(image_digests(images.train_images.numpy())))
    return replace(resolved, data=data, data_hash=images.data_hash, recipe=recipe, target_pct=target_pct)


def without_choice(resolved: Resolved) -> Resolved:
    """Return the options with a recipe, without training: by default the recipe of searches too short for a choice."""
    if resolved.recipe is not None:
        return resolved
    return replace(resolved, recipe=for_few(named_recipe(CHOICES[1]), resolved.data.train_size))


def choose_recipe(resolved: Resolved) -> Resolved:
    """Train a network with each candidate recipe, for up to minutes, and return the options with the best recipe."""
    began = time.monotonic()
    recipe = choose(
        resolved.data,
        resolved.space,
        resolved.budget,
        Processes(resolved.source, resolved.effort.limits),
        resolved.effort,
        resolved.workspace,
    )
    return replace(resolved, recipe=recipe, choice_seconds=time.monotonic() - began)
