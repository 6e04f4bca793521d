"""What a kind of fault is: what it does to a running search, and what that search is given."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.small_search import SmallSearch


@dataclass(slots=True)
class Surroundings:
    """What a search is given besides its own options.

    Attributes:
        options: of ``harness search``.
        thing: what the fault strikes or takes notes in: a database, a cluster, a list; None where it is the search.
        lacks: looks for what is missing at the end, beyond the search's own files; ``left`` for what is left over.
        within: the command that starts the search; empty where nothing does.
    """

    options: Sequence[str] = ()
    thing: Any = None
    lacks: Callable[[SmallSearch], list[str]] = lambda search: []
    left: Callable[[], list[str]] = list
    within: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of fault.

    Attributes:
        what: for people.
        strike: does it, and makes the search go on.
        around: what the search is given, as a block; its argument is the folder of the search.
        why_not: why this machine cannot have it; empty where it can.
        each_session: it ends the session, so its moment is drawn anew for each; else one follows the end of a run.
        is_repeatable: the order of events is as without it, so that the answer must be equal to the bit.
        ends: exit codes with which it may end a session; one below zero is a signal.
        minutes: it costs minutes rather than seconds.
        at_once: most faults in one search.
    """

    what: str
    strike: Callable[[SmallSearch, random.Random, Surroundings], None]
    around: Callable[[Path], AbstractContextManager[Surroundings]]
    why_not: Callable[[], str] = lambda: ""
    each_session: bool = True
    is_repeatable: bool = True
    ends: frozenset[int] = frozenset()
    minutes: bool = False
    at_once: int = 12
