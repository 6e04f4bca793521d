"""Tests of the model of the errors, against the textbook's formula, a simulation, and networks that were trained."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from harness.search.surrogate import (
    CENTRES,
    PRIOR_DEVIATIONS,
    PRIOR_MEANS,
    PRIOR_NOISE,
    WIDTHS,
    Belief,
    _log_normal_share,
    best,
    features,
    fitted,
)
from search_spaces.architecture import Architecture
from search_spaces.cost import analyse
from search_spaces.notation import parse_network

rows = st.tuples(*[st.floats(-3, 3)] * 4).map(lambda row: (1.0, *row))


def test_features_are_the_scaled_costs_of_a_network():
    network = parse_network("conv3x3(8) bn relu res(dwconv3x3) maxpool conv3x3(8) relu gap linear(10)")
    analysis = analyse(network)

    row = features(network, analysis)

    raw = [math.log(analysis.parameters), math.log(analysis.macs), 3, analysis.receptive_field]
    assert row[0] == 1.0
    assert [value * width + centre for value, centre, width in zip(row[1:], CENTRES, WIDTHS, strict=True)] == (
        pytest.approx(raw)
    )


@given(st.from_type(Architecture))
def test_every_network_has_finite_features(network: Architecture):
    assert all(map(math.isfinite, features(network, analyse(network))))


def test_before_the_first_network_the_belief_is_the_prior():
    belief = fitted([])

    assert belief.means.tolist() == list(PRIOR_MEANS)
    assert np.sqrt(np.diag(belief.covariance)) == pytest.approx(PRIOR_DEVIATIONS)
    assert belief.noise == PRIOR_NOISE


def test_many_networks_teach_the_true_coefficients_and_the_noise():
    rng = random.Random(1)
    true = [4.5, -1.0, 0.3, -0.2, 0.2]
    observed = []
    for _ in range(600):
        row = (1.0, *(rng.gauss(0, 1) for _ in range(4)))
        observed.append((row, math.exp(sum(a * b for a, b in zip(row, true, strict=True)) + rng.gauss(0, 0.2))))

    belief = fitted(observed)

    assert belief.means == pytest.approx(true, abs=0.05)
    assert belief.noise == pytest.approx(0.2, abs=0.02)
    assert max(np.diag(belief.covariance)) < 0.001


def test_one_network_moves_the_belief_as_the_formula_says():
    row, errors = (1.0, 0.0, 0.0, 0.0, 0.0), 200.0

    belief = fitted([(row, errors)])

    # Only the constant is touched: a normal prior and one observation of the last noise but one.
    precision = 1 / PRIOR_DEVIATIONS[0] ** 2
    weight = 1 / belief.noise**2
    mean = (precision * PRIOR_MEANS[0] + weight * math.log(errors)) / (precision + weight)
    assert belief.means[0] == pytest.approx(mean, rel=1e-3)
    assert belief.means[1:].tolist() == pytest.approx(list(PRIOR_MEANS[1:]))


CERTAIN = Belief(np.array([4.0, -1.0, 0.0, 0.0, 0.0]), np.eye(5) * 1e-12, 0.25)


def test_of_equally_promising_networks_the_smaller_is_taken():
    row = (1.0, 0.0, 0.0, 0.0, 0.0)

    assert best(CERTAIN, [(row, 3000), (row, 2000), (row, 2500)], 4000, 60.0, random.Random(0)) == 1


def test_of_networks_of_one_size_the_one_of_fewer_errors_is_taken():
    networks = [((1.0, value, 0.0, 0.0, 0.0), 3000) for value in (-0.5, 0.5, 0.0)]

    assert best(CERTAIN, networks, 4000, 60.0, random.Random(0)) == 1


def test_a_small_network_without_a_chance_is_not_taken():
    near, hopeless = ((1.0, 0.0, 0.0, 0.0, 0.0), 3900), ((1.0, -3.0, 0.0, 0.0, 0.0), 1000)

    assert best(CERTAIN, [hopeless, near], 4000, 60.0, random.Random(0)) == 1


def test_what_is_uncertain_is_tried_now_and_then():
    unsure = Belief(np.array([4.0, 0.0, 0.0, 0.0, 0.0]), np.diag([1e-6, 0.25, 1e-6, 1e-6, 1e-6]), 0.25)
    networks = [((1.0, value, 0.0, 0.0, 0.0), 3000) for value in (-1.0, 1.0)]

    taken = [best(unsure, networks, 4000, 60.0, random.Random(seed)) for seed in range(200)]

    assert 60 < sum(taken) < 140


@given(
    st.lists(st.tuples(rows, st.floats(1, 10_000)), max_size=20), st.lists(rows, min_size=1, max_size=5), st.integers()
)
def test_some_network_is_always_best(
    observed: list[tuple[tuple[float, ...], float]], given_rows: list[tuple[float, ...]], seed: int
):
    index = best(fitted(observed), [(row, 100) for row in given_rows], 100, 60.0, random.Random(seed))

    assert 0 <= index < len(given_rows)


@pytest.mark.parametrize("margin", [-30.0, -9.0, -7.9, -3.0, 0.0, 2.0, 9.0])
def test_the_chance_is_that_of_the_normal_distribution_far_out_too(margin: float):
    # Mills' ratio is off by one part in the squared distance.
    assert _log_normal_share(margin) == pytest.approx(norm.logcdf(margin), abs=0.02)
