"""What happens in a search, as the log of its study keeps it.

``line`` writes an entry as a line of JSON and ``read_line`` reads one back; only this file knows the words in a log.
Fields that older programs did not write have a default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, dataclass_transform

from harness.system.document import WrittenNetwork, document_of, parse_json, read_as
from harness.system.errors import ContentError
from harness.training.recipe import recipe_document
from harness.training.result import Result
from search_spaces.space import Decision

# The events by their words in the file, which never change.
_KINDS: dict[str, type[Any]] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True)
class Event:
    """What has happened; ``word`` is its kind's in a log. Fields of other versions are passed over, nan is refused."""

    word: ClassVar[str]
    __pydantic_config__: ClassVar[Any] = {"extra": "ignore", "allow_inf_nan": False}

    def __init_subclass__(cls, word: str = "") -> None:
        """Make a frozen dataclass of a kind of event."""
        dataclass(frozen=True, kw_only=True)(cls)
        if word:
            cls.word, _KINDS[word] = word, cls


class SessionBegan(Event, word="session"):
    """A program has begun to work on the study; ``seconds`` is the time it was given, None for no end."""

    command: tuple[str, ...] = ()
    workers: int | None = None
    device: str = ""
    seconds: float | None = None


class SessionEnded(Event, word="ended"):
    """The search has ended in order.

    Attributes:
        reason: ``time``, ``trials``, ``exhausted`` or ``interrupted``; ``message`` says more.
        seconds: the time that it was given, None for no end; ``trials`` likewise.
    """

    reason: str = "unknown"
    message: str = ""
    seconds: float | None = None
    trials: int | None = None


class Proposal(Event, word="proposed"):
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


class Looked(Event, word="looked"):
    """Networks that were looked at and rejected on the way to a proposal: their number by reason."""

    rejected: Mapping[str, int]


class Rejected(Event, word="rejected"):
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


class Repeated(Event, word="repeated"):
    """A proposal of a network that is known already, as ``trial``; ``indices`` are the decisions made this time."""

    trial: int
    hash: str = ""
    indices: Mapping[str, int] = field(default_factory=dict)


class RungReached(Event, word="rung"):
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


class RunEnded(Event, word="finished"):
    """A run has ended; all that it gave is here, and nowhere else."""

    run: Result


class _OnFreshSeeds(Event):
    """A network, and what its fresh validation seeds say of it."""

    trial: int
    hash: str
    parameters: int
    validation_accuracy_pct: float | None = None
    validation_seeds: int | None = None


class Confirmed(_OnFreshSeeds, word="standing"):
    """A network is now the confirmed one of the lowest cost; from here on others may have at most ``budget`` of it.

    Where two costs are minimised, it is one of the front, and no budget falls.
    """

    budget: int | None = None


class FailedConfirmation(_OnFreshSeeds, word="refuted"):
    """A network that met the threshold once has missed it on fresh seeds."""


class WinnerChosen(_OnFreshSeeds, word="winner"):
    """The network that the search answers with, before its verification."""


class Postponed(Event, word="postponed"):
    """There was too little time to verify the winner; it takes so many ``seconds``."""

    hash: str
    parameters: int
    seconds: float


class Verified(Event, word="verified"):
    """The winner was trained on fresh seeds and tested."""

    hash: str = ""
    recipe_hash: str = ""
    tier: str = ""
    mean_test_accuracy_pct: float | None = None
    seeds: int | None = None
    passed: bool | None = None


class Advised(Event, word="advised"):
    """What was said at the end of a search without an answer: the arguments of a command, and what it does."""

    arguments: tuple[str, ...]
    advice: str


class Quoted(Event, word="quoted"):
    """What a search is expected to come to, after its first networks; three figures are an interval and its middle.

    Attributes:
        parameters: of the answer, 5 to 95 %; None where no network is expected to reach.
        chance: that any network of the space reaches.
        seconds: of a search with its verification.
        accuracy_pct: the highest on validation images that a network of the space will have, 5 to 95 %.
    """

    parameters: tuple[int | None, int | None, int | None]
    chance: float
    seconds: tuple[float, float, float]
    accuracy_pct: tuple[float, float, float]


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
    """Return an entry as a line of JSON, without the end of line."""
    head = {"event": entry.event.word, "elapsed": round(entry.elapsed, 3), "utc": entry.utc}
    document = document_of(entry.event)
    if isinstance(entry.event, RunEnded):
        document["run"]["recipe"] = recipe_document(entry.event.run.recipe)
    return json.dumps(head | document, allow_nan=False)


def read_line(text: str) -> Entry[Event] | None:
    """Return the entry that a line holds; None where it holds none of this program's: torn, damaged or unknown."""
    try:
        document = parse_json(text)
        kind = _KINDS.get(str(document["event"]))
        elapsed, utc = document.get("elapsed", 0.0), document.get("utc", "")
        if kind is None or type(elapsed) not in (int, float) or not 0 <= elapsed < float("inf") or type(utc) is not str:
            return None
        return Entry(float(elapsed), read_as(kind, text, "an event"), utc)
    except (ContentError, ValueError, KeyError, TypeError):
        return None
