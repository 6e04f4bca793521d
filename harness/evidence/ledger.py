"""The ledger: what was declared before it was run, never taken back.

Three kinds of lines: an attempt to certify a row (with its end), the seeds of a verification, and an evaluation on
other images (with what came of it).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.evidence.ledger_entry import Attempt, Declaration, Entry, Key, Outcome, Registration
from harness.system import files
from harness.system.document import BRING_BACK, read_as
from harness.system.errors import ContentError

# The entries are part of what this module offers.
__all__ = ["Attempt", "Declaration", "Key", "Outcome", "Registration"]

DEFAULT_SEEDS = 30
FEWEST_SEEDS = 20
# At which bounds are shown, and at which the first attempt at a target is decided.
CONFIDENCE = 0.99
# The chance that any success at a target is false, over all attempts at it (docs/decisions.md#20).
ALPHA = 0.05
# Each attempt spends so much of what the attempts before it have left.
ALPHA_SHARE = 0.2

_KINDS: dict[str, type[Entry]] = {"verification": Declaration, "evaluation": Registration}


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a ledger holds, in the order of the declarations; ``damage`` has the lines that are left out."""

    attempts: list[Attempt]
    declarations: list[Declaration]
    registrations: list[Registration]
    damage: list[ContentError]


def read_sound(path: Path) -> Ledger:
    """Return what can be read of a ledger, and why the rest cannot: a line that is no entry, or a second end."""
    attempts: dict[Attempt, Attempt] = {}
    declared: list[Declaration] = []
    evaluated: dict[Registration, Registration] = {}
    damage: list[ContentError] = []
    for number, entry in _entries(path):
        match entry:
            case ContentError():
                damage.append(entry)
            case Declaration():
                declared.append(entry)
            case Registration():
                opened = replace(entry, errors=(), lower_bound_pct=None, lower_bound_images_pct=None, ended_utc=None)
                if not evaluated.get(opened, opened).errors:
                    evaluated[opened] = entry
            case Attempt():
                # Not the number alone: two clones of a workspace may have declared attempts of the same number, and
                # both count.
                known = attempts.get(_opened(entry), _opened(entry))
                if known.outcome is Outcome.OPEN:
                    attempts[_opened(entry)] = entry
                elif entry.outcome not in (Outcome.OPEN, known.outcome):
                    fault = f"attempt {entry.number} is {entry.outcome}, but it has ended as {known.outcome}"
                    damage.append(ContentError(f"{path}, line {number}: {fault}"))
    numbered = sorted(attempts.values(), key=lambda attempt: attempt.number)
    return Ledger(numbered, declared, list(evaluated.values()), damage)


def _whole(path: Path) -> Ledger:
    """Return what a ledger holds.

    Raises:
        ContentError: a line is no entry, or gives an attempt that has ended another end.
    """
    found = read_sound(path)
    if found.damage:
        raise found.damage[0]
    return found


def read(path: Path) -> list[Attempt]:
    """Return all attempts in the order of their declaration, each as it ended; raises as ``_whole``."""
    return _whole(path).attempts


def declarations(path: Path) -> list[Declaration]:
    """Return the declared verifications, in order; raises as ``_whole``."""
    return _whole(path).declarations


def registrations(path: Path) -> list[Registration]:
    """Return the evaluations on other images, each as it ended; raises as ``_whole``."""
    return _whole(path).registrations


def undeclared(path: Path) -> list[Attempt]:
    """Return the attempts whose end the ledger has, but not their declaration."""
    declared, ended = set(), []
    for _, entry in _entries(path):
        if isinstance(entry, Attempt):
            opened = _opened(entry)
            if entry == opened:
                declared.add(opened)
            elif opened not in declared:
                ended.append(entry)
    return ended


def declares(text: str, attempt: Attempt) -> bool:
    """Return whether the text of a ledger has the line that declared an attempt."""
    wanted = _opened(attempt)
    for line in text.splitlines():
        try:
            if _kind_of(line) is Attempt and read_as(Attempt, line, "the ledger") == wanted:
                return True
        except ContentError:
            continue
    return False


def _opened(attempt: Attempt) -> Attempt:
    return replace(attempt, outcome=Outcome.OPEN, lower_bound_pct=None, ended_utc=None)


