"""Whether the evidence of a workspace holds together: records, weights, ledger, reads, and the table made of them.

Two rules. What was ever committed below ``records/`` is still there: each line of a log, each seed of a record, each
file of weights. And what is stated is computed once more and compared. Nothing is trained or evaluated here; ``harness
evaluate`` does that.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.evidence import history, ledger, record, weight_file
from harness.evidence.history import Commit, Memory
from harness.evidence.leaderboard import LeaderboardRow, Survey, Tier, read, survey
from harness.evidence.ledger import Attempt, Declaration, Ledger, Outcome
from harness.evidence.record import Record
from harness.system import files
from harness.system.document import read_as
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training.recipe import RECIPES

# When ADR 20 was committed. Attempts name a commit since, their declaration is committed before their first seed, and
# each spends its share. The four attempts that git has from before are held to neither; docs/results.md says so.
_ASKED_FROM = "2026-11-21T20:30:35+00:00"


def faults(place: Workspace) -> list[str]:
    """Return what does not hold together, a line each; nothing where all does.

    What is computed from records and ledger is looked at once these are whole: its faults would be theirs.
    """
    memory = history.remembered(place.records)
    found = survey(place)
    try:
        said = [*_lost(place, memory), *(error.told for error in found.damage)]
        if not said:
            entered = ledger.read_sound(place.ledger)
            said += _table_faults(place, found)
            said += _weight_faults(place, memory, found.records)
            said += _ledger_faults(place.ledger, entered, found.records, memory)
            said += _read_faults(place, entered, found.records)
    except ContentError as error:
        said = [error.told]
    return list(dict.fromkeys(said))


def vanished(place: Workspace) -> list[str]:
    """Return what is wrong with the ledger, and which reads have no seed: a table made without them says too much.

    Raises:
        ContentError: the ledger, the log of reads or a record does not hold together.
    """
    entered, records = ledger.read(place.ledger), record.read_all(place.records)
    return [
        *_ledger_faults(place.ledger, entered, records, history.remembered(place.records)),
        *_unrecorded_reads(place, entered, records),
    ]


def _lost(place: Workspace, memory: Memory) -> Iterator[str]:
    for path, (commit, _) in sorted(memory.blobs.items()):
        if not path.exists() and path.suffix in (".json", ".jsonl", ".safetensors"):
            yield f"{path}: committed in {commit.name[:12]}, and removed since ('git restore' brings it back)"
    for path, lines in sorted(memory.lines.items()):
        is_record = path.parent == place.records and "-" in path.name and path.suffix == ".json"
        if not path.exists() or not (is_record or path.suffix == ".jsonl"):
            continue
        now = _entries(files.log_text(path), is_record=is_record)
        before = {
            key: commit
            for line, commit in lines.items()
            for key in _entries(line.strip().rstrip(",") if is_record else line, is_record=is_record)
        }
        for key, commit in before.items():
            if key not in now:
                changed = _changed(key, now.keys() - before.keys())
                yield f"{path}: {changed}, but commit {commit.name[:12]} has {key[:100]}"


def _entries(text: str, *, is_record: bool) -> dict[str, None]:
    if not is_record:
        return dict.fromkeys(text.splitlines())
    try:
        document = json.loads(text)
        seeds = document.get("seeds", [document] if "index" in document else [])
        return {json.dumps(run, sort_keys=True): None for run in seeds}
    except (ValueError, AttributeError, TypeError):
        return {}


def _changed(lost: str, added: Iterable[str]) -> str:
    for now in added:
        try:
            old, new = json.loads(lost), json.loads(now)
            changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        except (ValueError, TypeError):
            continue
        if 0 < len(changed) <= len(old) / 2:
            return ", ".join(f"{name} is {str(new.get(name))[:40]}" for name in changed)
    return "a line is lacking"


def _table_faults(place: Workspace, found: Survey) -> Iterator[str]:
    if not place.leaderboard.exists():
        return
    rows = read(place.leaderboard)
    stated, due = ({row.key: row for row in each if row.tier is not Tier.SEARCHED} for each in (rows, found.rows))
    is_published = history.is_tracked(place.leaderboard)
    paths = {(*item.key, False): record.path_of(place.records, item) for item in found.records}
    for key, row in due.items():
        if key not in stated:
            # Somebody has tried this out in a clone: its record is not committed, so nor need its row be.
            if not is_published or key not in paths or history.is_tracked(paths[key]):
                yield f"{place.leaderboard}: {_called(row)}: has no row, but a record or a claim"
            continue
        for item in fields(LeaderboardRow):
            said, computed = getattr(stated[key], item.name), getattr(row, item.name)
            # A row more, or one that is lacking, moves all that follow.
            if said != computed and (item.name != "rank" or stated.keys() == due.keys()):
                yield f"{place.leaderboard}: {_called(row)}: {item.name}: {said} stated, {computed} computed"
    for key in stated.keys() - due.keys():
        yield f"{place.leaderboard}: {_called(stated[key])}: has a row, but neither record nor claim"
    if len({row.key for row in rows}) < len(rows):
        yield f"{place.leaderboard}: {len(rows)} rows, some of them twice"


def _called(row: LeaderboardRow) -> str:
    return f"{row.hash} ({row.recipe}, {row.target_pct:g} %)"


def _weight_faults(place: Workspace, memory: Memory, records: Iterable[Record]) -> Iterator[str]:
    folder = place.records / weight_file.FOLDER
    known = set()
    now = history.blobs(path for path in memory.blobs if path.suffix == ".safetensors")
    for evidence in records:
        for index in weight_file.kept_indices(place.records, evidence):
            path = weight_file.path_of(place.records, evidence, index)
            known.add(path)
            try:
                found = weight_file.read_recorded(place.records, evidence, index)
            except ContentError as error:
                yield error.told
                continue
            run = evidence.seed(index)
            # A repeat may be replaced by the recorded bits, and by nothing else.
            is_replaced = (
                run is not None
                and found.sha256 == run.weights_sha256
                and weight_file.repeat_of(place.records, evidence, run) is not None
            )
            if path in now and now[path] != memory.blobs[path][1] and not is_replaced:
                yield f"{path}: changed since commit {memory.blobs[path][0].name[:12]}"
    strange = defaultdict(list)
    for path in sorted(folder.glob("*/*")):
        if path not in known:
            strange[path.parent].append(path.name)
    for row, names in strange.items():
        yield f"{row}: {', '.join(names[:3])}: weights of a seed that no record has ({len(names)} in all)"


def _ledger_faults(path: Path, entered: Ledger, records: Iterable[Record], memory: Memory) -> Iterator[str]:
    attempts, declared = entered.attempts, entered.declarations
    evidence_of = {evidence.key: evidence for evidence in records}
    numbers = {attempt.number for attempt in attempts}
    for number in sorted(set(range(1, max(numbers, default=0))) - numbers):
        yield f"{path}: attempt {number} is lacking, though it has later ones"
    for attempt in entered.undeclared:
        yield f"{path}: attempt {attempt.number} has an end, but not the line that declared it"
    is_whole = history.is_whole(path.parent)
    for attempt in attempts:
        name = f"{path}: attempt {attempt.number}"
        evidence = evidence_of.get(attempt.key)
        begun = {run.index: run.started_utc for run in evidence.seeds} if evidence else {}
        own = begun.keys() & set(attempt.indices)
        if attempt.outcome is not Outcome.OPEN and not evidence:
            yield f"{name} has an end, but {attempt.hash} has no record of its seeds"
        yield from _late(f"{name}: declared_utc", attempt.declared_utc, attempt.indices, begun)
        committed = _committed(memory.lines.get(path, {}), attempt)
        is_of_before = attempt.commit is None and committed is not None and _time(committed) <= _time(_ASKED_FROM)
        if is_whole and own and committed is None:
            yield f"{name} has seeds, but no commit has the line that declared it"
        if is_whole and committed is not None and not is_of_before:
            yield from _late(f"{name}: its commit", committed, attempt.indices, begun)
            earlier = [other for other in attempts if other.number < attempt.number]
            due = ledger.next_alpha(earlier, attempt.dataset, attempt.target_pct)
            if attempt.alpha > due:
                yield f"{name}: alpha: {attempt.alpha:g} stated, {due:g} computed"
        has_later = any(other.key == attempt.key and other.number > attempt.number for other in attempts)
        if attempt.outcome is Outcome.OPEN and (has_later or len(own) == attempt.seeds):
            yield f"{name}: outcome: open stated, but it has {'a later one' if has_later else 'all of its seeds'}"
    since = min((item.declared_utc for item in declared), key=_time, default=None)
    for key, evidence in evidence_of.items():
        begun = {run.index: run.started_utc for run in evidence.seeds}
        row = f"{evidence.hash} ({evidence.recipe_name}, {evidence.target_pct:g} %)"
        promised = [item for item in entered.promises if item.key == key]
        for item in promised:
            if isinstance(item, Declaration):
                yield from _late(f"{path}: the verification of {row}", item.declared_utc, item.indices, begun)
        known = {index for item in promised for index in item.indices}
        lacking = [index for index in begun if index not in known and since and _time(begun[index]) >= _time(since)]
        if lacking:
            yield f"{path}: {row}: seed {lacking[0]} began {begun[lacking[0]]}, but no line declares it"


def _late(name: str, declared: str, indices: Iterable[int], begun: dict[int, str]) -> list[str]:
    late = [index for index in indices if index in begun and _time(begun[index]) < _time(declared)]
    return [f"{name}: {declared} stated, but seed {late[0]} began {begun[late[0]]}"] if late else []


def _committed(lines: dict[str, Commit], attempt: Attempt) -> str | None:
    dates = [commit.utc for line, commit in lines.items() if ledger.declares(line, attempt)]
    return min(dates, key=_time, default=None)


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ContentError(f"{text!r} is not a time, as the ledger and the records state times") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A line of the log of reads; ``purpose`` is ``verify HASH RECIPE seed INDEX`` for a verification."""

    dataset: str
    purpose: str

    @property
    def seed(self) -> tuple[str, str, str, int]:
        """Network, the name that its recipe had, data set, index."""
        _, network, *recipe, _, index = self.purpose.split()
        return network, " ".join(recipe), self.dataset, int(index)


