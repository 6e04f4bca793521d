"""What a model knows of a network, counted by hand for three of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search.features import (
    _GROUPED_MACS,
    _PARAMETER_MACS,
    NAMES,
    NUMBER_MACS,
    features,
    network_features,
    work,
)
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

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
def test_the_numbers_of_a_network_are_those_counted_by_hand(text: str):
    found = dict(zip((name for name, _, _ in NAMES), numbers_of(text), strict=True))

    assert found == pytest.approx(BY_HAND[text])


def numbers_of(text: str) -> tuple[float, ...]:
    return network_features(parse_network(text), MNIST)


@given(st.from_type(Architecture))
def test_every_network_has_finite_numbers_and_shares_are_shares(network: Architecture):
    found = features(network, analyse(network, MNIST))

    assert len(found) == len(NAMES)
    assert all(map(math.isfinite, found))
    # Sums are counted by kernels that are larger than 1x1, of which a sum may have none.
    shares = [
        value for (name, _, _), value in zip(NAMES, found, strict=True) if "share" in name and name != "share of sums"
    ]
    assert all(0 <= share <= 1 for share in shares)


@pytest.mark.parametrize(
    ("text", "macs", "numbers", "parameters"),
    [
        ("conv3x3(4) gap linear(10)", 28_264, 4 * 784 + 4 + 10, 86),
        (PLAIN, 222_496, 3 * 8 * 784 + 8 * 196 + 4 * 16 * 144 + 16 + 10, 1442),
        # A sum writes its three inner maps and its own.
        (POSED, 139_632, 3 * 8 * 196 + 2 * 5 * 8 * 196 + 8 + 10, 18 + 4 + (8 + 72) + 2 * 4 + 90),
    ],
)
def test_work_is_multiply_adds_numbers_of_all_maps_and_parameters(text: str, macs: int, numbers: int, parameters: int):
    expected = macs + NUMBER_MACS * numbers + _PARAMETER_MACS * parameters

    assert work(parse_network(text), MNIST) == pytest.approx(expected)


def test_a_multiply_add_of_a_depthwise_kernel_takes_longer_than_others():
    numbers = 2 * 8 * 784 + 8 + 10

    moved = NUMBER_MACS * numbers + _PARAMETER_MACS * (8 + 9 * 8 + 90)

    assert work(parse_network("conv1x1(8) dwconv3x3 gap linear(10)"), MNIST) == pytest.approx(
        (8 + 9 * 8) * 784 + 80 + moved + _GROUPED_MACS * 9 * 8 * 784
    )