def _entries(path: Path) -> Iterator[tuple[int, Entry | ContentError]]:
    """Yield the number of each line and what it holds, or what is wrong with it."""
    try:
        text = files.log_text(path)
    except ContentError as error:
        yield 0, error
        return
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            yield number, read_as(_kind_of(line), line, f"the ledger {path}, line {number}")
        except ContentError as error:
            error.hint = BRING_BACK
            yield number, error


def _kind_of(line: str) -> type[Entry]:
    try:
        kind = json.loads(line).get("kind")
    except (ValueError, AttributeError):
        return Attempt  # which says what is wrong with the line
    return _KINDS.get(kind, Attempt)


def next_alpha(attempts: Iterable[Attempt], dataset: str, target_pct: float) -> float:
    """Return what the next attempt at a target may spend, whichever network and recipe it is about.

    A fifth of what is left of five per cent: one per cent first, then 0.8, 0.64, and so on; never all.
    """
    spent = sum(item.alpha for item in attempts if (item.dataset, item.target_pct) == (dataset, target_pct))
    return max(0.0, round(ALPHA_SHARE * (ALPHA - spent), 9))


def declare(path: Path, key: Key, first_index: int, seeds: int, commit: str | None = None) -> Attempt:
    """Enter a new attempt and return it; from here on it counts.

    Raises:
        ContentError: attempts at this target have spent all that there is.
    """
    network, recipe, dataset, target, protocol = key
    with files.locked(path.with_suffix(".lock")):
        known = read(path)
        alpha = next_alpha(known, dataset, target)
        if alpha <= 0:
            raise ContentError(f"attempts at {target:g} % on {dataset} have spent all of the chance of a false success")
        attempt = Attempt(
            number=max((attempt.number for attempt in known), default=0) + 1,
            hash=network,
            recipe_hash=recipe,
            dataset=dataset,
            target_pct=target,
            protocol_version=protocol,
            first_index=first_index,
            seeds=seeds,
            declared_utc=_now(),
            alpha=alpha,
            commit=commit,
        )
        _append(path, attempt)
    return attempt


def declare_verification(path: Path, key: Key, indices: Iterable[int], commit: str | None = None) -> Declaration:
    """Enter the seeds of a verification, before the first of them is run."""
    network, recipe, dataset, target, protocol = key
    entry = Declaration(
        hash=network,
        recipe_hash=recipe,
        dataset=dataset,
        target_pct=target,
        protocol_version=protocol,
        indices=tuple(indices),
        declared_utc=_now(),
        commit=commit,
    )
    _append(path, entry)
    return entry


def register(path: Path, wanted: Registration) -> Registration:
    """Enter an evaluation on other images and return it; one of the same seeds and images is returned as it stands."""
    with files.locked(path.with_suffix(".lock")):
        for known in registrations(path):
            if (*known.subject, known.on_sha256, known.indices) == (*wanted.subject, wanted.on_sha256, wanted.indices):
                return known
        entry = replace(wanted, declared_utc=_now())
        _append(path, entry)
    return entry


def end_registration(
    path: Path, entry: Registration, errors: Iterable[int], bound_pct: float | None, images_bound_pct: float | None
) -> Registration:
    """Enter what came of an evaluation; the line that declared it stays."""
    ended = replace(
        entry,
        errors=tuple(errors),
        lower_bound_pct=bound_pct,
        lower_bound_images_pct=images_bound_pct,
        ended_utc=_now(),
    )
    _append(path, ended)
    return ended


def close(path: Path, attempt: Attempt, outcome: Outcome, lower_bound_pct: float | None) -> Attempt:
    """Enter how an attempt ended, and return it so; the line that declared it stays."""
    ended = replace(attempt, outcome=outcome, lower_bound_pct=lower_bound_pct, ended_utc=_now())
    _append(path, ended)
    return ended


def open_attempt(path: Path, key: Key) -> Attempt | None:
    """Return the attempt for a row that was declared and has not ended, if there is one."""
    for attempt in read(path):
        if attempt.outcome is Outcome.OPEN and attempt.key == key:
            return attempt
    return None


def _append(path: Path, entry: Entry) -> None:
    files.append_line(path, json.dumps(asdict(entry)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
