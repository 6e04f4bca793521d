"""Consistency checks of the evidence in a workspace: records, weights, ledger, test log and leaderboard table.

Every line ever committed below ``records/`` must still exist, weight files must be unchanged, and every stated figure
is recomputed from the seeds. The checks find mistakes and careless edits; a rewritten history is found only by a commit
that was published elsewhere (``anchor``). Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from harness.data.datasets import dataset
from harness.evidence import bounds, leaderboard_table, ledger
from harness.evidence import record as record_files
from harness.evidence.history import History, declaring_commit, history_of, line_of
from harness.evidence.leaderboard_table import LeaderboardRow, Survey
from harness.evidence.ledger import Attempt, AttemptResult, Declaration
from harness.evidence.record import Record, RowKey, SeedRun
from harness.system import files
from harness.system.errors import ContentError, HarnessError, UsageError
from harness.system.files import Workspace
from harness.system.machine import git

# Records by ``Record.key``.
_RecordsByKey = Mapping[RowKey, Record]


def faults(workspace: Workspace, anchor: str | None = None) -> list[str]:
    """Return a line per inconsistency of the shipped evidence and of a workspace, ``file: field: stated, computed``.

    ``anchor`` is a published commit, which must be part of the history, and whose lines in the records must still
    exist.
    """
    shipped = (files.SHIPPED / "records").resolve()
    shipped_history = history_of(shipped)
    own_history = history_of(workspace.records)
    messages = [*_lost(shipped_history), *_lost(own_history)]
    messages += _since(shipped, anchor) if anchor else ()
    standings = leaderboard_table.survey(workspace)
    messages += [error.one_line for error in standings.damage]
    # Faults found above would only be repeated.
    if not messages:
        try:
            messages += _table_faults()
            messages += _hash_faults(workspace, standings)
            for record in standings.records:
                messages += _module_faults(record)
                for index in record.kept_indices(workspace.records):
                    try:
                        record_files.read_recorded(workspace.records, record, index)
                    except ContentError as error:
                        messages.append(error.one_line)
            messages += _ledger_faults(workspace.ledger, standings, shipped_history, own_history)
        except ContentError as error:
            messages = [error.one_line]
    return list(dict.fromkeys(messages))


def _hash_faults(workspace: Workspace, standings: Survey) -> Iterator[str]:
    stated_hashes = {
        (f"{workspace.ledger}: seeds of {item.hash}", item.dataset, item.data_hash or "")
        for item in standings.entries.declarations
    }
    for record in standings.records:
        path = str(record.path(workspace.records))
        stated_hashes |= {(path, record.dataset, run.environment.data_hash) for run in record.seeds}
    for source, name, stated_hash in sorted(stated_hashes):
        # The hash of a removed data set is unknown.
        with suppress(UsageError, ContentError):
            if stated_hash and (data_hash := dataset(name).data_hash) not in ("", stated_hash):
                yield f"{source}: data_hash: {stated_hash[:16]} stated, {data_hash[:16]} computed"


def _module_faults(record: Record) -> Iterator[str]:
    module = record.architecture.user_module
    if module is not None:
        from harness.training.user_modules.execution import check_code

        try:
            check_code(module)
        except HarnessError as error:
            yield f"{record.hash}: {error.one_line}"


def _lost(history: History) -> Iterator[str]:
    weights = [path for path in history.blobs if path.suffix == ".safetensors" and path.is_file()]
    digests = git(weights[0].parent, "hash-object", "--", *map(str, weights)) if weights else None
    # There are no digests if the command fails.
    present_blobs = dict(zip(weights, (digests or "").split(), strict=False))
    for path, (commit, blob) in sorted(history.blobs.items()):
        if path.suffix not in (".json", ".jsonl", ".safetensors"):
            continue
        if not path.exists():
            yield f"{path}: file: removed, committed in {commit[:12]}"
        elif present_blobs.get(path, blob) != blob:
            yield f"{path}: file: {present_blobs[path][:12]} stated, {blob[:12]} in commit {commit[:12]}"
        # Claims may be corrected.
        elif path.suffix != ".safetensors" and not path.name.endswith("claims.json"):
            yield from _lost_lines(path, history.lines.get(path, {}))


def _lost_lines(path: Path, commit_of_line: dict[str, str]) -> Iterator[str]:
    present_lines = set(map(line_of, files.log_text(path).split("\n")))
    for line, commit in commit_of_line.items():
        # Fields that may be filled in later: a name, or the search that found the network.
        if line not in present_lines and not line.endswith((": null", ': ""', ": 0.0", ": []")):
            yield f"{path}: line: lacking, commit {commit[:12]} has {line[:100]}"


def _since(records: Path, anchor: str) -> Iterator[str]:
    if git(records, "merge-base", "--is-ancestor", anchor, "HEAD") is None:
        yield f"{records}: anchor: {anchor} stated, no such commit in the history"
        return
    changes = git(records, "diff", "--name-status", "--no-renames", "--relative", anchor, "--", ".") or ""
    for status, name in (line.split("\t") for line in changes.splitlines()):
        path = records / name
        if path.suffix in (".json", ".jsonl") and path.exists():
            then = git(records, "show", f"{anchor}:./{name}") or ""
            yield from _lost_lines(path, {line_of(line): anchor for line in then.split("\n")})
        elif status != "A":
            yield f"{path}: file: {'removed' if status == 'D' else 'changed'} since commit {anchor[:12]}"


def _table_faults() -> Iterator[str]:
    path = leaderboard_table.shipped_table()
    if not path.exists():
        return
    row_in_file = {row.key: row for row in leaderboard_table.read(path)}
    rows = leaderboard_table.collect(Workspace(files.SHIPPED))
    if files.read_bytes(path).decode() == leaderboard_table.to_csv(rows):
        return
    row_of_key = {row.key: row for row in rows}
    has_difference = False
    for key in row_in_file.keys() | row_of_key.keys():
        row = row_of_key.get(key) or row_in_file[key]
        name = f"{path}: {row.hash} ({row.recipe}, {row.target_pct:g} %)"
        for item in fields(LeaderboardRow):
            value = getattr(row_in_file.get(key), item.name, "no row")
            computed_value = getattr(row_of_key.get(key), item.name, "no row")
            if value != computed_value:
                has_difference = True
                yield f"{name}: {item.name}: {value} stated, {computed_value} computed"
                if "no row" in (value, computed_value):
                    break
    if not has_difference:
        yield f"{path}: rows: a different order or number stated, {len(rows)} computed"


def _ledger_faults(path: Path, standings: Survey, shipped: History, history: History) -> Iterator[str]:
    record_of = {record.key: record for record in standings.records}
    yield from _attempt_faults(path, standings.entries, record_of, shipped, history)
    yield from _spending_faults(path, standings.entries)
    looks = ledger.read(path, [], with_shipped=False).seed_declarations
    # Among declarations in the same second, the declaration that spends most came first.
    looks.sort(key=lambda entry: (entry.declared_utc, -(entry.look_alpha or 0.0)))
    for position, entry in enumerate(looks):
        earlier = looks[:position]
        is_repeated = any(each.key == entry.key for each in earlier)
        due = 0.0 if is_repeated else ledger.due_look_alpha(earlier, entry.dataset, entry.test_sketch)
        if (entry.look_alpha or 0.0) > due:
            yield f"{path}: {entry.hash} on {entry.dataset}: look_alpha: {entry.look_alpha:g} stated, {due:g} computed"
    for entry in standings.entries.seed_declarations:
        starts_utc = [run.started_utc for run in _seeds_of(entry, record_of)]
        if starts_utc and datetime.fromisoformat(min(starts_utc)) < datetime.fromisoformat(entry.declared_utc):
            yield f"{path}: seeds of {entry.hash}: declared {entry.declared_utc}, first run began {min(starts_utc)}"
    for item in standings.entries.registrations:
        stated_bound = item.lower_bound_pct
        bound = bounds.over_seeds(item.errors, item.images)
        if stated_bound is not None and (bound is None or abs(stated_bound - bound) > ledger.TOLERANCE):
            name = f"{path}: evaluation of {item.hash} on {item.on}"
            yield f"{name}: lower_bound_pct: {stated_bound} stated, {bound} computed"


def _attempt_faults(
    path: Path, entries: ledger.Ledger, record_of: _RecordsByKey, shipped_history: History, own_history: History
) -> Iterator[str]:
    shipped_path = (files.SHIPPED / "records").resolve() / path.name
    shipped_lines = files.log_text(shipped_path).splitlines()
    for attempt in entries.attempts:
        name = f"{path}: attempt {attempt.number}"
        record = record_of.get(attempt.key)
        if record is None and attempt.outcome is not AttemptResult.OPEN:
            yield f"{name}: outcome: {attempt.outcome} stated, {attempt.hash} has no record"
        if record and attempt.outcome is AttemptResult.OPEN:
            outcome, bound = attempt.result(record)
            if bound is not None:
                yield f"{name}: outcome: open stated, {outcome} computed"
        if attempt.rules < 2:
            continue
        beacons = {run.beacon for run in _seeds_of(attempt, record_of)}
        is_shipped = any(map(attempt.is_declared_in, shipped_lines))
        ledger_path, history = (shipped_path, shipped_history) if is_shipped else (path, own_history)
        beacon = declaring_commit(attempt, [history])
        # Outside a repository and in a shallow clone the declaring commit is unknown.
        if beacons - {beacon} and history.lines and has_full_history(ledger_path.parent):
            yield f"{name}: beacon: {', '.join(map(str, beacons))} stated, the declaration is in commit {beacon}"


def _seeds_of(declaration: Attempt | Declaration, record_of: _RecordsByKey) -> list[SeedRun]:
    record = record_of.get(declaration.key)
    return [] if record is None else [run for run in record.seeds if run.index in declaration.indices]


def _spending_faults(path: Path, entries: ledger.Ledger) -> Iterator[str]:
    earlier: list[Attempt | Declaration] = []
    for entry in sorted(entries.spending_entries, key=lambda entry: entry.declared_utc):
        allowed_alpha = ledger.next_alpha(earlier, entry.dataset, entry.test_sketch)
        is_of_old_rules = isinstance(entry, Attempt) and entry.rules < 2
        if entry.alpha > allowed_alpha and not is_of_old_rules:
            yield f"{path}: {entry.hash} on {entry.dataset}: alpha: {entry.alpha:g} stated, {allowed_alpha:g} computed"
        earlier.append(entry)
        total = sum(item.alpha for item in earlier if item.shares_images(entry.dataset, entry.test_sketch))
        if total > ledger.ALPHA + ledger.TOLERANCE:
            yield f"{path}: {entry.dataset}: alpha: {total:g} spent, {ledger.ALPHA:g} allowed"


def has_full_history(folder: Path) -> bool:
    """Return whether a folder is in a repository with the full history; False for a shallow clone."""
    return (git(folder, "rev-parse", "--is-shallow-repository") or "").strip() == "false"
