"""Whether a certification is worth its remaining seeds: a stop for futility can end an attempt, never pass one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.evidence.ledger import CONFIDENCE
from harness.system import statistics

# With both, a network whose true mean is the target stops after 11 of 20 seeds on average; with 20 or 30 declared no
# network loses more than 0.3 points of its chance to pass, with 100 up to 1.7 (simulated, docs/lab).
FEWEST_SEEDS = 5
SMALLEST_CHANCE = 0.01


def is_futile(
    errors: Sequence[int], images: int, declared: int, target_pct: float, confidence: float = CONFIDENCE
) -> bool:
    """Return whether an attempt cannot succeed any more, or has less than one chance in a hundred.

    Args:
        errors: wrong test images of each seed that has been run.
        images: the size of the test set.
        declared: seeds that the attempt has declared; once all have been run, their bound decides.
        target_pct: test accuracy to reach.
        confidence: of the bound that decides.
    """
    if len(errors) >= declared:
        return False
    # Rounded, because 0.6 % of 300,000 images is 1,800 and not a little less.
    allowed = round((100 - target_pct) / 100 * images * declared, 6)
    if sum(errors) > allowed:
        return True
    if len(errors) < FEWEST_SEEDS:
        return False
    return chance([100 * (1 - wrong / images) for wrong in errors], declared, target_pct, confidence) < SMALLEST_CHANCE


def chance(accuracies_pct: Sequence[float], declared: int, target_pct: float, confidence: float = CONFIDENCE) -> float:
    """Return the predictive probability that the bound over all declared seeds will reach the target.

    The mean of the remaining seeds, given those that were run, has a Student distribution around their mean (Geisser
    1993, normal seeds and a flat prior); the deviation that will enter the bound is taken as the one seen so far.

    Args:
        accuracies_pct: of the seeds that have been run, at least two and fewer than declared.
        declared: seeds that the attempt has declared.
        target_pct: test accuracy to reach.
        confidence: of the bound that decides.
    """
    seen, left = len(accuracies_pct), declared - len(accuracies_pct)
    centre, deviation = statistics.mean(accuracies_pct), statistics.standard_deviation(accuracies_pct)
    all_need = target_pct + statistics.quantile(confidence, declared - 1) * deviation / math.sqrt(declared)
    rest_needs = (declared * all_need - seen * centre) / left
    spread = deviation * math.sqrt(1 / seen + 1 / left)
    # Equal accuracies differ from their mean by the rounding of floats.
    if spread < 1e-9:
        return float(statistics.reaches(centre, rest_needs))
    return statistics.student_share((centre - rest_needs) / spread, seen - 1)
