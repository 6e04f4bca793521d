"""What a line of the ledger states: an attempt to certify a row, the seeds of a verification, or an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from harness.system.document import documented

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
