"""Asynchronous successive halving: of the runs that have come to a rung, the better half goes on.

The form that decides at once, as Optuna's SuccessiveHalvingPruner does (Li et al., "A System for Massively Parallel
Hyperparameter Tuning", arXiv 1810.05934, with promotion instead). "Better" is meant as everywhere in a constrained
search (Deb, "An efficient constraint handling method for genetic algorithms", 2000): one that already reaches the
target beats one that does not, two that reach it go by size, two that do not by their errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.system import statistics
from harness.training.result import Result

# One run in so many goes on: rungs of a table double, so each round costs the same.
REDUCTION = 2


@dataclass(slots=True)
class Halving:
    """The runs that have come to each rung, best first."""

    target_pct: float
    seen: dict[int, list[tuple[bool, int]]] = field(default_factory=dict)

    def is_hopeless(self, found: Result) -> bool:
        """Enter a run at its rung and return whether it ends there."""
        accuracy = found.validation_accuracy_pct or 0.0
        reaches = statistics.reaches(accuracy, self.target_pct)
        place = (not reaches, found.parameters if reaches else found.validation_errors or 0)
        ranked = self.seen.setdefault(len(found.history), [])
        ranked.append(place)
        ranked.sort()
        return place > ranked[max(1, len(ranked) // REDUCTION) - 1]