def _reads(path: Path) -> list[tuple[str, str, str, int]]:
    found = []
    for number, line in enumerate(files.log_text(path).splitlines(), start=1):
        seen = read_as(_Read, line, f"the log {path}, line {number}")
        try:
            if seen.purpose.startswith("verify "):
                found.append(seen.seed)
        except ValueError as error:
            raise ContentError(f"the log {path}, line {number}: purpose is {seen.purpose!r}") from error
    return found


def _read_faults(place: Workspace, entered: Ledger, records: Iterable[Record]) -> Iterator[str]:
    evaluated = {(network, dataset, index) for network, _, dataset, index in _reads(place.test_log)}
    for evidence in records:
        unread = [run.index for run in evidence.seeds if (evidence.hash, evidence.dataset, run.index) not in evaluated]
        if unread:
            row = f"{evidence.hash} ({evidence.recipe_name}, {evidence.dataset})"
            yield f"{place.test_log}: the read of {row}, seed {unread[0]} is lacking"
    yield from _unrecorded_reads(place, entered, records)


def _unrecorded_reads(place: Workspace, entered: Ledger, records: Iterable[Record]) -> Iterator[str]:
    # A seed that was read and is not on record yet is declared in the ledger, by its attempt or its verification.
    hashes = defaultdict(set, {name: {known.recipe.hash} for name, known in RECIPES.items()})
    seeds: set[tuple[Any, ...]] = set()
    for evidence in records:
        hashes[evidence.recipe_name].add(evidence.recipe_hash)
        seeds |= {(*evidence.key[:3], run.index) for run in evidence.seeds}
    for entry in entered.promises:
        seeds |= {(*entry.key[:3], index) for index in entry.indices}
    # A recipe may have had another name, which nobody remembers.
    all_recipes = {recipe for _, recipe, _, _ in seeds}
    told = set()
    for network, recipe, dataset, index in _reads(place.test_log):
        possible = hashes.get(recipe, all_recipes)
        if not any((network, each, dataset, index) in seeds for each in possible):
            if (network, recipe, dataset) not in told:
                row = f"{network} ({recipe}, {dataset})"
                yield f"{place.test_log}: the read of {row}, seed {index} is neither in a record nor in the ledger"
            told.add((network, recipe, dataset))
