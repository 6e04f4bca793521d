"""Statistical decisions: verdicts from seeds, confidence bounds over seeds and images, futility, error ratios.

``standing_of`` judges rows, searches and certificates alike.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain

from harness.data.datasets import Dataset
from harness.data.groups import SKEW, CrossedEffects, GroupErrors, effective_bound_pct, fewest_groups, independent_cases
from harness.studies.standing import Standing
from harness.system import statistics
from harness.system.terminal import counted
from harness.training.result import Errors, finite

VERIFIED_SEEDS = 5  # fewest seeds of a verified row
# Confidence at the first look: at most one simulated study in ten verifies a network below the target, with two looks
# per study, any test set and seeds as in ``statistics.SEED_CONDITION`` (measurements/results/false-answers.json).
VERIFIED_CONFIDENCE = 0.98
CONFIDENCE = 0.99  # of displayed bounds
_MIN_RUN = 5  # seeds before a small chance makes an attempt futile
# An attempt with a smaller chance to pass is futile. With both limits, a network whose true mean equals the target
# stops after 11 of 20 seeds on average. The chance to pass falls by at most 0.3 points with 20 or 30 declared seeds and
# by up to 1.7 with 100 (simulated, diary 32).
_MIN_CHANCE = 0.01
_SIGNIFICANCE = 0.05  # of the one-sided test of a re-run against its record
_NO_GROUPS = GroupErrors()


def group_warning(data: Dataset) -> str:
    """Return a sentence with the number of groups that decide in place of the images; empty without groups."""
    sizes = data.test_group_sizes
    if not sizes:
        return ""
    effective = independent_cases(sizes)
    groups = f"{counted(len(sizes), 'group')} of test images"
    if data.validation_group_sizes:
        groups = f"{counted(len(data.validation_group_sizes), 'group')} of validation images and {groups}"
    if effective <= len(sizes) - 0.05:
        groups += f" (equivalent to {effective:.1f} groups of equal size)"
    fewest = fewest_groups(VERIFIED_CONFIDENCE)
    text = (
        f"{groups} decide, not the number of images; "
        f"failures on up to {_unseen_failures_pct(effective):.0f} % of all groups are not excluded"
    )
    if effective < fewest:
        text += f"; below {fewest:.1f} groups of equal size no network can be verified"
    return text


def standing_of(
    errors: Mapping[int, int],
    images: int,
    target_pct: float,
    declarations: Sequence[Sequence[int]],
    *,
    confidence: float = VERIFIED_CONFIDENCE,
    fewest: int = VERIFIED_SEEDS,
    groups: GroupErrors = _NO_GROUPS,
) -> tuple[Standing, float | None]:
    """Return the verdict on a target from two samples: all seeds, and the seeds that were declared first.

    The deciding bound follows: the lower of both samples, per cent; None below two seeds or ``fewest_groups``.

    VERIFIED requires all bounds (``row_bound_pct``) of both samples to reach the target, AT_TARGET both means; MEASURED
    if a declared seed has not been run or there are too few seeds. The second sample is the first declaration or, if
    that has fewer than ``fewest`` seeds, the first ``fewest`` seeds in the order of the declarations. Later
    declarations cannot improve the verdict: if seeds were declared singly until the bound passes, 28 % of the networks
    exactly at the target would pass a bound of 90 %.

    Args:
        errors: Wrong test images by seed index.
        declarations: Seed indices of each declaration, in order. Seeds of no declaration were run before declarations
            existed.
    """
    samples = [{index: errors[index] for index in sample} for sample in _samples(errors, declarations, fewest)]
    bound = finite(min(row_bound_pct(sample, images, confidence, groups) for sample in samples))
    is_any_missing = any(index not in errors for index in chain.from_iterable(declarations))
    if len(errors) < fewest or is_any_missing:
        return Standing.MEASURED, bound
    for sample in samples:
        mean = 100 * (1 - statistics.mean([*sample.values()]) / images)
        if not statistics.reaches(mean, target_pct):
            return Standing.MISSED, bound
    is_proven = bound is not None and statistics.reaches(bound, target_pct)
    return Standing.VERIFIED if is_proven else Standing.AT_TARGET, bound


def row_bound_pct(errors: Mapping[int, int], images: int, confidence: float, groups: GroupErrors) -> float:
    """Return the lower bound over seeds and, if there are groups, groups, per cent; ``errors`` by seed index."""
    return min(lower_bound_pct([*errors.values()], images, confidence), groups.bound_pct(errors, confidence))


def _samples(errors: Mapping[int, int], declarations: Sequence[Sequence[int]], fewest: int) -> list[list[int]]:
    """Return the samples of ``standing_of``: all seeds, and the first declaration if two of its seeds were run."""
    declared_indices = set(chain.from_iterable(declarations))
    # Undeclared seeds come first, as these were run before declarations existed.
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

    Equal errors do not prove a standard deviation of zero: most images are always right or always wrong. The errors
    above ``e`` are a sum of rare events, no wider than a Poisson distribution (Hoeffding 1956, "On the distribution of
    the number of successes in independent trials"). Six equal seeds leave 0.65 images at 98 %, on a test set of any
    size.
    """
    if len(errors) < 2:
        return -math.inf
    # ``scipy.stats`` takes four times as long to import.
    from scipy.special import gammaincinv

    by_student = statistics.lower_bound([Errors(each, images).accuracy_pct for each in errors], confidence)
    fewest = min(errors)
    above = sum(errors) - fewest * len(errors)
    most_errors = fewest + float(gammaincinv(above + 1, confidence)) / len(errors)
    return max(0.0, min(by_student, 100 * (1 - most_errors / images)))


