"""What of a recipe moves from step to step: the learning rate, the share of an average, Adam's corrections."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.training.recipe import Recipe, Schedule, first_averaged_step


@dataclass(frozen=True, slots=True)
class Steps:
    """What moves over some steps in a row, an item a step: all that an engine needs to know of it.

    Attributes:
        rates: learning rates.
        shares: how much of the new state the average takes; all of it until it begins.
        corrections: what Adam divides by.
    """

    rates: list[float]
    shares: list[float]
    corrections: list[tuple[float, float]]


def epoch_steps(recipe: Recipe, done: int, count: int) -> Steps:
    """Return the ``count`` steps of an epoch, of which ``done`` were taken before."""
    first = first_averaged_step(recipe, count)
    numbers = range(done + 1, done + count + 1)
    return Steps(
        [learning_rate(recipe, number - 1, count) for number in numbers],
        [average_share(recipe, number, first) for number in numbers],
        [adam_corrections(recipe, number) for number in numbers],
    )


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


def average_share(recipe: Recipe, step: int, first: int) -> float:
    """Return how much of the new state the average takes after a step; all of it until it begins."""
    # A young average must forget its beginning faster than an old one: with n steps behind it its decay is at
    # most (1 + n) / (10 + n), the rule of TensorFlow's ExponentialMovingAverage.
    behind = step - first
    if step <= max(1, first):
        return 1.0
    return 1 - min(recipe.average_decay, (1 + behind) / (10 + behind))


def adam_corrections(recipe: Recipe, step: int) -> tuple[float, float]:
    """Return what Adam divides its mean, and the root of its mean square, by after a step, counted from 1.

    Kingma and Ba, arXiv 1412.6980, algorithm 1.
    """
    return 1 - recipe.momentum**step, math.sqrt(1 - 0.999**step)
