"""The offset between validation and test accuracy, measured on reference networks and kept in ``offsets.json``.

It is measured on training images alone, by ``benchmarks/third_split.py``: the test set has no part in it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib.resources import files

# A search allows for so many standard errors: it looks for the smallest network that passes, and would find the one
# that profits from an offset that was measured too low. The bound over a network's seeds is cautious too, and the two
# cautions add up.
CAUTION_ERRORS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
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
        """Return the validation accuracy that stands for a test accuracy, with one standard error of caution.

        Args:
            target_pct: test accuracy, 0 to 100.

        Returns:
            per cent, at least zero.
        """
        cautious = self.errors_ratio * math.exp(CAUTION_ERRORS * (self.relative_error or 0.0))
        return max(0.0, 100 - (100 - target_pct) / cautious)


def offset_of(dataset: str) -> Offset:
    """Return the offset of a data set; a ratio of one where none was measured, and ``protocol`` says so."""
    document = json.loads((files("harness.evidence") / "offsets.json").read_text(encoding="utf-8"))
    if dataset in document:
        return Offset(dataset=dataset, **document[dataset])
    return Offset(dataset=dataset, errors_ratio=1.0, relative_error=None, protocol="not measured, taken as none")
