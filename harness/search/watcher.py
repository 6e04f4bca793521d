"""Whoever watches a search: a person's terminal, or the bench."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.search.nearest_miss import NearestMiss
from harness.search.race import Candidate
from harness.training.result import Result
from harness.training.run import Job


class Watcher(Protocol):
    """Whoever sees a search go on.

    Attributes:
        rejected: networks rejected so far; ``trained`` those that were trained.
    """

    rejected: int
    trained: int

    def tick(
        self,
        elapsed: float,
        left: float,
        standing: Candidate | None,
        nearest: NearestMiss | None,
        jobs: Sequence[Job | None],
    ) -> None:
        """See where the search is, after each event; ``nearest`` is looked for while nothing stands."""
        ...

    def ended(self, candidate: Candidate, found: Result, *, is_standing: bool) -> None:
        """See how a run has ended."""
        ...
