"""What a search leaves behind of itself: its study's folder, or nothing but memory where only its answer counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.evidence import study
from harness.training import result
from harness.training.result import Result


class EventLog(Protocol):
    """Keeps events in order, and finished runs."""

    def note(self, event: str, elapsed: float, values: dict[str, Any]) -> None:
        """Keep an event; ``elapsed`` counts the seconds of all sessions."""
        ...

    def keep(self, trial: int, found: Result) -> None:
        """Keep a finished run."""
        ...


@dataclass(frozen=True, slots=True)
class FolderLog:
    """The journal and the results of a study."""

    folder: Path

    def note(self, event: str, elapsed: float, values: dict[str, Any]) -> None:
        """Append to the journal."""
        study.note(self.folder, event, elapsed, **values)

    def keep(self, trial: int, found: Result) -> None:
        """Write the run's file."""
        result.write(study.result_path(self.folder, trial, found.purpose, found.seed_index), found)


@dataclass(frozen=True, slots=True)
class MemoryLog:
    """Events as (name, elapsed, values); runs are with their candidates anyway."""

    events: list[tuple[str, float, dict[str, Any]]] = field(default_factory=list)

    def note(self, event: str, elapsed: float, values: dict[str, Any]) -> None:
        """Append to the list."""
        self.events.append((event, elapsed, values))

    def keep(self, trial: int, found: Result) -> None:
        """Do nothing."""
