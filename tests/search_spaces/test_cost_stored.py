"""How many numbers a network keeps, against counts by hand; ``tests/harness/training/test_stored.py`` asks torch."""

from __future__ import annotations

import pytest

from search_spaces.cost import stored_numbers
from search_spaces.errors import ShapeError
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.ops import BatchNorm, MaxPool
from search_spaces.task import MNIST, Task


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("linear(10)", 7_850),
        ("conv3x3(4) bn relu | gap | linear(10)", 36 + 8 + 50 + 8),
        # A scale that is always one is neither learned nor kept.
        ("conv3x3(4) bn(unscaled) | gap | linear(10)", 36 + 4 + 50 + 8),
        # Poses share kernel, scale and shift, but each map has statistics of its own.
        ("conv3x3(8, poses=4) bn(poses=4) | gap | linear(10)", 2 * 9 + 2 * 2 + 90 + 16),
        # Statistics that poses share are kept once for all of them.
        ("conv3x3(8, poses=4) bn(poses=4, shared) | gap | linear(10)", 2 * 9 + 2 * 2 + 90 + 4),
        (
            "conv3x3(8) bn(unscaled, poses=8, shared) res(bn(poses=2, shared)) | gap | linear(10)",
            72 + 1 + 8 + 90 + 2 + 8,
        ),
        # The tied kernel once, each BN with its own statistics.
        ("conv3x3(4) conv3x3(4, tie=a) bn conv3x3(4, tie=a) bn | gap | linear(10)", 36 + 144 + 16 + 50 + 16),
        ("conv3x3(4) res(conv3x3(4) bn res(conv1x1(4) bn)) | gap | linear(10)", 36 + 144 + 8 + 16 + 8 + 50 + 16),
        # BN of the input, of what was shuffled into channels, and of a vector.
        ("bn unshuffle bn linear(6) bn linear(10)", 2 + 8 + (4 * 196 * 6 + 6) + 12 + 70 + 2 * (1 + 4 + 6)),
    ],
)
def test_what_is_learned_and_two_statistics_a_channel_of_each_bn_are_kept(text: str, numbers: int):
    assert stored_numbers(parse_network(text), MNIST) == numbers


def test_statistics_follow_the_channels_of_the_input():
    network = parse_network("bn gap linear(10)")

    assert stored_numbers(network, Task((3, 28, 28), 10)) == 6 + 40 + 6


def test_ops_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="maxpool"):
        stored_numbers(Architecture((BatchNorm(), MaxPool(29))), MNIST)
