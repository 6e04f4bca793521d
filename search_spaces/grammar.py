"""Reads a text by ``notation.lark`` into nodes, with positions, and says in one line what a text breaks.

Nothing is looked up here: nodes may hold unknown names and numbers out of range. ``str`` of a node is its text in
normal form, which reads back as an equal node. ``lark`` is imported only when a text is read, because commands that
read none should start fast.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Literal

from search_spaces.errors import NotationError

_LONGEST_TEXT = 100_000
_DEEPEST_NESTING = 50
_CHOICES = {"<", "/", "?", "{", "..", ";", "=", "let", "where"}
_SPOKEN = {"NAME": "a name", "NUMBER": "a number", "COMPARISON": "<=, >= or ==", "$END": "the end"}


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a text; its position, an offset into the text, is no part of equality."""

    position: int = field(compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A plain decimal number, kept exact."""

    value: Decimal

    def __str__(self) -> str:
        text = format(self.value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Range(Node):
    """All numbers from ``low`` to at most ``high``, ``step`` (1 unless given) apart."""

    low: Number
    high: Number
    step: Number | None

    def __str__(self) -> str:
        return f"{self.low}..{self.high}" + (f" step {self.step}" if self.step else "")


@dataclass(frozen=True, slots=True)
class ValueSet(Node):
    """One of several numbers."""

    elements: tuple[Number | Range, ...]

    def __str__(self) -> str:
        return "{" + ", ".join(map(str, self.elements)) + "}"


@dataclass(frozen=True, slots=True)
class Bar(Node):
    """A ``|``, which marks blocks for the eye."""

    def __str__(self) -> str:
        return "|"


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A name with its arguments: an op, a rule, a let or a parameter."""

    name: str
    arguments: tuple[Argument, ...]

    def __str__(self) -> str:
        return self.name + (f"({', '.join(map(str, self.arguments))})" if self.arguments else "")


@dataclass(frozen=True, slots=True)
class Argument(Node):
    """What a call is given, ``keyword=`` before it or not."""

    keyword: str | None
    operand: Operand

    def __str__(self) -> str:
        return f"{self.keyword}={self.operand}" if self.keyword else str(self.operand)


@dataclass(frozen=True, slots=True)
class Group(Node):
    """One of several sequences; with a single one, just that."""

    alternatives: tuple[Sequence, ...]
    name = "group"

    def __str__(self) -> str:
        return f"<{' / '.join(map(str, self.alternatives))}>"


@dataclass(frozen=True, slots=True)
class Maybe(Node):
    """An optional part."""

    body: Call | Group

    def __str__(self) -> str:
        return f"{self.body}?"


@dataclass(frozen=True, slots=True)
class Repeat(Node):
    """A part that stands ``low`` to ``high`` times, both included, drawn anew each time."""

    body: Call | Group
    low: Number
    high: Number

    def __str__(self) -> str:
        counts = f"{self.low}" if self.low == self.high else f"{self.low}..{self.high}"
        return f"{self.body}{{{counts}}}"


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """Items in order of execution."""

    items: tuple[Call | Group | Maybe | Repeat | Bar, ...]

    def __str__(self) -> str:
        return " ".join(map(str, self.items))


@dataclass(frozen=True, slots=True)
class Definition(Node):
    """A name for something that is drawn anew at each mention, or, after ``let``, once and the same everywhere."""

    head: Call
    body: Operand
    let: bool = False

    def __str__(self) -> str:
        return f"{'let ' if self.let else ''}{self.head} = {self.body}"


@dataclass(frozen=True, slots=True)
class Limit(Node):
    """A condition on a metric of the network."""

    metric: str
    comparison: str
    bound: Number

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.bound}"


@dataclass(frozen=True, slots=True)
class Where(Node):
    """Conditions that every network of the space satisfies."""

    limits: tuple[Limit, ...]

    def __str__(self) -> str:
        return f"where {', '.join(map(str, self.limits))}"


Operand = Number | Range | ValueSet | Sequence
Statements = tuple[Definition | Where, ...]