def certifying_confidence(alpha: float) -> float:
    """Return the confidence ``1 - alpha / SKEW`` of a bound that errs with ``alpha`` at most, for skewed seeds too."""
    return 1 - alpha / SKEW


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
    # Equal errors do not prove a standard deviation of zero; a Poisson count with mean 1 has the deviation 1.
    deviation = max(1.0, statistics.standard_deviation(recorded_errors))
    spread = deviation * math.sqrt(1 + 1 / len(recorded_errors))
    return fresh_errors[0] > statistics.mean(recorded_errors) + statistics.quantile(CONFIDENCE, freedom) * spread


def _unseen_failures_pct(count: float) -> float:
    """Return the upper bound, per cent, of the share that fails, after ``count`` without a failure.

    ``100 * (1 - (1 - CONFIDENCE) ** (1 / count))`` (Clopper and Pearson 1934).
    """
    return 100 * (1 - math.pow(1 - CONFIDENCE, 1 / count))


def seeds_warning(seeds: int) -> str:
    """Return a sentence with the share of failing runs that ``seeds`` runs without a failure leave possible."""
    share = f"{_unseen_failures_pct(seeds):.0f} %"
    return f"{counted(seeds, 'seed')} cannot exclude that up to {share} of further trainings fail"


def over_seeds(errors: Sequence[int], images: int) -> float | None:
    """Return the one-sided 99 % lower bound of the mean accuracy over seeds, per cent; None below two seeds."""
    return finite(lower_bound_pct(errors, images, CONFIDENCE))


def over_images(wrong: Sequence[Sequence[int]], images: int, group_sizes: Sequence[int] = ()) -> float | None:
    """Return the one-sided 99 % lower bound over seeds and images, per cent; None below two seeds or two images.

    The bound of Clopper and Pearson (1934) for the effective number of images (``effective_bound_pct``), at most
    ``images``: all seeds see the same images. Never above the bound over seeds alone.

    Args:
        wrong: Indices of the wrong images of each seed.
        group_sizes: Images in each group of the test set, which may be right or wrong together; the number is then at
            most ``independent_cases``. Empty if the images are independent.
    """
    effects = image_effects(wrong, images)
    if effects is None:
        return None
    errors = list(map(len, wrong))
    independent = independent_cases(group_sizes) if group_sizes else float(images)
    mean = statistics.mean(errors)
    bound = effective_bound_pct(mean, images, effects.error_pct, effects.whole_freedom, independent, CONFIDENCE)
    return finite(min(bound, lower_bound_pct(errors, images, CONFIDENCE)))


