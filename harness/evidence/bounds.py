"""What errors allow to say: the verdict over seeds, bounds over seeds and images, what validation says of a test.

One rule judges rows, searches and certificates (``judgement_of``). Its bound is Student's, but never above what counts
that hardly waver allow to say (``lower_bound_pct``).

Seeds and images together are crossed random effects. Every seed meets every image, once. The variance of the grand mean
then has a part of the seeds, a part of the images and the rest (Searle, Casella and McCulloch, "Variance Components",
1992, chapter 4, two-way crossed classification without replication); the degrees of freedom are Satterthwaite's (1946).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from importlib.resources import files
from itertools import chain
from typing import NamedTuple

from harness.data.datasets import Dataset, independent_cases
from harness.evidence.ledger import (
    ALPHA,
    ALPHA_SHARE,
    CONFIDENCE,
    FEWEST_SEEDS,
    FIRST_LOOK_ALPHA,
    Attempt,
    Outcome,
)
from harness.evidence.record import Record
from harness.system import statistics
from harness.training.result import accuracy_pct, finite

# A study may look at two networks that it does not verify, and calls at most one in ten of those below the target
# verified, whatever the test images, for seeds of a skewness up to one (benchmarks/results/false-answers.json).
VERIFIED_SEEDS = 5
VERIFIED_CONFIDENCE = 1 - FIRST_LOOK_ALPHA
# Student's bound of twenty seeds of such a skewness errs up to four times as often as it states.
_SKEW = 4
# With these two limits, a network whose true mean is the target stops after 11 of 20 seeds on average; with 20 or 30
# declared no network loses more than 0.3 points of its chance to pass, with 100 up to 1.7 (simulated, docs/lab).
_FEWEST_RUN = 5
_SMALLEST_CHANCE = 0.01
# The chance at which a one-sided test wrongly says that a re-run is worse than its record.
_SIGNIFICANCE = 0.05
# Bounds in per cent may differ by this: far above the rounding of floats, far below an image in a hundred seeds.
TOLERANCE = 1e-6


class Judgement(Enum):
    """What seeds say of a target: too little, as some are lacking; missed; the mean reaches it; the bound does."""

    OPEN = auto()
    MISSED = auto()
    REACHED = auto()
    PROVEN = auto()


def judgement_of(
    errors: Mapping[int, int],
    images: int,
    target_pct: float,
    declared: Iterable[Sequence[int]],
    *,
    confidence: float = VERIFIED_CONFIDENCE,
    fewest: int = VERIFIED_SEEDS,
) -> Judgement:
    """Return what seeds say of a target: all of them together, and those that were declared first.

    All that was declared has to be run. The first declaration decides; where it is of fewer seeds than are needed, the
    first so many, in the order of their declarations. What is declared later cannot help: declared one by one until the
    bound passes, 28 % of networks exactly at the target would pass a bound of 90 %.

    Args:
        errors: wrong test images, of ``images``, by the index of the seed.
        declared: the indices of each declaration, in the order in which they were declared; seeds of none were run
            before there were declarations.
    """
    promised = [*declared]
    is_lacking = any(index not in errors for indices in promised for index in indices)
    if len(errors) < fewest or is_lacking:
        return Judgement.OPEN
    samples = _samples(errors, promised, fewest)
    means = [100 * (1 - statistics.mean(sample) / images) for sample in samples]
    if not all(statistics.reaches(mean, target_pct) for mean in means):
        return Judgement.MISSED
    bound = min(lower_bound_pct(sample, images, confidence) for sample in samples)
    return Judgement.PROVEN if statistics.reaches(bound, target_pct) else Judgement.REACHED


def deciding_bound_pct(
    errors: Mapping[int, int], images: int, declared: Iterable[Sequence[int]], confidence: float
) -> float | None:
    """Return the lower bound, per cent, by which ``judgement_of`` verifies a network.

    It is the lower of the bounds of all seeds and of the seeds of the first declaration; None below two seeds. The
    arguments are those of ``judgement_of``.
    """
    samples = _samples(errors, [*declared], VERIFIED_SEEDS)
    return finite(min(lower_bound_pct(sample, images, confidence) for sample in samples))


def _samples(errors: Mapping[int, int], declared: Sequence[Sequence[int]], fewest: int) -> list[list[int]]:
    """Return the errors of all seeds, and those of the seeds that were declared first, as far as these were run."""
    first = [errors[index] for index in _deciding(errors, declared, fewest) if index in errors]
    return [[*errors.values()], *([first] if len(first) > 1 else [])]


def _deciding(errors: Mapping[int, int], declared: Sequence[Sequence[int]], fewest: int) -> Sequence[int]:
    promised = set(chain.from_iterable(declared))
    order = [[index for index in errors if index not in promised], *declared]
    first: Sequence[int] = next(filter(None, order), [])
    return first if len(first) >= fewest else [*dict.fromkeys(chain.from_iterable(order))][:fewest]


def lower_bound_pct(errors: Sequence[int], images: int, confidence: float) -> float:
    """Return the one-sided lower bound of the mean accuracy over seeds, per cent; minus infinity below two seeds.

    It is Student's, with a floor: equal errors do not prove that the deviation is zero. All seeds see the same images,
    most of which are always right or always wrong. The others waver, and the errors of a seed above the fewest of all
    are a sum of such rare events, which is no wider than Poisson's (Hoeffding 1956, "On the distribution of the number
    of successes in independent trials"). ``k`` of them over ``n`` seeds leave a mean of at most the quantile of
    Gamma(k + 1) by ``n`` (Garwood 1936, "Fiducial limits for the Poisson distribution"): for six equal seeds 0.65
    images at 98 %, on a test set of any size.

    Args:
        errors: wrong test images of each seed, of ``images``.
    """
    if len(errors) < 2:
        return -math.inf
    by_student = statistics.lower_bound([accuracy_pct(each, images) or 0.0 for each in errors], confidence)
    return min(by_student, _floor_pct(errors, images, confidence))


def _floor_pct(errors: Sequence[int], images: int, confidence: float) -> float:
    # This is the formula of ``scipy.stats``, whose import takes four times as long.
    from scipy.special import gammaincinv

    fewest = min(errors)
    above = sum(errors) - fewest * len(errors)
    most = fewest + float(gammaincinv(above + 1, confidence)) / len(errors)
    return 100 * (1 - most / images)


def certifying(alpha: float) -> float:
    """Return the confidence of a bound that is wrong with a chance of ``alpha`` at most, for skewed seeds too."""
    return 1 - alpha / _SKEW


def is_worse(fresh: Sequence[int], recorded: Sequence[int], images: int) -> bool:
    """Return whether seeds that were run again have more errors than a record allows: by chance in one case of 20.

    Several are compared by Welch's test (1947). One is compared with its prediction interval, as the next of a normal
    sample: mean plus t times s times the root of 1 + 1/n (Geisser 1993, "Predictive Inference"); by chance in one case
    of a hundred. Below two recorded seeds nobody knows by how much seeds differ.
    """
    if len(fresh) != 1 or len(recorded) < 2:
        samples = ([100 * (1 - each / images) for each in sample] for sample in (fresh, recorded))
        return statistics.chance_that_lower(*samples) < _SIGNIFICANCE
    freedom = len(recorded) - 1
    # Equal errors do not prove that the deviation is zero: a count has that of Poisson's distribution of one.
    deviation = max(1.0, statistics.standard_deviation(recorded))
    spread = deviation * math.sqrt(1 + 1 / len(recorded))
    return fresh[0] > statistics.mean(recorded) + statistics.quantile(CONFIDENCE, freedom) * spread


def unseen_failures_pct(seeds: int, alpha: float = 1 - CONFIDENCE) -> float:
    """Return the per cent of runs that may fail altogether though ``seeds`` runs did not (Clopper and Pearson 1934)."""
    return 100 * (1 - math.pow(alpha, 1 / seeds))


def attempt_confidence(attempt: Attempt) -> float:
    """Return the confidence of the bound that decides an attempt; its seeds were taken for normal before rules 3."""
    return 1 - attempt.alpha if attempt.rules < 3 else certifying(attempt.alpha)


def attempt_bound(attempt: Attempt, evidence: Record) -> float | None:
    """Return the lower bound of the seeds of an attempt that have been run; None below two."""
    runs = [run for index in attempt.indices if (run := evidence.seed(index)) is not None]
    confidence = attempt_confidence(attempt)
    if attempt.rules < 3:
        return finite(statistics.lower_bound([run.accuracy_pct for run in runs], confidence))
    return finite(lower_bound_pct([run.test_errors for run in runs], runs[0].test_size, confidence)) if runs else None


def ending(attempt: Attempt, evidence: Record) -> tuple[Outcome, float | None]:
    """Return the outcome and the bound that an attempt's recorded seeds give; open while one of them is missing.

    A stop for futility is not computed: it needs the order in which the seeds ended, and no attempt can pass by it.
    """
    if any(evidence.seed(index) is None for index in attempt.indices):
        return Outcome.OPEN, None
    bound = attempt_bound(attempt, evidence)
    passed = bound is not None and statistics.reaches(bound, evidence.target_pct)
    return (Outcome.CERTIFIED if passed else Outcome.FAILED), bound


def contradiction(attempt: Attempt, evidence: Record) -> str | None:
    """Return what an attempt of a record's row states, and what its seeds give; None where both are the same."""
    name = f"attempt {attempt.number}"
    if (breach := _breach(attempt)) is not None:
        return f"{name}: {breach}"
    if attempt.outcome not in (Outcome.CERTIFIED, Outcome.FAILED):
        return None
    if attempt.seeds < FEWEST_SEEDS:
        return f"{name}: seeds: {attempt.seeds} stated, at least {FEWEST_SEEDS} allowed"
    beacons = {run.beacon for run in evidence.seeds if run.index in attempt.indices}
    if attempt.rules > 1 and (None in beacons or len(beacons) != 1):
        return f"{name}: beacon: {len(beacons)} stated by its seeds, one and the same is due"
    outcome, bound = ending(attempt, evidence)
    if bound is None:
        lacking = next((index for index in attempt.indices if evidence.seed(index) is None), attempt.first_index)
        return f"{name}: outcome: {attempt.outcome} stated, but the record of {attempt.hash} lacks seed {lacking}"
    stated = attempt.lower_bound_pct
    if outcome is attempt.outcome and stated is not None and abs(stated - bound) < TOLERANCE:
        return None
    return f"{name}: outcome: {attempt.outcome} with bound {stated} stated, {outcome} with {bound} computed"


