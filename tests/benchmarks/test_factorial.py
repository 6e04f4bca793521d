"""Tests of the fractional factorial: its design, and what it makes of accuracies."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from benchmarks.factorial import DESIGNS, combination, effects, levels
from search_spaces.notation import parse_network

FACTORS = DESIGNS["choices"].factors
DESIGN = levels(15)


def test_no_main_effect_is_confounded_with_another_or_with_two_factors_together():
    columns = np.array(DESIGN).T
    assert len(set(DESIGN)) == 32
    for one, other in combinations(range(len(FACTORS)), 2):
        assert columns[one] @ columns[other] == 0
        both = columns[one] * columns[other]
        assert all(both @ column == 0 for column in columns)


def test_effects_are_those_of_least_squares():
    rng = np.random.default_rng(1)
    values = 99 + rng.normal(0, 0.1, (32, 2)) + 0.05 * np.array(DESIGN)[:, [3]]
    found = effects(DESIGN, values.tolist())
    matrix = np.repeat(np.column_stack([np.ones(32), DESIGN]), 2, axis=0)
    fitted, squares, _, _ = np.linalg.lstsq(matrix, values.ravel(), rcond=None)
    assert found.effects == pytest.approx(2 * fitted[1:])
    variance = squares[0] / (64 - 16)
    assert found.deviation == pytest.approx(variance**0.5)
    covariance = variance * np.linalg.inv(matrix.T @ matrix)
    assert found.error == pytest.approx(2 * covariance[1, 1] ** 0.5)


def test_as_many_effects_as_runs_leave_no_error():
    with pytest.raises(ValueError, match="2 runs leave nothing over beside 1 effects"):
        effects([(-1,), (1,)], [[1.0], [2.0]])


@pytest.mark.parametrize("row", DESIGN)
def test_every_combination_is_a_network_and_a_recipe(row: tuple[int, ...]):
    text, recipe = combination(DESIGNS["choices"], row)
    high = {factor.name for factor, level in zip(FACTORS, row, strict=True) if level > 0}
    said = str(parse_network(text))
    assert ("leaky" in said) == ("relu -> leaky(0.1)" in high)
    assert ("unscaled" in said) == ("bn scaled -> unscaled" in high)
    assert ("avgpool" in said) == ("maxpool -> avgpool" in high)
    assert bool(recipe.teacher) == ("no teacher -> taught" in high)
    assert recipe.batch_size == (16 if "batch 32 -> 16" in high else 32)


@pytest.mark.parametrize("name", DESIGNS)
def test_both_levels_of_every_factor_differ(name: str):
    design = DESIGNS[name]
    for at, factor in enumerate(design.factors):
        low, high = ([-1] * 15, [-1] * 15)
        high[at] = 1
        assert combination(design, tuple(low)) != combination(design, tuple(high)), factor.name
