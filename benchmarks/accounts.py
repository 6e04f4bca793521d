"""Snapshots of a search's files, and their comparison: lost results, repeated work, leftover files."""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Files to which a search appends lines: the log of the study, and two logs of the workspace.
LOG = "runs/s/log.jsonl"
READS = "runs/records/test_reads.jsonl"
LEDGER = "runs/records/ledger.jsonl"
LOGS = (LOG, READS, LEDGER)


@dataclass(frozen=True, slots=True)
class Books:
    """Snapshot of a workspace.

    Attributes:
        lines: Complete lines of each log.
        seeds: JSON text of each verified seed.
    """

    lines: Mapping[str, tuple[str, ...]]
    seeds: Mapping[str, str]


def books(work: Path) -> Books:
    """Return a snapshot of a workspace; a search may be running."""
    lines = {name: tuple(line for line in _lines(work / name) if _document(line) is not None) for name in LOGS}
    seeds = {
        f"{path.stem} seed {seed['index']}": json.dumps(seed, sort_keys=True)
        for path in work.glob("runs/records/*-*.json")
        for seed in json.loads(path.read_bytes())["seeds"]
    }
    return Books(lines, seeds)


def lost(before: Books, after: Books) -> list[str]:
    """Return the seeds and lines of ``before`` that are missing or changed in ``after``."""
    items = [name for name, content in before.seeds.items() if after.seeds.get(name) != content]
    for name, lines in before.lines.items():
        items += [f"{name}: {line}" for line in (Counter(lines) - Counter(after.lines[name])).elements()]
    return items


def repeated(after: Books) -> list[str]:
    """Return the repeated work: runs that ended twice and networks that were proposed twice."""
    items = _twice(_run(event["run"]) for event in _events(after, "finished"))
    items += _twice(f"trial {event['trial']}" for event in _events(after, "proposed"))
    items += _twice((event["hash"], event.get("epochs")) for event in _events(after, "proposed"))
    return items


def read_again(after: Books) -> list[str]:
    """Return the seeds for which the test set was read again because the worker died before reporting the result."""
    return _twice(_document(line)["purpose"] for line in after.lines[READS])


def leftovers(work: Path, temporary: Path) -> list[str]:
    """Return the orphaned files of a finished search, in ``work`` and ``temporary``, and the locks still held."""
    # torch keeps an empty folder of this name in the temporary folder.
    paths = [path for path in temporary.iterdir() if not path.name.startswith("torchinductor_")]
    paths += [path for path in work.rglob(".*.*") if path.is_file() and path.suffix != ".lock"]
    paths += work.glob("runs/.verify-*")
    ended = {_run(event["run"]) for event in _events(books(work), "finished")}
    paths += [path for path in work.glob("runs/s/checkpoints/*.pt") if path.stem in ended]
    paths += [path for path in work.rglob("*.lock") if _is_held(path)]
    return sorted({str(path.relative_to(work.parent)) for path in paths})


def answer(work: Path) -> dict[str, Any]:
    """Return the decisions and results of a search without times; equal for searches with equal bits."""
    after = books(work)
    names = ("trial", "hash", "parameters", "origin", "epochs")
    runs = sorted((event["run"] for event in _events(after, "finished")), key=_run)
    facts = {"status": "status", "errors": "validation_errors", "weights": "weights_sha256"}
    seeds = {name: json.loads(text) for name, text in sorted(after.seeds.items())}
    return {
        "proposed": [{name: event.get(name) for name in names} for event in _events(after, "proposed")],
        "runs": [
            {"run": [run["trial"], run["purpose"], run["seed_index"]], **{key: run[of] for key, of in facts.items()}}
            for run in runs
        ],
        "winner": [event["hash"] for event in _events(after, "winner")][-1:],
        "seeds": {name: (seed["test_errors"], seed["weights_sha256"]) for name, seed in seeds.items()},
    }


def _events(after: Books, kind: str) -> list[dict[str, Any]]:
    documents = [_document(line) for line in after.lines[LOG]]
    return [event for event in documents if event.get("event") == kind]


def _run(run: Mapping[str, Any]) -> str:
    return f"trial-{run['trial']:05d}-{run['purpose']}-{run['seed_index']}"


def _twice(items: Iterable[Hashable]) -> list[str]:
    return [f"{item} ({count} times)" for item, count in Counter(items).items() if count > 1]


def _lines(path: Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").split("\n")[:-1] if path.exists() else []


def _document(line: str) -> Any:
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
