"""Tests of the average of a run's weights, against the recursion written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.training.recipe import Recipe
from harness.training.train import _averaged


def followed(recipe: Recipe, values: list[float]) -> list[float | None]:
    """The average after each step of four an epoch, of a state that is one number."""
    average: list[Tensor] | None = None
    found = []
    for step, value in enumerate(values, start=1):
        average = _averaged(average, [torch.tensor([value])], recipe, step, 4)
        found.append(None if average is None else float(average[0]))
    return found


def test_a_young_average_forgets_its_beginning_faster_than_an_old_one():
    recipe = Recipe(epochs=2, average_decay=0.25, average_start=0.25)
    values = [5.0, 1.0, 2.0, 8.0, 4.0, 0.0]

    # It begins after two of eight steps; (1 + n) / (10 + n) is 2/11, then 3/12, from there on the recipe's own.
    second = 1.0 + (1 - 2 / 11) * (2.0 - 1.0)
    third = second + 0.75 * (8.0 - second)
    fourth = third + 0.75 * (4.0 - third)
    expected = [1.0, second, third, fourth, fourth + 0.75 * (0.0 - fourth)]
    first, *later = followed(recipe, values)
    assert first is None
    assert later == pytest.approx(expected)


def test_a_recipe_without_an_average_has_none():
    assert followed(Recipe(epochs=2, average_decay=0.0), [1.0] * 8) == [None] * 8


def test_an_average_is_no_alias_of_the_weights():
    state = [torch.tensor([1.0])]
    average = _averaged(None, state, Recipe(average_start=0.0), 1, 4)
    state[0].add_(1)
    assert average is not None
    assert float(average[0]) == 1.0
