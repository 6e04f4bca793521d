"""Labelled images as a training reads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from search_spaces.task import Task


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images on one device: uint8 (n, channels, rows, columns) and int64 (n,).

    Attributes:
        mean: of the pixels, on a scale from 0 to 1, one a channel; with ``deviation`` it normalises them.
        classes: labels are below it.
    """

    pixels: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    classes: int = 10

    def __post_init__(self) -> None:
        """Check that each channel has its mean and deviation; the engine reads as many."""
        channels = self.pixels.shape[1]
        assert len(self.mean) == len(self.deviation) == channels, f"{channels} channels need as many means"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def task(self) -> Task:
        """What a network for these images takes and gives."""
        channels, rows, columns = self.pixels.shape[1:]
        return Task((channels, rows, columns), self.classes)


def normalised(pixels: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """Subtract the mean and divide by the deviation of each channel, in place.

    Args:
        pixels: floating point (n, channels, rows, columns), on a scale from 0 to 1.
        mean: one a channel, as ``deviation``.
    """
    if len(mean) == 1:
        # Records were made with plain numbers; a GPU rounds a division by a tensor otherwise.
        return pixels.sub_(mean[0]).div_(deviation[0])
    centre, scale = (_by_channel(values, pixels.dtype, pixels.device) for values in (mean, deviation))
    return pixels.sub_(centre).div_(scale)


@lru_cache(maxsize=64)
def _by_channel(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Kept, because a captured step must not copy from the host.
    return torch.tensor(values, dtype=dtype, device=device).view(-1, 1, 1)
