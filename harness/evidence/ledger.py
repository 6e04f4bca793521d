"""The ledger of certification attempts: entered before the first seed, never taken back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from harness import files
from harness.document import documented, read_as
from harness.errors import ContentError

DEFAULT_SEEDS = 30
FEWEST_SEEDS = 20
CONFIDENCE = 0.99


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
        lower_bound_pct: one-sided 99 % lower t bound of the mean test accuracy, None while open.
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
    outcome: Outcome = Outcome.OPEN
    lower_bound_pct: float | None = None
    ended_utc: str | None = None

    @property
    def key(self) -> tuple[str, str, str, float, int]:
        """The row that it is about, as in ``Record.key``."""
        return (self.hash, self.recipe_hash, self.dataset, self.target_pct, self.protocol_version)


def read(path: Path) -> list[Attempt]:
    """Return all attempts in the order of their declaration.

    Raises:
        ContentError: a line is not an entry of the ledger, or gives an attempt that has ended another end.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ContentError(f"cannot read the ledger {path}: {error}") from error
    attempts: dict[Attempt, Attempt] = {}
    for number, line in enumerate(lines, start=1):
        entry = read_as(Attempt, line, f"the ledger {path}, line {number}")
        # Not the number alone: two clones of a workspace may have declared attempts of the same number, and both count.
        declared = replace(entry, outcome=Outcome.OPEN, lower_bound_pct=None, ended_utc=None)
        known = attempts.get(declared, declared)
        if known.outcome is Outcome.OPEN:
            attempts[declared] = entry
        elif entry.outcome not in (Outcome.OPEN, known.outcome):
            raise ContentError(
                f"{path}, line {number}: attempt {entry.number} is {entry.outcome}, but it has ended as {known.outcome}"
            )
    return sorted(attempts.values(), key=lambda attempt: attempt.number)


def declare(
    path: Path,
    key: tuple[str, str, str, float, int],
    first_index: int,
    seeds: int,
) -> Attempt:
    """Enter a new attempt and return it; from here on it counts."""
    network, recipe, dataset, target, protocol = key
    with files.locked(path.with_suffix(".lock")):
        attempt = Attempt(
            number=max((attempt.number for attempt in read(path)), default=0) + 1,
            hash=network,
            recipe_hash=recipe,
            dataset=dataset,
            target_pct=target,
            protocol_version=protocol,
            first_index=first_index,
            seeds=seeds,
            declared_utc=_now(),
        )
        files.append_line(path, json.dumps(asdict(attempt)))
    return attempt


def close(path: Path, attempt: Attempt, outcome: Outcome, lower_bound_pct: float | None) -> Attempt:
    """Enter how an attempt ended, and return it so; the line that declared it stays."""
    ended = replace(attempt, outcome=outcome, lower_bound_pct=lower_bound_pct, ended_utc=_now())
    files.append_line(path, json.dumps(asdict(ended)))
    return ended


def open_attempt(path: Path, key: tuple[str, str, str, float, int]) -> Attempt | None:
    """Return the attempt for a row that was declared and has not ended, if there is one."""
    for attempt in read(path):
        if attempt.outcome is Outcome.OPEN and attempt.key == key:
            return attempt
    return None


def attempts_for(path: Path, key: tuple[str, str, str, float, int]) -> list[Attempt]:
    """Return all attempts for a row."""
    return [attempt for attempt in read(path) if attempt.key == key]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
