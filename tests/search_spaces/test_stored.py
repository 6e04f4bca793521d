"""Tests of the numbers that a network stores, counted by hand."""

from __future__ import annotations

import pytest

from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.stored import stored_numbers


@pytest.mark.parametrize(
    ("norm", "learned", "statistics"),
    [
        ("bn", 16, 16),
        ("bn(unscaled)", 8, 16),
        ("bn(poses=4)", 4, 16),
        ("bn(poses=4, shared)", 4, 4),
        ("bn(unscaled, poses=8, shared)", 1, 2),
        ("bn(poses=2, shared) res(bn(poses=4, shared))", 8 + 4, 8 + 4),
    ],
)
def test_a_network_stores_what_it_learns_and_a_mean_and_a_variance_each(norm: str, learned: int, statistics: int):
    network = parse_network(f"conv3x3(8) {norm} gap linear(10)")

    assert analyse(network).parameters == 72 + learned + 90
    assert stored_numbers(network) == 72 + learned + 90 + statistics
