"""The log of a study: ``log.jsonl`` stores all events, including the documents of the runs.

Only the coordinator of a search writes the log. Readers fold the entries into a ``StudyState``.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.studies import events
from harness.studies.config import read_config
from harness.studies.events import Entry, Event, Proposal, RunEnded
from harness.studies.study_state import StudyState
from harness.system import files
from harness.system.errors import ContentError
from harness.training.result import Purpose


def read_state(folder: Path) -> StudyState:
    """Return the state of the study in a folder.

    Raises:
        ContentError: ``config.json`` is missing or damaged, or a line of the log is damaged.
    """
    return StudyLog(folder).fold_into(StudyState(folder, read_config(folder).config))


class StudyLog:
    """The log in the folder of a study, and the checkpoints of unfinished runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "log.jsonl"

    def fold_into(self, state: StudyState) -> StudyState:
        """Apply all entries of the log to a new state, and return the state.

        Text after the last end of line is being written, or was torn by a kill, and is ignored.

        Raises:
            ContentError: A line is no event, or contradicts an earlier line.
        """
        *lines, _ = files.log_text(self._path).split("\n")
        for number, entry in enumerate(map(events.read_line, lines), 1):
            fault = "is not an event of this program" if entry is None else _contradiction(state, entry.event)
            if entry is None or fault:
                hint = "restore log.jsonl, or choose a new name for the study"
                raise ContentError(f"line {number} of {self._path} {fault}", hint=hint)
            state.apply(entry)
        return state

    def recover_into(self, state: StudyState) -> StudyState:
        """Do as ``fold_into``, to continue the study, after cutting off a torn last line.

        Remove temporary files of killed writes, and checkpoints of ended runs.
        """
        if self._path.exists():
            content = self._path.read_bytes()
            if not content.endswith(b"\n"):
                os.truncate(self._path, content.rfind(b"\n") + 1)
        self.fold_into(state)
        for folder in (self.folder, self.folder / "checkpoints"):
            files.sweep(folder)
        for trial, purpose, seed_index in state.ended_runs:
            self.checkpoint(trial, purpose, seed_index).unlink(missing_ok=True)
        return state

    def write_entry(self, entry: Entry[Event]) -> None:
        """Write an entry; on return the entry is on the disk."""
        files.append_line(self._path, events.line(entry))

    def checkpoint(self, trial: int, purpose: Purpose, seed_index: int) -> Path:
        """Return the path of the checkpoint of an unfinished run."""
        return self.folder / "checkpoints" / f"trial-{trial:05d}-{purpose}-{seed_index}.pt"


def _contradiction(state: StudyState, event: Event) -> str:
    run = event.run if isinstance(event, RunEnded) else None
    trial = getattr(event, "trial", None) if run is None else run.trial
    if isinstance(event, Proposal):
        return f"proposes trial {trial} again" if trial in state.proposals else ""
    if trial is not None and trial not in state.proposals:
        return f"names trial {trial}, which was not proposed"
    if run is not None and run.trial is not None and run.hash != state.proposals[run.trial].hash:
        return f"has a run of {run.hash} in trial {trial}, which is {state.proposals[run.trial].hash}"
    return ""
