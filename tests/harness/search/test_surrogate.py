"""The surrogate against the conditioned normal distribution."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search.features import NAMES, network_features
from harness.search.surrogate import (
    _SCALES,
    TRAINING,
    Observation,
    _Scales,
    fitted,
    predicted,
    row_of,
    training_row,
)
from harness.training.recipe import Recipe
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

Row = tuple[float, ...]
WIDTH = len(NAMES) + len(TRAINING)
CENTRE: Row = (0.0,) * WIDTH


def some_rows(count: int, seed: int = 0) -> list[Row]:
    rng = random.Random(seed)
    return [tuple(rng.gauss(0, 1) for _ in range(WIDTH)) for _ in range(count)]


def some_observations(count: int, seed: int = 0) -> list[Observation]:
    rng = random.Random(seed + 1)
    return [
        Observation(row, math.exp(rng.gauss(4.6, 0.5)), rng.randint(1, 5), rng.choice([0.0, 0.15]))
        for row in some_rows(count, seed)
    ]


# The oracle: each covariance written out for a pair of rows, and the textbook's conditional distribution.


def before(row: Row) -> float:
    """Return the mean of the logarithm before any training: parameters come first, epochs behind all features."""
    parameters = math.exp(row[0] * 0.55 + 8.0)
    epochs = math.exp(row[len(NAMES)] * 1.0 + 2.3)
    return math.log(100 * (parameters / math.exp(8.0)) ** -0.5 * (epochs / math.exp(2.3)) ** -0.3)


def covariance(left: Row, right: Row, scales: _Scales) -> float:
    linear = scales.slope**2 * sum(one * two for one, two in zip(left, right, strict=True))
    square = 0.0
    for place, (one, two) in enumerate(zip(left, right, strict=True)):
        reach = scales.reach if place < len(NAMES) else scales.training_reach
        square += ((one - two) / reach) ** 2
    return scales.level**2 + linear + scales.bend**2 * math.exp(-square / 2)


def noise(observation: Observation, scales: _Scales) -> float:
    return scales.network**2 + scales.seed**2 / observation.runs + observation.doubt**2


def joint(observations: Sequence[Observation], scales: _Scales) -> np.ndarray:
    return np.array(
        [
            [covariance(one.row, two.row, scales) + (one is two) * noise(one, scales) for two in observations]
            for one in observations
        ]
    )


def conditioned(observations: Sequence[Observation], row: Row, scales: _Scales) -> tuple[float, float]:
    """Return mean and deviation of a network, given the observations."""
    across = np.array([covariance(item.row, row, scales) for item in observations])
    apart = np.array([math.log(item.errors) - before(item.row) for item in observations])
    whole = joint(observations, scales)
    mean = before(row) + across @ np.linalg.solve(whole, apart)
    variance = covariance(row, row, scales) + scales.network**2 - across @ np.linalg.solve(whole, across)
    return float(mean), math.sqrt(variance)


OTHER = _Scales(level=0.8, slope=0.1, bend=0.4, reach=2.5, training_reach=1.0, network=0.1, seed=0.2)


@pytest.mark.parametrize("scales", [_SCALES, OTHER])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_mean_and_deviation_are_those_of_the_conditioned_normal_distribution(count: int, scales: _Scales):
    observations = some_observations(count)
    asked = [*some_rows(4, seed=9), observations[0].row, CENTRE]

    means, deviations = predicted(fitted(observations, scales), asked)

    expected = [conditioned(observations, row, scales) for row in asked]
    assert means.tolist() == pytest.approx([mean for mean, _ in expected])
    assert deviations.tolist() == pytest.approx([deviation for _, deviation in expected])


def test_before_any_training_the_belief_is_the_prior():
    rows = [CENTRE, *some_rows(3)]

    means, deviations = predicted(fitted([]), rows)

    assert means.tolist() == pytest.approx([before(row) for row in rows])
    assert math.exp(means[0]) == pytest.approx(100)
    own = [covariance(row, row, _SCALES) + _SCALES.network**2 for row in rows]
    assert deviations.tolist() == pytest.approx([math.sqrt(variance) for variance in own])


def test_no_errors_at_all_count_as_one():
    none, one = (predicted(fitted([Observation(CENTRE, errors)]), [CENTRE])[0][0] for errors in (0.0, 1.0))

    assert none == one


def test_a_row_is_the_scaled_numbers_of_the_network_and_of_its_training():
    network = parse_network("conv3x3(8) bn relu gap linear(10)")
    recipe = Recipe(epochs=20, batch_size=32, augmented_share=0.3)

    row = row_of(network, recipe, MNIST)

    raw = [value * width + centre for value, (_, centre, width) in zip(row, (*NAMES, *TRAINING), strict=True)]
    assert raw == pytest.approx([*network_features(network, MNIST), math.log(20), math.log(32), 0.3], abs=1e-12)
    assert row == training_row(network, 20, 32, 0.3, MNIST)


@given(st.permutations(range(8)))
def test_the_order_of_what_was_seen_does_not_matter(order: list[int]):
    observations = some_observations(8)
    asked = some_rows(2, seed=5)

    one = predicted(fitted(observations), asked)
    other = predicted(fitted([observations[place] for place in order]), asked)

    assert one[0].tolist() == pytest.approx(other[0].tolist())
    assert one[1].tolist() == pytest.approx(other[1].tolist())
