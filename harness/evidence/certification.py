"""What an attempt to certify has come to, computed from the recorded seeds; what the ledger states must agree."""

from __future__ import annotations

from collections.abc import Iterable

from harness.evidence.ledger import ALPHA, ALPHA_SHARE, FEWEST_SEEDS, Attempt, Outcome
from harness.evidence.record import Record
from harness.system import statistics
from harness.training.result import finite

# Of bounds in per cent: far above the rounding of floats, far below one test image in a hundred seeds.
_TOLERANCE = 1e-6


def ending(attempt: Attempt, evidence: Record) -> tuple[Outcome, float | None]:
    """Return the outcome and the bound that an attempt's recorded seeds give; open while one of them is missing.

    The bound is the one-sided lower t bound of the mean test accuracy at ``1 - alpha``. A stop for futility is not
    computed: it needs the order in which the seeds ended, and no attempt can pass by it.
    """
    runs = [run for index in attempt.indices if (run := evidence.seed(index)) is not None]
    if len(runs) < attempt.seeds:
        return Outcome.OPEN, None
    bound = finite(statistics.lower_bound([run.accuracy_pct for run in runs], 1 - attempt.alpha))
    passed = bound is not None and statistics.reaches(bound, evidence.target_pct)
    return (Outcome.CERTIFIED if passed else Outcome.FAILED), bound


def is_certified(attempts: Iterable[Attempt], evidence: Record) -> bool:
    """Return whether one of a row's attempts has ended as certified, and the recorded seeds give the same."""
    return any(
        attempt.outcome is Outcome.CERTIFIED and contradiction(attempt, evidence) is None for attempt in attempts
    )


def contradiction(attempt: Attempt, evidence: Record) -> str | None:
    """Return how an attempt of a record's row contradicts the rules or the recorded seeds; None where it does not."""
    name = f"attempt {attempt.number}"
    if not 0 < attempt.alpha <= ALPHA_SHARE * ALPHA:
        return f"{name} spends {attempt.alpha:g}, but no attempt may spend more than {ALPHA_SHARE * ALPHA:g}"
    if attempt.outcome not in (Outcome.CERTIFIED, Outcome.FAILED):
        return None
    if attempt.seeds < FEWEST_SEEDS:
        return (
            f"{name} is {attempt.outcome} over {attempt.seeds} seeds, but a certification has at least {FEWEST_SEEDS}"
        )
    outcome, bound = ending(attempt, evidence)
    if bound is None:
        lacking = next((index for index in attempt.indices if evidence.seed(index) is None), attempt.first_index)
        return (
            f"{name} is {attempt.outcome}, but the record of {attempt.hash} lacks seed {lacking}: "
            f"{attempt.seeds} seeds were declared"
        )
    stated = attempt.lower_bound_pct
    if outcome is attempt.outcome and stated is not None and abs(stated - bound) < _TOLERANCE:
        return None
    said = "no bound" if stated is None else f"the bound {stated:.4f} %"
    return (
        f"{name} is {attempt.outcome} with {said}, but its {attempt.seeds} recorded seeds give {outcome} with the "
        f"bound {bound:.4f} %"
    )
