"""How the learning rate of a recipe moves from step to step."""

from __future__ import annotations

import math

from harness.training.recipe import Recipe, Schedule


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the rate of one step, counted from 0."""
    done = step / (steps_per_epoch * recipe.epochs)
    if done < recipe.warmup:
        return recipe.learning_rate * (0.1 + 0.9 * done / recipe.warmup)
    match recipe.schedule:
        case Schedule.CONSTANT:
            return recipe.learning_rate
        case Schedule.LINEAR:
            return _above_final(recipe, recipe.learning_rate * (1 - done) / (1 - recipe.warmup))
        case Schedule.COSINE:
            turned = math.pi * (done - recipe.warmup) / (1 - recipe.warmup)
            return _above_final(recipe, recipe.learning_rate * (1 + math.cos(turned)) / 2)
        case Schedule.STEP:
            passed = sum(step >= epoch * steps_per_epoch for epoch in recipe.step_epochs)
            return recipe.learning_rate * recipe.step_factor**passed


def _above_final(recipe: Recipe, rate: float) -> float:
    """Return a rate that falls to zero as one that falls to the recipe's last; the same number where that is zero."""
    return recipe.final_rate * recipe.learning_rate + (1 - recipe.final_rate) * rate
