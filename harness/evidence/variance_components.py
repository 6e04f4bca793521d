"""How sure a mean accuracy is when both the seeds and the test images are taken for a sample: crossed random effects.

Every seed meets every image, once. The variance of the grand mean then has a part of the seeds, a part of the images
and the rest (Searle, Casella and McCulloch, "Variance Components", 1992, chapter 4, two-way crossed classification
without replication); the degrees of freedom are Satterthwaite's (1946).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.system.statistics import quantile


@dataclass(frozen=True, slots=True)
class Components:
    """What the mean accuracy of a row is uncertain by, in per cent.

    Attributes:
        mean_pct: over all seeds and images.
        seeds_error_pct: standard error from seeds alone, the images taken as given.
        images_error_pct: standard error from images alone, the seeds taken as given.
        error_pct: standard error where both are a sample.
        freedom: degrees of freedom of ``error_pct``.
    """

    seeds: int
    mean_pct: float
    seeds_error_pct: float
    images_error_pct: float
    error_pct: float
    freedom: float

    def lower_bound_pct(self, confidence: float) -> float:
        """Return the one-sided lower bound of the accuracy over seeds and images like these.

        It is never above the t bound over seeds alone, which few seeds put low for want of degrees of freedom.
        """
        # Whole degrees only, rounded down: quantiles of few degrees are kept, and fewer are the safer side.
        both = quantile(confidence, max(1, math.floor(min(self.freedom, 1e9)))) * self.error_pct
        return self.mean_pct - max(both, quantile(confidence, self.seeds - 1) * self.seeds_error_pct)


def components(wrong: Sequence[Sequence[int]], images: int) -> Components | None:
    """Return the components of a row's mean accuracy; None below two seeds or two images.

    Args:
        wrong: indices of the wrong images of each seed.
        images: size of the test set.
    """
    seeds = len(wrong)
    if seeds < 2 or images < 2:
        return None
    errors = [len(found) for found in wrong]
    of_image = Counter(image for found in wrong for image in found)
    total = sum(errors)
    centre = total / (seeds * images)
    of_seeds = math.fsum((count / images - centre) ** 2 for count in errors) * images
    missed = math.fsum((count / seeds - centre) ** 2 for count in of_image.values())
    of_images = (missed + (images - len(of_image)) * centre**2) * seeds
    # A square of zero or one is itself.
    rest = max(0.0, total - seeds * images * centre**2 - of_seeds - of_images)
    squares = of_seeds / (seeds - 1), of_images / (images - 1), rest / ((seeds - 1) * (images - 1))
    both = max(0.0, squares[0] + squares[1] - squares[2])
    spread = math.fsum(
        square**2 / freedom
        for square, freedom in zip(squares, (seeds - 1, images - 1, (seeds - 1) * (images - 1)), strict=True)
    )
    scale = 100 / math.sqrt(seeds * images)
    return Components(
        seeds=seeds,
        mean_pct=100 * (1 - centre),
        seeds_error_pct=scale * math.sqrt(squares[0]),
        images_error_pct=scale * math.sqrt(squares[1]),
        error_pct=scale * math.sqrt(both),
        freedom=both**2 / spread if spread else math.inf,
    )
