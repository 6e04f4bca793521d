"""The offset between validation and test accuracy, measured on reference networks and kept in ``offsets.json``."""

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
    """How many test errors after training on all images there are for each validation error after the search split.

    A ratio and not a difference in points: from 98 to 99.6 % networks make about four fifths of their validation
    errors on the test images, which is 0.4 points at 98 % and 0.1 at 99.5 % (docs/experiments.md).

    Attributes:
        errors_ratio: error rate on the test images by that on the validation images; one where it is not measured.
        relative_error: standard error of the ratio's logarithm.
        protocol: networks, recipe, seeds and the code that measured it.
    """

    dataset: str
    errors_ratio: float
    relative_error: float | None
    protocol: str

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
