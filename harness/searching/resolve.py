"""The steps from a request to a plan: each step checks options of the request, and reads no image.

1. ``goal_of``: data and target
2. ``limited_space``: space and limits
3. ``training_of``: recipe, engine and lengths
4. ``effort_of``: time, trials, workers and limits of a run

``plan.plan_search`` takes the steps in this order.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.data.datasets import AUTO, Dataset
from harness.searching.augmentation import CHOICES, recipe_for
from harness.searching.request import SearchRequest
from harness.searching.time_budget import Effort
from harness.spaces.catalog import space as space_of
from harness.spaces.chips import Chip
from harness.spaces.counting import MAX_EXACT, smallest
from harness.spaces.integer_plan import without_integer_form
from harness.spaces.network import Task, analyse
from harness.spaces.notation import with_conditions
from harness.spaces.space import Condition, Metric, SearchSpace, contradictory, draw, judge, measured, uniform
from harness.spaces.space_errors import ShapeError
from harness.system import statistics
from harness.system.errors import ContentError, UsageError, as_command
from harness.system.files import Workspace
from harness.system.machine import worker_count
from harness.system.user_code import source_sha256
from harness.training.executors.base import Limits
from harness.training.native.engine import EngineChoice, choose_engine
from harness.training.recipe import NamedRecipe, Recipe, length_factor, named_recipe, recipe_from

if TYPE_CHECKING:
    import torch

# Training lengths of the default recipe, in epochs: small networks need more epochs than large networks. Each length
# is at most twice the length before, as doubling the length lowers the errors by about a seventh.
LENGTHS = (5, 8, 12, 20, 30, 60)
# Further lengths for small data sets, in epochs: networks of some hundred parameters make a seventh fewer errors with
# four times the epochs (diary 127).
_LONG_LENGTHS = (120, 240)
_MAX_SEEN = 3_000_000  # largest number of images seen in a training of a long length: 60 epochs of MNIST
_MIN_SEEN = 3_000  # images seen in ``length_factor`` epochs; with fewer images long lengths do not help
# Pixels; images with a shorter edge need the space ``small``: several poolings would leave no pixels.
_SMALL_EDGE = 12
# Pixels; images with a longer edge need the space ``large``: at 64x64 pixels a training step of the median network of
# ``all`` takes three times as long as at 28x28.
_USUAL_EDGE = 40
# Chips with fewer bytes of RAM per pixel need the space ``minute``; for ``large`` the bound is a byte per channel. At
# 28x28 pixels 10 % of 4,000 networks of ``all`` need at most 4,116 bytes for all maps, and no network less than 980. Of
# 400 networks of ``large`` 10 % need at most one byte per number of the image, at 64x64 and at 96x96 pixels.
_USUAL_BYTES_A_PIXEL = 5
_MAX_EPOCHS = 10_000  # largest allowed value of ``--epochs``
_LIMIT_DRAWS = 2_000  # draws whose maximum is the limit of a metric without a given limit


@dataclass(frozen=True, slots=True)
class Goal:
    """The data set of a search, and the target accuracy on its test images, in per cent."""

    data: Dataset
    target_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedSpace:
    """The networks that a search may propose.

    Attributes:
        space: Search space with the conditions of ``--limit``, of the chip and, unless parameters are the only metric
            to minimise, of the budget.
        budget: Highest allowed number of parameters.
        objectives: Fields of ``StudyConfig`` for the metrics to minimise and the limits of these metrics; without a
            given limit the maximum over drawn networks.
    """

    space: SearchSpace
    budget: int
    objectives: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingChoice:
    """Recipe, engine and lengths of the trainings.

    Attributes:
        named_recipe: Training recipe; the first of ``recipe_choices`` while the recipe is still to be chosen.
        recipe_choices: Names of the recipes to choose from by trainings; empty if the recipe is known.
        engine: Training engine for the recipe.
        lengths: Allowed training lengths, in epochs, ascending.
        planning_seconds: Wall-clock seconds of the trainings that chose the recipe; counted as time of the search.
    """

    named_recipe: NamedRecipe
    recipe_choices: tuple[str, ...] = ()
    engine: EngineChoice
    lengths: tuple[int, ...]
    planning_seconds: float = 0.0


# 1. Data and target ----------------------------------------------------------------------------------------------


def goal_of(data: Dataset, target_pct: float | None) -> Goal:
    """Return the data set with the target accuracy, by default the target of the data set.

    Args:
        data: Data set of the search.
        target_pct: Requested test accuracy in per cent; None for the default.

    Raises:
        UsageError: The target allows less than one error on the test images, or the data set has no default target.
    """
    target_pct = data.target(target_pct)
    highest = 100 * (1 - 1 / data.test_size)
    if not statistics.reaches(highest, target_pct):
        raise UsageError(
            f"the target {target_pct:.12g} % allows less than one error on the {data.test_size:,} test images of "
            f"{data.title}; the highest target of a search is {highest:.12g}"
        )
    return Goal(data, target_pct)


# 2. Space and limits --------------------------------------------------------------------------------------------


def limited_space(request: SearchRequest, data: Dataset) -> LimitedSpace:
    """Return the space within the limits of a request, and the metrics to minimise with their limits.

    The recipe of the request sets the bits per weight, which the metrics of the integer form depend on.

    Raises:
        UsageError: The limits contradict each other, more than two metrics are to be minimised, or the recipe is
            unknown.
        ContentError: The space does not fit the images, the limits or the chip.
    """
    minimise = tuple(dict.fromkeys(map(Metric, request.minimise)))
    if len(minimise) > 2:
        raise UsageError(f"minimise {', '.join(minimise)}: at most two objectives are allowed")
    chip_limits = _chip_limits(request.chip, data.task)
    limits = chip_limits if request.limits is None else (*request.limits, *chip_limits)
    if clash := contradictory(limits):
        raise UsageError(f"limits {', '.join(map(str, clash))}: no network can meet all these limits")
    budget = min([request.budget, *upper_bounds(limits, Metric.PARAMETERS)])
    if minimise != (Metric.PARAMETERS,):
        limits = (Condition(Metric.PARAMETERS, "<=", budget), *limits)
    space = _space(request.space, data, limits, request.chip)
    if request.recipe != AUTO and request.trainer is None:
        space = replace(space, weight_bits=named_recipe(request.recipe).recipe.weight_bits)
    objectives: dict[str, Any] = dict(zip(("minimise", "second"), minimise, strict=False))
    for name, metric in zip(("most", "second_most"), minimise, strict=False):
        if (name, metric) != ("most", Metric.PARAMETERS):  # then the budget is the limit
            objectives[name] = _limit(metric, budget, space, chip_limits)
    check = as_command("spaces", "check", request.space)
    _check_smallest(space, budget, "relax the limits or the budget" if limits else f"'{check}' lists the reasons")
    return LimitedSpace(space=space, budget=budget, objectives=objectives)


def upper_bounds(conditions: Sequence[Condition], metric: Metric) -> list[int]:
    """Return the highest value that each condition on a metric allows; none for lower bounds."""
    strict = [each.bound - 1 for each in conditions if each.metric is metric and each.comparison == "<"]
    return strict + [each.bound for each in conditions if each.metric is metric and each.comparison in ("<=", "==")]


def usual_space(data: Dataset, chip: Chip | None = None) -> str:
    """Return the name of the default space for the images of a data set and, if there is a chip, its RAM."""
    channels, rows, columns = data.image_shape
    if rows == 1:
        return "series"
    if min(rows, columns) < _SMALL_EDGE:
        return "small"
    # The shipped prior and measurements/main_job.py use the space ``all``; a user's own data have no such prior.
    name = "pictures" if data.is_user_data else "all"
    bytes_a_pixel = _USUAL_BYTES_A_PIXEL
    if max(rows, columns) > _USUAL_EDGE:
        name = "large"
        bytes_a_pixel = channels
    if chip is None:
        return name
    _, ram = chip.limits(data.task)
    return "minute" if ram.bound < bytes_a_pixel * rows * columns else name


def _space(name: str, data: Dataset, limits: tuple[Condition, ...], chip: Chip | None) -> SearchSpace:
    """Return a space with further conditions, and check that a draw ends in the number of classes."""
    if name == AUTO:
        name = usual_space(data, chip)
    space = with_conditions(space_of(name, data.task), limits)
    try:
        analyse(draw(space, uniform(random.Random(0))).architecture, data.task)
    except ShapeError as error:
        # Without a path the error concerns the last op: the network ends in a different number of classes.
        if not error.path:
            hint = "write 'classes' for the number of classes, as in linear(classes)"
            raise ContentError(f"space '{space.name}': {error.message}", hint=hint) from None
    return space


def _chip_limits(chip: Chip | None, task: Task) -> tuple[Condition, ...]:
    """Return the conditions of a chip's memory; raise ContentError if program, stack or image fill a memory."""
    if chip is None:
        return ()
    limits = chip.limits(task)
    memories = (("flash", chip.flash_bytes, "the program"), ("RAM", chip.ram_bytes, "stack and image"))
    for (memory, size, content), limit in zip(memories, limits, strict=True):
        if limit.bound <= 0:
            lack = f"the {memory} of {size:,} bytes has no room beside {content} of {size - limit.bound:,} bytes"
            hint = "smaller images need less RAM" if memory == "RAM" else None
            raise ContentError(f"no network for these images fits {chip}: {lack}", hint=hint)
    return limits


