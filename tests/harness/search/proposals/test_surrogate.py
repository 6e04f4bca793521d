"""The model of the errors, against the normal distribution conditioned step by step."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from harness.search.features import NAMES, network_features
from harness.search.surrogate import (
    SCALES,
    TRAINING,
    Observation,
    Scales,
    evidence,
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


def covariance(left: Row, right: Row, scales: Scales) -> float:
    linear = scales.slope**2 * sum(one * two for one, two in zip(left, right, strict=True))
    square = 0.0
    for place, (one, two) in enumerate(zip(left, right, strict=True)):
        reach = scales.reach if place < len(NAMES) else scales.training_reach
        square += ((one - two) / reach) ** 2
    return scales.level**2 + linear + scales.bend**2 * math.exp(-square / 2)


def noise(observation: Observation, scales: Scales) -> float:
    return scales.network**2 + scales.seed**2 / observation.runs + observation.doubt**2


def joint(observations: Sequence[Observation], scales: Scales) -> np.ndarray:
    return np.array(
        [
            [covariance(one.row, two.row, scales) + (one is two) * noise(one, scales) for two in observations]
            for one in observations
        ]
    )


def conditioned(observations: Sequence[Observation], row: Row, scales: Scales) -> tuple[float, float]:
    """Return mean and deviation of a network, given the observations."""
    across = np.array([covariance(item.row, row, scales) for item in observations])
    apart = np.array([math.log(item.errors) - before(item.row) for item in observations])
    whole = joint(observations, scales)
    mean = before(row) + across @ np.linalg.solve(whole, apart)
    variance = covariance(row, row, scales) + scales.network**2 - across @ np.linalg.solve(whole, across)
    return float(mean), math.sqrt(variance)


OTHER = Scales(level=0.8, slope=0.1, bend=0.4, reach=2.5, training_reach=1.0, network=0.1, seed=0.2)


@pytest.mark.parametrize("scales", [SCALES, OTHER])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_mean_and_deviation_are_those_of_the_conditioned_normal_distribution(count: int, scales: Scales):
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
    own = [covariance(row, row, SCALES) + SCALES.network**2 for row in rows]
    assert deviations.tolist() == pytest.approx([math.sqrt(variance) for variance in own])


def test_larger_and_longer_is_better_before_any_training():
    small, large = (parse_network(f"conv3x3({width}) bn relu gap linear(10)") for width in (8, 24))
    asked = [training_row(network, epochs, 64, 0.7, MNIST) for network in (small, large) for epochs in (5, 30)]

    means, _ = predicted(fitted([]), asked)

    assert means[0] > means[1] > means[3]
    assert means[0] > means[2] > means[3]


def test_without_noise_the_process_goes_through_what_was_seen():
    exact = replace(SCALES, network=1e-4, seed=1e-4)
    observations = [replace(item, doubt=0.0) for item in some_observations(12)]

    means, deviations = predicted(fitted(observations, exact), [item.row for item in observations])

    assert np.exp(means).tolist() == pytest.approx([item.errors for item in observations], rel=1e-3)
    assert max(deviations) < 1e-3


def test_more_runs_leave_less_doubt_and_a_guess_leaves_more():
    def deviation(runs: int = 1, doubt: float = 0.0) -> float:
        return float(predicted(fitted([Observation(CENTRE, 90.0, runs, doubt)]), [CENTRE])[1][0])

    found = [deviation(runs=runs) for runs in (1, 2, 6, 100)]

    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 4
    assert deviation(doubt=0.15) > deviation(doubt=0.05) > deviation()


def test_more_runs_draw_the_mean_nearer_to_what_was_seen():
    means = [float(predicted(fitted([Observation(CENTRE, 50.0, runs)]), [CENTRE])[0][0]) for runs in (1, 6)]

    assert math.log(100) > means[0] > means[1] > math.log(50)


def test_a_network_like_one_that_was_trained_is_known_better_than_a_strange_one():
    near, far = ((0.1,) * WIDTH, (3.0,) * WIDTH)

    _, deviations = predicted(fitted([Observation(CENTRE, 90.0, 3)]), [CENTRE, near, far])

    assert deviations[0] < deviations[1] < deviations[2]


def test_what_networks_of_the_same_features_differ_by_is_never_known():
    many = [Observation(CENTRE, 90.0, 10)] * 300

    _, deviations = predicted(fitted(many), [CENTRE])

    assert deviations[0] >= SCALES.network


def test_no_errors_at_all_count_as_one():
    none, one = (predicted(fitted([Observation(CENTRE, errors)]), [CENTRE])[0][0] for errors in (0.0, 1.0))

    assert none == one


@pytest.mark.parametrize("scales", [SCALES, OTHER])
@pytest.mark.parametrize("count", [1, 2, 25])
def test_the_evidence_is_the_density_of_the_joint_normal_distribution(count: int, scales: Scales):
    observations = some_observations(count, seed=3)
    centre = [before(item.row) for item in observations]

    expected = multivariate_normal.logpdf(
        [math.log(item.errors) for item in observations], centre, joint(observations, scales)
    )

    assert evidence(observations, scales) == pytest.approx(float(expected))


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