class _Builder:
    """One method a grammar rule, which the parser calls with the rule's parts when it completes the rule."""

    def definitions(self, parts: Any) -> Statements:
        return tuple(parts)

    def let(self, parts: Any) -> Definition:
        name, body = parts
        return Definition(self.call([name]), body, let=True, position=name.start_pos)

    def rule(self, parts: Any) -> Definition:
        head, body = parts
        return Definition(head, body, position=head.position)

    def where(self, parts: Any) -> Where:
        return Where(tuple(parts), position=parts[0].position)

    limits = where

    def limit(self, parts: Any) -> Limit:
        metric, comparison, bound = parts
        return Limit(str(metric), str(comparison), self.number([bound]), position=metric.start_pos)

    def sequence(self, parts: Any) -> Sequence:
        return Sequence(tuple(parts), position=parts[0].position if parts else 0)

    filled = sequence

    def maybe(self, parts: Any) -> Maybe:
        return Maybe(parts[0], position=parts[0].position)

    def repeat(self, parts: Any) -> Repeat:
        body, *counts = parts
        return Repeat(body, self.number(counts[:1]), self.number(counts[-1:]), position=body.position)

    def group(self, parts: Any) -> Group:
        opening, *alternatives = parts
        return Group(tuple(alternatives), position=opening.start_pos)

    def call(self, parts: Any) -> Call:
        name, *arguments = parts
        return Call(str(name), tuple(arguments), position=name.start_pos)

    def bar(self, parts: Any) -> Bar:
        return Bar(position=parts[0].start_pos)

    def argument(self, parts: Any) -> Argument:
        *keywords, operand = parts
        if not keywords:
            return Argument(None, operand, position=operand.position)
        return Argument(str(keywords[0]), operand, position=keywords[0].start_pos)

    def set(self, parts: Any) -> ValueSet:
        return ValueSet(tuple(parts), position=parts[0].position)

    def range(self, parts: Any) -> Range:
        low, high, *step = (self.number([part]) for part in parts)
        return Range(low, high, step[0] if step else None, position=low.position)

    def number(self, parts: Any) -> Number:
        return Number(Decimal(str(parts[0])), position=parts[0].start_pos)


@cache
def _parser() -> Any:
    import lark

    grammar = resources.files("search_spaces").joinpath("notation.lark").read_text("utf-8")
    starts = ["network", "space", "limits"]
    return lark.Lark(grammar, parser="lalr", start=starts, transformer=_Builder(), maybe_placeholders=False)


def read(text: str, start: Literal["network", "space", "limits"]) -> Any:
    """Return the node that a text is.

    That of a network is a ``Sequence``, with its choices still in it; of a space its ``Statements``, or the bare
    sequence that it is; of conditions as they stand after ``where`` a ``Where``.

    Raises:
        NotationError: the text does not follow the grammar, is too long or is nested too deep.
    """
    import lark

    if len(text) > _LONGEST_TEXT:
        told = f"the text has {len(text):,} characters; at most {_LONGEST_TEXT:,} are read"
        raise NotationError(told, position=_LONGEST_TEXT)
    depth = 0
    for match in re.finditer(r"#[^\r\n]*|[(;)>]|<(?!=)", text):
        symbol = match.group()
        depth = 0 if symbol == ";" else depth + (symbol in "(<") - (symbol in ")>")
        if depth > _DEEPEST_NESTING:
            raise NotationError(f"brackets are nested more than {_DEEPEST_NESTING} deep", position=match.start())
    try:
        return _parser().parse(text, start=start)
    except lark.UnexpectedCharacters as error:
        position = error.pos_in_stream or 0
        mark = text[position]
        shown = f"U+{ord(mark):04X} {unicodedata.name(mark, '')}".rstrip()
        shown = f"'{mark}'" if mark.isascii() and mark.isprintable() else shown
        known = "names, plain decimal numbers and | ( ) , = < / > ? { .. } ;"
        raise NotationError(f"unexpected character {shown}; the notation has {known}", position=position) from None
    except lark.UnexpectedToken as error:
        at_end = error.token.type == "$END"
        found = "end of the text" if at_end else f"'{error.token}'"
        patterns = {terminal.name: terminal.pattern for terminal in _parser().terminals}
        names = [str(name) for name in error.accepts or error.expected]
        symbols = {
            str(patterns[name].value).replace("\\", "") if name in patterns and patterns[name].type == "str" else name
            for name in names
        }
        expected = sorted(symbols, key=lambda symbol: (symbol not in _SPOKEN, symbol))
        hint = None
        if start == "network":
            expected = [symbol for symbol in expected if symbol not in _CHOICES]
            hint = "choices and definitions belong to a search space" if str(error.token) in _CHOICES else None
        told = ", ".join(_SPOKEN.get(symbol, f"'{symbol}'") for symbol in expected)
        position = len(text) if at_end else error.token.start_pos or 0
        raise NotationError(f"unexpected {found}; expected {told}", position=position, hint=hint) from None