def _breach(attempt: Attempt) -> str | None:
    # It returns what breaks the rules of any attempt, open ones too.
    if not 0 < attempt.alpha <= ALPHA_SHARE * ALPHA:
        return f"alpha: {attempt.alpha:g} stated, at most {ALPHA_SHARE * ALPHA:g} allowed"
    if attempt.rules < 2 and not attempt.is_of_old_rules:
        return f"rules: {attempt.rules} stated, which ended with attempt 4"
    return None


def over_seeds(errors: Sequence[int], images: int) -> float | None:
    """Return the one-sided 99 % bound of the mean of seeds with so many wrong images; None below two seeds."""
    return finite(lower_bound_pct(errors, images, CONFIDENCE))


def over_images(wrong: Sequence[Sequence[int]], images: int, group_sizes: Sequence[int] = ()) -> float | None:
    """Return the one-sided 99 % bound of the mean accuracy over seeds and images; None below two seeds or images.

    It is Clopper's and Pearson's bound (1934) for the mean errors of a seed among as many independent images as the
    variance of the crossed effects stands for (``components``), adjusted for its degrees of freedom, and never more
    than there are: seeds see the same images, so further seeds are no further images. Korn and Graubard, "Confidence
    Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data", Survey
    Methodology 24, 1998. It is never above the bound over seeds alone.

    Args:
        wrong: indices of the wrong images of each seed, of a test set of ``images``.
        group_sizes: images of each group of the test set, which may all be right or wrong together, so that the test
            set has no more independent images than ``independent_cases``; empty where images are independent.
    """
    parts = components(wrong, images)
    if parts is None:
        return None
    errors = [len(missed) for missed in wrong]
    independent = independent_cases(group_sizes) if group_sizes else float(images)
    if parts.error_pct:
        share = statistics.mean(errors) / images
        # The variance of a share among n independent images is estimated by p (1 - p) / (n - 1).
        by_variance = share * (1 - share) / (parts.error_pct / 100) ** 2 + 1
        quantiles = statistics.quantile(CONFIDENCE, images - 1) / statistics.quantile(CONFIDENCE, parts.whole_freedom)
        independent = min(independent, by_variance * quantiles**2)
    of_images = _exact_pct(statistics.mean(errors) * independent / images, independent, CONFIDENCE)
    return finite(max(0.0, min(of_images, lower_bound_pct(errors, images, CONFIDENCE))))


