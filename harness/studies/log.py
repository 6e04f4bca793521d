"""The log of a study: ``log.jsonl`` stores all events, including the documents of the runs.

Only the coordinator of a search writes the log. Readers fold the entries into a ``StudyState``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.studies import events
from harness.studies.config import OLD_RESULTS_FOLDER, read_config
from harness.studies.events import Entry, Event, RunEnded
from harness.studies.study_state import StudyState
from harness.system import files
from harness.system.document import parse_json, read_as
from harness.system.errors import ContentError
from harness.training.result import Purpose, Result


def read_state(folder: Path) -> StudyState:
    """Return the state of the study in a folder; studies of older programs can be read, too.

    Raises:
        ContentError: ``config.json`` is missing or damaged, or a line of the log is damaged.
    """
    return StudyLog(folder).fold_into(StudyState(folder, read_config(folder).config))


class StudyLog:
    """The log in the folder of a study, and the checkpoints of unfinished runs."""

    def __init__(self, folder: Path) -> None:
        """Set the paths; nothing is read or written."""
        self.folder = folder
        self._path = folder / "log.jsonl"

    def fold_into(self, state: StudyState) -> StudyState:
        """Apply all entries of the log to a new state, and return the state.

        Text after the last end of line is ignored: such text is being written, or was torn by a kill.

        Raises:
            ContentError: A line is no event.
        """
        *lines, _ = files.log_text(self._path).split("\n")
        is_old = (self.folder / OLD_RESULTS_FOLDER).is_dir()
        entries = _entries_of_old_study(self.folder, lines) if is_old else map(events.read_line, lines)
        for number, entry in enumerate(entries, 1):
            if entry is None:
                raise ContentError(
                    f"line {number} of {self._path} is not an event of this program",
                    hint="restore log.jsonl, or choose a new name for the study",
                )
            state.apply(entry)
        return state

    def recover_into(self, state: StudyState) -> StudyState:
        """Do as ``fold_into``, to continue the study, after cutting off a torn last line.

        Remove temporary files of killed writes, and checkpoints of runs that have ended.
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

    def append(self, entry: Entry[Event]) -> None:
        """Write an entry; on return the entry is on the disk."""
        files.append_line(self._path, events.line(entry))

    def checkpoint(self, trial: int, purpose: Purpose, seed_index: int) -> Path:
        """Return the path of the checkpoint of an unfinished run."""
        return self.folder / "checkpoints" / f"trial-{trial:05d}-{purpose}-{seed_index}.pt"


def _entries_of_old_study(folder: Path, lines: list[str]) -> Iterator[Entry[Event]]:
    """Yield the events of a study of an older program, in which each run had a file, and a line in the log at the end.

    Such studies are never continued, so every ``finished`` line has the old form, without the result. Skipped are lines
    that are torn or whose result has no file. Runs whose lines are missing because of a kill come last.
    """
    runs: dict[tuple[Any, ...], Result] = {}
    for path in sorted((folder / OLD_RESULTS_FOLDER).glob("trial-*.json")):
        result = read_as(Result, path, f"the result {path}")
        runs[result.trial, result.purpose.value, result.seed_index] = result
    elapsed = 0.0
    for text in lines:
        with suppress(ValueError):
            document = parse_json(text)
            if not isinstance(document, dict):
                continue
            if document.get("event") == "finished":
                key = document.get("trial"), document.get("purpose"), document.get("seed_index", 0)
                if (run := runs.pop(key, None)) is None:
                    continue
                elapsed = document.get("elapsed", 0.0)
                yield Entry(elapsed, RunEnded(run=run), document.get("utc", ""))
            elif (entry := events.read_line(text)) is not None:
                elapsed = entry.elapsed
                yield entry
    for run in runs.values():
        yield Entry(elapsed, RunEnded(run=run))
