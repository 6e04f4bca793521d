"""The ledger: an append-only file of declarations, written before the declared runs start.

Three kinds of lines: certification attempts (and their ends), the seeds of verifications and of certificates
(``certificate.py``), and evaluations on further images (and the results).

A *look* is the first declaration of a row, by a verification, an attempt or a certificate. Each look spends a share of
``LOOK_ALPHA``; each attempt and each certificate spends a share of ``ALPHA``, too.
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

from harness.data.datasets import Dataset
from harness.data.groups import GroupErrors
from harness.evidence import bounds
from harness.evidence.record import Record, RowKey, report_damage
from harness.system import files, statistics
from harness.system.document import BRING_BACK, parse_json, read_as, strict_json
from harness.system.errors import ContentError
from harness.training.result import finite

DEFAULT_SEEDS = 30  # without ``--seeds``
MIN_SEEDS = 20
# Probability that any success on a data set is false, over all attempts at all targets (decision 20).
ALPHA = 0.05
# Probability that any verification of a workspace on the same test images is false, for normal seeds.
LOOK_ALPHA = 0.1
ALPHA_SHARE = 0.2  # of the remaining probability, spent by each entry
# Probability of the first look, ``ALPHA_SHARE * LOOK_ALPHA``. Rows of older lines, which state no probability, were all
# verified at this confidence; the account charges them with the share that was due (``due_look_alpha``).
_FIRST_LOOK_ALPHA = round(1 - bounds.VERIFIED_CONFIDENCE, 9)

# Difference of equal bounds, in percentage points: far above float rounding, far below one image in a hundred seeds.
# Also the rounding allowed in sums of probabilities.
TOLERANCE = 1e-6

# Attempts of the first rules: number, network, first seed, number of seeds, time.
_OF_OLD_RULES = {
    (1, "209721711989", 0, 30, "2026-11-20T18:31:02+00:00"),
    (2, "5b5d16c11c4a", 0, 40, "2026-11-20T21:26:28+00:00"),
    (3, "4b8be5baa6a6", 0, 24, "2026-11-20T23:26:02+00:00"),
    (4, "eab8ffbcd93d", 0, 20, "2026-11-21T08:05:25+00:00"),
}


class AttemptResult(StrEnum):
    """Result of an attempt; ``open`` until the attempt has ended."""

    OPEN = "open"
    CERTIFIED = "certified"
    FAILED = "failed"
    FUTILE = "futile"


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class _LedgerEntry:
    hash: str
    recipe_hash: str
    dataset: str
    protocol_version: int
    declared_utc: str
    commit: str | None = None


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class _SeedDeclaration(_LedgerEntry):
    """Seeds of a row that are declared and are to be run; base of ``Attempt`` and ``Declaration``.

    Attributes:
        test_sketch: Digests of the test images (``harness.data.testset.sketch_of_test_part``); empty in older lines.
        look_alpha: Probability that this look at the test images verifies a network falsely; the row is verified by a
            bound of confidence ``1 - look_alpha``. 0 for further seeds of a row, because the seeds declared first
            decide. None in older lines, whose rows were verified at 98 %.
    """

    target_pct: float
    test_sketch: tuple[str, ...] = ()
    look_alpha: Annotated[float | None, Field(ge=0, le=_FIRST_LOOK_ALPHA)] = None

    @property
    def key(self) -> RowKey:
        return RowKey.of(self)

    def shares_images(self, dataset: str, test_sketch: Iterable[str]) -> bool:
        return self.dataset == dataset or not set(self.test_sketch).isdisjoint(test_sketch)


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(_SeedDeclaration):
    """An attempt to certify a row.

    Attributes:
        number: Counted from 1 over all attempts of the ledger.
        first_index: First of ``seeds`` consecutive seed indices, none of which was run before.
        alpha: Probability of a false success that the attempt spends.
        rules: Version. 1: seeds were known beforehand, and each attempt spent 0.01. From 2 on: seeds depend on the
            commit of the declaration, and ``next_alpha`` is spent. From 3 on: the bound holds for skewed seeds. From 4
            on: also over groups of test images.
        lower_bound_pct: See ``bound_pct``; None while open.
    """

    number: int
    first_index: int
    seeds: int
    alpha: float = 0.01
    rules: int = 1
    outcome: AttemptResult = AttemptResult.OPEN
    lower_bound_pct: float | None = None
    ended_utc: str | None = None

    @property
    def indices(self) -> range:
        """Declared seed indices."""
        return range(self.first_index, self.first_index + self.seeds)

    @property
    def declaration(self) -> Attempt:
        """The attempt as declared, without outcome, bound and end."""
        return replace(self, outcome=AttemptResult.OPEN, lower_bound_pct=None, ended_utc=None)

    @property
    def confidence(self) -> float:
        """Confidence of the bound that decides the attempt; before rules 3 ``1 - alpha``, for normal seeds."""
        return 1 - self.alpha if self.rules < 3 else bounds.certifying_confidence(self.alpha)

    def bound_pct(self, record: Record) -> float | None:
        """Return the lower bound of the recorded seeds of the attempt, per cent; None below two seeds.

        Before rules 3, Student's bound alone (``statistics.lower_bound``), which assumes normal seeds. Before rules 4,
        the bound over seeds alone for grouped test images too.
        """
        runs = [run for run in record.seeds if run.index in self.indices]
        if self.rules < 3 or not runs:
            return finite(statistics.lower_bound([run.accuracy_pct for run in runs], self.confidence))
        errors = {run.index: run.test_errors for run in runs}
        groups = record.group_errors if self.rules > 3 else GroupErrors()
        return finite(bounds.row_bound_pct(errors, runs[0].test_size, self.confidence, groups))

    def result(self, record: Record) -> tuple[AttemptResult, float | None]:
        """Return the result and the lower bound computed from the recorded seeds.

        OPEN and None until all seeds are recorded. Futility is not recomputed, because a stop depends on the order in
        which the seeds ended, and a stopped attempt cannot pass.
        """
        if any(record.seed(index) is None for index in self.indices):
            return AttemptResult.OPEN, None
        bound = self.bound_pct(record)
        has_passed = bound is not None and statistics.reaches(bound, record.target_pct)
        return (AttemptResult.CERTIFIED if has_passed else AttemptResult.FAILED), bound

    def contradiction(self, record: Record) -> str | None:
        """Return the first difference between the stated result and the record; None if they agree.

        The stated result of grouped test images from rules 4 on is not compared: the bound over groups was corrected
        while rules 4 were in force, other groups were assumed (``Record.group_errors``), and reading the data again may
        add the group of each image. Such an attempt certifies only if the result computed now agrees.
        """
        fault = self._fault(record)
        return None if fault is None else f"attempt {self.number}: {fault}"

    def _fault(self, record: Record) -> str | None:
        if not 0 < self.alpha <= ALPHA_SHARE * ALPHA:
            return f"alpha: {self.alpha:g} stated, at most {ALPHA_SHARE * ALPHA:g} allowed"
        declaration = (self.number, self.hash, self.first_index, self.seeds, self.declared_utc)
        if self.rules < 2 and declaration not in _OF_OLD_RULES:
            return f"rules: {self.rules} stated, allowed up to attempt 4 only"
        if self.outcome not in (AttemptResult.CERTIFIED, AttemptResult.FAILED):
            return None
        if self.seeds < MIN_SEEDS:
            return f"seeds: {self.seeds} stated, at least {MIN_SEEDS} required"
        beacons = {run.beacon for run in record.seeds if run.index in self.indices}
        if self.rules > 1 and (None in beacons or len(beacons) != 1):
            stated_beacons = ", ".join(sorted(map(str, beacons))) or "none"
            return f"beacon: {stated_beacons} stated by the seeds, a single beacon required"
        for index in self.indices:
            if record.seed(index) is None:
                return f"outcome: {self.outcome} stated, but the record of {self.hash} lacks seed {index}"
        if self.rules > 3 and record.group_errors.sizes:
            return None
        stated_bound = self.lower_bound_pct
        result, bound = self.result(record)
        is_equal = stated_bound is not None and bound is not None and abs(stated_bound - bound) < TOLERANCE
        if result is self.outcome and is_equal:
            return None
        return f"outcome: {self.outcome} with bound {stated_bound} stated, {result} with {bound} computed"

    def is_certified(self, record: Record) -> bool:
        """Return whether the attempt states a certification that follows from its record."""
        is_stated = self.outcome is AttemptResult.CERTIFIED and self.contradiction(record) is None
        return is_stated and self.result(record)[0] is AttemptResult.CERTIFIED

    def is_declared_in(self, line: str) -> bool:
        """Return whether a line of a ledger is the declaration of the attempt."""
        try:
            return _entry_of(line, "the ledger") == self.declaration
        except ContentError:
            return False


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration(_SeedDeclaration):
    """Seeds of a verification, none run before; the row is verified only after all have been run.

    Attributes:
        alpha: Probability of a false success that a certificate spends; 0 without a certificate.
        data_hash: SHA-256 of the data of a certificate; None without a certificate and in older lines.
        test_size: Test images of a certificate; None as for ``data_hash``.
    """

    kind: Literal["verification"] = "verification"
    indices: tuple[int, ...]
    alpha: float = 0.0
    data_hash: str | None = None
    test_size: int | None = None


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(_LedgerEntry):
    """Evaluation of recorded seeds on further labelled images, registered before a network reads the images.

    Attributes:
        on_sha256: Digest of the image bytes.
        errors: Wrong images of each seed; empty while open.
        lower_bound_pct: One-sided 99 % lower bound over seeds.
        lower_bound_images_pct: One-sided 99 % lower bound over seeds and images.
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
        """Network, recipe, data set and protocol of the evaluated seeds."""
        return (self.hash, self.recipe_hash, self.dataset, self.protocol_version)


