"""The ratio of test errors to validation errors, measured on reference networks and kept in ``error-ratios.json``.

It is measured on training images alone, by ``benchmarks/third_split.py``: the test set has no part in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files


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
        """Return the validation accuracy that stands for a test accuracy.

        It is the unbiased one. What seeds and networks differ by is allowed for where a network is named
        (``harness.search.race``); what sets of images differ by is one draw for all searches, and nobody knows it.

        Args:
            target_pct: test accuracy, 0 to 100.

        Returns:
            per cent, at least zero.
        """
        return max(0.0, 100 - (100 - target_pct) / self.errors_ratio)


def error_ratio_of(dataset: str) -> ErrorRatio:
    """Return the ratio of a data set; a ratio of one where none was measured, and ``protocol`` says so."""
    document = json.loads((files("harness.evidence") / "error-ratios.json").read_text(encoding="utf-8"))
    if dataset in document:
        return ErrorRatio(dataset=dataset, **document[dataset])
    return ErrorRatio(dataset=dataset, errors_ratio=1.0, relative_error=None, protocol="not measured, taken as none")
