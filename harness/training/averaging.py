"""The exponential average of a run's weights and statistics, step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.training.recipe import Recipe, first_averaged_step


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
    # A young average must forget its beginning faster than an old one: with n steps behind it its decay is at
    # most (1 + n) / (10 + n), the rule of TensorFlow's ExponentialMovingAverage.
    behind = step - first
    decay = min(recipe.average_decay, (1 + behind) / (10 + behind))
    torch._foreach_lerp_(average, state, 1 - decay)
    return average
