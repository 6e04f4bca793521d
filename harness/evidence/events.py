"""What happens in a search, as the log of its study keeps it.

Each kind of event is a frozen dataclass. ``line`` writes an entry as a line of JSON and ``read_line`` reads one back;
only this file knows the words in a log. Fields that older programs did not write have a default.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from harness.system.document import WrittenNetwork, document_of, read_as
from harness.system.errors import ContentError
from harness.training.recipe import recipe_document
from harness.training.result import Result
from search_spaces.space import Decision

_T = TypeVar("_T")

# The events by their words in the file, which never change.
KINDS: dict[str, type[Any]] = {}


def _logged(word: str) -> Callable[[type[_T]], type[_T]]:
    # Fields of other versions are passed over, nan is refused.
    def entered(kind: type[_T]) -> type[_T]:
        kind.__pydantic_config__ = {"extra": "ignore", "allow_inf_nan": False}  # type: ignore[attr-defined]
        KINDS[word] = kind
        return kind

    return entered


@_logged("session")
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBegan:
    """A program has begun to work on the study; ``seconds`` is the time it was given, None for no end."""

    command: tuple[str, ...] = ()
    workers: int | None = None
    device: str = ""
    seconds: float | None = None


@_logged("ended")
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded:
    """The search has ended in order.

    Attributes:
        reason: ``time``, ``trials``, ``exhausted`` or ``interrupted``; ``message`` says more.
        seconds: the time that it was given, None for no end; ``trials`` likewise.
    """

    reason: str = "unknown"
    message: str = ""
    seconds: float | None = None
    trials: int | None = None


@_logged("proposed")
@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A network that a search has decided to train.

    Attributes:
        epochs: of its training; None for those of the recipe.
        chance: predicted probability that it is confirmed; None where nothing was predicted.
    """

    trial: int
    architecture: WrittenNetwork
    hash: str
    parameters: int
    origin: str
    decisions: tuple[Decision, ...]
    epochs: int | None = None
    chance: float | None = None


@_logged("looked")
@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Networks that were looked at and rejected on the way to a proposal: their number by reason."""

    rejected: Mapping[str, int]


@_logged("rejected")
@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A proposal that was rejected before anything was built.

    Attributes:
        origin: ``ladder`` or ``sampler``.
        violation: what the sampler was told it breaks its limits by; None where it was told nothing.
        indices: the decisions, for a later session to tell them again; empty where nothing was told.
        budget: the most that a network might have of what is minimised, at that moment.
    """

    reason: str = "no reason given"
    parameters: int | None = None
    hash: str | None = None
    origin: str = ""
    violation: float | None = None
    indices: Mapping[str, int] = field(default_factory=dict)
    budget: int | None = None


@_logged("repeated")
@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """A proposal of a network that is known already, as ``trial``; ``indices`` are the decisions made this time."""

    trial: int
    hash: str = ""
    indices: Mapping[str, int] = field(default_factory=dict)


@_logged("rung")
@dataclass(frozen=True, slots=True, kw_only=True)
class RungReached:
    """A training was looked at after an epoch.

    Attributes:
        ratio: errors at the end for each error now; a tenth of the trainings had fewer. None in older logs.
        predicted_pct: the validation accuracy that could be hoped for.
        pruned: the training was stopped; ``exempt`` if it would have been and was spared.
    """

    trial: int
    epoch: int
    purpose: str = "search"
    seed_index: int = 0
    validation_errors: int | None = None
    ratio: float | None = None
    predicted_pct: float | None = None
    pruned: bool = False
    exempt: bool = False


@_logged("finished")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run has ended; all that it gave is here, and nowhere else."""

    run: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnFreshSeeds:
    """A network, and what its fresh validation seeds say of it."""

    trial: int
    hash: str
    parameters: int
    validation_accuracy_pct: float | None = None
    validation_seeds: int | None = None


@_logged("standing")
@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed(_OnFreshSeeds):
    """A network is now the confirmed one of the lowest cost; from here on others may have at most ``budget`` of it."""

    budget: int | None = None


@_logged("refuted")
@dataclass(frozen=True, slots=True, kw_only=True)
class FailedConfirmation(_OnFreshSeeds):
    """A network that met the threshold once has missed it on fresh seeds."""


@_logged("winner")
@dataclass(frozen=True, slots=True, kw_only=True)
class WinnerChosen(_OnFreshSeeds):
    """The network that the search answers with, before its verification."""


@_logged("postponed")
@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """There was too little time to verify the winner; it takes so many ``seconds``."""

    hash: str
    parameters: int
    seconds: float


@_logged("verified")
@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The winner was trained on fresh seeds and tested."""

    hash: str = ""
    recipe_hash: str = ""
    tier: str = ""
    mean_test_accuracy_pct: float | None = None
    seeds: int | None = None
    passed: bool | None = None


@_logged("advised")
@dataclass(frozen=True, slots=True, kw_only=True)
class Advised:
    """What was said at the end of a search without an answer: the arguments of a command, and what it does."""

    arguments: tuple[str, ...]
    advice: str


Event = (
    SessionBegan
    | SessionEnded
    | Proposal
    | Looked
    | Rejected
    | Repeated
    | RungReached
    | RunEnded
    | Confirmed
    | FailedConfirmation
    | WinnerChosen
    | Postponed
    | Verified
    | Advised
)
_WORDS = {kind: word for word, kind in KINDS.items()}

_E = TypeVar("_E", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Entry(Generic[_E]):
    """An event with its time.

    Attributes:
        elapsed: seconds that the study had been worked on, all sessions together.
        utc: when it was written, ISO 8601; empty where that is not known.
    """

    elapsed: float
    event: _E
    utc: str = ""


def line(entry: Entry[Event]) -> str:
    """Return an entry as a line of JSON, without the end of line.

    Raises:
        ValueError: a number is not finite.
    """
    head = {"event": _WORDS[type(entry.event)], "elapsed": round(entry.elapsed, 3), "utc": entry.utc}
    document = document_of(entry.event)
    if isinstance(entry.event, RunEnded):
        document["run"]["recipe"] = recipe_document(entry.event.run.recipe)
    return json.dumps(head | document, allow_nan=False)


def read_line(text: str) -> Entry[Event] | None:
    """Return the entry that a line holds; None where it holds none of this program's: torn, damaged or unknown."""
    try:
        document = json.loads(text)
        kind = KINDS.get(str(document["event"]))
        elapsed, utc = document.get("elapsed", 0.0), document.get("utc", "")
        if kind is None or type(elapsed) not in (int, float) or not 0 <= elapsed < float("inf") or type(utc) is not str:
            return None
        return Entry(float(elapsed), read_as(kind, text, "an event"), utc)
    except (ContentError, ValueError, KeyError, TypeError):
        return None
