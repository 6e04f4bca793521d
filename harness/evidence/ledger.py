"""The ledger: what was declared before it was run, never taken back.

Three kinds of lines: an attempt to certify a row (with its end), the seeds of a verification, and an evaluation on
other images (with what came of it).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from harness.system import files
from harness.system.document import documented, read_as
from harness.system.errors import ContentError

DEFAULT_SEEDS = 30
FEWEST_SEEDS = 20
# At which bounds are shown, and at which the first attempt at a target is decided.
CONFIDENCE = 0.99
# The chance that any success at a target is false, over all attempts at it (docs/adr/0020-*.md).
ALPHA = 0.05
# Each attempt spends so much of what the attempts before it have left.
ALPHA_SHARE = 0.2

Key = tuple[str, str, str, float, int]


class Outcome(StrEnum):
    """How an attempt ended; ``open`` until it has."""

    OPEN = "open"
    CERTIFIED = "certified"
    FAILED = "failed"
    FUTILE = "futile"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to certify a row.

    Attributes:
        number: counted from 1 over all attempts of the ledger.
        first_index: the first of ``seeds`` consecutive seed indices, none run before.
        alpha: the chance of a false success that it spends; one per cent before attempts had shares.
        commit: of the code that is to run it; None where that is not known.
        lower_bound_pct: one-sided lower t bound of the mean test accuracy at ``1 - alpha``, None while open.
    """

    number: int
    hash: str
    recipe_hash: str
    dataset: str
    target_pct: float
    protocol_version: int
    first_index: int
    seeds: int
    declared_utc: str
    alpha: float = 0.01
    commit: str | None = None
    outcome: Outcome = Outcome.OPEN
    lower_bound_pct: float | None = None
    ended_utc: str | None = None

    @property
    def key(self) -> Key:
        """The row that it is about, as in ``Record.key``."""
        return (self.hash, self.recipe_hash, self.dataset, self.target_pct, self.protocol_version)

    @property
    def indices(self) -> range:
        """The seeds that it has declared."""
        return range(self.first_index, self.first_index + self.seeds)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The seeds of a verification; its row counts as verified when all of them have been run.

    Attributes:
        indices: seed indices, none run before.
        commit: of the code that is to run them; None where that is not known.
    """

    kind: Literal["verification"] = "verification"
    hash: str
    recipe_hash: str
    dataset: str
    target_pct: float
    protocol_version: int
    indices: tuple[int, ...]
    declared_utc: str
    commit: str | None = None

    @property
    def key(self) -> Key:
        """The row that it is about, as in ``Record.key``."""
        return (self.hash, self.recipe_hash, self.dataset, self.target_pct, self.protocol_version)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """An evaluation of recorded seeds on other labelled images, entered before a network sees them.

    Attributes:
        dataset: what the seeds were trained on.
        on: the other images, ``images`` of them; ``on_sha256`` of their bytes.
        errors: wrong images of each seed, empty while open.
        lower_bound_pct: one-sided 99 % lower t bound over seeds.
        lower_bound_images_pct: the same over seeds and images (``variance_components``).
    """

    kind: Literal["evaluation"] = "evaluation"
    hash: str
    recipe_hash: str
    dataset: str
    protocol_version: int
    on: str
    on_sha256: str
    images: int
    indices: tuple[int, ...]
    declared_utc: str
    commit: str | None = None
    errors: tuple[int, ...] = ()
    lower_bound_pct: float | None = None
    lower_bound_images_pct: float | None = None
    ended_utc: str | None = None

    @property
    def subject(self) -> tuple[str, str, str, int]:
        """Whose seeds they are: network, recipe, data set and protocol."""
        return (self.hash, self.recipe_hash, self.dataset, self.protocol_version)


Entry = Attempt | Declaration | Registration
_KINDS: dict[str, type[Entry]] = {"verification": Declaration, "evaluation": Registration}


def read(path: Path) -> list[Attempt]:
    """Return all attempts in the order of their declaration.

    Raises:
        ContentError: a line is not an entry of the ledger, or gives an attempt that has ended another end.
    """
    attempts: dict[Attempt, Attempt] = {}
    for number, entry in _entries(path):
        if not isinstance(entry, Attempt):
            continue
        # Not the number alone: two clones of a workspace may have declared attempts of the same number, and both count.
        declared = _opened(entry)
        known = attempts.get(declared, declared)
        if known.outcome is Outcome.OPEN:
            attempts[declared] = entry
        elif entry.outcome not in (Outcome.OPEN, known.outcome):
            raise ContentError(
                f"{path}, line {number}: attempt {entry.number} is {entry.outcome}, but it has ended as {known.outcome}"
            )
    return sorted(attempts.values(), key=lambda attempt: attempt.number)


def declarations(path: Path) -> list[Declaration]:
    """Return the declared verifications, in order.

    Raises:
        ContentError: a line is not an entry of the ledger.
    """
    return [entry for _, entry in _entries(path) if isinstance(entry, Declaration)]


def registrations(path: Path) -> list[Registration]:
    """Return the evaluations on other images in the order of their declaration, each as it ended.

    Raises:
        ContentError: a line is not an entry of the ledger.
    """
    found: dict[Registration, Registration] = {}
    for _, entry in _entries(path):
        if isinstance(entry, Registration):
            opened = replace(entry, errors=(), lower_bound_pct=None, lower_bound_images_pct=None, ended_utc=None)
            if not found.get(opened, opened).errors:
                found[opened] = entry
    return list(found.values())


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


def _entries(path: Path) -> Iterator[tuple[int, Entry]]:
    """Yield the number of each line and what it holds."""
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ContentError(f"cannot read the ledger {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        yield number, read_as(_kind_of(line), line, f"the ledger {path}, line {number}")


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


def attempts_for(path: Path, key: Key) -> list[Attempt]:
    """Return all attempts for a row."""
    return [attempt for attempt in read(path) if attempt.key == key]


def _append(path: Path, entry: Entry) -> None:
    files.append_line(path, json.dumps(asdict(entry)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
