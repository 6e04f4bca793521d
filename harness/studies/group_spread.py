"""Differences between groups: how far a mean over folds of groups may be from the mean over unseen groups.

The error rates of a network on folds of whole groups differ by groups and by seeds, as shares of the mean error rate::

    fold_square = group_share^2 * folds / validation + seed_square

with ``group_share``, the relative standard deviation between groups, and the effective number of groups per fold,
``validation / folds``. The squared deviation of the mean over n folds from the mean over ``test`` unseen groups is then
``fold_square / n + group_share^2 / test``: further seeds on the same groups do not reduce this variance (one-way random
effects, Searle, Casella and McCulloch, "Variance Components", 1992, chapter 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.system import statistics

# Standard deviation between groups as a share of the errors: 0.22 to 0.44 for speakers and persons with a smartwatch,
# 0.5 to 0.64 for engines and fonts (docs/project/decisions.md#30).
_GROUP_SHARE = 0.5
_GROUP_FREEDOM = 4  # degrees of freedom of ``_GROUP_SHARE`` as a prior (simulation, diary 151)
GROUP_CONFIDENCE = 0.9  # probability to pass from which a network is confirmed on folds of groups (diary 151)


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Numbers of groups of a data set that validates by folds of groups.

    Attributes:
        folds: Number of folds of whole groups; each fresh seed validates on a different fold.
        validation: Effective number of groups of all folds together (``datasets.independent_cases``).
        test: Effective number of test groups.
    """

    folds: int
    validation: float
    test: float

    def fold_square(self, seed_square: float, errors: Sequence[Sequence[float]] = ()) -> float:
        """Return the squared relative deviation between folds, seeds included.

        The mean square within networks, moderated by the prior (Smyth 2004). The difficulty of a fold is common to all
        networks, so many networks have no more degrees of freedom than the network with the most folds.

        Args:
            seed_square: Squared relative deviation between seeds.
            errors: Error rates by network and fold, any unit.
        """
        repetitions = [rates for rates in errors if len(rates) > 1 and math.fsum(rates) > 0]
        prior_square = _GROUP_SHARE**2 * self.folds / self.validation + seed_square
        if not repetitions:
            return prior_square
        relative = [[rate / statistics.mean(rates) - 1 for rate in rates] for rates in repetitions]
        squares = math.fsum(share**2 for shares in relative for share in shares)
        mean_square = squares / sum(len(shares) - 1 for shares in relative)
        freedom = max(map(len, repetitions)) - 1
        return (_GROUP_FREEDOM * prior_square + freedom * mean_square) / (_GROUP_FREEDOM + freedom)

    @property
    def mean_share(self) -> float:
        """Relative deviation of the mean errors over the test groups from the mean over all folds, without seeds."""
        fold_square = self.fold_square(0.0)
        return math.sqrt(fold_square / self.folds + self.unseen_square(fold_square, 0.0))

    def freedom(self, folds: int) -> int:
        """Return the degrees of freedom of ``fold_square`` for a network with errors on ``folds`` folds."""
        return _GROUP_FREEDOM + folds - 1

    def unseen_square(self, fold_square: float, seed_square: float) -> float:
        """Return the squared relative deviation of the mean over the test groups from the mean over all groups."""
        return max(0.0, fold_square - seed_square) * self.validation / self.folds / self.test
