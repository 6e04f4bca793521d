"""Snapshots of a search's files, and their comparison: lost results, repeated work, leftover files."""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Files to which a search appends lines, below the workspace: the log of the study ``s``, and two logs of the workspace.
LOG = "runs/s/log.jsonl"
READS = "runs/records/test_reads.jsonl"
LEDGER = "runs/records/ledger.jsonl"
LOGS = (LOG, READS, LEDGER)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Snapshot of a workspace.

    Attributes:
        lines: Complete lines of each log, by name in ``LOGS``.
        seeds: JSON text of each verified seed, by record and index.
    """

    lines: Mapping[str, tuple[str, ...]]
    seeds: Mapping[str, str]


def snapshot_of(work: Path) -> Snapshot:
    """Return a snapshot of a workspace; a search may be running."""
    lines = {name: tuple(line for line in _lines(work / name) if _document(line) is not None) for name in LOGS}
    seeds = {
        f"{path.stem} seed {seed['index']}": json.dumps(seed, sort_keys=True)
        for path in work.glob("runs/records/*-*.json")
        for seed in json.loads(path.read_bytes())["seeds"]
    }
    return Snapshot(lines, seeds)


def lost(before: Snapshot, after: Snapshot) -> list[str]:
    """Return the seeds and lines of ``before`` that are missing or changed in ``after``."""
    items = [name for name, content in before.seeds.items() if after.seeds.get(name) != content]
    for name, lines in before.lines.items():
        items += [f"{name}: {line}" for line in (Counter(lines) - Counter(after.lines[name])).elements()]
    return items


def repeated(snapshot: Snapshot) -> list[str]:
    """Return the repeated work: runs that ended twice and networks that were proposed twice."""
    items = _twice(_name_of_run(event["run"]) for event in _events(snapshot, "finished"))
    items += _twice(f"trial {event['trial']}" for event in _events(snapshot, "proposed"))
    items += _twice((event["hash"], event.get("epochs")) for event in _events(snapshot, "proposed"))
    return items


def read_again(snapshot: Snapshot) -> list[str]:
    """Return the seeds for which the test set was read more than once.

    Not a fault: a worker may die between the read and the report of the result.
    """
    return _twice(_document(line)["purpose"] for line in snapshot.lines[READS])


def leftovers(work: Path, temporary: Path) -> list[str]:
    """Return the orphaned files of a finished search, in ``work`` and ``temporary``, and the locks still held."""
    # torch keeps an empty folder of this name in the temporary folder.
    paths = [path for path in temporary.iterdir() if not path.name.startswith("torchinductor_")]
    paths += [path for path in work.rglob(".*.*") if path.is_file() and path.suffix != ".lock"]
    paths += work.glob("runs/.verify-*")
    ended = {_name_of_run(event["run"]) for event in _events(snapshot_of(work), "finished")}
    paths += [path for path in work.glob("runs/s/checkpoints/*.pt") if path.stem in ended]
    paths += [path for path in work.rglob("*.lock") if _is_held(path)]
    return sorted({str(path.relative_to(work.parent)) for path in paths})


def answer(work: Path) -> dict[str, Any]:
    """Return the decisions and results of a search without times; equal for searches with equal bits."""
    snapshot = snapshot_of(work)
    names = ("trial", "hash", "parameters", "origin", "epochs")
    runs = []
    for run in sorted((event["run"] for event in _events(snapshot, "finished")), key=_name_of_run):
        facts = {"status": run["status"], "errors": run["validation_errors"], "weights": run["weights_sha256"]}
        runs.append({"run": [run["trial"], run["purpose"], run["seed_index"]], **facts})
    seeds = {name: json.loads(text) for name, text in sorted(snapshot.seeds.items())}
    return {
        "proposed": [{name: event.get(name) for name in names} for event in _events(snapshot, "proposed")],
        "runs": runs,
        "winner": [event["hash"] for event in _events(snapshot, "winner")][-1:],
        "seeds": {name: (seed["test_errors"], seed["weights_sha256"]) for name, seed in seeds.items()},
    }


def _events(snapshot: Snapshot, kind: str) -> list[dict[str, Any]]:
    documents = [_document(line) for line in snapshot.lines[LOG]]
    return [event for event in documents if event.get("event") == kind]


def _name_of_run(run: Mapping[str, Any]) -> str:
    """Return the name of a run, which is the name of its checkpoint, too."""
    return f"trial-{run['trial']:05d}-{run['purpose']}-{run['seed_index']}"


def _twice(items: Iterable[Hashable]) -> list[str]:
    return [f"{item} ({count} times)" for item, count in Counter(items).items() if count > 1]


def _lines(path: Path) -> list[str]:
    """Return the lines that end with a line end; none if the file does not exist."""
    return path.read_bytes().decode(errors="replace").split("\n")[:-1] if path.exists() else []


def _document(line: str) -> Any:
    """Return the value of a JSON line; None if the line is torn."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _is_held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
