"""Whether the evidence of a workspace holds together: records, weights, ledger, reads, and the table made of them.

Nothing is trained or evaluated; ``harness evaluate`` does that. What git remembers is used where there is a repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from harness.errors import ContentError
from harness.evidence import history, ledger, weight_file
from harness.evidence.leaderboard import LeaderboardRow, Survey, Tier, read, survey
from harness.evidence.ledger import Outcome
from harness.evidence.record import Record
from harness.workspace import Workspace


def audit(place: Workspace) -> list[str]:
    """Return what does not hold together, a sentence each; nothing where all does."""
    try:
        found = survey(place)
        return [error.message for error in found.damage] + [
            *_table_faults(place, found),
            *_weight_faults(place, found.records),
            *_ledger_faults(place, found.records),
            *_read_faults(place, found.records),
            *_history_faults(place),
        ]
    except ContentError as error:
        return [error.message]


def _table_faults(place: Workspace, found: Survey) -> Iterator[str]:
    """Compare leaderboard.csv with what the records and claims make of it."""
    if not place.leaderboard.exists():
        return
    try:
        there = {row.key: row for row in read(place.leaderboard)}
    except ContentError:
        return  # named already, as damage
    for row in found.rows:
        if row.tier is Tier.SEARCHED:
            continue
        if row.key not in there:
            yield f"{place.leaderboard} lacks the row of {row.hash} ({row.recipe}, {row.target_pct:g} %)"
        else:
            yield from _row_faults(place.leaderboard, there[row.key], row)


def _row_faults(path: Path, stated: LeaderboardRow, made: LeaderboardRow) -> Iterator[str]:
    for item in fields(LeaderboardRow):
        if (said := getattr(stated, item.name)) != (due := getattr(made, item.name)):
            yield (
                f"{path} states {item.name} of {made.hash} ({made.recipe}, {made.target_pct:g} %) as {said}, but the "
                f"records give {due}"
            )


def _weight_faults(place: Workspace, records: Iterable[Record]) -> Iterator[str]:
    known = set()
    for evidence in records:
        for index in weight_file.kept_indices(place.records, evidence):
            known.add(weight_file.path_of(place.records, evidence, index))
            try:
                weight_file.read_recorded(place.records, evidence, index)
            except ContentError as error:
                yield error.message
    for path in sorted((place.records / weight_file.FOLDER).glob("*/*")):
        if path not in known:
            yield f"{path} holds weights of a seed that no record has"


def _ledger_faults(place: Workspace, records: Iterable[Record]) -> Iterator[str]:
    attempts = ledger.read(place.ledger)
    numbers = {attempt.number for attempt in attempts}
    for number in range(1, max(numbers, default=0)):
        if number not in numbers:
            yield f"{place.ledger} lacks attempt {number}, though it has later ones"
    for attempt in ledger.undeclared(place.ledger):
        yield f"{place.ledger} has the end of attempt {attempt.number}, but not the line that declared it"
    for evidence in records:
        begun = {run.index: run.started_utc for run in evidence.seeds}
        for attempt in attempts:
            if attempt.key == evidence.key:
                yield from _attempt_faults(place, attempt, begun)
        for item in ledger.declarations(place.ledger):
            if item.key == evidence.key:
                name = f"the verification of {evidence.hash} ({evidence.recipe_name}, {evidence.target_pct:g} %)"
                yield from _late(place.ledger, name, item.declared_utc, item.indices, begun)


def _attempt_faults(place: Workspace, attempt: ledger.Attempt, begun: dict[int, str]) -> Iterator[str]:
    """Hold an attempt to its seeds; ``begun`` says when each recorded seed began."""
    name = f"attempt {attempt.number}"
    yield from _late(place.ledger, name, attempt.declared_utc, attempt.indices, begun)
    # Before attempts named a commit, nobody asked for one.
    if attempt.commit is not None:
        yield from _late(place.ledger, f"the commit of {name}", _committed(place, attempt), attempt.indices, begun)
    if attempt.outcome is Outcome.CERTIFIED and (lacking := sorted(set(attempt.indices) - begun.keys())):
        yield f"{name} is certified, but the record of {attempt.hash} lacks seed {lacking[0]}"


def _committed(place: Workspace, attempt: ledger.Attempt) -> str | None:
    """Return when the line that declared an attempt was first committed, None where git does not know."""
    dates = [
        version.committed_utc for version in history.versions(place.ledger) if ledger.declares(version.content, attempt)
    ]
    return min(dates, key=_time, default=None)


def _late(path: Path, name: str, declared: str | None, indices: Iterable[int], begun: dict[int, str]) -> Iterator[str]:
    if declared is None:
        return
    for index in indices:
        if index in begun and _time(begun[index]) < _time(declared):
            yield f"{path}: {name} is of {declared}, after seed {index} had begun ({begun[index]})"
            return


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _read_faults(place: Workspace, records: Iterable[Record]) -> Iterator[str]:
    """Look for the read of the test set that each recorded seed was evaluated by."""
    try:
        lines = place.test_log.read_text(encoding="utf-8").splitlines() if place.test_log.exists() else []
        purposes = {json.loads(line)["purpose"] for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"cannot read {place.test_log}: {error}"
        return
    for evidence in records:
        prefix = f"verify {evidence.hash} {evidence.recipe_name} seed "
        missing = [run.index for run in evidence.seeds if f"{prefix}{run.index}" not in purposes]
        if missing:
            yield f"{place.test_log} lacks the read of {evidence.hash} ({evidence.recipe_name}), seed {missing[0]}"


def _history_faults(place: Workspace) -> Iterator[str]:
    """Compare with what was committed once: lines of logs stay, and a seed stays as it was first recorded."""
    for path in history.removed(place.records):
        if path.suffix == ".json":
            yield f"{path} was committed once and has been removed"
    for path in (place.ledger, place.test_log):
        there = set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()
        lost = {line: version.commit for version in history.versions(path) for line in version.content.splitlines()}
        for line, commit in lost.items():
            if line not in there:
                yield f"{path} lacks a line that commit {commit[:12]} has: {line[:100]}"
    for path in sorted(place.records.glob("*-*.json")):
        yield from _changed_seeds(path)


def _changed_seeds(path: Path) -> Iterator[str]:
    try:
        there = {run["index"]: run for run in json.loads(path.read_text(encoding="utf-8"))["seeds"]}
        for version in history.versions(path):
            for run in json.loads(version.content)["seeds"]:
                if there.get(run["index"]) != run:
                    yield f"{path}: seed {run['index']} is not as commit {version.commit[:12]} has it"
                    return
    except (OSError, ValueError, KeyError, TypeError):
        return  # a record that cannot be read is named already
