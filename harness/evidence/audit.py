"""Whether the evidence of a workspace holds together: records, weights, ledger, reads, and the table made of them.

Nothing is trained or evaluated; ``harness evaluate`` does that. What git remembers is used where there is a repository.
One change gives one fault: what follows from a fault that is named already is left out. So the table is compared only
where records and ledger are as they were committed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.evidence import history, ledger, ledger_audit, record, weight_file
from harness.evidence.leaderboard import LeaderboardRow, Survey, Tier, ledger_fault, read, survey
from harness.evidence.ledger import Attempt, Declaration
from harness.evidence.record import Record
from harness.system import files
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.system.terminal import counted
from harness.training.recipe import RECIPES


def audit(place: Workspace) -> list[str]:
    """Return what does not hold together, a sentence each; nothing where all does."""
    try:
        found = survey(place)
        sound = {record.path_of(place.records, evidence) for evidence in found.records}
        unsound = sorted(set(place.records.glob("*-*.json")) - sound)
        told = _unsound_networks(place, unsound)
        readable, _ = record.read_sound(place.records)
        changed = {record.path_of(place.records, each): each for each in readable}
        changes = list(_record_faults(place.records, changed))
        lost = _lost_lines(place.ledger)
        damage = {error.told for error in found.damage}
        if changes:
            # A record that was changed contradicts its attempts, which is no further fault.
            attempts = ledger.read_sound(place.ledger).attempts
            for path, each in changed.items():
                fault = ledger_fault(each, attempts, place.ledger)
                if fault is not None and any(said.startswith(str(path)) for said in changes):
                    damage.discard(fault.told)
        return [
            *changes,
            *lost,
            *(error.told for error in found.damage if error.told in damage),
            # The table follows from records and ledger, and so do its faults where these are not as they were.
            *([] if changes or lost else _table_faults(place, found, unsound)),
            # A damaged line of the repeats is told of each seed that asks for its repeat.
            *(
                _lost_lines(weight_file.repeats_file(place.records))
                or dict.fromkeys(_weight_faults(place, found.records, unsound))
            ),
            *([] if lost else ledger_audit.faults(place.ledger, found.records, told)),
            *(_lost_lines(place.test_log) or _read_faults(place, found.records, told)),
        ]
    except ContentError as error:
        return [error.told]


def vanished(place: Workspace) -> list[str]:
    """Return what is wrong with the ledger, and which reads have no seed: a table made without them says too much.

    Raises:
        ContentError: the ledger, the log of reads or a record does not hold together.
    """
    records = record.read_all(place.records)
    return [
        *ledger_audit.faults(place.ledger, records),
        *_unrecorded_reads(place, records, _reads(place.test_log)),
    ]


def _table_faults(place: Workspace, found: Survey, unsound: Iterable[Path]) -> Iterator[str]:
    """Compare leaderboard.csv with what the records and claims make of it."""
    if not place.leaderboard.exists():
        return
    try:
        rows = read(place.leaderboard)
    except ContentError:
        return  # named already, as damage
    there = {row.key: row for row in rows}
    for row in found.rows:
        if row.tier is not Tier.SEARCHED and row.key in there:
            yield from _row_faults(place.leaderboard, there[row.key], row, ranked=not found.damage)
        elif row.tier is not Tier.SEARCHED and not _is_own(place, found, row):
            yield f"{place.leaderboard} lacks the row of {_called(row)}"
    made = {row.key for row in found.rows if row.tier is not Tier.SEARCHED}
    damaged = [path.name for path in unsound]
    for row in rows:
        if row.key in made or row.tier is Tier.SEARCHED:
            continue
        if not any(name.startswith(f"{row.hash}-{row.recipe_hash}-{row.dataset}-") for name in damaged):
            yield f"{place.leaderboard} has the row of {_called(row)}, which no record or claim gives"
    if len(there) < len(rows):
        yield f"{place.leaderboard} has {len(rows)} rows, but some of them twice"


def _is_own(place: Workspace, found: Survey, row: LeaderboardRow) -> bool:
    """Return whether somebody has tried this out in a clone: its record is not committed, so nor need its row be."""
    paths = [record.path_of(place.records, item) for item in found.records if (*item.key, False) == row.key]
    return bool(paths) and history.is_tracked(place.leaderboard) and not any(map(history.is_tracked, paths))


def _called(row: LeaderboardRow) -> str:
    return f"{row.hash} ({row.recipe}, {row.target_pct:g} %)"


def _row_faults(path: Path, stated: LeaderboardRow, made: LeaderboardRow, *, ranked: bool) -> Iterator[str]:
    """Compare two rows; their ranks only where no row is left out, which would move all that follow."""
    for item in fields(LeaderboardRow):
        if item.name == "rank" and not ranked:
            continue
        if (said := getattr(stated, item.name)) != (due := getattr(made, item.name)):
            yield f"{path} states {item.name} of {_called(made)} as {said}, but the records give {due}"


def _removed_weights(records: Path) -> Iterator[str]:
    """Name the files of weights that were committed once and are gone, a line for each row."""
    rows = defaultdict(list)
    for path in history.removed(records, below=True):
        if path.parent.parent == records / weight_file.FOLDER:
            rows[path.parent].append(path.name)
    for row, (first, *more) in rows.items():
        others = f" and {counted(len(more), 'further file')}" if more else ""
        yield f"{row} lacks {first}{others}, committed once and removed since ('git restore' brings them back)"


def _weight_faults(place: Workspace, records: Iterable[Record], unsound: Iterable[Path]) -> Iterator[str]:
    yield from _removed_weights(place.records)
    known = set()
    changed = history.changed(place.records / weight_file.FOLDER)
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
            if path in changed and run is not None:
                fault = f"{path} is not as commit {changed[path][:12]} has it"
                if found.sha256 != run.weights_sha256:
                    yield f"{fault}, and does not hold the recorded weights"
                elif weight_file.repeat_of(place.records, evidence, run) is None:
                    yield f"{fault}: what it says of its weights was changed"
    damaged = [path.name for path in unsound]
    strange = defaultdict(list)
    for path in sorted((place.records / weight_file.FOLDER).glob("*/*")):
        if path not in known and not any(name.startswith(f"{path.parent.name}-") for name in damaged):
            strange[path.parent].append(path)
    for row, paths in strange.items():
        one = f"{paths[0]} holds weights of a seed"
        yield f"{one if len(paths) == 1 else f'{row} holds weights of {len(paths)} seeds'} that no record has"


def _unsound_networks(place: Workspace, unsound: Iterable[Path]) -> set[str]:
    """Return the hashes of the networks whose records are damaged or gone, which is told already."""
    return {path.name.partition("-")[0] for path in (*unsound, *history.removed(place.records))}


def _read_faults(place: Workspace, records: Iterable[Record], unsound: Collection[str]) -> Iterator[str]:
    """Hold the log of reads to the recorded seeds: each seed has its read, and each read has its seed.

    A seed that was read and is not on record yet is in the ledger: its attempt, or its verification, declares it.
    """
    try:
        reads = _reads(place.test_log)
    except ContentError as error:
        yield error.told
        return
    evaluated = {(seen.dataset, seen.network, seen.index) for seen in reads}
    for evidence in records:
        for run in evidence.seeds:
            if (evidence.dataset, evidence.hash, run.index) not in evaluated:
                row = f"{evidence.hash} ({evidence.recipe_name}, {evidence.dataset})"
                yield f"{place.test_log} lacks the read of {row}, seed {run.index}"
                break
    yield from _unrecorded_reads(place, records, [seen for seen in reads if seen.network not in unsound])


def _unrecorded_reads(place: Workspace, records: Iterable[Record], reads: Iterable[_Read]) -> Iterator[str]:
    """Look for the seed of each read, in the records and in what the ledger has declared; name one a row."""
    hashes = defaultdict(set)
    for name, known in RECIPES.items():
        hashes[name].add(known.recipe.hash)
    for evidence in records:
        hashes[evidence.recipe_name].add(evidence.recipe_hash)
    seeds = {(*evidence.key[:3], run.index) for evidence in records for run in evidence.seeds}
    entered: list[Attempt | Declaration] = [*ledger.read(place.ledger), *ledger.declarations(place.ledger)]
    seeds |= {(*entry.key[:3], index) for entry in entered for index in entry.indices}
    all_recipes = {recipe for _, recipe, _, _ in seeds}
    told = set()
    for seen in reads:
        row = (seen.network, seen.recipe, seen.dataset)
        # A recipe may have had another name, which nobody remembers.
        possible = hashes.get(seen.recipe, all_recipes)
        if row in told or any((seen.network, recipe, seen.dataset, seen.index) in seeds for recipe in possible):
            continue
        told.add(row)
        yield (
            f"{place.test_log} has the read of {seen.network} ({seen.recipe}, {seen.dataset}), seed {seen.index}, "
            "which neither a record nor the ledger has"
        )


@dataclass(frozen=True, slots=True)
class _Read:
    """A read of the test set for a seed of a verification; ``recipe`` is its name at that time."""

    dataset: str
    network: str
    recipe: str
    index: int


def _reads(path: Path) -> list[_Read]:
    """Return the reads for verifications in a log, in order."""
    try:
        return [seen for line in files.log_text(path).splitlines() if (seen := _read(line)) is not None]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ContentError(f"cannot read {path}: {error}") from error


def _read(line: str) -> _Read | None:
    """Return what a line of the log says; None where the read was for something else."""
    said = json.loads(line)
    words = said["purpose"].split()
    if words[0] != "verify":
        return None
    return _Read(said["dataset"], words[1], " ".join(words[2:-2]), int(words[-1]))


def _lost_lines(path: Path) -> list[str]:
    """Return what a log lacks of the lines that were committed once, and what differs in a line that is like it."""
    there = files.log_text(path).splitlines()
    committed = {line: version.commit for version in history.versions(path) for line in version.content.splitlines()}
    added = [line for line in there if line not in committed]
    return [
        f"{path} lacks a line that commit {commit[:12]} has: {line[:100]}{_changed_field(line, added)}"
        for line, commit in committed.items()
        if line not in there
    ]


def _changed_field(lost: str, added: Iterable[str]) -> str:
    """Return which field of a lost line another line has with another value; empty where none is equal but for one."""
    before = _fields(lost)
    for now in map(_fields, added):
        parted = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if now and len(parted) == 1:
            return f" ({parted[0]} was {before.get(parted[0])}, and is {now.get(parted[0])})"
    return ""


def _fields(line: str) -> dict[str, Any]:
    """Return the fields of a line, none of one that is torn."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _record_faults(folder: Path, sound: Collection[Path]) -> Iterator[str]:
    """Compare with what was committed once: a record stays, and a seed stays as it was first recorded."""
    for path in history.removed(folder):
        if path.suffix == ".json":
            yield f"{path} was committed once and has been removed ('git restore' brings it back)"
    for path in sorted(sound):
        yield from _changed_seeds(path)


def _changed_seeds(path: Path) -> Iterator[str]:
    there = {run["index"]: run for run in json.loads(path.read_text(encoding="utf-8"))["seeds"]}
    for version in history.versions(path):
        try:
            before = json.loads(version.content)["seeds"]
            changed = [run["index"] for run in before if there.get(run["index"]) != run]
        except (ValueError, KeyError, TypeError):
            yield f"{path}: commit {version.commit[:12]} has it with seeds that cannot be read"
            return
        if changed:
            yield f"{path}: seed {changed[0]} is not as commit {version.commit[:12]} has it"
            return
