"""Entries of a study's log, created from event names and fields of the file format."""

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
# Default values of required fields, so that tests only state the relevant fields.
BLANKS: dict[str, dict[str, Any]] = {
    "proposed": {
        "trial": 0,
        "architecture": "gap linear(10)",
        "hash": "",
        "parameters": 1,
        "origin": "",
        "decisions": [],
    },
    "draws_rejected": {"rejected": {}},
    "repeated": {"trial": 0},
    "rung": {"trial": 0, "epoch": 1},
    "confirmed": ON_FRESH_SEEDS,
    "refuted": ON_FRESH_SEEDS,
    "winner": ON_FRESH_SEEDS,
    "postponed": {"hash": "", "parameters": 1, "seconds": 0.0},
}


def event_fields(event_name: str, values: dict[str, Any]) -> dict[str, Any]:
    return BLANKS.get(event_name, {}) | values


def make_entry(event_name: str, elapsed: float = 0.0, **values: Any) -> Entry[Event]:
    entry = read_line(json.dumps({"event": event_name, "elapsed": elapsed, **event_fields(event_name, values)}))
    assert entry is not None, f"no event {event_name} with {values}"
    return entry


def write_event(folder: Path, event_name: str, elapsed: float, **values: Any) -> None:
    write_entry(folder, make_entry(event_name, elapsed, **values))


def write_runs(folder: Path, *runs: Result) -> None:
    """Append ended runs to a study's log; the first run of a network is preceded by the proposal."""
    proposed: set[int | None] = set()
    for run in runs:
        if run.trial not in proposed:
            network = {"architecture": str(run.architecture), "hash": run.hash, "parameters": run.parameters}
            write_event(folder, "proposed", 0.0, trial=run.trial, **network)
        proposed.add(run.trial)
        write_entry(folder, Entry(0.0, RunEnded(run=run)))


def write_entry(folder: Path, entry: Entry[Event]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    files.append_line(folder / "log.jsonl", line(replace(entry, utc=entry.utc or now)))


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """Return the JSON documents of a study's log, one per line; lines that are not JSON are skipped."""
    path = folder / "log.jsonl"
    documents = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            documents.append(json.loads(text))
        except ValueError:
            continue
    return documents
