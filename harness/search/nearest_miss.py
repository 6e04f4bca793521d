"""The network that came nearest to being confirmed, and by how many validation images it missed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.search import race
from harness.search.race import CHANCE_PCT, Candidate, by_cost
from harness.system import statistics
from harness.training.result import Result, Status, accuracy_pct
from search_spaces.space import Metric, size_text


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestMiss:
    """A network that is not confirmed.

    Attributes:
        epochs: of its recipe.
        errors: wrong validation images, the mean of its runs; a whole number where it had one.
        runs: on fresh seeds where it had such, else one.
        allowed: most errors that reach the threshold, of ``size`` images.
        pruned_after: epochs after which its only run was stopped, None where it went to its end.
        cost: what it has of the metric that is minimised.
    """

    trial: int
    hash: str
    parameters: int
    epochs: int
    errors: float
    runs: int
    allowed: int
    size: int
    cost: int
    pruned_after: int | None = None


def allowed_errors(threshold_pct: float, size: int) -> int:
    """Return the most wrong images with which an accuracy still reaches a threshold of at most 100 per cent."""
    allowed = min(size, math.floor((100 - threshold_pct) / 100 * size) + 1)
    # What reaches a threshold is said in one place, up to the rounding of floats.
    while allowed > 0 and not statistics.reaches(accuracy_pct(allowed, size) or 0.0, threshold_pct):
        allowed -= 1
    return allowed


def nearest_miss(candidates: Iterable[Candidate], threshold_pct: float) -> NearestMiss | None:
    """Return the network with the fewest errors of those that are not confirmed, the smallest of equal ones.

    One that was pruned is named only where none went to its end; None where no run has ended with a count of errors.
    """
    usable = [
        (first.status is Status.PRUNED, _errors(candidate, first), *by_cost(candidate), candidate, first)
        for candidate in candidates
        if (first := candidate.first) is not None
        and first.validation_errors is not None
        and first.status in (Status.COMPLETE, Status.PRUNED)
    ]
    # After each event of a search: whether one is confirmed is asked of the nearest only.
    for pruned, errors, _, _, candidate, first in sorted(usable, key=lambda each: each[:4]):
        if not race.is_confirmed(candidate, threshold_pct):
            size = first.validation_size or 0
            return NearestMiss(
                trial=candidate.proposal.trial,
                hash=candidate.proposal.hash,
                parameters=candidate.proposal.parameters,
                epochs=first.recipe.epochs,
                errors=errors,
                runs=max(1, len(candidate.fresh)),
                allowed=allowed_errors(threshold_pct, size),
                size=size,
                pruned_after=len(first.history) if pruned else None,
                cost=candidate.cost,
            )
    return None


def _errors(candidate: Candidate, first: Result) -> float:
    runs = candidate.fresh or [first]
    # A fresh run that failed counts as chance level, as everywhere.
    failed = round((1 - CHANCE_PCT / 100) * (first.validation_size or 0))
    errors = [failed if run.validation_errors is None else run.validation_errors for run in runs]
    return errors[0] if len(errors) == 1 else sum(errors) / len(errors)


def miss_text(miss: NearestMiss, minimise: Metric) -> str:
    """Return a miss for people, in images, with what the search minimises."""
    size = size_text(miss.parameters, miss.cost, minimise)
    if miss.pruned_after is not None:
        return (
            f"{size}, {miss.errors:,.0f} errors at epoch {miss.pruned_after} of {miss.epochs}, {miss.allowed:,} allowed"
        )
    errors = f"{miss.errors:,.0f} errors" if miss.runs == 1 else f"mean {miss.errors:,.1f} errors of {miss.runs} runs"
    # One that passed by luck, or whose runs differ too much, is near in errors and yet not confirmed.
    unsure = "passed once" if miss.runs == 1 else "too uncertain"
    doubt = f" ({unsure}, not confirmed)" if miss.errors <= miss.allowed else ""
    return f"{size}, {errors}, {miss.allowed:,} allowed{doubt}"
