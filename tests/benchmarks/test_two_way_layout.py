"""Tests of the two-way layout: an example by hand, and made-up layouts whose components are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.two_way_layout import layout


def test_an_example_by_hand():
    # Means of networks 0.1 and 0.3, of folds -0.1, 0.1 and 0.6; deviations of each fold 0.2, 0, 0.2 times sqrt(1/2).
    found = layout([[-0.2, 0.1, 0.4], [0.0, 0.1, 0.8]], 0.01)

    assert found.mean == pytest.approx(0.2)
    # Networks: sqrt(0.02 / 2) = 0.1. Folds: their squared deviations 0.09 + 0.01 + 0.16, by 2 and by 3.
    assert found.standard_error == pytest.approx(math.sqrt(0.13 / 3))
    assert found.fold_deviation == pytest.approx(math.sqrt(0.13))
    # Within folds 0.02, 0 and 0.08, their mean less 0.01.
    assert found.network_deviation == pytest.approx(math.sqrt(0.1 / 3 - 0.01))


def test_the_error_is_that_between_networks_where_that_is_the_larger():
    found = layout([[0.0, 0.1], [1.0, 1.1]], 0.0)

    # Means of networks 0.05 and 1.05, of folds 0.5 and 0.6.
    assert found.standard_error == pytest.approx(0.5)
    assert found.fold_deviation == pytest.approx(0.1 / math.sqrt(2))


def test_what_seeds_explain_is_no_deviation_between_networks():
    assert layout([[0.0, 0.1], [0.1, 0.0]], 0.0128).network_deviation == 0.0


def test_the_components_of_a_large_made_up_layout_are_found():
    draw = np.random.default_rng(1)
    seeds = 0.02
    cells = -0.2 + draw.normal(0, 0.06, (300, 1)) + draw.normal(0, 0.1, (1, 400)) + draw.normal(0, 0.09, (300, 400))
    cells += draw.normal(0, math.sqrt(seeds), (300, 400))

    found = layout(cells.tolist(), seeds)

    assert found.mean == pytest.approx(-0.2, abs=0.02)
    assert found.network_deviation == pytest.approx(math.hypot(0.06, 0.09), rel=0.05)
    assert found.fold_deviation == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(("networks", "folds"), [(0.0, 0.1), (0.1, 0.0), (0.0, 0.0)])
def test_the_error_is_not_below_what_made_up_means_deviate_by(networks: float, folds: float):
    draw = np.random.default_rng(2)
    means, squares = [], []
    for _ in range(1000):
        cells = draw.normal(0, networks, (5, 1)) + draw.normal(0, folds, (1, 5)) + draw.normal(0, 0.11, (5, 5))
        means.append(cells.mean())
        squares.append(layout(cells.tolist(), 0.0).standard_error ** 2)

    assert math.sqrt(float(np.mean(squares))) > 0.97 * float(np.std(means))


@pytest.mark.parametrize("cells", [[[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 2.0], [1.0]], []])
def test_a_layout_with_holes_or_of_one_row_or_column_is_refused(cells: list[list[float]]):
    with pytest.raises(ValueError, match="two networks and two folds at least"):
        layout(cells, 0.0)
