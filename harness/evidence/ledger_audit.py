"""Whether the lines of the ledger hold together, with the recorded seeds and with the commits that they were in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.evidence import history, ledger
from harness.evidence.ledger import Attempt, Declaration, Outcome
from harness.evidence.record import Record
from harness.system.errors import ContentError

# When ADR 20 was committed. Attempts name a commit since, their declaration is committed before their first seed, and
# each spends its share. The four attempts that git has from before are held to neither; docs/results.md says so.
ASKED_FROM = "2026-11-21T20:30:35+00:00"


def faults(path: Path, records: Iterable[Record], unsound: Collection[str] = ()) -> Iterator[str]:
    """Yield what is wrong with the ledger at ``path``, a sentence each.

    Args:
        path: of the ledger.
        records: those that hold together.
        unsound: hashes of networks whose records are damaged or gone, which is told already.

    Raises:
        ContentError: a line is no entry, or a time in it or in a record is none.
    """
    attempts, declared = ledger.read(path), ledger.declarations(path)
    yield from _gaps(path, attempts)
    yield from _overspent(path, attempts)
    records = list(records)
    with_record = {evidence.key for evidence in records}
    for attempt in attempts:
        if attempt.outcome is not Outcome.OPEN and attempt.key not in with_record and attempt.hash not in unsound:
            yield f"{path} has the end of attempt {attempt.number}, but {attempt.hash} has no record of its seeds"
    for attempt in ledger.undeclared(path):
        yield f"{path} has the end of attempt {attempt.number}, but not the line that declared it"
    for evidence in records:
        own = [attempt for attempt in attempts if attempt.key == evidence.key]
        promised = [item for item in declared if item.key == evidence.key]
        begun = {run.index: run.started_utc for run in evidence.seeds}
        for attempt in own:
            yield from _attempt_faults(path, attempt, own, begun)
        name = f"the verification of {evidence.hash} ({evidence.recipe_name}, {evidence.target_pct:g} %)"
        for item in promised:
            yield from _late(path, name, item.declared_utc, item.indices, begun)
        since = min((item.declared_utc for item in declared), key=_time, default=None)
        yield from _undeclared_seeds(path, evidence, own, promised, since)


def _gaps(path: Path, attempts: Iterable[Attempt]) -> Iterator[str]:
    """Yield the attempts that are missing among those of a ledger: each has the number after the one before."""
    numbers = {attempt.number for attempt in attempts}
    for number in range(1, max(numbers, default=0)):
        if number not in numbers:
            yield f"{path} lacks attempt {number}, though it has later ones"


def _attempt_faults(path: Path, attempt: Attempt, own: Sequence[Attempt], begun: Mapping[int, str]) -> Iterator[str]:
    """Hold an attempt to its seeds.

    Args:
        path: of the ledger.
        attempt: to certify some row.
        own: all attempts of this row.
        begun: when each recorded seed of this row began.
    """
    name = f"attempt {attempt.number}"
    yield from _late(path, name, attempt.declared_utc, attempt.indices, begun)
    if begun.keys() & set(attempt.indices) and history.is_whole(path.parent):
        committed = _committed(path, attempt)
        if committed is None:
            yield f"{path}: {name} has seeds, but no commit has the line that declared it"
        elif not _is_of_before(attempt, committed):
            yield from _late(path, f"the commit of {name}", committed, attempt.indices, begun)
    lacking = sorted(set(attempt.indices) - begun.keys())
    later = any(other.number > attempt.number for other in own)
    if attempt.outcome is Outcome.OPEN and (later or not lacking):
        why = "this row has a later one" if later else "all of its seeds have been run"
        yield f"{path} lacks the end of {name}, though {why}"


def _committed(path: Path, attempt: Attempt) -> str | None:
    """Return when the line that declared an attempt was first committed, None where it never was."""
    dates = [version.committed_utc for version in history.versions(path) if ledger.declares(version.content, attempt)]
    return min(dates, key=_time, default=None)


def _is_of_before(attempt: Attempt, committed: str) -> bool:
    """Whether an attempt was declared, and committed, before attempts named a commit."""
    return attempt.commit is None and _time(committed) <= _time(ASKED_FROM)


def _overspent(path: Path, attempts: Sequence[Attempt]) -> Iterator[str]:
    """Yield the attempts that spend more of the chance of a false success than those before them have left."""
    for attempt in attempts:
        earlier = [other for other in attempts if other.number < attempt.number]
        due = ledger.next_alpha(earlier, attempt.dataset, attempt.target_pct)
        if attempt.alpha <= due or not history.is_whole(path.parent):
            continue
        committed = _committed(path, attempt)
        if committed is not None and not _is_of_before(attempt, committed):
            yield f"{path}: attempt {attempt.number} spends {attempt.alpha:g}, but those before it leave it {due:g}"


def _undeclared_seeds(
    path: Path, evidence: Record, attempts: Iterable[Attempt], declared: Iterable[Declaration], since: str | None
) -> Iterator[str]:
    """Look for the declaration of each seed; ``since`` is when the ledger has its first, None where it has none."""
    if since is None:
        return
    known = {index for attempt in attempts for index in attempt.indices}
    known |= {index for item in declared for index in item.indices}
    for run in evidence.seeds:
        if run.index not in known and _time(run.started_utc) >= _time(since):
            yield (
                f"{path} lacks the declaration of seed {run.index} of {evidence.hash} ({evidence.recipe_name}, "
                f"{evidence.target_pct:g} %), which began {run.started_utc}"
            )
            return


def _late(path: Path, name: str, declared: str, indices: Iterable[int], begun: Mapping[int, str]) -> Iterator[str]:
    for index in indices:
        if index in begun and _time(begun[index]) < _time(declared):
            yield f"{path}: {name} is of {declared}, after seed {index} had begun ({begun[index]})"
            return


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ContentError(f"{text!r} is not a time, as the ledger and the records state times") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
