"""Statistics of the mean accuracy over a few seeds; accuracies are in per cent.

Bounds are Student's one-sided t bounds (Student 1908). Two samples are compared by Welch's test (Welch 1947).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

MAX_SKEWNESS = 0.5  # of the errors of seeds, for which the error rates of verdicts are stated
WORST_SHARE = 0.5  # of a separate group of worse seeds, for which these rates are stated
# As in all texts for users (docs/evidence/results.md, "How often answers are false").
SEED_CONDITION = (
    f"the errors of the seeds have a skewness of at most {MAX_SKEWNESS:g} and no separate group of worse seeds is "
    f"smaller than {100 * WORST_SHARE:g} % of the seeds"
)


def reaches(value: float, target: float) -> bool:
    """Return whether ``value`` is at or above ``target``, up to floating-point rounding."""
    return value >= target - 1e-9


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; NaN for no values."""
    return math.fsum(values) / len(values) if values else math.nan


def standard_deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation (divisor n - 1); NaN for fewer than two values."""
    if len(values) < 2:
        return math.nan
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def lower_bound(values: Sequence[float], confidence: float) -> float:
    """Return the lower t bound of the mean, mean - t s / sqrt(n); minus infinity for fewer than two values."""
    if len(values) < 2:
        return -math.inf
    return mean(values) - quantile(confidence, len(values) - 1) * standard_deviation(values) / math.sqrt(len(values))


@cache
def quantile(confidence: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution with ``freedom`` degrees of freedom, 0 < confidence < 1."""
    # As scipy.stats.t.ppf, which takes four times as long to import.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, confidence))


@cache
def student_share(value: float, freedom: float) -> float:
    """Return Student's distribution function with ``freedom`` degrees of freedom."""
    from scipy.special import stdtr

    return float(stdtr(freedom, value))


def welch_p_value(values: Sequence[float], earlier_values: Sequence[float]) -> float:
    """Return Welch's p value of the null hypothesis "the mean of ``values`` is not below the mean of the others".

    Two samples without spread are compared directly. NaN if a sample has fewer than two values.
    """
    if len(values) < 2 or len(earlier_values) < 2:
        return math.nan
    if len(set(values)) == len(set(earlier_values)) == 1:
        return 0.0 if values[0] < earlier_values[0] else 1.0
    from scipy.stats import ttest_ind_from_stats

    moments = (mean(values), standard_deviation(values), len(values))
    recorded_moments = (mean(earlier_values), standard_deviation(earlier_values), len(earlier_values))
    return float(ttest_ind_from_stats(*moments, *recorded_moments, equal_var=False, alternative="less").pvalue)


def pooled_deviation(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the pooled standard deviation within groups and the degrees of freedom; NaN and 0 without repeats."""
    repetitions = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in repetitions)
    squares = math.fsum((len(group) - 1) * standard_deviation(group) ** 2 for group in repetitions)
    return math.sqrt(squares / freedom) if freedom else math.nan, freedom


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Precision, recall and F1 of one class, from 0 to 1, and its images (support); 0 where undefined."""

    precision: float
    recall: float
    f1: float
    support: int


def class_scores(confusion: Sequence[Sequence[int]], seeds: int = 1) -> tuple[ClassScores, ...]:
    """Return the scores of each class by scikit-learn.

    ``confusion`` has the images by label (row) and predicted class (column), summed over ``seeds``; the support counts
    a single seed.
    """
    from sklearn.metrics import precision_recall_fscore_support

    labels, predictions = zip(*product(range(len(confusion)), repeat=2), strict=True)
    counts = [count for row in confusion for count in row]
    columns = precision_recall_fscore_support(labels, predictions, sample_weight=counts, zero_division=0)
    return tuple(
        ClassScores(float(precision), float(recall), float(f1), round(support / seeds))
        for precision, recall, f1, support in zip(*columns, strict=True)
    )


def roc_auc(labels: Sequence[int], shares: Sequence[float]) -> float | None:
    """Return the area under the ROC curve of two classes by scikit-learn.

    None if all images have the same label or a share, the probability of class 1, is not finite.
    """
    from sklearn.metrics import roc_auc_score

    if len(set(labels)) < 2 or not all(map(math.isfinite, shares)):
        return None
    return float(roc_auc_score(labels, shares))
