"""Labelled images as a training reads them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images on one device: uint8 (n, 1, 28, 28) and int64 (n,).

    Attributes:
        mean: of the pixels, on a scale from 0 to 1; with ``deviation`` it normalises them.
    """

    pixels: Tensor
    labels: Tensor
    mean: float
    deviation: float

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)