def is_futile(
    errors: Sequence[int], images: int, seed_count: int, target_pct: float, confidence: float = CONFIDENCE
) -> bool:
    """Return whether an attempt cannot pass any more, or passes with a probability below 1 %.

    An attempt cannot pass if the errors of all seeds exceed ``(1 - target_pct / 100) * images * seed_count``. From five
    seeds on, the predictive probability of ``_chance`` decides as well.

    Args:
        errors: Wrong test images of each seed that has been run.
        seed_count: Number of declared seeds. After all have been run the bound decides, and the result is False.
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
    # The float rounding of equal accuracies.
    if spread < 1e-9:
        return float(statistics.reaches(centre, needed_pct))
    return statistics.student_share((centre - needed_pct) / spread, run - 1)


def image_effects(wrong: Sequence[Sequence[int]], images: int) -> CrossedEffects | None:
    """Return the crossed effects of seeds and images of a row; None below two seeds or two images.

    ``wrong`` has the indices of the wrong images of each seed.
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
    # Answers are 0 or 1, so their squares sum to ``total``.
    sums = (of_seeds, of_images, total - seeds * images * centre**2)
    return CrossedEffects.of_squares(sums, (seeds, images), 100 / math.sqrt(seeds * images))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRatio:
    """Expected errors on unseen images, after training on all other images, per error on the validation images.

    A ratio, not a difference in points: more training images remove a share of the errors, which is more points at 98 %
    than at 99.5 %.

    Attributes:
        errors_ratio: The ratio, with a margin if not measured (``of``).
        relative_error: Standard error of the log ratio; None, as both deviations, if not measured.
        protocol: Networks, recipe, seeds and code version of the measurement; empty if not measured.
        network_deviation: Standard deviation of the log ratio between networks on the same images, without the part of
            the seeds.
        images_deviation: Standard deviation of the log ratio between sets of equally many unseen images, all networks
            together.
    """

    dataset: str
    errors_ratio: float
    relative_error: float | None
    protocol: str = ""
    network_deviation: float | None = None
    images_deviation: float | None = None

    @classmethod
    def of(cls, data: Dataset, target_pct: float) -> ErrorRatio:
        """Return the measured error ratio of a data set or, if none was measured, a ratio with a safety margin.

        Measured ratios come from training images alone. Without a measurement the ratio is ``q / (q - margin)``, with
        the allowed share of errors ``q = 1 - target_pct / 100`` and ``margin = min(sqrt(q (1 - q) / n), q / 2)``. The
        root is the standard error of the accuracy on ``n`` validation images at the target. Images of a group may be
        right or wrong together, so ``n`` is the effective number (``Dataset.validation_cases``). With folds of groups
        the ratio is 1: the confirmation adds the margin, from the measured differences between folds
        (``harness.data.groups``).
        """
        document = json.loads((files("harness.evidence") / "error-ratios.json").read_text(encoding="utf-8"))
        if data.name in document:
            return cls(dataset=data.name, **document[data.name])
        if data.group_folds:
            return cls(dataset=data.name, errors_ratio=1.0, relative_error=None)
        allowed_share = 1 - target_pct / 100
        margin = min(math.sqrt(allowed_share * (1 - allowed_share) / data.validation_cases), allowed_share / 2)
        ratio = allowed_share / (allowed_share - margin) if allowed_share else 1.0
        return cls(dataset=data.name, errors_ratio=ratio, relative_error=None)

    def threshold_pct(self, target_pct: float) -> float:
        """Return the validation accuracy that corresponds to a test accuracy, both per cent, without bias.

        ``100 - (100 - target_pct) / errors_ratio``, at least 0. The confirmation of a candidate allows for differences
        between seeds and networks; the difference between sets of images is a single unknown draw for all searches.
        """
        return max(0.0, 100 - (100 - target_pct) / self.errors_ratio)
