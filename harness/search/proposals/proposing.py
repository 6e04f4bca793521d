"""What a search hears from whoever proposes its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.evidence.study import Proposal
from harness.search.proposals.estimate import Room
from harness.search.race import Candidate, Outcome


@dataclass(frozen=True, slots=True)
class Rejection:
    """A proposal that was rejected before anything was built.

    Attributes:
        origin: ``ladder`` or ``sampler``.
        violation: what the sampler was told it breaks its limits by; None where it was told nothing.
        indices: the decisions, for a later session to tell them again; empty where nothing was told.
    """

    reason: str
    parameters: int | None
    hash: str
    origin: str
    violation: float | None = None
    indices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Repeat:
    """A proposal of a network that is known already, as ``trial``; ``indices`` are the decisions made this time."""

    trial: int
    indices: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A network to train, with what was rejected and repeated on the way to it.

    Attributes:
        proposal: None where no further network below the budget was found; ``why`` then says so.
        lacks_time: with more time there might be one.
        rejected: networks that were only looked at on the way and rejected, by reason.
    """

    proposal: Proposal | None
    passed: tuple[Rejection | Repeat, ...]
    why: str = ""
    lacks_time: bool = False
    rejected: Mapping[str, int] = field(default_factory=dict)


class Proposing(Protocol):
    """Whoever proposes networks to a search."""

    def propose(self, budget: int, candidates: Mapping[int, Candidate], room: Room) -> Found:
        """Return the next network to train; see the function ``propose``."""
        ...

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Hear what came of a proposal."""
        ...
