"""Whoever watches a search in a test."""

from __future__ import annotations

from harness.search.race import Candidate
from harness.training.result import Result
from harness.training.seeds import Purpose


class Silent:
    """Watches a search, counts, and says nothing."""

    rejected = 0
    trained = 0

    def tick(self, *where: object) -> None:
        """See where the search is."""

    def ended(self, candidate: Candidate, found: Result, *, is_standing: bool) -> None:
        """Count first runs."""
        self.trained += found.purpose is Purpose.SEARCH