def _exact_pct(errors: float, images: float, confidence: float) -> float:
    # This is the quantile of ``scipy.stats.beta``, whose import takes four times as long.
    from scipy.special import betaincinv

    return 100 * (1 - float(betaincinv(errors + 1, images - errors, confidence))) if errors < images else 0.0


def is_futile(
    errors: Sequence[int], images: int, declared: int, target_pct: float, confidence: float = CONFIDENCE
) -> bool:
    """Return whether an attempt cannot succeed any more, or has less than one chance in a hundred.

    Args:
        errors: wrong test images, of a test set of ``images``, of each seed that has been run.
        declared: seeds that the attempt has declared; once all have been run, their bound decides.
        confidence: of the bound that decides.
    """
    if len(errors) >= declared:
        return False
    # Rounded, because 0.6 % of 300,000 images is 1,800 and not a little less.
    allowed = round((100 - target_pct) / 100 * images * declared, 6)
    if sum(errors) > allowed:
        return True
    if len(errors) < _FEWEST_RUN:
        return False
    accuracies = [100 * (1 - wrong / images) for wrong in errors]
    return _chance(accuracies, declared, target_pct, confidence) < _SMALLEST_CHANCE


def _chance(accuracies_pct: Sequence[float], declared: int, target_pct: float, confidence: float = CONFIDENCE) -> float:
    # The chance is predictive: the mean of the remaining seeds, given those that were run, has a Student distribution
    # around their mean (Geisser 1993, normal seeds and a flat prior); the deviation in the bound is that seen so far.
    seen = len(accuracies_pct)
    left = declared - seen
    centre = statistics.mean(accuracies_pct)
    deviation = statistics.standard_deviation(accuracies_pct)
    all_need = target_pct + statistics.quantile(confidence, declared - 1) * deviation / math.sqrt(declared)
    rest_needs = (declared * all_need - seen * centre) / left
    spread = deviation * math.sqrt(1 / seen + 1 / left)
    # Equal accuracies differ from their mean by the rounding of floats.
    if spread < 1e-9:
        return float(statistics.reaches(centre, rest_needs))
    return statistics.student_share((centre - rest_needs) / spread, seen - 1)