def _limit(metric: Metric, budget: int, space: SearchSpace, chip_limits: Sequence[Condition]) -> int:
    """Return the highest allowed value of a minimised metric.

    This is the lowest upper bound of the conditions and, without a bound other than that of a chip, of the draws.
    """
    if metric is Metric.PARAMETERS:
        return budget
    bounds = upper_bounds(space.conditions, metric)
    # The memory of a chip may exceed the need of all networks, so a chip's limit alone is no useful limit.
    if not upper_bounds([each for each in space.conditions if each not in chip_limits], metric):
        bounds.append(_largest(metric, budget, space))
    return min(bounds)


def _largest(metric: Metric, budget: int, space: SearchSpace) -> int:
    """Return the maximum of a metric over drawn networks, within the parameter budget if any draw is."""
    rng = random.Random(0)
    unlimited_space = replace(space, conditions=())
    feasibilities = [judge(unlimited_space, draw(space, uniform(rng)).architecture) for _ in range(_LIMIT_DRAWS)]
    analyses = [each.analysis for each in feasibilities if each.analysis is not None]
    within = [each for each in analyses if each.parameters <= budget]
    if not analyses:
        raise ContentError(f"no network of space '{space.name}' fits the images")
    return max(measured(each, metric) for each in within or analyses)


