"""The offset between validation and test accuracy, measured on reference networks and kept in ``offsets.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

# A search adds so many standard errors: it looks for the smallest network that passes, and would find the one that
# profits from an offset that was measured too low. The bound over a network's seeds is cautious too, and the two
# cautions add up.
CAUTION_ERRORS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """Validation accuracy after training on the search split, less test accuracy after training on all images.

    Attributes:
        offset_pct: in points of accuracy.
        standard_error_pct: of the offset.
        protocol: networks, recipe, seeds and the code that measured it.
    """

    dataset: str
    offset_pct: float
    standard_error_pct: float | None
    protocol: str

    @property
    def added_pct(self) -> float:
        """What a search adds to the target: the offset and one of its standard errors."""
        return self.offset_pct + CAUTION_ERRORS * (self.standard_error_pct or 0.0)


def offset_of(dataset: str) -> Offset:
    """Return the offset of a data set; zero where none was measured, and ``protocol`` says so."""
    document = json.loads((files("harness.evidence") / "offsets.json").read_text(encoding="utf-8"))
    if dataset in document:
        return Offset(dataset=dataset, **document[dataset])
    return Offset(dataset=dataset, offset_pct=0.0, standard_error_pct=None, protocol="not measured, taken as zero")
