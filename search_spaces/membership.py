"""Whether a search space can draw a given network.

The network is read from left to right, as a parser reads a text: each part of the space returns the places
where it can end, given where it starts and what has been found out about values that are drawn once. Places
and findings are remembered, so that a part is tried once a state and not once a derivation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple, assert_never

from search_spaces.draw import judge
from search_spaces.network import Architecture
from search_spaces.ops import Conv, DepthwiseConv, Dropout, Dropout2d, Op, Residual
from search_spaces.space import (
    Body,
    Choice,
    Constant,
    Either,
    Fixed,
    Mark,
    Node,
    RepeatNode,
    ResidualNode,
    RuleRef,
    Scalar,
    SearchSpace,
    SharedOps,
    Template,
    Value,
    Variable,
)

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


def contains(space: SearchSpace, architecture: Architecture) -> bool:
    """Return whether ``space`` can draw ``architecture`` and its conditions accept it."""
    return judge(space, architecture).accepted and derives(space, architecture)


def derives(space: SearchSpace, architecture: Architecture) -> bool:
    """Return whether a draw can give ``architecture``, conditions aside; its ops need not fit together."""
    start = _Place(_Line(architecture.ops), 0, Findings())
    return any(end.at_end for end in _Reader(space).body(space.net, start, _Frame(0)))


@dataclass(frozen=True, slots=True)
class _Frame:
    """The parameters that the body of a rule sees, and how many rules are open around it."""

    level: int
    slots: tuple[tuple[str, Slot], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """Ops to be read; told apart by identity, which is quick to hash."""

    ops: Ops


class _Place(NamedTuple):
    line: _Line
    position: int
    findings: Findings

    @property
    def op(self) -> Op | None:
        """The op that comes next."""
        return self.line.ops[self.position] if self.position < len(self.line.ops) else None

    @property
    def at_end(self) -> bool:
        """Whether no op comes next."""
        return self.position == len(self.line.ops)


Places = frozenset[_Place]
NOWHERE: Places = frozenset()


@dataclass(slots=True)
class _Reader:
    """Reads one network; ``lines`` holds the insides of its residual sums."""

    space: SearchSpace
    lines: dict[int, _Line] = field(default_factory=dict)
    memory: dict[tuple[int, _Place, _Frame], Places] = field(default_factory=dict)

    def body(self, body: Body, place: _Place, frame: _Frame) -> Places:
        """Return the places where a body that starts at ``place`` can end."""
        places: Places = frozenset({place})
        for node in body.nodes:
            places = NOWHERE.union(*(self._node(node, start, frame) for start in places))
        return places

    def _node(self, node: Node, place: _Place, frame: _Frame) -> Places:
        key = (id(node), place, frame)
        if key not in self.memory:
            self.memory[key] = self._read(node, place, frame)
        return self.memory[key]

    def _read(self, node: Node, place: _Place, frame: _Frame) -> Places:
        match node:
            case Mark():
                return frozenset({place})
            case Fixed():
                return self._written(node.op, place)
            case Template():
                return self._template(node, place, frame)
            case ResidualNode():
                return self._around(node, place, frame)
            case Either():
                return NOWHERE.union(*(self.body(branch, place, frame) for branch in node.branches))
            case RepeatNode():
                return self._times(node, place, frame)
            case RuleRef():
                return self._mention(node, place, frame)
            case SharedOps():
                return self._shared(node, place, frame)
            case _:
                assert_never(node)

    def _template(self, node: Template, place: _Place, frame: _Frame) -> Places:
        slots = {name: self._slot(value, frame) for name, value in node.fields}
        found = NOWHERE
        if node.op in (Dropout, Dropout2d):
            # A rate of zero leaves nothing in the canonical form.
            found |= _moved(place, 0, _settled(slots["p"], 0, place.findings), Dropout(0))
        op = place.op
        if type(op) is not node.op or op is None:
            return found
        findings: Findings | None = place.findings
        for name, slot in slots.items():
            if name != "tie" and findings is not None:
                findings = _settled(slot, getattr(op, name), findings)
        if findings is None:
            return found
        ties = slots["tie"].values if "tie" in slots else (None,)
        return found.union(*(_taken(op, tie, place._replace(findings=findings)) for tie in ties))

    def _around(self, node: ResidualNode, place: _Place, frame: _Frame) -> Places:
        if not isinstance(place.op, Residual):
            return NOWHERE
        trace = place.findings.trace
        inside = replace(place.findings, trace=None if trace is None else ())
        ends = self.body(node.body, _Place(self._line(place.op), 0, inside), frame)
        found = NOWHERE
        for end in ends:
            if end.at_end:
                findings = replace(end.findings, trace=trace)
                found |= _moved(place, 1, findings, Residual(end.findings.trace or ()))
        return found

    def _times(self, node: RepeatNode, place: _Place, frame: _Frame) -> Places:
        places: Places = frozenset({place})
        found = places if node.low == 0 else NOWHERE
        for count in range(1, node.most + 1):
            places = NOWHERE.union(*(self.body(node.body, start, frame) for start in places))
            if count >= node.low:
                found |= places
        return found

    def _mention(self, node: RuleRef, place: _Place, frame: _Frame) -> Places:
        level = frame.level + 1
        slots = []
        for name, value in node.arguments:
            slot = self._slot(value, frame)
            own = Slot((f"parameter {level}", name), slot.values) if isinstance(value, Choice) else slot
            slots.append((name, own))
        ends = self.body(node.body, place, _Frame(level, tuple(slots)))
        return frozenset(end._replace(findings=end.findings.without(f"parameter {level}")) for end in ends)

    def _shared(self, node: SharedOps, place: _Place, frame: _Frame) -> Places:
        key = ("ops", node.name)
        written = place.findings.get(key)
        if isinstance(written, tuple):
            return self._all_written(written, place)
        body = next(part.content for part in self.space.shared if part.name == node.name)
        assert isinstance(body, Body)
        outer = place.findings.trace
        start = place._replace(findings=replace(place.findings, trace=()))
        found = NOWHERE
        for end in self.body(body, start, _Frame(frame.level)):
            trace = end.findings.trace or ()
            findings = replace(end.findings, trace=outer).bind(key, trace).traced(*trace)
            found |= {end._replace(findings=findings)}
        return found

    def _all_written(self, ops: Ops, place: _Place) -> Places:
        places: Places = frozenset({place})
        for op in ops:
            places = NOWHERE.union(*(self._written(op, start) for start in places))
        return places

    def _written(self, op: Op, place: _Place) -> Places:
        """Return where an op without choices ends: at one place or nowhere."""
        if isinstance(op, Dropout | Dropout2d) and op.p == 0:
            return _moved(place, 0, place.findings, op)
        target = place.op
        if isinstance(op, Residual) and isinstance(target, Residual):
            inside = replace(place.findings, trace=None)
            ends = self._all_written(op.ops, _Place(self._line(target), 0, inside))
            found = (replace(end.findings, trace=place.findings.trace) for end in ends if end.at_end)
            return NOWHERE.union(*(_moved(place, 1, findings, op) for findings in found))
        if target is None or _untied(op) != _untied(target):
            return NOWHERE
        return _taken(target, op.tie if isinstance(op, Conv | DepthwiseConv) else None, place)

    def _slot(self, value: Value, frame: _Frame) -> Slot:
        match value:
            case Constant():
                return Slot(None, (value.value,))
            case Choice():
                return Slot(None, value.values)
            case Variable(shared=False):
                return dict(frame.slots)[value.name]
            case Variable():
                content = next(part.content for part in self.space.shared if part.name == value.name)
                assert not isinstance(content, Body)
                slot = self._slot(content, frame)
                return Slot(("value", value.name), slot.values) if isinstance(content, Choice) else slot
            case _:
                assert_never(value)

    def _line(self, residual: Residual) -> _Line:
        return self.lines.setdefault(id(residual), _Line(residual.ops))


def _moved(place: _Place, step: int, findings: Findings | None, written: Op) -> Places:
    """Return the place ``step`` ops on, or nowhere without findings."""
    if findings is None:
        return NOWHERE
    return frozenset({_Place(place.line, place.position + step, findings.traced(written))})


def _taken(op: Op, tie: Scalar, place: _Place) -> Places:
    """Return the place after ``op``, which the space writes with ``tie``."""
    if not isinstance(op, Conv | DepthwiseConv):
        return _moved(place, 1, place.findings, op)
    name = None if tie is None else str(tie)
    return _moved(place, 1, _tied(name, op.tie, place.findings), replace(op, tie=name))


def _untied(op: Op) -> Op:
    return replace(op, tie=None) if isinstance(op, Conv | DepthwiseConv) else op


def _tied(written: str | None, canonical: str | None, findings: Findings) -> Findings | None:
    """Return the findings when the space's tie ``written`` shows as ``canonical``, or None when it cannot."""
    if written is None:
        return findings if canonical is None else None
    known = findings.get(("tie", written))
    if known is not None:
        return findings if known == canonical else None
    if canonical is not None and any(key[0] == "tie" and name == canonical for key, name in findings.bound):
        return None
    return findings.bind(("tie", written), canonical or _ONCE)


def _settled(slot: Slot, value: Scalar, findings: Findings) -> Findings | None:
    """Return the findings when ``slot`` has ``value``, or None when it cannot."""
    if value not in slot.values:
        return None
    if slot.key is None:
        return findings
    known = findings.get(slot.key)
    if known is None:
        return findings.bind(slot.key, value)
    return findings if known == value else None
