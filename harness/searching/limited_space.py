"""The networks that a search may propose: the space of a request within budget, limits and chip."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.data.datasets import AUTO, Dataset
from harness.searching.request import SearchRequest
from harness.spaces.catalog import space as space_of
from harness.spaces.chips import Chip
from harness.spaces.counting import MAX_EXACT, smallest
from harness.spaces.network import Task, analyse
from harness.spaces.notation import with_conditions
from harness.spaces.space import Condition, Metric, SearchSpace, contradictory, draw, judge, measured, uniform
from harness.spaces.space_errors import ShapeError
from harness.system.errors import ContentError, UsageError, as_command

_SMALL_EDGE = 12  # pixels; images with a shorter edge need the space ``small``: several poolings would leave no pixels
# Pixels; longer edges need the space ``large``: at 64x64 pixels a training step of the median network of ``all`` takes
# three times as long as at 28x28.
_USUAL_EDGE = 40
# Chips with fewer bytes of RAM per pixel need the space ``minute``; for ``large`` the bound is a byte per channel. At
# 28x28 pixels 10 % of the networks of ``all`` need at most 4,116 bytes for all maps, and no network less than 980; 10 %
# of the networks of ``large`` need at most one byte per number of the image, at 64x64 and at 96x96 pixels.
_USUAL_BYTES_A_PIXEL = 5
_LIMIT_DRAWS = 2_000  # draws whose maximum is the limit of a metric without a stated limit


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedSpace:
    """The networks that a search may propose.

    Attributes:
        space: Space with the conditions of ``--limit``, of the chip and, unless only parameters are minimised, of the
            budget.
        objectives: Fields of ``StudyConfig`` for the metrics to minimise and the limits of these metrics.
        chip_limits: Conditions of the chip; empty without a chip.
    """

    space: SearchSpace
    budget: int
    objectives: Mapping[str, Any]
    chip_limits: tuple[Condition, ...]


def limited_space(request: SearchRequest, data: Dataset, weight_bits: int) -> LimitedSpace:
    """Return the space within the limits of a request, and the metrics to minimise with their limits.

    ``weight_bits`` is of the recipe, for the metrics of the integer form.

    Raises:
        UsageError: The limits contradict each other, or more than two metrics are to be minimised.
        ContentError: The space does not fit the images, the limits or the chip.
    """
    minimise = tuple(dict.fromkeys(map(Metric, request.minimise)))
    if len(minimise) > 2:
        raise UsageError(f"minimise {', '.join(minimise)}: at most two objectives are allowed")
    chip_limits = () if request.chip is None else _chip_limits(request.chip, data.task)
    limits = (*(request.limits or ()), *chip_limits)
    if clash := contradictory(limits):
        raise UsageError(f"limits {', '.join(map(str, clash))}: no network can meet all these limits")
    budget = min([request.budget, *upper_bounds(limits, Metric.PARAMETERS)])
    if minimise != (Metric.PARAMETERS,):
        limits = (Condition(Metric.PARAMETERS, "<=", budget), *limits)
    name = usual_space(data, chip_limits) if request.space == AUTO else request.space
    space = replace(with_conditions(space_of(name, data.task), limits), weight_bits=weight_bits)
    _check_head(space)
    objectives: dict[str, Any] = dict(zip(("minimise", "second"), minimise, strict=False))
    for key, metric in zip(("most", "second_most"), minimise, strict=False):
        if metric is not Metric.PARAMETERS:
            objectives[key] = _limit(metric, budget, space, chip_limits)
        elif key == "second_most":  # parameters have the budget as the limit
            objectives[key] = budget
    check = as_command("spaces", "check", request.space)
    _check_smallest(space, budget, "relax the limits or the budget" if limits else f"'{check}' lists the reasons")
    return LimitedSpace(space=space, budget=budget, objectives=objectives, chip_limits=chip_limits)


def upper_bounds(conditions: Sequence[Condition], metric: Metric) -> list[int]:
    """Return the highest value that each condition on a metric allows."""
    strict = [each.bound - 1 for each in conditions if each.metric is metric and each.comparison == "<"]
    return strict + [each.bound for each in conditions if each.metric is metric and each.comparison in ("<=", "==")]


def usual_space(data: Dataset, chip_limits: Sequence[Condition] = ()) -> str:
    """Return the default space for the images of a data set and, if there is a chip, the limit of RAM."""
    channels, rows, columns = data.image_shape
    if rows == 1:
        return "series"
    if min(rows, columns) < _SMALL_EDGE:
        return "small"
    # The shipped prior uses the space ``all``; a user's own data have no such prior.
    name = "pictures" if data.is_user_data else "all"
    bytes_a_pixel = _USUAL_BYTES_A_PIXEL
    if max(rows, columns) > _USUAL_EDGE:
        name = "large"
        bytes_a_pixel = channels
    has_little_ram = any(ram < bytes_a_pixel * rows * columns for ram in upper_bounds(chip_limits, Metric.RAM_BYTES))
    return "minute" if has_little_ram else name


def _check_head(space: SearchSpace) -> None:
    try:
        analyse(draw(space, uniform(random.Random(0))).architecture, space.task)
    except ShapeError as error:
        # The error then concerns the last op: the number of classes differs.
        if not error.path:
            hint = "write 'classes' for the number of classes, as in linear(classes)"
            raise ContentError(f"space '{space.name}': {error.message}", hint=hint) from None


def _chip_limits(chip: Chip, task: Task) -> tuple[Condition, ...]:
    limits = chip.limits(task)
    memories = (("flash", chip.flash_bytes, "the program"), ("RAM", chip.ram_bytes, "stack and image"))
    for (memory, size, content), limit in zip(memories, limits, strict=True):
        if limit.bound <= 0:
            lack = f"the {memory} of {size:,} bytes has no room beside {content} of {size - limit.bound:,} bytes"
            hint = "smaller images need less RAM" if memory == "RAM" else None
            raise ContentError(f"no network for these images fits {chip}: {lack}", hint=hint)
    return limits


def _limit(metric: Metric, budget: int, space: SearchSpace, chip_limits: Sequence[Condition]) -> int:
    """The lowest upper bound by the conditions and, unless a user states a bound, by draws."""
    # The memory of a chip may exceed the need of all networks, and is then no useful limit.
    if upper_bounds([each for each in space.conditions if each not in chip_limits], metric):
        return min(upper_bounds(space.conditions, metric))
    rng = random.Random(0)
    unlimited_space = replace(space, conditions=())
    feasibilities = [judge(unlimited_space, draw(space, uniform(rng)).architecture) for _ in range(_LIMIT_DRAWS)]
    analyses = [each.analysis for each in feasibilities if each.analysis is not None]
    if not analyses:
        raise ContentError(f"no network of space '{space.name}' fits the images")
    within_budget = [each for each in analyses if each.parameters <= budget]
    largest = max(measured(each, metric) for each in within_budget or analyses)
    return min([largest, *upper_bounds(space.conditions, metric)])


def _check_smallest(space: SearchSpace, budget: int, hint: str) -> None:
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
