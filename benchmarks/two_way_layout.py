"""A two-way layout without replication: networks x folds, one logarithm of a ratio a cell.

A cell is taken for ``mean + network + fold + rest`` (Scheffe, The Analysis of Variance, 1959, chapter 4); the rest
holds what a network makes of a fold in particular, and what seeds do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.system.statistics import mean, pooled_deviation, standard_deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a layout of logarithms says.

    Attributes:
        mean: of all cells.
        standard_error: of that mean.
        network_deviation: between networks on the same fold.
        fold_deviation: between folds, all networks together.
    """

    mean: float
    standard_error: float
    network_deviation: float
    fold_deviation: float


def layout(cells: Sequence[Sequence[float]], seeds_variance: float) -> Layout:
    """Return mean, error and deviations of cells (networks, folds).

    All networks share the folds, so the cells of a fold are not independent, nor are those of a network. The means of
    the folds are, and so are those of the networks; each give a standard error of the grand mean that holds the rest
    too, and the larger one counts.

    The deviation between networks is that of cells about the mean of their fold: networks, and what a network makes of
    a fold in particular, less the variance that seeds give a cell; at least zero. The deviation between folds is that
    of their means. It holds the rest by its share, so it is rather too large than too small.

    Args:
        seeds_variance: of a cell, by the seeds of its two counts.

    Raises:
        ValueError: fewer than two networks or folds, or rows of different lengths.
    """
    if len(cells) < 2 or len(cells[0]) < 2 or len({len(row) for row in cells}) > 1:
        raise ValueError(f"needs two networks and two folds at least, all cells filled: {[len(row) for row in cells]}")
    folds = list(zip(*cells, strict=True))
    network_means, fold_means = [mean(row) for row in cells], [mean(column) for column in folds]
    between_networks, between_folds = standard_deviation(network_means), standard_deviation(fold_means)
    within_folds, _ = pooled_deviation(folds)
    return Layout(
        mean=mean(fold_means),
        standard_error=max(between_networks / math.sqrt(len(cells)), between_folds / math.sqrt(len(folds))),
        network_deviation=math.sqrt(max(0.0, within_folds**2 - seeds_variance)),
        fold_deviation=between_folds,
    )