def _check_smallest(space: SearchSpace, budget: int, hint: str) -> None:
    """Raise ContentError if a space has no network within the conditions and the budget."""
    feasibility = smallest(space, budget)
    if feasibility.analysis is None or not feasibility.accepted:
        conditions = dict.fromkeys(map(str, space.conditions))
        message = " and ".join([f"no network of space '{space.name}' fits the images", *conditions])
        raise ContentError(f"{message}; nearest network: {feasibility.message}", hint=hint)
    fewest = feasibility.analysis.parameters
    if fewest > budget:
        subject = "the smallest" if space.configurations <= MAX_EXACT else "the smallest of several local searches"
        raise ContentError(
            f"no network of space '{space.name}' meets a budget of {budget:,} parameters: {subject} has {fewest:,}",
            hint=f"set a budget of {fewest} or more",
        )


# 3. Recipe, engine and lengths -----------------------------------------------------------------------------------


def training_of(
    request: SearchRequest, data: Dataset, space: SearchSpace, workspace: Workspace, device: torch.device
) -> TrainingChoice:
    """Return recipe, engine and training lengths of a request; the native engine is compiled if necessary.

    Args:
        request: Request for the search.
        data: Data set of the search.
        space: Space of the networks to train.
        workspace: Workspace with the recipes that were selected for data sets.
        device: Device to train on.

    Raises:
        UsageError: An option is invalid, or two options contradict each other.
        ContentError: Integers are needed, but an op of the space has no integer form.
        DeviceError: The engine is not available.
    """
    choices: tuple[str, ...] = ()
    if request.trainer is not None:
        if request.recipe != AUTO:
            raise UsageError("the options recipe and trainer cannot be combined: the trainer replaces the recipe")
        fields = {"trainer": request.trainer, "trainer_sha256": source_sha256(request.trainer, "trainer")}
        recipe = NamedRecipe(request.trainer, recipe_from(fields, "trainer"))
    elif request.recipe != AUTO:
        recipe = named_recipe(request.recipe)
    else:
        default = recipe_for(data, workspace, request.time)
        if default is None:
            choices = CHOICES
        recipe = default or named_recipe(CHOICES[0])
    names = without_integer_form(space.op_types)
    if names and (request.chip is not None or recipe.recipe.precision == "int8"):
        need = "required by precision int8" if request.chip is None else "required by the chip"
        raise ContentError(f"space '{space.name}' has ops without integer form: {', '.join(names)} ({need})")
    return TrainingChoice(
        named_recipe=recipe,
        recipe_choices=choices,
        engine=choose_engine(request.engine, recipe.recipe, device, space.op_types),
        lengths=_lengths(request, recipe.recipe, data.train_size),
    )


def _lengths(request: SearchRequest, recipe: Recipe, images: int) -> tuple[int, ...]:
    """Return the allowed training lengths in epochs, ascending, for ``images`` training images."""
    if request.epochs is not None:
        if not all(1 <= length <= _MAX_EPOCHS for length in request.epochs):
            raise UsageError(f"epochs {','.join(map(str, request.epochs))}: allowed are 1 to {_MAX_EPOCHS:,}")
        return tuple(sorted(set(request.epochs)))
    if request.recipe != AUTO:
        return (recipe.epochs,)
    factor = length_factor(images)
    image_count = factor * images
    longer = [length for length in _LONG_LENGTHS if image_count >= _MIN_SEEN and length * image_count <= _MAX_SEEN]
    return tuple(factor * length for length in (*LENGTHS, *longer))


# 4. Effort -------------------------------------------------------------------------------------------------------


def effort_of(request: SearchRequest, engine: str, device: torch.device) -> Effort:
    """Return the limits of a request on time, trials, workers and runs.

    Args:
        request: Request for the search.
        engine: ``native`` or ``torch``.
        device: Device to train on.
    """
    return Effort(
        seconds=request.time,
        trials=request.trials,
        workers=worker_count(request.workers, device),
        device=str(device),
        limits=Limits(request.trial_time, request.trial_memory),
        engine=engine,
    )
