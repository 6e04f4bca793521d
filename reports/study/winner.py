"""The network that a study answers with, and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evidence.events import Verified, WinnerChosen
from harness.evidence.leaderboard import LeaderboardRow, cost_of
from harness.evidence.record import Record
from reports.study.study_files import Measured, StudyFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The study's answer.

    Attributes:
        record: its test evidence, None before a verification; ``row`` is what that has earned.
        validation_accuracy_pct: mean over fresh seeds; None once it is verified, or where the journal has lost it.
    """

    hash: str
    parameters: int
    validation_accuracy_pct: float | None = None
    record: Record | None = None
    row: LeaderboardRow | None = None


def winner(files: StudyFiles) -> Winner | None:
    """Return the network of the lowest cost that is proven to reach the target, else the one that was chosen last."""
    chosen = [entry.event for entry in files.entries_of(WinnerChosen)]
    tried = {event.hash for event in chosen} | {entry.event.hash for entry in files.entries_of(Verified)}
    evidence = [
        item
        for item in files.measured
        if item.row.hash in tried or (item.record.found and item.record.found.study == files.name)
    ]
    reached = [item for item in evidence if item.row.reached]
    if reached:
        return _measured(min(reached, key=lambda item: (cost_of(item.row, files.config.minimise), item.row.rank)))
    if not chosen:
        return None
    last = chosen[-1]
    measured = [item for item in evidence if item.row.hash == last.hash]
    if measured:
        return _measured(min(measured, key=lambda item: item.row.rank))
    return Winner(hash=last.hash, parameters=last.parameters, validation_accuracy_pct=last.validation_accuracy_pct)


def _measured(item: Measured) -> Winner:
    return Winner(hash=item.row.hash, parameters=item.row.parameters, record=item.record, row=item.row)
