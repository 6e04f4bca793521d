"""The exponential average of a run's weights and statistics, step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.training.recipe import Recipe, first_averaged_step
from harness.training.schedule import average_share


def averaged(
    average: list[Tensor] | None, state: list[Tensor], recipe: Recipe, step: int, steps_per_epoch: int
) -> list[Tensor] | None:
    """Return the average with one more state; the tensors that it has are changed in place.

    Args:
        average: None before it begins.
        state: after ``step`` steps.
    """
    if recipe.average_decay == 0:
        return average
    first = first_averaged_step(recipe, steps_per_epoch)
    if average is None:
        return [tensor.clone() for tensor in state] if step >= first else None
    torch._foreach_lerp_(average, state, average_share(recipe, step, first))
    return average
