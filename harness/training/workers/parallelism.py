"""How many networks train at once, and where: so many processes, each with so many of them side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass

# torch has so many streams a GPU, then it hands out the same ones again (c10/cuda/CUDAStream.h, kStreamsPerPool).
MOST_SIDE_BY_SIDE = 32
MOST_PROCESSES = 256


@dataclass(frozen=True, slots=True)
class Parallelism:
    """``processes``, and the networks that each of them trains at once.

    Raises:
        ValueError: there are none, or too many.
    """

    processes: int
    side_by_side: int = 1

    def __post_init__(self) -> None:
        if not (1 <= self.processes <= MOST_PROCESSES and 1 <= self.side_by_side <= MOST_SIDE_BY_SIDE):
            raise ValueError(
                f"{self} is out of range; allowed are 1 to {MOST_PROCESSES} processes, and PxN with 1 to "
                f"{MOST_SIDE_BY_SIDE} networks in each"
            )

    @property
    def workers(self) -> int:
        """All networks that train at once."""
        return self.processes * self.side_by_side

    def __str__(self) -> str:
        """Return ``4``, or ``2x8`` where each of two processes trains eight networks."""
        return f"{self.processes}" if self.side_by_side == 1 else f"{self.processes}x{self.side_by_side}"


def read_parallelism(text: str) -> Parallelism:
    """Return what ``4`` or ``2x8`` means.

    Raises:
        ValueError: it is neither, or out of range.
    """
    found = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", text, re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is neither a number of processes, as 4, nor processes x networks, as 2x8")
    return Parallelism(int(found.group(1)), int(found.group(2) or 1))