_ClosableEntry = TypeVar("_ClosableEntry", Attempt, Registration)
_AnyEntry = TypeVar("_AnyEntry", Attempt, Declaration, Registration)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Entries of a ledger in the order of the declarations; attempts and registrations in the last state."""

    attempts: list[Attempt] = field(default_factory=list)
    declarations: list[Declaration] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)

    @property
    def spending_entries(self) -> list[Attempt | Declaration]:
        """Entries that spend the probability of a false success."""
        return [*self.attempts, *(item for item in self.declarations if item.alpha)]

    @property
    def seed_declarations(self) -> list[Attempt | Declaration]:
        """Entries that declare seeds, in the order of the declarations."""
        return sorted([*self.attempts, *self.declarations], key=lambda item: item.declared_utc)

    def open_attempt(self, key: RowKey) -> Attempt | None:
        """Return the open attempt for a row, or None."""
        open_attempts = [item for item in self.attempts if item.outcome is AttemptResult.OPEN and item.key == key]
        return open_attempts[0] if open_attempts else None

    def look_alpha(self, key: RowKey) -> float:
        """Return the false-verification probability spent by the look at a row, by default 0.02."""
        looks = [item.look_alpha for item in self.seed_declarations if item.key == key]
        # Without 0 (further seeds of the row) and None (an older line).
        return next(filter(None, looks), _FIRST_LOOK_ALPHA)

    def declared_indices(self, key: RowKey, recorded_indices: Container[int]) -> list[list[int]]:
        """Return the seed indices of each declaration of a row, in order.

        Of a futile attempt, only the seeds in ``recorded_indices`` count.
        """
        indices = []
        for item in self.seed_declarations:
            if item.key == key:
                is_futile = isinstance(item, Attempt) and item.outcome is AttemptResult.FUTILE
                indices.append([index for index in item.indices if index in recorded_indices or not is_futile])
        return indices


def read(path: Path, damage: list[ContentError] | None = None, *, with_shipped: bool = True) -> Ledger:
    """Return the entries of a ledger and of the shipped ledger.

    Args:
        path: The ledger, which may not exist.
        damage: Receives an error per damaged line, which is left out, or unreadable file; None to report each once.
    """
    # The last state by the state as declared.
    attempts: dict[Attempt, Attempt] = {}
    registrations: dict[Registration, Registration] = {}
    ledger = Ledger()
    faults: list[ContentError] = []
    lines: dict[str, str] = {}  # place by text; a line in both files counts once
    for file in (*([files.SHIPPED / "records" / path.name] if with_shipped else []), path):
        try:
            for number, line in enumerate(files.log_text(file).splitlines(), start=1):
                lines.setdefault(line, f"{file}, line {number}")
        except ContentError as error:
            faults.append(error)
    for line, location in lines.items():
        try:
            entry = _entry_of(line, location)
        except ContentError as error:
            faults.append(error)
            continue
        match entry:
            case Declaration():
                ledger.declarations.append(entry)
            case Registration():
                start = replace(entry, errors=(), lower_bound_pct=None, lower_bound_images_pct=None, ended_utc=None)
                # A second end contradicts nothing: the errors follow from stored weights.
                if not registrations.get(start, start).errors:
                    registrations[start] = entry
            case Attempt():
                # Two clones may declare the same number; such attempts differ in other fields.
                earlier = attempts.get(entry.declaration, entry.declaration)
                if earlier.outcome is AttemptResult.OPEN:
                    attempts[entry.declaration] = entry
                elif entry.outcome not in (AttemptResult.OPEN, earlier.outcome):
                    fault = f"outcome of attempt {entry.number}: {entry.outcome} stated, {earlier.outcome} before"
                    faults.append(ContentError(f"{location}: {fault}"))
    report_damage(faults, damage)
    ledger.attempts.extend(sorted(attempts.values(), key=lambda attempt: attempt.number))
    ledger.registrations.extend(registrations.values())
    return ledger


def _entry_of(line: str, location: str) -> Attempt | Declaration | Registration:
    kind: type[Attempt | Declaration | Registration] = Attempt  # ``read_as`` states the damage of a line
    with suppress(ValueError, AttributeError, TypeError):
        kind = {"verification": Declaration, "evaluation": Registration}.get(parse_json(line).get("kind"), Attempt)
    return read_as(kind, line, location, BRING_BACK)


def next_alpha(
    entries: Iterable[Attempt | Declaration], dataset: str, test_sketch: Collection[str] = (), damaged_count: int = 0
) -> float:
    """Return the probability that the next attempt on test images spends, for any network, recipe and target.

    ``ALPHA_SHARE * (ALPHA - spent)``: 0.01 first, then 0.008, 0.0064, and so on, so that the sum stays below ``ALPHA``.

    Args:
        entries: Entries that spend this probability (``Ledger.spending_entries``).
        test_sketch: Digests of the test images; entries with a common digest count, too.
        damaged_count: Damaged lines of the ledger, each of which counts as an attempt.
    """
    spent_alpha = sum(item.alpha for item in entries if item.shares_images(dataset, test_sketch))
    return _share_of(ALPHA - spent_alpha, damaged_count)


def _share_of(alpha_left: float, damaged_count: int) -> float:
    return max(0.0, round(ALPHA_SHARE * alpha_left * (1 - ALPHA_SHARE) ** damaged_count, 9))


def next_look_alpha(path: Path, dataset: str, test_sketch: Collection[str] = ()) -> float:
    """Return the probability that the next look of a workspace at test images spends.

    ``ALPHA_SHARE * (LOOK_ALPHA - spent)``: 0.02 first, then 0.016, 0.0128, and so on. A damaged line counts as a look.
    Shipped looks do not count; docs/evidence/results.md corrects for these.
    """
    damage: list[ContentError] = []
    declarations = read(path, damage, with_shipped=False).seed_declarations
    return due_look_alpha(declarations, dataset, test_sketch, len(damage))


def due_look_alpha(
    declarations: Iterable[Attempt | Declaration], dataset: str, test_sketch: Collection[str], damaged_count: int = 0
) -> float:
    """Return ``next_look_alpha`` after declarations; ``damaged_count`` lines of the ledger are damaged."""
    spent_alpha = 0.0
    rows: set[RowKey] = set()
    for item in declarations:
        if item.shares_images(dataset, test_sketch):
            # In older lines, the first line of a row spent the share that was due, further lines 0.
            due = 0.0 if item.key in rows else ALPHA_SHARE * (LOOK_ALPHA - spent_alpha)
            spent_alpha += due if item.look_alpha is None else item.look_alpha
            rows.add(item.key)
    return _share_of(LOOK_ALPHA - spent_alpha, damaged_count)


def confidence_of_next_look(path: Path, key: RowKey) -> float:
    """Return the confidence of the bound that verifies the next network on these test images."""
    declarations = read(path, [], with_shipped=False).seed_declarations
    test_sketch = next((item.test_sketch for item in declarations if item.key == key), ())
    return 1 - next_look_alpha(path, key.dataset, test_sketch)


def declare_attempt(
    path: Path, key: RowKey, first_index: int, seeds: int, commit: str | None = None, test_sketch: tuple[str, ...] = ()
) -> Attempt:
    """Enter a new attempt and return the attempt.

    ``seeds`` is the number of seeds, with consecutive indices; ``test_sketch`` is empty if this machine does not have
    the images.

    Raises:
        ContentError: Nothing is left to spend on these test images.
    """
    with files.locked(path.with_suffix(".lock")):
        row = _new_row(path, key, commit, test_sketch) | {"alpha": _alpha_left(path, key.dataset, test_sketch)}
        number = max((attempt.number for attempt in read(path).attempts), default=0) + 1
        return _append(path, Attempt(number=number, first_index=first_index, seeds=seeds, rules=4, **row))


def _alpha_left(path: Path, dataset: str, test_sketch: Collection[str]) -> float:
    damage: list[ContentError] = []
    entries = read(path, damage)
    alpha = next_alpha(entries.spending_entries, dataset, test_sketch, len(damage))
    if alpha <= 0:
        raise ContentError(f"certification attempts on {dataset} have spent the total error probability of {ALPHA:g}")
    return alpha


def declare_seeds(
    path: Path,
    key: RowKey,
    indices: Iterable[int],
    commit: str | None = None,
    test_sketch: tuple[str, ...] = (),
    certified_data: Dataset | None = None,
) -> Declaration:
    """Enter all seeds of a verification or a certificate, before the first seed is run, and return the declaration.

    ``certified_data`` is the data set of a certificate, which spends ``next_alpha`` like an attempt; None for a
    verification.

    Raises:
        ContentError: Nothing is left to spend on these test images.
    """
    with files.locked(path.with_suffix(".lock")):
        row = _new_row(path, key, commit, test_sketch)
        if certified_data is not None:
            row |= {"data_hash": certified_data.sha256, "test_size": certified_data.test_size}
            row["alpha"] = _alpha_left(path, key.dataset, test_sketch)
        return _append(path, Declaration(indices=tuple(indices), **row))


def _new_row(path: Path, key: RowKey, commit: str | None, test_sketch: tuple[str, ...]) -> dict[str, Any]:
    """``look_alpha`` is 0 if the row has been declared before."""
    look_alpha = 0.0
    if all(item.key != key for item in read(path).seed_declarations):
        look_alpha = next_look_alpha(path, key.dataset, test_sketch)
        if look_alpha <= 0:
            raise ContentError(
                f"verifications on the test images of {key.dataset} have spent the total error probability; "
                "new test images are required"
            )
    fields = {"declared_utc": _now(), "commit": commit, "test_sketch": test_sketch, "look_alpha": look_alpha}
    return key._asdict() | fields


def register(path: Path, registration: Registration) -> Registration:
    """Enter an evaluation on further images; return the entry, or an earlier entry of the same seeds and images."""
    subject = (*registration.subject, registration.on_sha256, registration.indices)
    with files.locked(path.with_suffix(".lock")):
        for item in read(path).registrations:
            if (*item.subject, item.on_sha256, item.indices) == subject:
                return item
        return _append(path, replace(registration, declared_utc=_now()))


def close(path: Path, entry: _ClosableEntry, **end: Any) -> _ClosableEntry:
    """Append the end of an attempt or a registration, with the fields ``end``, and return the ended entry."""
    return _append(path, replace(entry, ended_utc=_now(), **end))


def _append(path: Path, entry: _AnyEntry) -> _AnyEntry:
    files.append_line(path, json.dumps(asdict(entry)))
    return entry


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