class _Components(NamedTuple):
    """The mean accuracy of a row and its standard errors, per cent: from seeds alone, from images alone, from both.

    The other of the two is taken as given; ``freedom`` are the degrees of freedom of that from both.
    """

    seeds: int
    mean_pct: float
    seeds_error_pct: float
    images_error_pct: float
    error_pct: float
    freedom: float

    @property
    def whole_freedom(self) -> int:
        """The degrees of freedom, rounded down: quantiles of few degrees are kept, and fewer are the safer side."""
        return max(1, math.floor(min(self.freedom, 1e9) + 1e-6))


def components(wrong: Sequence[Sequence[int]], images: int) -> _Components | None:
    """Return the components of a row's mean accuracy; None below two seeds or two images.

    Args:
        wrong: indices of the wrong images of each seed, of a test set of ``images``.
    """
    seeds = len(wrong)
    if seeds < 2 or images < 2:
        return None
    errors = [len(misses) for misses in wrong]
    of_image = Counter(image for misses in wrong for image in misses)
    total = sum(errors)
    centre = total / (seeds * images)
    of_seeds = math.fsum((count / images - centre) ** 2 for count in errors) * images
    missed = math.fsum((count / seeds - centre) ** 2 for count in of_image.values())
    of_images = (missed + (images - len(of_image)) * centre**2) * seeds
    # All squares add up to ``total``, because a square of zero or one is itself.
    rest = max(0.0, total - seeds * images * centre**2 - of_seeds - of_images)
    degrees = seeds - 1, images - 1, (seeds - 1) * (images - 1)
    squares = [each / freedom for each, freedom in zip((of_seeds, of_images, rest), degrees, strict=True)]
    both = max(0.0, squares[0] + squares[1] - squares[2])
    spread = math.fsum(square**2 / freedom for square, freedom in zip(squares, degrees, strict=True))
    scale = 100 / math.sqrt(seeds * images)
    return _Components(
        seeds=seeds,
        mean_pct=100 * (1 - centre),
        seeds_error_pct=scale * math.sqrt(squares[0]),
        images_error_pct=scale * math.sqrt(squares[1]),
        error_pct=scale * math.sqrt(both),
        freedom=both**2 / spread if spread else math.inf,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRatio:
    """How many errors to expect on unseen images after training on all others for each error on validation.

    A ratio and not a difference in points: more training images take away a share of a network's errors, which is
    more points at 98 % than at 99.5 %.

    Attributes:
        errors_ratio: errors on unseen images by errors on the validation images; one where it is not measured.
        relative_error: standard error of the ratio's logarithm.
        protocol: networks, recipe, seeds and the code that measured it.
        network_deviation: deviation of the ratio's logarithm between networks that are judged by the same images, what
            seeds contribute taken out; None where it is not measured.
        images_deviation: the same between sets of as many unseen images, all networks together.
    """

    dataset: str
    errors_ratio: float
    relative_error: float | None
    protocol: str
    network_deviation: float | None = None
    images_deviation: float | None = None

    def threshold_pct(self, target_pct: float) -> float:
        """Return the validation accuracy that stands for a test accuracy, both per cent; the unbiased one.

        What seeds and networks differ by is allowed for where a network is named (``harness.searching.race``); what
        sets of images differ by is one draw for all searches, and nobody knows it.
        """
        return max(0.0, 100 - (100 - target_pct) / self.errors_ratio)


def error_ratio_of(data: Dataset, target_pct: float) -> ErrorRatio:
    """Return the ratio of a data set; where none was measured, one that leaves a margin, and ``protocol`` says so.

    The margin is one standard error of the share of right answers on all images that validate, at the target: a network
    just above the target by so few images is as likely below it. Images of a group may all be right or wrong together,
    so of grouped data ``independent_cases`` are counted. The margin is half of the errors allowed at most. A measured
    ratio is of training images alone: the test set has no part in it.
    """
    document = json.loads((files("harness.evidence") / "error-ratios.json").read_text(encoding="utf-8"))
    if data.name in document:
        return ErrorRatio(dataset=data.name, **document[data.name])
    groups = data.validation_group_sizes
    cases = independent_cases(groups) if groups else float(data.validation_size * data.folds)
    allowed = 1 - target_pct / 100
    margin = min(math.sqrt(allowed * (1 - allowed) / cases), allowed / 2)
    unit = "independent images that the validation groups are worth" if groups else "validation images"
    protocol = f"not measured; a margin of {100 * margin:.2f} points, by {round(cases):,} {unit}"
    ratio = allowed / (allowed - margin) if allowed else 1.0
    return ErrorRatio(dataset=data.name, errors_ratio=ratio, relative_error=None, protocol=protocol)
