"""Whoever watches a search in a test."""

from __future__ import annotations

from harness.evidence.events import Confirmed, FailedConfirmation
from harness.search.race import Candidate
from harness.search.session import Moment
from harness.training.result import Purpose, Result


class Silent:
    """Watches a search, counts, and says nothing."""

    rejected = 0
    trained = 0

    def tick(self, at: Moment) -> None:
        """See where the search is."""

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        """Count first runs."""
        self.trained += found.purpose is Purpose.SEARCH
