"""The ledger: what was declared before it was run, never taken back.

Three kinds of lines: an attempt to certify a row (with its end), the seeds of a verification, and an evaluation on
other images (with what came of it).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from harness.system import files
from harness.system.document import BRING_BACK, documented, parse_json, read_as
from harness.system.errors import ContentError

DEFAULT_SEEDS = 30
FEWEST_SEEDS = 20
# The confidence of the bounds that are shown, and of the bound that decides the first attempt at a target.
CONFIDENCE = 0.99
# The chance that any success on a data set is false, over all attempts at all targets (docs/decisions.md#20).
ALPHA = 0.05
# The chance that any verification of a workspace against the same test images is false, for normal seeds.
LOOK_ALPHA = 0.1
# Each attempt, and each look, spends so much of what those before it have left.
ALPHA_SHARE = 0.2
# The chance that each look could spend before looks shared an account, and that the first one spends.
FIRST_LOOK_ALPHA = round(ALPHA_SHARE * LOOK_ALPHA, 9)

# The four attempts that were declared by the first rules: number, network, first seed, seeds and time.
_OF_OLD_RULES = {
    (1, "209721711989", 0, 30, "2026-11-20T18:31:02+00:00"),
    (2, "5b5d16c11c4a", 0, 40, "2026-11-20T21:26:28+00:00"),
    (3, "4b8be5baa6a6", 0, 24, "2026-11-20T23:26:02+00:00"),
    (4, "eab8ffbcd93d", 0, 20, "2026-11-21T08:05:25+00:00"),
}

_Key = tuple[str, str, str, float, int]


class Outcome(StrEnum):
    """How an attempt ended; ``open`` until it has."""

    OPEN = "open"
    CERTIFIED = "certified"
    FAILED = "failed"
    FUTILE = "futile"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What all lines say: of which network, by which code (None where that is not known), and when."""

    hash: str
    recipe_hash: str
    dataset: str
    protocol_version: int
    declared_utc: str
    commit: str | None = None


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class _Promise(_Entry):
    """Seeds of a row that are to be run.

    Attributes:
        test_sketch: digests of the test images (``harness.data.testset.sketch_of_test_part``); empty in older lines.
        look_alpha: the chance that this look at the test images verifies a network falsely; the bound that verifies its
            row is one of 1 - ``look_alpha``. Zero for further seeds of a row, as the seeds declared first decide; None
            in older lines, whose rows were verified by a bound of 98 %.
    """

    target_pct: float
    test_sketch: tuple[str, ...] = ()
    look_alpha: Annotated[float | None, Field(ge=0, le=FIRST_LOOK_ALPHA)] = None

    @property
    def key(self) -> _Key:
        """The row that it is about, as in ``Record.key``."""
        return (self.hash, self.recipe_hash, self.dataset, self.target_pct, self.protocol_version)

    def shares_images(self, dataset: str, test_sketch: Iterable[str]) -> bool:
        """Return whether it is about test images of a data set, or of one whose test part overlaps with them."""
        return self.dataset == dataset or not set(self.test_sketch).isdisjoint(test_sketch)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(_Promise):
    """One attempt to certify a row.

    Attributes:
        number: counted from 1 over all attempts of the ledger.
        first_index: the first of ``seeds`` consecutive seed indices, none run before.
        alpha: the chance of a false success that it spends; one per cent before attempts had shares.
        rules: 1 where the seeds were known beforehand and each attempt spent one per cent; from 2 on they depend on the
            commit that has the declaration, and ``next_alpha`` is spent; from 3 on the bound holds for skewed seeds.
        lower_bound_pct: one-sided lower bound of the mean test accuracy (``bounds.attempt_bound``), None while open.
    """

    number: int
    first_index: int
    seeds: int
    alpha: float = 0.01
    rules: int = 1
    outcome: Outcome = Outcome.OPEN
    lower_bound_pct: float | None = None
    ended_utc: str | None = None

    @property
    def indices(self) -> range:
        """The seeds that it has declared."""
        return range(self.first_index, self.first_index + self.seeds)

    @property
    def is_of_old_rules(self) -> bool:
        """Whether it is one of the four that were declared before ``rules`` had a number."""
        return (self.number, self.hash, self.first_index, self.seeds, self.declared_utc) in _OF_OLD_RULES

    @property
    def declared(self) -> Attempt:
        """The attempt as it was declared, without its end."""
        return replace(self, outcome=Outcome.OPEN, lower_bound_pct=None, ended_utc=None)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration(_Promise):
    """The seeds of a verification, none run before; its row counts as verified when all of them have been run.

    Attributes:
        alpha: the chance of a false success that a certificate of these seeds spends; 0 where none is made.
    """

    kind: Literal["verification"] = "verification"
    indices: tuple[int, ...]
    alpha: float = 0.0


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(_Entry):
    """An evaluation of recorded seeds on other labelled images, entered before a network sees them.

    Attributes:
        on: the other images, ``images`` of them; ``on_sha256`` of their bytes.
        errors: wrong images of each seed, empty while open.
        lower_bound_pct: one-sided 99 % lower t bound over seeds; ``lower_bound_images_pct`` over images, too.
    """

    kind: Literal["evaluation"] = "evaluation"
    on: str
    on_sha256: str
    images: int
    indices: tuple[int, ...]
    errors: tuple[int, ...] = ()
    lower_bound_pct: float | None = None
    lower_bound_images_pct: float | None = None
    ended_utc: str | None = None

    @property
    def subject(self) -> tuple[str, str, str, int]:
        """Whose seeds they are: network, recipe, data set and protocol."""
        return (self.hash, self.recipe_hash, self.dataset, self.protocol_version)


