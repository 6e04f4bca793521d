"""The surrogate against the conditioned normal distribution, and what it knows of a network, counted by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search.surrogate import (
    NETWORK_FEATURES,
    TRAINING_FEATURES,
    Observation,
    Row,
    Surrogate,
    features,
    row_of,
)
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

WIDTH = len(NETWORK_FEATURES) + len(TRAINING_FEATURES)
CENTRE: Row = (0.0,) * WIDTH
# Stated again: deviations of level, slope, bend, network and seed, and how far apart rows say little of each other.
LEVEL, SLOPE, BEND, NETWORK, SEED, REACH = 0.5, 0.045, 0.4, 0.045, 0.08, 4.0


def some_rows(count: int, seed: int = 0) -> list[Row]:
    rng = random.Random(seed)
    return [tuple(rng.gauss(0, 1) for _ in range(WIDTH)) for _ in range(count)]


def some_observations(count: int) -> list[Observation]:
    rng = random.Random(1)
    return [
        Observation(row, math.exp(rng.gauss(4.6, 0.5)), rng.randint(1, 5), rng.choice([0.0, 0.15]))
        for row in some_rows(count)
    ]


# The oracle: each covariance written out for a pair of rows, and the textbook's conditional distribution.


def before(row: Row) -> float:
    """Return the mean of the logarithm before any training: parameters come first, epochs behind all features."""
    parameters = math.exp(row[0] * 0.55 + 8.0)
    epochs = math.exp(row[len(NETWORK_FEATURES)] * 1.0 + 2.3)
    return math.log(100 * (parameters / math.exp(8.0)) ** -0.5 * (epochs / math.exp(2.3)) ** -0.3)


def covariance(left: Row, right: Row) -> float:
    linear = SLOPE**2 * sum(one * two for one, two in zip(left, right, strict=True))
    square = sum(((one - two) / REACH) ** 2 for one, two in zip(left, right, strict=True))
    return LEVEL**2 + linear + BEND**2 * math.exp(-square / 2)


def conditioned(observations: Sequence[Observation], row: Row) -> tuple[float, float]:
    """Return mean and deviation of a network, given the observations."""
    across = np.array([covariance(item.row, row) for item in observations])
    apart = np.array([math.log(item.errors) - before(item.row) for item in observations])
    whole = np.array([[covariance(one.row, two.row) for two in observations] for one in observations])
    noise = [NETWORK**2 + SEED**2 / item.runs + item.doubt**2 for item in observations]
    solved = np.linalg.solve(
        whole.reshape((len(observations),) * 2) + np.diag(noise), np.stack([apart, across], axis=1)
    )
    mean, explained = across @ solved
    return float(before(row) + mean), math.sqrt(covariance(row, row) + NETWORK**2 - explained)


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_mean_and_deviation_are_those_of_the_conditioned_normal_distribution(count: int):
    observations = some_observations(count)
    asked = [*some_rows(4, seed=9), *(item.row for item in observations[:1]), CENTRE]

    means, deviations = Surrogate(observations).predict(asked)

    expected = [conditioned(observations, row) for row in asked]
    assert means.tolist() == pytest.approx([mean for mean, _ in expected])
    assert deviations.tolist() == pytest.approx([deviation for _, deviation in expected])


def test_no_errors_at_all_count_as_one():
    none, one = (Surrogate([Observation(CENTRE, errors)]).predict([CENTRE])[0][0] for errors in (0.0, 1.0))

    assert none == one


def test_a_row_is_the_scaled_features_of_the_network_and_of_its_training():
    network = parse_network("conv3x3(8) bn relu gap linear(10)")

    row = row_of(network, MNIST, 20, 32, 0.3)

    scales = (*NETWORK_FEATURES, *TRAINING_FEATURES)
    raw = [value * width + centre for value, (_, centre, width) in zip(row, scales, strict=True)]
    known = features(network, analyse(network, MNIST))
    assert raw == pytest.approx([*known, math.log(20), math.log(32), 0.3], abs=1e-12)


# Features ---------------------------------------------------------------------------------------------------

PLAIN = "conv3x3(8) bn relu | maxpool | conv3x3(16, pad=0) bn relu dropout(0.05) | gap | linear(10)"
SEPARABLE = "conv3x3(4) relu bn avgpool dwconv3x3 conv1x1(8) relu bn maxpool conv1x1(10) gap"
# Kernels in four orientations, the first with stride, and two sums that use the same two kernels.
SUM = "res(conv1x1(4, poses=4, tie=c) conv3x3(8, poses=4, tie=b) bn(poses=4)) relu"
POSED = f"conv3x3(8, stride=2, poses=4) bn(poses=4) relu | {SUM} | {SUM} | gap | linear(10)"
BY_HAND: dict[str, dict[str, float]] = {
    PLAIN: {
        # 72 + 16 of the first stage, 16 * 72 + 32 of the second, 160 + 10 of the head.
        "log parameters": math.log(1442),
        "log numbers of all uses": math.log(72 + 1152 + 160),
        "log multiply-adds": math.log(72 * 28 * 28 + 1152 * 12 * 12 + 160),
        "kernels larger than 1x1": 2,
        # 3, with the pooling 4, and two steps of two pixels.
        "receptive field": 8,
        "log2 orientations": 0,
        "share of separable kernels": 0,
        "share of sums": 0,
        "log uses of a kernel": 0,
        "strides": 0,
        "share of max pooling": 1,
        "share without padding": 0.5,
        "dropout": 0.05,
        "share of BN behind the rectifier": 0,
        "log channels of the first map": math.log(8),
        "log channels before the head": math.log(16),
        "log rows before the head": math.log(12),
        "linear head": 1,
        "share of 1x1 kernels": 0,
        "log multiply-adds above 14x14": math.log(1 + 72 * 28 * 28),
    },
    SEPARABLE: {
        # 36 + 8, then 36 of the depthwise kernel, 4 * 8 + 16, and 80 of the head.
        "log parameters": math.log(208),
        "log numbers of all uses": math.log(36 + 36 + 32 + 80),
        "log multiply-adds": math.log(36 * 28 * 28 + (36 + 32) * 14 * 14 + 80 * 7 * 7),
        "kernels larger than 1x1": 2,
        "receptive field": 3 + 1 + 4 + 2,
        "log2 orientations": 0,
        "share of separable kernels": 0.5,
        "share of sums": 0,
        "log uses of a kernel": 0,
        "strides": 0,
        "share of max pooling": 0.5,
        "share without padding": 0,
        "dropout": 0,
        "share of BN behind the rectifier": 1,
        "log channels of the first map": math.log(4),
        "log channels before the head": math.log(10),
        "log rows before the head": math.log(7),
        "linear head": 0,
        # Of the three that are not depthwise.
        "share of 1x1 kernels": 2 / 3,
        "log multiply-adds above 14x14": math.log(1 + 36 * 28 * 28),
    },
    POSED: {
        # Two kernels of nine and two pairs of BN; 8 * 4 / 4 and 4 * 8 * 9 / 4, two BN pairs a use; 80 + 10.
        "log parameters": math.log(18 + 4 + (8 + 72) + 2 * 4 + 90),
        # Every orientation and use laid out: 72, twice 32 + 288, 80.
        "log numbers of all uses": math.log(72 + 2 * 320 + 80),
        "log multiply-adds": math.log((72 + 2 * 320) * 14 * 14 + 80),
        "kernels larger than 1x1": 3,
        "receptive field": 3 + 4 + 4,
        "log2 orientations": 2,
        "share of separable kernels": 0,
        "share of sums": 2 / 3,
        # Five convolutions use three kernels.
        "log uses of a kernel": math.log(5 / 3),
        "strides": 1,
        "share of max pooling": 0,
        "share without padding": 0,
        "dropout": 0,
        "share of BN behind the rectifier": 0,
        "log channels of the first map": math.log(8),
        "log channels before the head": math.log(8),
        "log rows before the head": math.log(14),
        "linear head": 1,
        "share of 1x1 kernels": 2 / 5,
        "log multiply-adds above 14x14": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("text", BY_HAND)
def test_the_features_of_a_network_are_those_counted_by_hand(text: str):
    network = parse_network(text)

    found = features(network, analyse(network, MNIST))

    assert dict(zip((name for name, _, _ in NETWORK_FEATURES), found, strict=True)) == pytest.approx(BY_HAND[text])


@given(st.from_type(Architecture))
def test_every_network_has_finite_features_and_shares_are_shares(network: Architecture):
    found = features(network, analyse(network, MNIST))

    names = [name for name, _, _ in NETWORK_FEATURES]
    assert all(map(math.isfinite, found))
    # Sums are counted by kernels that are larger than 1x1, of which a sum may have none.
    shares = [value for name, value in zip(names, found, strict=True) if "share" in name and name != "share of sums"]
    assert all(0 <= share <= 1 for share in shares)
