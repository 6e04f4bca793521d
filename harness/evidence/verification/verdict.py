"""What a verification has found: the standing of a row, and how seeds that were run again compare with the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.leaderboard import LeaderboardRow, row_of_record
from harness.evidence.ledger import Attempt, Declaration, Outcome
from harness.evidence.record import Record, SeedRun
from harness.system import statistics
from harness.training import result
from harness.training.result import Environment

# Of a one-sided test that says a re-run is worse than its record.
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class Rerun:
    """A recorded seed that was run again.

    Attributes:
        identical: the weights are the same bit for bit; None where they differ and another machine, torch or build
            of the engine made the recorded ones.
    """

    index: int
    test_errors: int
    recorded_test_errors: int
    identical: bool | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found.

    Attributes:
        runs: the seeds of this call, in order of their index.
        reruns: those of them that the record held already.
        contradicted: a one-sided test at 5 % says that the re-run is worse than the record.
        row: the standing of the record with all seeds ever run.
        attempt: the certification attempt as it ended, None outside one.
    """

    record: Record
    row: LeaderboardRow
    runs: tuple[SeedRun, ...]
    reruns: tuple[Rerun, ...]
    contradicted: bool
    attempt: Attempt | None = None

    @property
    def passed(self) -> bool:
        """Whether the target stands; a certification that fails has failed, whatever the row's mean is."""
        if self.attempt is not None:
            return self.attempt.outcome is Outcome.CERTIFIED
        return self.row.reached and not self.contradicted


def machines_of(runs: Sequence[SeedRun]) -> list[tuple[str, int]]:
    """Return the kinds of machines that trained these seeds, and how many each; equal bits are due only within one."""
    counts: dict[Environment, int] = {}
    for run in runs:
        kind = next((each for each in counts if result.same_bits_due(each, run.environment)), run.environment)
        counts[kind] = counts.get(kind, 0) + 1
    return [
        (f"{kind.device}, {kind.instructions}, {kind.engine}, torch {kind.torch}, Python {kind.python}", count)
        for kind, count in counts.items()
    ]


def verdict_of(
    evidence: Record,
    attempts: list[Attempt],
    runs: Sequence[SeedRun],
    before: Sequence[SeedRun] = (),
    attempt: Attempt | None = None,
    declared: Sequence[Declaration] = (),
) -> Verdict:
    """Return the verdict on a record with all its seeds.

    Args:
        evidence: the record, the new seeds included.
        attempts: all of the ledger.
        runs: the seeds of this call.
        before: those that the record held when it began.
        attempt: the certification attempt as it ended.
        declared: all verifications of the ledger; a row stands when their seeds have been run.
    """
    # An interrupted call has recorded its runs itself; those are no reruns.
    recorded = {run.index: run for run in before if not any(_is_same_run(run, other) for other in runs)}
    reruns = tuple(_rerun(run, recorded[run.index]) for run in runs if run.index in recorded)
    contradicted = _contradicts(runs, list(recorded.values()), reruns)
    row = row_of_record(evidence, attempts, declared)
    return Verdict(evidence, row, tuple(runs), reruns, contradicted, attempt)


def _is_same_run(run: SeedRun, other: SeedRun) -> bool:
    return (run.index, run.started_utc, run.train_seconds) == (other.index, other.started_utc, other.train_seconds)


def _contradicts(runs: Sequence[SeedRun], recorded: Sequence[SeedRun], reruns: Sequence[Rerun]) -> bool:
    if not reruns or all(rerun.identical for rerun in reruns):
        return False
    chance = statistics.chance_that_lower([run.accuracy_pct for run in runs], [run.accuracy_pct for run in recorded])
    return chance < SIGNIFICANCE


def _rerun(run: SeedRun, recorded: SeedRun) -> Rerun:
    # Equal bits prove themselves; unequal ones say something only where the same bits were due.
    same_bits = run.weights_sha256 == recorded.weights_sha256
    identical = same_bits if same_bits or result.same_bits_due(run.environment, recorded.environment) else None
    return Rerun(run.index, run.test_errors, recorded.test_errors, identical)
