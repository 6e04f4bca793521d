"""Statistical decisions: verdicts from seeds, confidence bounds over seeds and images, futility, error ratios.

``judgement_of`` judges rows, searches and certificates alike. Its bound is Student's one-sided bound, limited by a
Poisson bound (``lower_bound_pct``), and for grouped test images by a bound over groups (``over_groups_pct``).

Seeds and images are crossed random effects, as every seed classifies every image once. The variance of the grand mean
has a seed part, an image part and a residual (Searle, Casella and McCulloch, "Variance Components", 1992, chapter 4,
two-way crossed classification without replication). Degrees of freedom are Satterthwaite's (1946).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from importlib.resources import files
from itertools import chain
from typing import NamedTuple

from harness.data.datasets import Dataset, dataset, independent_cases
from harness.evidence import ledger
from harness.evidence.ledger import CONFIDENCE, Attempt, AttemptOutcome
from harness.evidence.record import Record
from harness.system import statistics
from harness.system.terminal import counted
from harness.training.result import Errors, finite

VERIFIED_SEEDS = 5  # fewest seeds of a verified row
# Confidence of the bound that verifies a row at the first look. At most one simulated study in ten verifies a network
# below the target, with two looks per study, any test set and seeds as in ``statistics.SEED_CONDITION``
# (measurements/results/false-answers.json).
VERIFIED_CONFIDENCE = 1 - ledger.FIRST_LOOK_ALPHA
_SKEW = 4  # Student's bound of 20 seeds of skewness 1 errs at most this many times as often as stated
# A share of worse groups of test images that too few groups often miss (docs/project/decisions.md, 30); smaller than
# ``statistics.WORST_SHARE``, because all looks read the same groups.
_WORST_GROUPS = 0.45
_MIN_RUN = 5  # seeds that must have been run before a small chance makes an attempt futile
# An attempt with a smaller chance to pass is futile. With both limits, a network whose true mean equals the target
# stops after 11 of 20 seeds on average. The chance to pass falls by at most 0.3 points with 20 or 30 declared seeds and
# by up to 1.7 with 100 (simulated, diary 32).
_MIN_CHANCE = 0.01
_SIGNIFICANCE = 0.05  # level of the one-sided test of a re-run against its record
# Largest difference of equal bounds, in percentage points: far above float rounding, far below one image in a hundred
# seeds. Also the rounding allowed in sums of probabilities.
TOLERANCE = 1e-6


class Judgement(Enum):
    """Verdict of seeds on a target.

    Attributes:
        OPEN: A declared seed has not been run, or there are too few seeds.
        MISSED: A mean is below the target.
        REACHED: The means reach the target, the bounds do not.
        PROVEN: The bounds reach the target.
    """

    OPEN = auto()
    MISSED = auto()
    REACHED = auto()
    PROVEN = auto()


class Groups(NamedTuple):
    """Errors of a row by group of the test images.

    Attributes:
        sizes: Number of images in each group; empty if the images are independent.
        errors: Number of wrong images in each group, by seed index.
        pictures: Effective number of images if all copies of an image count as a single image; 0 if unknown.
    """

    sizes: Sequence[int] = ()
    errors: Mapping[int, Sequence[int]] = {}
    pictures: float = 0.0


_NO_GROUPS = Groups()


def groups_of(record: Record) -> Groups:
    """Return the errors of a record by group of the test images.

    Data sets of earlier versions do not state the group of each test image. The errors are then assumed to lie in as
    few groups as possible: in the largest groups.
    """
    spec = dataset(record.dataset)
    sizes = spec.test_group_sizes
    if not sizes:
        return _NO_GROUPS
    largest_first = sorted(range(len(sizes)), key=lambda group: -sizes[group])
    group_of = spec.test_groups or [group for group in largest_first for _ in range(sizes[group])]
    errors = {}
    for run in record.seeds:
        images = [image for image, _ in run.wrong] if spec.test_groups else range(run.test_errors)
        counts = Counter(group_of[image] for image in images)
        errors[run.index] = [counts[group] for group in range(len(sizes))]
    return Groups(sizes, errors, spec.test_pictures)


def group_warning(data: Dataset) -> str:
    """Return a sentence with the number of groups that decide in place of the images; empty without groups."""
    sizes = data.test_group_sizes
    if not sizes:
        return ""
    effective = independent_cases(sizes)
    groups = f"{counted(len(sizes), 'group')} of test images"
    if data.validation_group_sizes:
        groups = f"{counted(len(data.validation_group_sizes), 'group')} of validation images and {groups}"
    unseen = f"failures on up to {_unseen_failures_pct(effective):.0f} % of all groups are not excluded"
    unequal = "" if effective > len(sizes) - 0.05 else f" (equivalent to {effective:.1f} groups of equal size)"
    fewest = fewest_groups(VERIFIED_CONFIDENCE)
    limit = f"; below {fewest:.1f} groups of equal size no network can be verified" if effective < fewest else ""
    return f"{groups}{unequal} decide, not the number of images; {unseen}{limit}"


def judgement_of(
    errors: Mapping[int, int],
    images: int,
    target_pct: float,
    declarations: Sequence[Sequence[int]],
    *,
    confidence: float = VERIFIED_CONFIDENCE,
    fewest: int = VERIFIED_SEEDS,
    groups: Groups = _NO_GROUPS,
) -> tuple[Judgement, float | None]:
    """Return the verdict on a target from two samples: all seeds, and the seeds that were declared first.

    The verdict is followed by the deciding bound: the lower of the bounds of both samples, per cent; None below two
    seeds or ``fewest_groups``.

    PROVEN requires all bounds (``lower_bound_pct``, with groups ``over_groups_pct`` too) of both samples to reach the
    target, REACHED both means. All declared seeds must have been run. The second sample is the first declaration or, if
    that has fewer than ``fewest`` seeds, the first ``fewest`` seeds in the order of the declarations. Later
    declarations cannot improve the verdict: if seeds were declared singly until the bound passes, 28 % of the networks
    exactly at the target would pass a bound of 90 %.

    Args:
        errors: Number of wrong test images by seed index.
        images: Number of test images.
        target_pct: Target test accuracy, per cent.
        declarations: Seed indices of each declaration, in order. Seeds of no declaration were run before declarations
            existed.
        confidence: Confidence of the bound, between 0 and 1.
        fewest: Fewest seeds for a verdict.
        groups: Errors by group of the test images.
    """
    samples = _samples(errors, declarations, fewest)
    bound = finite(min(_bound_pct(errors, images, sample, confidence, groups) for sample in samples))
    is_any_missing = any(index not in errors for index in chain.from_iterable(declarations))
    if len(errors) < fewest or is_any_missing:
        return Judgement.OPEN, bound
    for sample in samples:
        mean = 100 * (1 - statistics.mean([errors[index] for index in sample]) / images)
        if not statistics.reaches(mean, target_pct):
            return Judgement.MISSED, bound
    is_proven = bound is not None and statistics.reaches(bound, target_pct)
    return Judgement.PROVEN if is_proven else Judgement.REACHED, bound


def _bound_pct(
    errors: Mapping[int, int], images: int, seeds: Sequence[int], confidence: float, groups: Groups
) -> float:
    """Return the lower bound of the seeds with the indices ``seeds``, over seeds and, if there are groups, groups."""
    bound = lower_bound_pct([errors[index] for index in seeds], images, confidence)
    if not groups.sizes:
        return bound
    errors_by_group = [groups.errors[index] for index in seeds]
    return min(bound, over_groups_pct(errors_by_group, groups.sizes, confidence, pictures=groups.pictures))


def _samples(errors: Mapping[int, int], declarations: Sequence[Sequence[int]], fewest: int) -> list[list[int]]:
    """Return the samples of ``judgement_of``: all seeds, and the first declaration if two of its seeds were run."""
    declared_indices = set(chain.from_iterable(declarations))
    # Undeclared seeds were run before declarations existed, so these seeds come first.
    order = [[index for index in errors if index not in declared_indices], *declarations]
    first_sample: Sequence[int] = next(filter(None, order), [])
    if len(first_sample) < fewest:
        first_sample = [*dict.fromkeys(chain.from_iterable(order))][:fewest]
    first_run_indices = [index for index in first_sample if index in errors]
    return [[*errors], first_run_indices] if len(first_run_indices) > 1 else [[*errors]]


def lower_bound_pct(errors: Sequence[int], images: int, confidence: float) -> float:
    """Return the one-sided lower bound of the mean accuracy over seeds, per cent; minus infinity below two seeds.

    The lower of two bounds, but at least 0, for ``n`` seeds, with the quantile function ``q`` at ``confidence``:

    - Student's: ``m - q_t(n - 1) * s / sqrt(n)``, where ``m`` and ``s`` are the mean and the standard deviation of the
      accuracies (Student 1908).
    - Poisson: ``100 * (1 - (e + q_Gamma(k + 1) / n) / images)``, where ``e`` is the smallest number of errors of a seed
      and ``k`` the sum of the errors above ``e`` (Garwood 1936, "Fiducial limits for the Poisson distribution").

    Equal errors do not prove a standard deviation of zero. All seeds classify the same images, most of which are always
    right or always wrong. The errors above ``e`` are a sum of rare events, no wider than a Poisson distribution
    (Hoeffding 1956, "On the distribution of the number of successes in independent trials"). Six equal seeds leave 0.65
    images at 98 %, on a test set of any size.

    Args:
        errors: Number of wrong test images of each seed.
        images: Number of test images.
        confidence: Confidence of the bound, between 0 and 1.
    """
    if len(errors) < 2:
        return -math.inf
    # Importing ``scipy.stats`` for the quantile of Gamma would take four times as long.
    from scipy.special import gammaincinv

    by_student = statistics.lower_bound([Errors(each, images).accuracy_pct for each in errors], confidence)
    fewest = min(errors)
    above = sum(errors) - fewest * len(errors)
    most_errors = fewest + float(gammaincinv(above + 1, confidence)) / len(errors)
    return max(0.0, min(by_student, 100 * (1 - most_errors / images)))


def fewest_groups(confidence: float) -> float:
    """Return the smallest effective number of groups for which ``over_groups_pct`` is a bound.

    If a share ``_WORST_GROUPS`` of all groups is worse, ``g`` test groups contain no worse group with
    probability ``(1 - _WORST_GROUPS) ** g``; at most ``_SKEW`` times the error probability of the bound is
    accepted.
    """
    return max(2.0, math.log(_SKEW * (1 - confidence)) / math.log(1 - _WORST_GROUPS))


def over_groups_pct(
    errors: Sequence[Sequence[int]], sizes: Sequence[int], confidence: float, *, pictures: float = 0.0
) -> float:
    """Return the one-sided lower bound of the accuracy over seeds and groups, per cent.

    Minus infinity below two seeds or ``fewest_groups`` effective groups (Kish, ``independent_cases``): one large group
    among small groups decides alone.

    Images of a group may be right or wrong together, so the groups are the sampled units. With ``z = e - p n`` for
    ``e`` errors of a seed among the ``n`` images of a group and the share ``p`` of all errors (linearisation of a
    ratio, Woodruff 1971, "A Simple Method for Approximating the Variance of a Complicated Estimate"), the variance
    ``v`` of ``p`` follows from the crossed effects of seeds and groups (``components``), and is at least the
    cluster-robust variance (Liang and Zeger 1986), whose degrees of freedom ``d`` are the effective groups less one.
    The bound is that of Korn and Graubard (1998) as in ``over_images``. The effective number of images is at most
    ``images * (t(images - 1) / t(d))^2``: few groups whose shares of errors agree by chance do not prove that all
    images are independent. Copies are right or wrong together, so ``pictures`` replaces ``images`` in this limit.

    Args:
        errors: Number of wrong images of each seed in each group, (seeds, groups).
        sizes: Number of images in each group.
        confidence: Confidence of the bound, between 0 and 1.
        pictures: Effective number of images if all copies of an image count as a single image; 0 if unknown.
    """
    seeds = len(errors)
    images = sum(sizes)
    effective = independent_cases(sizes)
    # The small terms keep a whole number of effective groups from being rounded down.
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
    estimate = _crossed((of_seeds, of_groups, of_all), (seeds, len(sizes)), scale)
    error_pct = estimate.images_error_pct  # the root of the cluster-robust variance
    if estimate.error_pct > error_pct:
        error_pct = estimate.error_pct
        freedom = min(estimate.whole_freedom, freedom)
    most_cases = pictures or images
    correction = min(1.0, _freedom_correction(images, freedom, confidence))
    return _effective_bound_pct(mean, images, error_pct, freedom, most_cases * correction, confidence)


def certifying_confidence(alpha: float) -> float:
    """Return the confidence ``1 - alpha / _SKEW`` of a bound that errs with ``alpha`` at most, for skewed seeds too."""
    return 1 - alpha / _SKEW


def is_worse(fresh_errors: Sequence[int], recorded_errors: Sequence[int], images: int) -> bool:
    """Return whether seeds that were run again have significantly more errors than the record.

    Several seeds are compared by Welch's one-sided test (1947) at level 0.05. A single seed with ``e`` errors is worse
    if ``e > m + t(0.99, n - 1) * s * sqrt(1 + 1 / n)``, with mean ``m`` and standard deviation ``s`` (at least 1) of
    the ``n`` recorded errors (prediction interval of a normal sample, Geisser 1993, "Predictive Inference"), at level
    0.01. Below two recorded seeds the result is False.
    """
    if len(fresh_errors) != 1 or len(recorded_errors) < 2:
        samples = ([100 * (1 - each / images) for each in sample] for sample in (fresh_errors, recorded_errors))
        return statistics.welch_p_value(*samples) < _SIGNIFICANCE
    freedom = len(recorded_errors) - 1
    # Equal errors do not prove a standard deviation of zero; a Poisson count with mean 1 has a standard deviation of 1.
    deviation = max(1.0, statistics.standard_deviation(recorded_errors))
    spread = deviation * math.sqrt(1 + 1 / len(recorded_errors))
    return fresh_errors[0] > statistics.mean(recorded_errors) + statistics.quantile(CONFIDENCE, freedom) * spread


def _unseen_failures_pct(count: float) -> float:
    """Return the upper bound, per cent, of the share of runs or groups that fail, after ``count`` without a failure.

    ``100 * (1 - (1 - CONFIDENCE) ** (1 / count))`` (Clopper and Pearson 1934).
    """
    return 100 * (1 - math.pow(1 - CONFIDENCE, 1 / count))


def seeds_warning(seeds: int) -> str:
    """Return a sentence with the share of failing runs that ``seeds`` runs without a failure leave possible."""
    share = f"{_unseen_failures_pct(seeds):.0f} %"
    return f"{counted(seeds, 'seed')} cannot exclude that up to {share} of further trainings fail"


def attempt_confidence(attempt: Attempt) -> float:
    """Return the confidence of the bound that decides an attempt; before rules 3 ``1 - alpha``, for normal seeds."""
    return 1 - attempt.alpha if attempt.rules < 3 else certifying_confidence(attempt.alpha)


def attempt_bound(attempt: Attempt, record: Record) -> float | None:
    """Return the lower bound, per cent, of the recorded seeds of an attempt; None below two seeds.

    Before rules 3, Student's bound alone (``statistics.lower_bound``), which assumes normal seeds. Before rules 4, the
    bound over seeds alone for grouped test images too.
    """
    runs = [run for run in record.seeds if run.index in attempt.indices]
    confidence = attempt_confidence(attempt)
    if attempt.rules < 3 or not runs:
        return finite(statistics.lower_bound([run.accuracy_pct for run in runs], confidence))
    errors = {run.index: run.test_errors for run in runs}
    groups = groups_of(record) if attempt.rules > 3 else _NO_GROUPS
    return finite(_bound_pct(errors, runs[0].test_size, [*errors], confidence, groups))


def ending(attempt: Attempt, record: Record) -> tuple[AttemptOutcome, float | None]:
    """Return the outcome and the lower bound computed from the recorded seeds of an attempt.

    OPEN and None until all seeds are recorded. Futility is not recomputed, because a stop depends on the order in which
    the seeds ended, and a stopped attempt cannot pass.
    """
    if any(record.seed(index) is None for index in attempt.indices):
        return AttemptOutcome.OPEN, None
    bound = attempt_bound(attempt, record)
    has_passed = bound is not None and statistics.reaches(bound, record.target_pct)
    return (AttemptOutcome.CERTIFIED if has_passed else AttemptOutcome.FAILED), bound


def contradiction(attempt: Attempt, record: Record) -> str | None:
    """Return the first difference between the stated result of an attempt and its record; None if they agree.

    The stated result of grouped test images from rules 4 on is not compared: the bound over groups was corrected while
    rules 4 were in force, ``groups_of`` assumed other groups, and reading the data again may add the group of each
    image. Such an attempt certifies only if the result computed now agrees (``is_certified``).
    """
    name = f"attempt {attempt.number}"
    if (breach := _breach(attempt)) is not None:
        return f"{name}: {breach}"
    if attempt.outcome not in (AttemptOutcome.CERTIFIED, AttemptOutcome.FAILED):
        return None
    if attempt.seeds < ledger.MIN_SEEDS:
        return f"{name}: seeds: {attempt.seeds} stated, at least {ledger.MIN_SEEDS} required"
    beacons = {run.beacon for run in record.seeds if run.index in attempt.indices}
    if attempt.rules > 1 and (None in beacons or len(beacons) != 1):
        stated_beacons = ", ".join(sorted(map(str, beacons))) or "none"
        return f"{name}: beacon: {stated_beacons} stated by the seeds, a single beacon required"
    open_index = next((index for index in attempt.indices if record.seed(index) is None), None)
    if open_index is not None:
        return f"{name}: outcome: {attempt.outcome} stated, but the record of {attempt.hash} lacks seed {open_index}"
    stated_bound = attempt.lower_bound_pct
    outcome, bound = ending(attempt, record)
    is_equal = stated_bound is not None and bound is not None and abs(stated_bound - bound) < TOLERANCE
    is_compared = attempt.rules <= 3 or not groups_of(record).sizes
    if not is_compared or (outcome is attempt.outcome and is_equal):
        return None
    return f"{name}: outcome: {attempt.outcome} with bound {stated_bound} stated, {outcome} with {bound} computed"


def is_certified(attempt: Attempt, record: Record) -> bool:
    """Return whether an attempt states a certification that follows from its record."""
    if attempt.outcome is not AttemptOutcome.CERTIFIED or contradiction(attempt, record) is not None:
        return False
    return ending(attempt, record)[0] is AttemptOutcome.CERTIFIED


def _breach(attempt: Attempt) -> str | None:
    """Return the fault in ``alpha`` or ``rules`` of an attempt, open attempts included; None without a fault."""
    if not 0 < attempt.alpha <= ledger.ALPHA_SHARE * ledger.ALPHA:
        return f"alpha: {attempt.alpha:g} stated, at most {ledger.ALPHA_SHARE * ledger.ALPHA:g} allowed"
    if attempt.rules < 2 and not attempt.is_of_old_rules:
        return f"rules: {attempt.rules} stated, allowed up to attempt 4 only"
    return None


def over_seeds(errors: Sequence[int], images: int) -> float | None:
    """Return the one-sided 99 % lower bound of the mean accuracy over seeds, per cent; None below two seeds."""
    return finite(lower_bound_pct(errors, images, CONFIDENCE))


def over_images(wrong: Sequence[Sequence[int]], images: int, group_sizes: Sequence[int] = ()) -> float | None:
    """Return the one-sided 99 % lower bound over seeds and images, per cent; None below two seeds or two images.

    The bound of Clopper and Pearson (1934) for ``p * n`` errors among ``n`` independent images, where ``p`` is the mean
    share of errors: ``100 * (1 - q)`` with the 99 % quantile ``q`` of Beta(p n + 1, n - p n). The effective number of
    images is ``n = (p (1 - p) / v + 1) * (t(0.99, images - 1) / t(0.99, d))^2``, where ``v`` is the variance of the
    mean with ``d`` degrees of freedom (``components``), and at most ``images``: all seeds see the same images, so
    further seeds add no images (Korn and Graubard, "Confidence Intervals for Proportions with Small Expected Number of
    Positive Counts Estimated from Survey Data", Survey Methodology 24, 1998). Never above the bound over seeds alone.

    Args:
        wrong: Indices of the wrong images of each seed.
        images: Number of test images.
        group_sizes: Number of images in each group of the test set, which may be right or wrong together; ``n`` is then
            at most ``independent_cases``. Empty if the images are independent.
    """
    estimate = components(wrong, images)
    if estimate is None:
        return None
    errors = list(map(len, wrong))
    independent = independent_cases(group_sizes) if group_sizes else float(images)
    mean = statistics.mean(errors)
    bound = _effective_bound_pct(mean, images, estimate.error_pct, estimate.whole_freedom, independent, CONFIDENCE)
    return finite(min(bound, lower_bound_pct(errors, images, CONFIDENCE)))


def _effective_bound_pct(
    errors: float, images: int, error_pct: float, freedom: int, most_effective: float, confidence: float
) -> float:
    """Return Clopper and Pearson's bound, per cent, for the effective number of images (``over_images``).

    Args:
        errors: Mean number of wrong images of a seed.
        images: Number of images.
        error_pct: Standard error of the mean accuracy, per cent, with ``freedom`` degrees of freedom. If 0, the
            effective number is ``most_effective``.
        most_effective: Largest effective number of images.
        confidence: Confidence of the bound, between 0 and 1.
    """
    # Importing ``scipy.stats`` for the quantile of Beta would take four times as long.
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


def is_futile(
    errors: Sequence[int], images: int, seed_count: int, target_pct: float, confidence: float = CONFIDENCE
) -> bool:
    """Return whether an attempt cannot pass any more, or passes with a probability below 1 %.

    An attempt cannot pass if the errors of all seeds exceed ``(1 - target_pct / 100) * images * declared``. From five
    seeds on, the predictive probability of ``_chance`` decides as well.

    Args:
        errors: Number of wrong test images of each seed that has been run.
        images: Number of test images.
        seed_count: Number of declared seeds. After all have been run the bound decides, and the result is False.
        target_pct: Target test accuracy, per cent.
        confidence: Confidence of the bound, between 0 and 1.
    """
    if len(errors) >= seed_count:
        return False
    # Without rounding, 0.6 % of 300,000 images would be slightly below 1,800.
    allowed_errors = round((100 - target_pct) / 100 * images * seed_count, 6)
    if sum(errors) > allowed_errors:
        return True
    if len(errors) < _MIN_RUN:
        return False
    accuracies = [100 * (1 - wrong / images) for wrong in errors]
    return _chance(accuracies, seed_count, target_pct, confidence) < _MIN_CHANCE


def _chance(accuracies_pct: Sequence[float], total: int, target_pct: float, confidence: float = CONFIDENCE) -> float:
    """Return the predictive probability that the bound of an attempt will reach the target.

    With ``n`` seeds run, ``k`` left, mean ``m`` and standard deviation ``s``, the mean of the ``k`` seeds has a Student
    distribution with ``n - 1`` degrees of freedom around ``m``, scaled by ``s * sqrt(1 / n + 1 / k)`` (Geisser 1993,
    normal seeds, flat prior). The standard deviation in the bound is assumed to stay at ``s``.
    """
    run = len(accuracies_pct)
    remaining = total - run
    centre = statistics.mean(accuracies_pct)
    deviation = statistics.standard_deviation(accuracies_pct)
    needed_mean_pct = target_pct + statistics.quantile(confidence, total - 1) * deviation / math.sqrt(total)
    needed_pct = (total * needed_mean_pct - run * centre) / remaining
    spread = deviation * math.sqrt(1 / run + 1 / remaining)
    # A spread below 1e-9 is the float rounding of equal accuracies.
    if spread < 1e-9:
        return float(statistics.reaches(centre, needed_pct))
    return statistics.student_share((centre - needed_pct) / spread, run - 1)


class _Components(NamedTuple):
    """Standard errors of the mean accuracy of a row.

    Attributes:
        seeds_error_pct: Standard error over seeds with fixed images, per cent.
        images_error_pct: Standard error over images with fixed seeds, per cent.
        error_pct: Standard error over seeds and images, per cent.
        freedom: Degrees of freedom of ``error_pct``.
    """

    seeds_error_pct: float
    images_error_pct: float
    error_pct: float
    freedom: float

    @property
    def whole_freedom(self) -> int:
        return max(1, math.floor(min(self.freedom, 1e9) + 1e-6))


def components(wrong: Sequence[Sequence[int]], images: int) -> _Components | None:
    """Return the standard errors of the mean accuracy of a row; None below two seeds or two images.

    With mean squares ``A`` of ``a + 1`` seeds, ``B`` of ``b + 1`` images and ``R`` of the residual, and ``N`` answers
    in total, the variances of the mean are ``A / N`` over seeds, ``B / N`` over images and ``(A + B - R) / N`` over
    both (Searle, Casella and McCulloch 1992). The last has ``(A + B - R)^2 / (A^2 / a + B^2 / b + R^2 / (a b))``
    degrees of freedom (Satterthwaite 1946).

    Args:
        wrong: Indices of the wrong images of each seed.
        images: Number of test images.
    """
    seeds = len(wrong)
    if seeds < 2 or images < 2:
        return None
    errors = list(map(len, wrong))
    errors_of_image = Counter(chain.from_iterable(wrong))
    total = sum(errors)
    centre = total / (seeds * images)
    of_seeds = math.fsum((count / images - centre) ** 2 for count in errors) * images
    of_wrong_images = math.fsum((count / seeds - centre) ** 2 for count in errors_of_image.values())
    of_right_images = (images - len(errors_of_image)) * centre**2
    of_images = (of_wrong_images + of_right_images) * seeds
    # The squares of all answers sum to ``total``, because answers are 0 or 1.
    sums = (of_seeds, of_images, total - seeds * images * centre**2)
    return _crossed(sums, (seeds, images), 100 / math.sqrt(seeds * images))


def _crossed(sums: tuple[float, float, float], counts: tuple[int, int], scale: float) -> _Components:
    """Return the standard errors of a mean from the sums of squares; formulas in ``components``.

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
    return _Components(
        seeds_error_pct=scale * math.sqrt(seeds_square),
        images_error_pct=scale * math.sqrt(images_square),
        error_pct=scale * math.sqrt(answers_square),
        freedom=answers_square**2 / spread if spread else math.inf,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRatio:
    """Expected errors on unseen images, after training on all other images, per error on the validation images.

    A ratio, not a difference in points: more training images remove a share of the errors, which is more points at 98 %
    than at 99.5 %.

    Attributes:
        errors_ratio: Errors on unseen images divided by errors on the validation images; with a margin if not measured
            (``error_ratio_of``).
        relative_error: Standard error of the log ratio; None if not measured.
        protocol: Networks, recipe, seeds and code version of the measurement; empty if not measured.
        network_deviation: Standard deviation of the log ratio between networks on the same images, without the part of
            the seeds; None if not measured.
        images_deviation: Standard deviation of the log ratio between sets of equally many unseen images, all networks
            together; None if not measured.
    """

    dataset: str
    errors_ratio: float
    relative_error: float | None
    protocol: str = ""
    network_deviation: float | None = None
    images_deviation: float | None = None

    def threshold_pct(self, target_pct: float) -> float:
        """Return the validation accuracy that corresponds to a test accuracy, both per cent, without bias.

        ``100 - (100 - target_pct) / errors_ratio``, at least 0. The confirmation of a candidate
        (``harness.studies.candidate``) allows for differences between seeds and networks. The difference between sets
        of images is a single unknown draw for all searches.
        """
        return max(0.0, 100 - (100 - target_pct) / self.errors_ratio)


def error_ratio_of(data: Dataset, target_pct: float) -> ErrorRatio:
    """Return the measured error ratio of a data set or, if none was measured, a ratio with a safety margin.

    Measured ratios come from training images alone; the test set is not used. Without a measurement the ratio is
    ``q / (q - margin)``, with the allowed share of errors ``q = 1 - target_pct / 100`` and
    ``margin = min(sqrt(q (1 - q) / n), q / 2)``. The root is the standard error of the accuracy on ``n`` validation
    images at the target. Images of a group may be right or wrong together, so ``n`` is the effective number
    (``Dataset.validation_cases``). With folds of groups the ratio is 1: the confirmation adds the margin, from the
    measured differences between folds (``harness.studies.group_spread``).
    """
    document = json.loads((files("harness.evidence") / "error-ratios.json").read_text(encoding="utf-8"))
    if data.name in document:
        return ErrorRatio(dataset=data.name, **document[data.name])
    if data.group_folds:
        return ErrorRatio(dataset=data.name, errors_ratio=1.0, relative_error=None)
    allowed_share = 1 - target_pct / 100
    margin = min(math.sqrt(allowed_share * (1 - allowed_share) / data.validation_cases), allowed_share / 2)
    ratio = allowed_share / (allowed_share - margin) if allowed_share else 1.0
    return ErrorRatio(dataset=data.name, errors_ratio=ratio, relative_error=None)
