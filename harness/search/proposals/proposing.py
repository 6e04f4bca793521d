"""What a search hears from whoever proposes its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.evidence.events import Proposal, Rejected, Repeated
from harness.search.proposals.estimate import Room
from harness.search.race import Candidate, Outcome


@dataclass(frozen=True, slots=True)
class Found:
    """A network to train, with what was rejected and repeated on the way to it.

    Attributes:
        proposal: None where no further network below the ceiling was found; ``why`` then says so.
        lacks_time: with more time there might be one.
        rejected: networks that were only looked at on the way and rejected, by reason.
    """

    proposal: Proposal | None
    passed: tuple[Rejected | Repeated, ...]
    why: str = ""
    lacks_time: bool = False
    rejected: Mapping[str, int] = field(default_factory=dict)


class Proposing(Protocol):
    """Whoever proposes networks to a search."""

    def propose(self, ceiling: int, candidates: Mapping[int, Candidate], room: Room) -> Found:
        """Return the next network to train, of at most ``ceiling`` of what is minimised and not proposed before."""
        ...

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Hear what came of a proposal."""
        ...
