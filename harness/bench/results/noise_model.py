"""Where the difference between the seeds of a network comes from, when a table is replayed."""

from __future__ import annotations

from enum import StrEnum


class NoiseModel(StrEnum):
    """The runs of similar networks, or the network's own; ``readings`` explains both."""

    POOLED = "pooled"
    RECORDED = "recorded"
