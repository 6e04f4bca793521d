"""The winner's curse: how far networks fall from the look that chose them to fresh seeds, and what becomes of ranks.

Of many networks with one seed each the best looking ones are lucky, the more so the more were looked at. Facts only;
``winners_curse_picture`` draws them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.system import statistics
from reports.study.networks import Network
from reports.study.study_files import StudyFiles

# Fewer say nothing about an order.
FEWEST_RANKED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A network that has fresh seeds; ranks are by accuracy, 1 the best, equal ones share the better rank.

    Attributes:
        number: place of the network in the order of the study's networks.
        passed: its first look met the threshold, so it was chosen for fresh seeds by that; one that missed has them
            because it was proposed again.
        first_pct: validation accuracy with the first seed; ``place`` is its rank among all networks trained to the
            end, ``first_rank`` among those with fresh seeds.
        fresh_pct: mean over ``fresh_seeds`` validation seeds.
        test_pct: mean over ``test_seeds`` seeds on the test set, None where it was not tested; ``test_rank`` is among
            those that were.
    """

    number: int
    network: Network
    passed: bool
    first_pct: float
    place: int
    first_rank: int
    fresh_pct: float
    fresh_seeds: int
    fresh_rank: int
    test_pct: float | None
    test_seeds: int
    test_rank: int | None

    @property
    def drop_points(self) -> float:
        """How far the mean of the fresh seeds lies below the first look."""
        return self.first_pct - self.fresh_pct


@dataclass(frozen=True, slots=True)
class Drop:
    """Mean drop from the first look to the fresh seeds, each network counted once.

    Attributes:
        error_points: standard error of the mean over networks, None below two.
    """

    networks: int
    mean_points: float
    error_points: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WinnersCurse:
    """The networks of a study with fresh seeds, best first look first.

    Attributes:
        trained: networks that were trained to the end, from which the first looks chose.
        passed: the drop of those whose first look met the threshold, ``others`` that of those that missed it and were
            proposed again; None where there are none.
        spearman: rank correlation of first look and fresh mean, None below ``FEWEST_RANKED`` networks.
    """

    looks: tuple[Look, ...]
    trained: int
    threshold_pct: float
    passed: Drop | None
    others: Drop | None
    spearman: float | None


def winners_curse(files: StudyFiles, of: Sequence[Network]) -> WinnersCurse:
    """Return how first looks compare with fresh seeds."""
    threshold_pct = files.config.threshold_pct
    firsts = {number: first for number, network in enumerate(of) if (first := network.first_pct) is not None}
    fresh = {number: found for number in firsts if (found := of[number].fresh_pct)}
    means = {number: statistics.mean(found) for number, found in fresh.items()}
    records = {item.record.hash: item.record.accuracies_pct for item in reversed(files.measured)}
    tests = {number: seeds for number in fresh if (seeds := records.get(of[number].hash, ()))}
    tested = {number: statistics.mean(found) for number, found in tests.items()}
    looks = [
        Look(
            number=number,
            network=of[number],
            passed=statistics.reaches(firsts[number], threshold_pct),
            first_pct=firsts[number],
            place=_rank(firsts[number], list(firsts.values())),
            first_rank=_rank(firsts[number], [firsts[other] for other in fresh]),
            fresh_pct=means[number],
            fresh_seeds=len(found),
            fresh_rank=_rank(means[number], list(means.values())),
            test_pct=tested.get(number),
            test_seeds=len(tests.get(number, ())),
            test_rank=_rank(tested[number], list(tested.values())) if number in tested else None,
        )
        for number, found in fresh.items()
    ]
    looks.sort(key=lambda look: (look.first_rank, look.network.parameters, look.network.hash))
    return WinnersCurse(
        looks=tuple(looks),
        trained=len(firsts),
        threshold_pct=threshold_pct,
        passed=_drop([look for look in looks if look.passed]),
        others=_drop([look for look in looks if not look.passed]),
        spearman=_spearman(looks),
    )


def _rank(value: float, among: Sequence[float]) -> int:
    return 1 + sum(other > value and not statistics.reaches(value, other) for other in among)


def _drop(looks: Sequence[Look]) -> Drop | None:
    drops = [look.drop_points for look in looks]
    if not drops:
        return None
    error = statistics.standard_deviation(drops) / math.sqrt(len(drops)) if len(drops) > 1 else None
    return Drop(len(drops), statistics.mean(drops), error)


def _spearman(looks: Sequence[Look]) -> float | None:
    if len(looks) < FEWEST_RANKED:
        return None
    found = statistics.spearman([look.first_pct for look in looks], [look.fresh_pct for look in looks])
    return found if math.isfinite(found) else None
