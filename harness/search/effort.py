"""How much a search may spend, and whether its last session has spent it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.data.datasets import dataset
from harness.evidence.events import Entry, Event, SessionBegan, SessionEnded
from harness.training.workers import Limits

# Searches of this length usually end with an answer on two cores; of few images (mnist-5k) they need less.
LEAST_SECONDS = 600.0
LEAST_SECONDS_OF_FEW = 180.0
FEW_IMAGES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a search may spend; not part of what it searches for.

    Attributes:
        seconds: of all sessions together, verification included; None for no end.
        trials: networks to train at most; None for no end.
        workers: networks that train at once.
        engine: ``native`` or ``torch``.
    """

    seconds: float | None
    trials: int | None
    workers: int
    device: str
    limits: Limits
    engine: str = "torch"


def least_seconds(name: str) -> float:
    """Return the seconds in which a search on a data set usually has an answer."""
    return LEAST_SECONDS_OF_FEW if dataset(name).train_size <= FEW_IMAGES else LEAST_SECONDS


def is_spent(effort: Effort, events: list[Entry[Event]]) -> bool:
    """Return whether the last session came to its end, with no less effort than is allowed now."""
    ends = [entry.event for entry in events if isinstance(entry.event, SessionBegan | SessionEnded)]
    if not ends or not isinstance(last := ends[-1], SessionEnded):
        return False
    match last.reason:
        case "exhausted" if last.seconds is None:
            return True
        case "exhausted" | "time":
            # With more time there may be networks that were too slow to be trained before.
            return effort.seconds is not None and effort.seconds <= (last.seconds or 0)
        case "trials":
            return effort.trials is not None and effort.trials <= (last.trials or 0)
        case _:
            return False