_Ended = TypeVar("_Ended", Attempt, Registration)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a ledger holds, in the order of the declarations: attempts and registrations as they ended."""

    attempts: list[Attempt] = field(default_factory=list)
    declarations: list[Declaration] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)

    @property
    def spending(self) -> list[Attempt | Declaration]:
        """The entries that spend the chance of a false success: attempts to certify a row, and certificates."""
        return [*self.attempts, *(item for item in self.declarations if item.alpha)]

    @property
    def promises(self) -> list[Attempt | Declaration]:
        """The entries that declare seeds, in the order of their declarations."""
        return sorted([*self.attempts, *self.declarations], key=lambda item: item.declared_utc)

    def look_alpha(self, key: _Key) -> float:
        """Return the chance of a false verification that the look at a row spends; that of a first look by default."""
        looks = [item.look_alpha for item in self.promises if item.key == key]
        return next(filter(None, looks), FIRST_LOOK_ALPHA)

    def promised(self, key: _Key, run: Container[int]) -> list[list[int]]:
        """Return the seeds of each declaration about a row, in the order of their declarations.

        Args:
            run: the seeds that the row has; what was given up as futile has promised no others.
        """
        own = [item for item in self.promises if item.key == key]
        promised = []
        for item in own:
            has_given_up = isinstance(item, Attempt) and item.outcome is Outcome.FUTILE
            promised.append([index for index in item.indices if index in run or not has_given_up])
        return promised


def read(path: Path, damage: list[ContentError] | None = None, *, with_shipped: bool = True) -> Ledger:
    """Return what a ledger and the shipped one hold."""
    attempts: dict[Attempt, Attempt] = {}
    evaluated: dict[Registration, Registration] = {}
    ledger = Ledger()
    faults: list[ContentError] = []
    lines: dict[str, str] = {}
    for file in (*([files.SHIPPED / "records" / path.name] if with_shipped else []), path):
        try:
            for number, line in enumerate(files.log_text(file).splitlines(), start=1):
                lines.setdefault(line, f"{file}, line {number}")
        except ContentError as error:
            faults.append(error)
    for line, where in lines.items():
        try:
            entry = _entry_of(line, where)
        except ContentError as error:
            faults.append(error)
            continue
        match entry:
            case Declaration():
                ledger.declarations.append(entry)
            case Registration():
                opened = replace(entry, errors=(), lower_bound_pct=None, lower_bound_images_pct=None, ended_utc=None)
                if not evaluated.get(opened, opened).errors:
                    evaluated[opened] = entry
            case Attempt():
                # An attempt is more than its number: two clones may have declared the same one, and both count.
                earlier = attempts.get(entry.declared, entry.declared)
                if earlier.outcome is Outcome.OPEN:
                    attempts[entry.declared] = entry
                elif entry.outcome not in (Outcome.OPEN, earlier.outcome):
                    stated = f"outcome of attempt {entry.number}: {entry.outcome} stated, {earlier.outcome} before"
                    faults.append(ContentError(f"{where}: {stated}"))
    if damage is not None:
        damage += faults
    elif faults:
        raise faults[0]
    ledger.attempts.extend(sorted(attempts.values(), key=lambda attempt: attempt.number))
    ledger.registrations.extend(evaluated.values())
    return ledger


def _entry_of(line: str, where: str) -> Attempt | Declaration | Registration:
    kind: type[Attempt | Declaration | Registration] = Attempt  # which says what is wrong with a line that is no entry
    with suppress(ValueError, AttributeError, TypeError):
        kind = {"verification": Declaration, "evaluation": Registration}.get(parse_json(line).get("kind"), Attempt)
    return read_as(kind, line, where, BRING_BACK)


def is_declaration(line: str, attempt: Attempt) -> bool:
    """Return whether a line declares an attempt."""
    try:
        return _entry_of(line, "the ledger") == attempt.declared
    except ContentError:
        return False


def next_alpha(spending: Iterable[Attempt | Declaration], dataset: str, test_sketch: Collection[str] = ()) -> float:
    """Return what the next attempt on test images may spend, whichever network, recipe and target it is about.

    A fifth of what is left of five per cent: one per cent first, then 0.8, 0.64, and so on; never all.
    """
    spent = sum(item.alpha for item in spending if item.shares_images(dataset, test_sketch))
    return max(0.0, round(ALPHA_SHARE * (ALPHA - spent), 9))


def next_look_alpha(path: Path, dataset: str, test_sketch: Collection[str] = ()) -> float:
    """Return the chance of a false verification that the next look of a workspace at test images spends.

    A fifth of what is left of ten per cent: two per cent first, then 1.6, 1.28, and so on. The looks that were
    published with the program do not count; docs/results.md corrects for their number.
    """
    spent = 0.0
    rows: set[_Key] = set()
    for item in read(path, [], with_shipped=False).promises:
        if item.shares_images(dataset, test_sketch):
            # Older lines state nothing: the first one of a row spent what was due.
            due = 0.0 if item.key in rows else ALPHA_SHARE * (LOOK_ALPHA - spent)
            spent += due if item.look_alpha is None else item.look_alpha
            rows.add(item.key)
    return max(0.0, round(ALPHA_SHARE * (LOOK_ALPHA - spent), 9))


def confidence_of_next_look(path: Path, key: _Key) -> float:
    """Return the confidence of the bound that verifies the next network on the test images of a row."""
    promises = read(path, [], with_shipped=False).promises
    test_sketch = next((item.test_sketch for item in promises if item.key == key), ())
    return 1 - next_look_alpha(path, key[2], test_sketch)


def declare(
    path: Path, key: _Key, first_index: int, seeds: int, commit: str | None = None, test_sketch: tuple[str, ...] = ()
) -> Attempt:
    """Enter a new attempt and return it; from here on it counts."""
    with files.locked(path.with_suffix(".lock")):
        entered = read(path)
        alpha = _alpha_left(entered, key[2], test_sketch)
        number = max((attempt.number for attempt in entered.attempts), default=0) + 1
        row = _of(key, commit, test_sketch) | {"look_alpha": _look_alpha_of(path, key, test_sketch)}
        attempt = Attempt(number=number, first_index=first_index, seeds=seeds, alpha=alpha, rules=3, **row)
        _append(path, attempt)
    return attempt


def _alpha_left(entered: Ledger, dataset: str, test_sketch: Collection[str]) -> float:
    alpha = next_alpha(entered.spending, dataset, test_sketch)
    if alpha <= 0:
        raise ContentError(f"attempts on {dataset} have spent all of the chance of a false success")
    return alpha


def declare_verification(
    path: Path, key: _Key, indices: Iterable[int], commit: str | None = None, test_sketch: tuple[str, ...] = ()
) -> None:
    """Enter the seeds of a verification, all at once, before the first of them is run."""
    with files.locked(path.with_suffix(".lock")):
        look_alpha = _look_alpha_of(path, key, test_sketch)
        _append(path, Declaration(indices=tuple(indices), look_alpha=look_alpha, **_of(key, commit, test_sketch)))


def declare_certificate(
    path: Path, key: _Key, indices: Iterable[int], commit: str | None = None, test_sketch: tuple[str, ...] = ()
) -> Declaration:
    """Enter the seeds of a certificate, all at once, and return them; they spend what an attempt would spend."""
    with files.locked(path.with_suffix(".lock")):
        alpha = _alpha_left(read(path), key[2], test_sketch)
        look_alpha = _look_alpha_of(path, key, test_sketch)
        row = _of(key, commit, test_sketch)
        entry = Declaration(indices=tuple(indices), alpha=alpha, look_alpha=look_alpha, **row)
        _append(path, entry)
    return entry


def _look_alpha_of(path: Path, key: _Key, test_sketch: tuple[str, ...]) -> float:
    """Return what a declaration about a row spends: nothing where the row was declared before.

    Raises:
        ContentError: nothing is left to spend on these test images.
    """
    if any(item.key == key for item in read(path).promises):
        return 0.0
    look_alpha = next_look_alpha(path, key[2], test_sketch)
    if look_alpha <= 0:
        raise ContentError(
            f"looks at the test images of {key[2]} have spent all of the chance of a false verification; "
            "fresh test images are needed"
        )
    return look_alpha


def _of(key: _Key, commit: str | None, test_sketch: tuple[str, ...]) -> dict[str, Any]:
    # The fields by which a new entry names its row, and when and by which code it is entered.
    row = dict(zip(("hash", "recipe_hash", "dataset", "target_pct", "protocol_version"), key, strict=True))
    return row | {"declared_utc": _now(), "commit": commit, "test_sketch": test_sketch}


def register(path: Path, wanted: Registration) -> Registration:
    """Enter an evaluation on other images and return it; one of the same seeds and images is returned as it stands."""
    with files.locked(path.with_suffix(".lock")):
        for known in read(path).registrations:
            if (*known.subject, known.on_sha256, known.indices) == (*wanted.subject, wanted.on_sha256, wanted.indices):
                return known
        _append(path, entry := replace(wanted, declared_utc=_now()))
    return entry


def close(path: Path, entry: _Ended, **end: Any) -> _Ended:
    """Enter how an attempt or what was registered has ended, and return it so; the line that declared it stays."""
    ended = replace(entry, ended_utc=_now(), **end)
    _append(path, ended)
    return ended


def open_attempt(path: Path, key: _Key) -> Attempt | None:
    """Return the attempt for a row that was declared and has not ended, if there is one."""
    return next((item for item in read(path).attempts if item.outcome is Outcome.OPEN and item.key == key), None)


def _append(path: Path, entry: Attempt | Declaration | Registration) -> None:
    files.append_line(path, json.dumps(asdict(entry)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
