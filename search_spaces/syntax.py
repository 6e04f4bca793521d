"""The syntax tree of the notation: what a text says, with positions, before any name is looked up.

Positions are offsets into the text and no part of equality. ``str`` of a node is its text in normal form,
which reads back as an equal node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Number:
    """A plain decimal number, kept exact."""

    value: Decimal
    position: int = field(compare=False)

    def __str__(self) -> str:
        text = format(self.value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers from ``low`` to at most ``high``, ``step`` (1 unless given) apart."""

    low: Number
    high: Number
    step: Number | None
    position: int = field(compare=False)

    def __str__(self) -> str:
        return f"{self.low}..{self.high}" + (f" step {self.step}" if self.step else "")


@dataclass(frozen=True, slots=True)
class ValueSet:
    """One of several numbers."""

    elements: tuple[Number | Range, ...]
    position: int = field(compare=False)

    def __str__(self) -> str:
        return "{" + ", ".join(map(str, self.elements)) + "}"


@dataclass(frozen=True, slots=True)
class Bar:
    """A ``|``, which marks blocks for the eye."""

    position: int = field(compare=False)

    def __str__(self) -> str:
        return "|"


@dataclass(frozen=True, slots=True)
class Call:
    """A name with its arguments: an op, a rule, a let or a parameter."""

    name: str
    arguments: tuple[Argument, ...]
    position: int = field(compare=False)

    def __str__(self) -> str:
        return self.name + (f"({', '.join(map(str, self.arguments))})" if self.arguments else "")


@dataclass(frozen=True, slots=True)
class Argument:
    """What a call is given, ``keyword=`` before it or not."""

    keyword: str | None
    operand: Operand
    position: int = field(compare=False)

    def __str__(self) -> str:
        return f"{self.keyword}={self.operand}" if self.keyword else str(self.operand)


@dataclass(frozen=True, slots=True)
class Group:
    """One of several sequences; with a single one, just that."""

    alternatives: tuple[Sequence, ...]
    position: int = field(compare=False)

    def __str__(self) -> str:
        return f"<{' / '.join(map(str, self.alternatives))}>"


@dataclass(frozen=True, slots=True)
class Maybe:
    """An optional part."""

    body: Call | Group
    position: int = field(compare=False)

    def __str__(self) -> str:
        return f"{self.body}?"


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part that stands ``low`` to ``high`` times, both included, drawn anew each time."""

    body: Call | Group
    low: Number
    high: Number
    position: int = field(compare=False)

    def __str__(self) -> str:
        counts = f"{self.low}" if self.low == self.high else f"{self.low}..{self.high}"
        return f"{self.body}{{{counts}}}"


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items in order of execution."""

    items: tuple[Item, ...]
    position: int = field(compare=False)

    def __str__(self) -> str:
        return " ".join(map(str, self.items))


@dataclass(frozen=True, slots=True)
class Let:
    """A name for something that is drawn once and is the same wherever the name stands."""

    name: str
    body: Operand
    position: int = field(compare=False)

    def __str__(self) -> str:
        return f"let {self.name} = {self.body}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A name for something that is drawn anew at each mention."""

    head: Call
    body: Operand
    position: int = field(compare=False)

    def __str__(self) -> str:
        return f"{self.head} = {self.body}"


@dataclass(frozen=True, slots=True)
class Limit:
    """A condition on a metric of the network."""

    metric: str
    comparison: str
    bound: Number
    position: int = field(compare=False)

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.bound}"


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions that every network of the space satisfies."""

    limits: tuple[Limit, ...]

    def __str__(self) -> str:
        return f"where {', '.join(map(str, self.limits))}"


@dataclass(frozen=True, slots=True)
class Definitions:
    """The statements of a search space."""

    statements: tuple[Let | Rule | Where, ...]

    def __str__(self) -> str:
        return "".join(f"{statement};\n" for statement in self.statements)


Value = Number | Range | ValueSet
Operand = Value | Sequence
Item = Call | Group | Maybe | Repeat | Bar
