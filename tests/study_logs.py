"""Entries of a study's log, made from the words and fields that stand in the file."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.studies.events import Entry, Event, RunEnded, line, read_line
from harness.system import files
from harness.training.result import Result

ON_FRESH_SEEDS: dict[str, Any] = {
    "trial": 0,
    "hash": "",
    "parameters": 1,
    "validation_accuracy_pct": 99.0,
    "validation_seeds": 2,
}
# What an event must have; what a test does not name has no part in what it shows.
BLANKS: dict[str, dict[str, Any]] = {
    "proposed": {
        "trial": 0,
        "architecture": "gap linear(10)",
        "hash": "",
        "parameters": 1,
        "origin": "",
        "decisions": [],
    },
    "looked": {"rejected": {}},
    "repeated": {"trial": 0},
    "rung": {"trial": 0, "epoch": 1},
    "standing": ON_FRESH_SEEDS,
    "refuted": ON_FRESH_SEEDS,
    "winner": ON_FRESH_SEEDS,
    "postponed": {"hash": "", "parameters": 1, "seconds": 0.0},
}


def event_fields(word: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an event, those that it must have filled in."""
    return BLANKS.get(word, {}) | values


def make_entry(word: str, elapsed: float = 0.0, **values: Any) -> Entry[Event]:
    """Return an entry by the word and the fields that stand in the file."""
    entry = read_line(json.dumps({"event": word, "elapsed": elapsed, **event_fields(word, values)}))
    assert entry is not None, f"no event {word} with {values}"
    return entry


def write_event(folder: Path, word: str, elapsed: float, **values: Any) -> None:
    """Append an event to a study's log."""
    write_entry(folder, make_entry(word, elapsed, **values))


def write_runs(folder: Path, *runs: Result) -> None:
    """Append networks and their runs, which have ended, to a study's log."""
    proposed: set[int | None] = set()
    for run in runs:
        if run.trial not in proposed:
            network = {"architecture": str(run.architecture), "hash": run.hash, "parameters": run.parameters}
            write_event(folder, "proposed", 0.0, trial=run.trial, **network)
        proposed.add(run.trial)
        write_entry(folder, Entry(0.0, RunEnded(run=run)))


def write_entry(folder: Path, entry: Entry[Event]) -> None:
    """Append an entry to a study's log."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    files.append_line(folder / "log.jsonl", line(replace(entry, utc=entry.utc or now)))


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """Return what stands in a study's log, line by line; what is no JSON is passed over."""
    path = folder / "log.jsonl"
    documents = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            documents.append(json.loads(text))
        except ValueError:
            continue
    return documents
