"""Statistics of groups of images that may be right or wrong together.

- ``independent_cases``: the effective number of groups.
- ``CrossedEffects``: every seed classifies every image or group once. The variance of the grand mean has a seed part,
  an image part and a residual (Searle, Casella and McCulloch, "Variance Components", 1992, chapter 4, two-way crossed
  classification without replication).
- ``GroupErrors``: the lower bound over seeds and groups of the test images.
- ``GroupCounts``: the deviation between folds of whole groups of the validation images::

    fold_square = group_share^2 * folds / validation + seed_square

  with ``group_share``, the relative standard deviation between groups, and the effective number of groups per fold,
  ``validation / folds``. The squared deviation of the mean over n folds from the mean over ``test`` unseen groups is
  ``fold_square / n + group_share^2 / test``: further seeds on the same groups do not reduce this variance (one-way
  random effects, chapter 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.system import statistics

SKEW = 4  # Student's bound of 20 seeds of skewness 1 errs at most this many times as often as stated
# A share of worse groups of test images that too few groups often miss (decision 30); smaller than
# ``statistics.WORST_SHARE``, because all looks read the same groups.
_WORST_GROUPS = 0.45
# Standard deviation between groups over the errors: 0.22 to 0.44 for speakers and persons with a smartwatch, 0.5 to
# 0.64 for engines and fonts (docs/project/decisions.md#30).
_GROUP_SHARE = 0.5
_GROUP_FREEDOM = 4  # degrees of freedom of ``_GROUP_SHARE`` as a prior (diary 151)
GROUP_CONFIDENCE = 0.9  # probability to pass from which a network is confirmed on folds of groups (diary 151)


def independent_cases(group_sizes: Sequence[int]) -> float:
    """Return the effective number of independent images, if every group is right or wrong as a whole.

    Kish's effective sample size, (sum of sizes)^2 / sum of sizes^2 (Kish, "Survey Sampling", 1965).
    """
    return sum(group_sizes) ** 2 / sum(size**2 for size in group_sizes)


class CrossedEffects(NamedTuple):
    """Standard errors of a mean over seeds and images, or over seeds and groups.

    Attributes:
        seeds_error_pct: Standard error over seeds with fixed images.
        images_error_pct: Standard error over images or groups with fixed seeds.
        error_pct: Standard error over both.
        freedom: Degrees of freedom of ``error_pct``.
    """

    seeds_error_pct: float
    images_error_pct: float
    error_pct: float
    freedom: float

    @property
    def whole_freedom(self) -> int:
        """Degrees of freedom of ``error_pct``, rounded down, at least 1."""
        return max(1, math.floor(min(self.freedom, 1e9) + 1e-6))

    @classmethod
    def of_squares(cls, sums: tuple[float, float, float], counts: tuple[int, int], scale: float) -> CrossedEffects:
        """Return the effects from sums of squares.

        With mean squares ``A`` of ``a + 1`` seeds, ``B`` of ``b + 1`` images and ``R`` of the residual, and ``N``
        answers in total, the variances of the mean are ``A / N`` over seeds, ``B / N`` over images and
        ``(A + B - R) / N`` over both (Searle, Casella and McCulloch 1992). The last has
        ``(A + B - R)^2 / (A^2 / a + B^2 / b + R^2 / (a b))`` degrees of freedom (Satterthwaite 1946).

        Args:
            sums: Sums of squares of the seeds, of the images or groups, and of all answers.
            counts: Numbers of seeds, and of images or groups.
            scale: Standard error, per cent, of a mean square of 1.
        """
        of_seeds, of_images, of_all = sums
        seeds, images = counts
        remainder = max(0.0, of_all - of_seeds - of_images)
        degrees = (seeds - 1, images - 1, (seeds - 1) * (images - 1))
        mean_squares = [each / freedom for each, freedom in zip((of_seeds, of_images, remainder), degrees, strict=True)]
        seeds_square, images_square, rest_square = mean_squares
        answers_square = max(0.0, seeds_square + images_square - rest_square)
        spread = math.fsum(square**2 / freedom for square, freedom in zip(mean_squares, degrees, strict=True))
        return cls(
            seeds_error_pct=scale * math.sqrt(seeds_square),
            images_error_pct=scale * math.sqrt(images_square),
            error_pct=scale * math.sqrt(answers_square),
            freedom=answers_square**2 / spread if spread else math.inf,
        )


def effective_bound_pct(
    errors: float, images: int, error_pct: float, freedom: int, most_effective: float, confidence: float
) -> float:
    """Return Clopper and Pearson's lower bound of the accuracy, per cent, for an effective number of images.

    The effective number of images is ``(p (1 - p) / v + 1) * (t(images - 1) / t(d))^2``, at most ``most_effective``,
    for the share of errors ``p`` and the variance ``v`` of ``p`` with ``d`` degrees of freedom (Korn and Graubard,
    "Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data",
    Survey Methodology 24, 1998).

    Args:
        error_pct: Standard error of the mean accuracy, with ``freedom`` degrees of freedom. If 0, the effective number
            is ``most_effective``.
    """
    # ``scipy.stats`` takes four times as long to import.
    from scipy.special import betaincinv

    effective = most_effective
    if error_pct:
        share = errors / images
        # The variance of a share among n independent images is estimated by p (1 - p) / (n - 1).
        by_variance = share * (1 - share) / (error_pct / 100) ** 2 + 1
        effective = min(effective, by_variance * _freedom_correction(images, freedom, confidence))
    wrong = errors * effective / images
    if wrong >= effective:
        return 0.0
    return 100 * (1 - float(betaincinv(wrong + 1, effective - wrong, confidence)))


def _freedom_correction(images: int, freedom: int, confidence: float) -> float:
    return (statistics.quantile(confidence, images - 1) / statistics.quantile(confidence, freedom)) ** 2


def fewest_groups(confidence: float) -> float:
    """Return the smallest effective number of groups for which ``over_groups_pct`` is a bound.

    If a share ``_WORST_GROUPS`` of all groups is worse, ``g`` test groups contain no worse group with
    probability ``(1 - _WORST_GROUPS) ** g``; at most ``SKEW`` times the error probability of the bound is accepted.
    """
    return max(2.0, math.log(SKEW * (1 - confidence)) / math.log(1 - _WORST_GROUPS))


def over_groups_pct(
    errors: Sequence[Sequence[int]], sizes: Sequence[int], confidence: float, *, pictures: float = 0.0
) -> float:
    """Return the one-sided lower bound of the accuracy over seeds and groups, per cent.

    Minus infinity below two seeds or ``fewest_groups`` effective groups: one large group among small groups decides
    alone.

    The groups are the sampled units. With ``z = e - p n`` for ``e`` errors of a seed among the ``n`` images of a group
    and the share ``p`` of all errors (linearisation of a ratio, Woodruff 1971, "A Simple Method for Approximating the
    Variance of a Complicated Estimate"), the variance ``v`` of ``p`` follows from the crossed effects of seeds and
    groups, and is at least the cluster-robust variance (Liang and Zeger 1986), whose degrees of freedom ``d`` are the
    effective groups less one. The effective number of images (``effective_bound_pct``) is at most
    ``images * (t(images - 1) / t(d))^2``: few groups whose shares of errors agree by chance do not prove that all
    images are independent. Copies are right or wrong together, so ``pictures`` replaces ``images`` in this limit.

    Args:
        errors: Wrong images of each seed in each group, (seeds, groups).
        pictures: Effective number of images if copies count as a single image; 0 if unknown.
    """
    seeds = len(errors)
    images = sum(sizes)
    effective = independent_cases(sizes)
    # So that rounding down keeps a whole number of effective groups.
    if seeds < 2 or effective + 1e-9 < fewest_groups(confidence):
        return -math.inf
    freedom = math.floor(effective - 1 + 1e-9)
    mean = sum(map(sum, errors)) / seeds
    expected_errors = [mean / images * size for size in sizes]
    deviations = [[wrong - share for wrong, share in zip(row, expected_errors, strict=True)] for row in errors]  # z
    of_seeds = math.fsum(sum(row) ** 2 for row in deviations) / len(sizes)
    of_groups = math.fsum(sum(column) ** 2 for column in zip(*deviations, strict=True)) / seeds
    of_all = math.fsum(value**2 for row in deviations for value in row)
    scale = 100 * math.sqrt(len(sizes) / seeds) / images
    effects = CrossedEffects.of_squares((of_seeds, of_groups, of_all), (seeds, len(sizes)), scale)
    error_pct = effects.images_error_pct  # the root of the cluster-robust variance
    if effects.error_pct > error_pct:
        error_pct = effects.error_pct
        freedom = min(effects.whole_freedom, freedom)
    most_cases = pictures or images
    correction = min(1.0, _freedom_correction(images, freedom, confidence))
    return effective_bound_pct(mean, images, error_pct, freedom, most_cases * correction, confidence)


class GroupErrors(NamedTuple):
    """Errors of a row by group of the test images.

    Attributes:
        sizes: Images in each group; empty if the images are independent.
        errors: Wrong images in each group, by seed index.
        pictures: Effective number of images if copies count as a single image; 0 if unknown.
    """

    sizes: Sequence[int] = ()
    errors: Mapping[int, Sequence[int]] = {}
    pictures: float = 0.0

    def bound_pct(self, seeds: Iterable[int], confidence: float) -> float:
        """Return the lower bound of these seeds, per cent; infinity without groups."""
        if not self.sizes:
            return math.inf
        return over_groups_pct([self.errors[index] for index in seeds], self.sizes, confidence, pictures=self.pictures)

    def sum_to(self, test_errors: Sequence[int]) -> bool:
        """Return whether the errors sum to the errors of each seed, or are empty without groups."""
        rows = list(self.errors.values())
        if not self.sizes:
            return not rows
        for row in rows:
            if (
                len(row) != len(self.sizes)
                or min(row) < 0
                or any(wrong > size for wrong, size in zip(row, self.sizes, strict=True))
            ):
                return False
        return list(map(sum, rows)) == list(test_errors)


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Numbers of groups of a data set that validates by folds of groups.

    Attributes:
        folds: Number of folds of whole groups; each fresh seed validates on a different fold.
        validation: Effective number of groups of all folds together (``independent_cases``).
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
        """Return the degrees of freedom of ``fold_square`` for a network with ``folds`` folds."""
        return _GROUP_FREEDOM + folds - 1

    def unseen_square(self, fold_square: float, seed_square: float) -> float:
        """Return the squared relative deviation of the mean over the test groups from the mean over all groups."""
        return max(0.0, fold_square - seed_square) * self.validation / self.folds / self.test
