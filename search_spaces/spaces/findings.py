"""What reading a network has settled about the parts of a search space that are drawn once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from search_spaces.ops import Op
from search_spaces.spaces.space import Scalar

Ops = tuple[Op, ...]
# A tie in the space of which the network's canonical form shows nothing, because it is used once.
_ONCE = ""


class Slot(NamedTuple):
    """A value that may be bound: under ``key``, or each time anew when that is None."""

    key: tuple[str, ...] | None
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """What reading has settled.

    Attributes:
        bound: values, shared ops and names of ties by key.
        trace: the ops as the space writes them since a shared part began; None outside of shared parts.
    """

    bound: frozenset[tuple[tuple[str, ...], Scalar | Ops]] = frozenset()
    trace: Ops | None = None

    def get(self, key: tuple[str, ...]) -> Scalar | Ops:
        """Return what is bound to ``key``, or None."""
        return dict(self.bound).get(key)

    def bind(self, key: tuple[str, ...], value: Scalar | Ops) -> Findings:
        """Return the findings with one more."""
        return replace(self, bound=self.bound | {(key, value)})

    def without(self, kind: str) -> Findings:
        """Return the findings without those whose key begins with ``kind``."""
        return replace(self, bound=frozenset(pair for pair in self.bound if pair[0][0] != kind))

    def traced(self, *ops: Op) -> Findings:
        """Return the findings with ops added to the trace, if there is one."""
        return self if self.trace is None else replace(self, trace=self.trace + ops)


def tied(written: str | None, canonical: str | None, findings: Findings) -> Findings | None:
    """Return the findings when the space's tie ``written`` shows as ``canonical``, or None when it cannot."""
    if written is None:
        return findings if canonical is None else None
    known = findings.get(("tie", written))
    if known is not None:
        return findings if known == canonical else None
    if canonical is not None and any(key[0] == "tie" and name == canonical for key, name in findings.bound):
        return None
    return findings.bind(("tie", written), canonical or _ONCE)


def settled(slot: Slot, value: Scalar, findings: Findings) -> Findings | None:
    """Return the findings when ``slot`` has ``value``, or None when it cannot."""
    if value not in slot.values:
        return None
    if slot.key is None:
        return findings
    known = findings.get(slot.key)
    if known is None:
        return findings.bind(slot.key, value)
    return findings if known == value else None
