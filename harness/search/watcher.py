"""Whoever watches a search: a person's terminal, or the bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.evidence.events import Confirmed, FailedConfirmation
from harness.search.nearest_miss import NearestMiss
from harness.search.race import Candidate
from harness.training.result import Result
from harness.training.run import Job


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a search is.

    Attributes:
        elapsed: seconds of all its sessions.
        standing: the smallest confirmed network; ``nearest`` is looked for while there is none.
        jobs: what each worker trains, None for one that waits; ``nodes`` are the names of the nodes that they are on,
            empty on this machine.
    """

    elapsed: float
    standing: Candidate | None
    nearest: NearestMiss | None
    jobs: Sequence[Job | None]
    nodes: Sequence[str] = ()


class Watcher(Protocol):
    """Whoever sees a search go on.

    Attributes:
        rejected: networks rejected so far; ``trained`` those whose first run has ended with an accuracy.
    """

    rejected: int
    trained: int

    def tick(self, at: Moment) -> None:
        """See where the search is, after each event."""
        ...

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        """See how a run has ended, and what that has decided about its network."""
        ...
