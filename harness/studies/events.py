"""Events of a search, as stored in the log of its study; only this module knows the keys.

Fields that older programs did not write have a default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar, dataclass_transform

from harness.spaces.space import Decision
from harness.studies.standing import Outcome, Standing
from harness.system import statistics
from harness.system.document import WrittenNetwork, document_of, parse_json, read_as
from harness.system.errors import ContentError, as_command
from harness.training.result import Result

# By the value of the key ``event``, with the words of earlier versions.
_KINDS: dict[str, type[Any]] = {}
# In logs of earlier versions.
_VALUE_BY_EARLIER_VALUE = {("origin", "floor"): "baseline", ("origin", "aim"): "surrogate", ("tier", ""): "confirmed"}
# Fields that a line omits if they are None, as in most events and epochs.
_OMITTED = frozenset({"shorter_epochs", "validation_soft_errors", "validation_loss"})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True)
class Event:
    """Base class of all events; ``word`` states the class in a log.

    In a log, unknown fields are ignored, and NaN and infinity are refused.
    """

    word: ClassVar[str]
    __pydantic_config__: ClassVar[Any] = {"extra": "ignore", "allow_inf_nan": False}

    def __init_subclass__(cls, word: str = "", earlier_word: str = "") -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        if word:
            cls.word = word
            _KINDS.update({word: cls, earlier_word or word: cls})


class SessionBegan(Event, word="session"):
    """A program has started to work on the study.

    Attributes:
        command: Command line, the path of the program first.
        seconds: Time limit of all sessions together; None for no limit.
    """

    command: tuple[str, ...] = ()
    workers: int | None = None
    device: str = ""
    seconds: float | None = None


class EndReason(StrEnum):
    """Reason why a session of a search ended; the values are part of the log format."""

    TIME = "time"  # the time limit is reached, or a further network needs more time
    TRIALS = "trials"  # the limit of the trials is reached
    EXHAUSTED = "exhausted"  # no further network is worth a training
    INTERRUPTED = "interrupted"  # the user stopped the search


class SessionEnded(Event, word="ended"):
    """A session has ended by itself or by an interruption; absent after a kill.

    Attributes:
        reason: An ``EndReason``; logs of other versions may have other texts.
        seconds: Time limit of all sessions together; None for no limit.
    """

    reason: str = "unknown"
    message: str = ""
    seconds: float | None = None
    trials: int | None = None


class Proposal(Event, word="proposed"):
    """A network that the search will train.

    Attributes:
        trial: Number of the trial, counted from 0.
        origin: Source of the proposal: ``baseline``, ``ladder``, ``shorter``, ``surrogate`` or ``doubt``
            (docs/project/glossary.md), the name of a sampler, or ``draw`` for a uniform draw after a sampler found no
            new network.
        decisions: These derive the network from the search space; empty for networks that were not drawn.
        epochs: None for the epochs of the recipe.
        chance: Predicted probability of a confirmation; None without a prediction.
    """

    trial: int
    architecture: WrittenNetwork
    hash: str
    parameters: int
    origin: str
    decisions: tuple[Decision, ...]
    epochs: int | None = None
    chance: float | None = None


class DrawsRejected(Event, word="draws_rejected", earlier_word="looked"):
    """Number of draws and mutations that were rejected during the choice of a proposal, by reason."""

    rejected: Mapping[str, int]


# The training does not fit the time left; older logs have ``macs`` instead.
NO_TIME = "time"


class Rejected(Event, word="rejected"):
    """A single proposal of the baselines, of the ladder or of a sampler that was rejected before any training.

    Attributes:
        reason: Reason of ``harness.spaces.space.Feasibility``, or ``NO_TIME``.
        origin: ``baseline`` or ``ladder`` (docs/project/glossary.md), or ``sampler`` for every sampler.
        violation: Reported to the sampler; None if nothing was reported.
        indices: Index of the option of each decision, by name, for a later report; empty if nothing was reported.
        budget: Largest allowed value of the minimised metric at the time of the rejection.
    """

    reason: str = "no reason given"
    parameters: int | None = None
    hash: str | None = None
    origin: str = ""
    violation: float | None = None
    indices: Mapping[str, int] = field(default_factory=dict)
    budget: int | None = None


class Repeated(Event, word="repeated"):
    """A proposal of the known network ``trial``; ``indices`` as in ``Rejected``, from the repeated proposal."""

    trial: int
    hash: str = ""
    indices: Mapping[str, int] = field(default_factory=dict)


class RungReached(Event, word="rung"):
    """A run has reached a rung.

    Attributes:
        ratio: 10 % quantile over earlier runs of (final errors / errors at this rung); None in older logs.
        predicted_pct: Optimistic forecast of the final validation accuracy.
        exempt: Whether the run would have been pruned and was spared.
        shorter_epochs: Epochs of a training that replaces the run, if any.
    """

    trial: int
    epoch: int
    purpose: str = "search"
    seed_index: int = 0
    validation_errors: int | None = None
    validation_soft_errors: float | None = None
    ratio: float | None = None
    predicted_pct: float | None = None
    pruned: bool = False
    exempt: bool = False
    shorter_epochs: int | None = None


class RunEnded(Event, word="finished"):
    """A run has ended; the log keeps the only copy of its result."""

    run: Result


class _OnFreshSeeds(Event):
    trial: int
    hash: str
    parameters: int
    validation_accuracy_pct: float
    validation_seeds: int


class Confirmed(_OnFreshSeeds, word="confirmed", earlier_word="standing"):
    """A candidate has become the incumbent; further networks may have at most ``budget`` of the minimised metric.

    If two metrics are minimised, the candidate is part of the Pareto front, and no budget changes.
    """

    budget: int | None = None


class FailedConfirmation(_OnFreshSeeds, word="refuted"):
    """A network was refuted by its fresh seeds (docs/project/glossary.md: refuted)."""


class WinnerChosen(_OnFreshSeeds, word="winner"):
    """The network that the search returns, before the verification."""


class Postponed(Event, word="postponed"):
    """The time left was too short to verify the winner, which takes ``seconds``."""

    hash: str
    parameters: int
    seconds: float


class Verified(Event, word="verified"):
    """The winner was trained on verification seeds and tested.

    Attributes:
        passed: Whether the target is reached; None if the verification is open: a declared seed has not been run, or a
            declaration is missing.
    """

    hash: str = ""
    recipe_hash: str = ""
    tier: Standing = Standing.CONFIRMED
    mean_test_accuracy_pct: float | None = None
    seeds: int | None = None
    passed: bool | None = None

    def outcome(self, target_pct: float) -> Outcome:
        """Return the verdict on a target; an open verification is probable from the target up."""
        if self.passed is False:
            return Outcome.NOT_REACHED
        mean_pct = self.mean_test_accuracy_pct
        if self.passed is None and (mean_pct is None or not statistics.reaches(mean_pct, target_pct)):
            return Outcome.NOT_YET
        return self.tier.outcome


class Advised(Event, word="advised"):
    """Advice at the end of a search: the next command for the study.

    Attributes:
        arguments: Arguments of ``harness``.
        advice: Effect of the command, a verb phrase that continues "this command".
        why: Obstacle that prevented a (smaller) answer: ``time``, ``trials``, ``target``, ``space`` or
            ``verification``; empty if there is none.
        sentences: Explanation, one line per item, without full stops.
    """

    arguments: tuple[str, ...]
    advice: str
    why: str = ""
    sentences: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """Shell command with the arguments."""
        return as_command(*self.arguments)


class SearchForecast(Event, word="quoted"):
    """Forecast of the result of a search, after its first networks (``forecast.forecast_of``).

    Attributes:
        parameters: Parameters of the answer, quantiles of 5, 50 and 95 %; None for a quantile at which no network
            reaches the target.
        chance: Probability that the network with the best prospects reaches the target.
        seconds: Low, usual and high estimate of the time at which the answer is verified.
        accuracy_pct: Highest validation accuracy of a network of the space, quantiles of 5, 50 and 95 %.
        search_seconds: Length of the forecast search; 0 in logs of earlier versions.
    """

    parameters: tuple[int | None, int | None, int | None]
    chance: float
    seconds: tuple[float, float, float]
    accuracy_pct: tuple[float, float, float]
    search_seconds: float = 0.0


_E = TypeVar("_E", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Entry(Generic[_E]):
    """An event with its time.

    Attributes:
        elapsed: Working seconds on the study, all sessions together.
        utc: Time of writing, ISO 8601; empty if unknown.
    """

    elapsed: float
    event: _E
    utc: str = ""


def line(entry: Entry[Event]) -> str:
    """Return an entry as a line of JSON, without the end of line."""
    head = {"event": entry.event.word, "elapsed": round(entry.elapsed, 3), "utc": entry.utc}
    document = document_of(entry.event)
    if isinstance(entry.event, RunEnded):
        # Recipe fields that were added later are omitted at their defaults, as in all documents.
        document["run"]["recipe"] = entry.event.run.recipe.document
        for epoch in document["run"]["history"]:
            _omit_empty(epoch)
        _omit_empty(document["run"])
    _omit_empty(document)
    return json.dumps(head | document, allow_nan=False)


def _omit_empty(document: dict[str, Any]) -> None:
    """Remove the fields of ``_OMITTED`` that are None."""
    for name in _OMITTED & document.keys():
        if document[name] is None:
            del document[name]


def read_line(text: str) -> Entry[Event] | None:
    """Return the entry in a line; None if the line is torn, damaged, or of an unknown kind."""
    try:
        document = parse_json(text)
        kind = _KINDS.get(str(document["event"]))
        elapsed = document.get("elapsed", 0.0)
        utc = document.get("utc", "")
        if kind is None or type(elapsed) not in (int, float) or not 0 <= elapsed < float("inf") or type(utc) is not str:
            return None
        for (key, earlier_value), value in _VALUE_BY_EARLIER_VALUE.items():
            if document.get(key) == earlier_value:
                text = json.dumps(document | {key: value})
        return Entry(float(elapsed), read_as(kind, text, "an event"), utc)
    except (ContentError, ValueError, KeyError, TypeError):
        return None
