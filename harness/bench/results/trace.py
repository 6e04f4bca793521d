"""What a repeat of a method came to: its answers over time. Nothing here knows torch or Optuna."""

from __future__ import annotations

from dataclasses import dataclass

from harness.system.document import WrittenNetwork, documented


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The network that a method would return from a moment on; None in all fields where it would return none.

    Attributes:
        seconds: of the clock.
    """

    seconds: float
    hash: str | None
    architecture: WrittenNetwork | None
    parameters: int | None


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One repeat of one method.

    Attributes:
        seed: of the repeat, the same for all methods.
        answers: one a change, in order; before the first there is none.
        networks: proposed and trained; ``runs`` of them, fresh seeds included.
        rejected: proposals that were over the budget or known conditions.
        ended: seconds at which nothing more was done; the end of the task, unless the space was searched through.
    """

    method: str
    repeat: int
    seed: int
    answers: tuple[Answer, ...]
    networks: int
    runs: int
    rejected: int
    ended: float
