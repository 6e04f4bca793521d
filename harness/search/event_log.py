"""What a search leaves behind of itself: its study's folder, or nothing but memory where only its answer counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.evidence import study
from harness.evidence.events import Entry, Event
from harness.training import result
from harness.training.result import Result


class EventLog(Protocol):
    """Keeps events in order, and finished runs."""

    def note(self, event: Event, elapsed: float) -> None:
        """Keep an event; ``elapsed`` counts the seconds of all sessions."""
        ...

    def keep(self, trial: int, found: Result) -> None:
        """Keep a finished run."""
        ...


@dataclass(frozen=True, slots=True)
class FolderLog:
    """The log and the results of a study."""

    folder: Path

    def note(self, event: Event, elapsed: float) -> None:
        """Append to the log."""
        study.note(self.folder, event, elapsed)

    def keep(self, trial: int, found: Result) -> None:
        """Write the run's file."""
        result.write(study.result_path(self.folder, trial, found.purpose, found.seed_index), found)


@dataclass(frozen=True, slots=True)
class MemoryLog:
    """Entries in order; runs are with their candidates anyway."""

    entries: list[Entry[Event]] = field(default_factory=list)

    def note(self, event: Event, elapsed: float) -> None:
        """Append to the list."""
        self.entries.append(Entry(elapsed, event))

    def keep(self, trial: int, found: Result) -> None:
        """Do nothing."""
