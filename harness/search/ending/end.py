"""How a search ends without an answer, or before a smaller one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.evidence import events as logged
from harness.evidence.study import elapsed_seconds
from harness.evidence.verify import Verdict
from harness.search.nearest_miss import NearestMiss


@dataclass(frozen=True, slots=True)
class RanOut:
    """Time or trials were used up before anything stood."""

    of: Literal["time", "trials"]


@dataclass(frozen=True, slots=True)
class Answered:
    """The winner passed; time or trials were used up before a smaller network was trained again, which had passed."""

    smaller: NearestMiss
    of: Literal["time", "trials"]


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No further network was found; ``message`` says among which."""

    message: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """A network stands and was not verified; the whole search takes so many ``seconds`` with its verification."""

    hash: str
    parameters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Missed:
    """The winner was verified and does not reach the target.

    Attributes:
        hash: of the winner.
        errors: mean wrong test images over its seeds; ``allowed`` are those of the target, perhaps not whole.
        contradicted: the seeds are worse than those recorded before, whatever their mean.
    """

    hash: str
    errors: float
    allowed: float
    seeds: int
    contradicted: bool


End = RanOut | Answered | Exhausted | Postponed | Missed


def end_of(events: list[logged.Entry[logged.Event]], verdict: Verdict | None) -> End | None:
    """Return how a search ended without an answer that was not interrupted, from its journal; None with an answer."""
    if verdict is not None and verdict.passed:
        return None
    if events and isinstance(last := events[-1].event, logged.Postponed):
        return Postponed(last.hash, last.parameters, elapsed_seconds(events) + last.seconds)
    if verdict is not None:
        return _missed(verdict)
    ended = logged.of_kind(events, logged.SessionEnded)[-1].event
    if ended.reason == "exhausted":
        return Exhausted(ended.message)
    return RanOut("trials" if ended.reason == "trials" else "time")


def _missed(verdict: Verdict) -> Missed:
    row, size = verdict.row, verdict.record.seeds[0].test_size
    allowed = (100 - row.target_pct) / 100 * size
    return Missed(row.hash, row.test_errors_mean or 0.0, allowed, row.seeds, verdict.contradicted)
