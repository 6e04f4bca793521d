"""A small search that is disturbed again and again, and what was counted.

A moment is chosen by chance: after the search has begun to work, or after a further run has ended, a time that is
drawn evenly. What was finished at the moment is read before the fault and compared afterwards.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import accounts
from benchmarks.fault_kind import Kind
from benchmarks.small_search import SmallSearch

# After the end of a run, where a fault does not end the session.
SPREAD_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class Disturbed:
    """What came of one search that was disturbed.

    Attributes:
        faults: how many struck before it ended.
        codes: how its processes ended, the killed ones included.
    """

    faults: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    read_again: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)


def disturbed(kind: Kind, place: Path, rng: random.Random, faults: int, work_seconds: float) -> Disturbed:
    """Run one search in an empty folder, disturb it up to so many times, let it end, and count.

    Args:
        work_seconds: what it takes without faults, from its first line in the log to its end.

    Raises:
        Stuck: it does not go on.
    """
    found = Disturbed()
    with kind.around(place) as given:
        search = SmallSearch(place, more=given.options, within=given.within)
        search.start()
        try:
            while found.faults < faults and _moment_comes(kind, search, rng, work_seconds):
                before = accounts.books(search.work)
                kind.strike(search, rng, given)
                found.faults += 1
                found.lost += accounts.lost(before, accounts.books(search.work))
            search.wait()
        finally:
            search.end()
        after = accounts.books(search.work)
        found.lost += [*accounts.unnoted(after), *given.lacks(search)]
        found.repeated, found.read_again = accounts.repeated(after), accounts.read_again(after)
        found.leftovers = [*search.survivors, *given.left(), *accounts.leftovers(search.work, place / "tmp")]
        found.answer, found.codes = accounts.answer(search.work), search.codes
    return found


def _moment_comes(kind: Kind, search: SmallSearch, rng: random.Random, work_seconds: float) -> bool:
    """Wait until the next fault is due; return whether the search is still there."""
    if kind.each_session:
        sessions, spread = len(search.codes), work_seconds
        has_come = search.wait_for(lambda: _sessions(search) > sessions or _is_verifying(search))
    else:
        ended, spread = _ended(search), SPREAD_SECONDS
        has_come = search.wait_for(lambda: _ended(search) > ended)
    until = time.monotonic() + rng.uniform(0, spread)
    return has_come and search.wait_for(lambda: time.monotonic() > until)


def _sessions(search: SmallSearch) -> int:
    return _log(search).count(b'"event": "session"')


def _ended(search: SmallSearch) -> int:
    """Return how many runs have ended, those of the verification too."""
    return _log(search).count(b'"event": "finished"') + len(accounts.books(search.work).seeds)


def _log(search: SmallSearch) -> bytes:
    log = search.study / "log.jsonl"
    return log.read_bytes() if log.exists() else b""


def _is_verifying(search: SmallSearch) -> bool:
    return next(search.work.glob("runs/.verify-*"), None) is not None
