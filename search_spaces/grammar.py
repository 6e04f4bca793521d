"""Reads a text by ``notation.lark`` into a syntax tree, and says in one line what a text breaks.

Nothing is looked up here: a tree may hold unknown names and numbers out of range. Only this module imports
``lark``, and it is imported only when a text is read, because commands that read none should start fast.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Literal

import lark

from search_spaces.errors import NotationError
from search_spaces.syntax import (
    Argument,
    Bar,
    Call,
    Definitions,
    Group,
    Item,
    Let,
    Limit,
    Maybe,
    Number,
    Operand,
    Range,
    Repeat,
    Rule,
    Sequence,
    ValueSet,
    Where,
)

_LONGEST_TEXT = 100_000
_DEEPEST_NESTING = 50

_CHOICES = {"<", "/", "?", "{", "..", ";", "=", "let", "where"}
_SPOKEN = {"NAME": "a name", "NUMBER": "a number", "COMPARISON": "<=, >= or ==", "$END": "the end"}


def read(text: str, start: Literal["network", "space", "limits"]) -> Any:
    """Return the syntax tree of a text.

    That of a network is a ``Sequence``, with its choices still in it; of a space its ``Definitions``, or the bare
    sequence that it is; of conditions as they stand after ``where`` a ``Where``.

    Raises:
        NotationError: the text does not follow the grammar, is too long or is nested too deep.
    """
    _check_extent(text)
    try:
        return _parser().parse(text, start=start)
    except lark.UnexpectedCharacters as error:
        position = error.pos_in_stream or 0
        raise NotationError(_strange(text[position]), position=position) from None
    except lark.UnexpectedToken as error:
        raise _unexpected(error, text, start) from None


@cache
def _parser() -> lark.Lark:
    grammar = resources.files("search_spaces").joinpath("notation.lark").read_text("utf-8")
    return lark.Lark(
        grammar,
        parser="lalr",
        start=["network", "space", "limits"],
        transformer=_Builder(),
        maybe_placeholders=False,
    )


def _check_extent(text: str) -> None:
    if len(text) > _LONGEST_TEXT:
        raise NotationError(
            f"the text has {len(text):,} characters; at most {_LONGEST_TEXT:,} are read", position=_LONGEST_TEXT
        )
    depth = 0
    for match in re.finditer(r"#[^\r\n]*|[(;)>]|<(?!=)", text):
        symbol = match.group()
        depth = 0 if symbol == ";" else depth + (symbol in "(<") - (symbol in ")>")
        if depth > _DEEPEST_NESTING:
            raise NotationError(f"brackets are nested more than {_DEEPEST_NESTING} deep", position=match.start())


def _strange(character: str) -> str:
    if character.isascii() and character.isprintable():
        shown = f"'{character}'"
    else:
        shown = f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
    return (
        f"unexpected character {shown}; the notation has names, plain decimal numbers and | ( ) , = < / > ? {{ .. }} ;"
    )


def _unexpected(error: lark.UnexpectedToken, text: str, start: str) -> NotationError:
    at_end = error.token.type == "$END"
    found = "end of the text" if at_end else f"'{error.token}'"
    expected = _symbols(error.accepts or error.expected)
    hint = None
    if start == "network":
        if str(error.token) in _CHOICES:
            hint = "choices and definitions belong to a search space"
        expected = [symbol for symbol in expected if symbol not in _CHOICES]
    elif str(error.token) in ("where", "let") and ";" in expected:
        hint = "a ';' may be missing at the end of the statement before"
    elif str(error.token) == "=" and "NAME" in expected:
        hint = "a ';' may be missing before this definition"
    shown = ", ".join(_SPOKEN.get(symbol, f"'{symbol}'") for symbol in expected)
    position = len(text) if at_end else error.token.start_pos
    return NotationError(f"unexpected {found}; expected {shown}", position=position, hint=hint)


def _symbols(terminals: Iterable[str]) -> list[str]:
    patterns = {terminal.name: terminal.pattern for terminal in _parser().terminals}
    written = [
        str(patterns[name].value) if name in patterns and patterns[name].type == "str" else name for name in terminals
    ]
    return sorted((symbol.replace("\\", "") for symbol in written), key=lambda symbol: (symbol not in _SPOKEN, symbol))


def _number(token: lark.Token) -> Number:
    return Number(Decimal(str(token)), _at(token))


def _at(token: lark.Token) -> int:
    assert token.start_pos is not None
    return token.start_pos


@lark.v_args(inline=True)
class _Builder(lark.Transformer[lark.Token, object]):
    """One method a grammar rule, run when the parser completes the rule."""

    def definitions(self, *statements: Let | Rule | Where) -> Definitions:
        return Definitions(statements)

    def let(self, name: lark.Token, body: Operand) -> Let:
        return Let(str(name), body, _at(name))

    def rule(self, head: Call, body: Operand) -> Rule:
        return Rule(head, body, head.position)

    def where(self, *limits: Limit) -> Where:
        return Where(limits)

    limits = where

    def limit(self, metric: lark.Token, comparison: lark.Token, bound: lark.Token) -> Limit:
        return Limit(str(metric), str(comparison), _number(bound), _at(metric))

    def sequence(self, *items: Item) -> Sequence:
        return Sequence(items, items[0].position if items else 0)

    filled = sequence

    def maybe(self, body: Call | Group) -> Maybe:
        return Maybe(body, body.position)

    def repeat(self, body: Call | Group, *counts: lark.Token) -> Repeat:
        return Repeat(body, _number(counts[0]), _number(counts[-1]), body.position)

    def group(self, opening: lark.Token, *alternatives: Sequence) -> Group:
        return Group(alternatives, _at(opening))

    def call(self, name: lark.Token, *arguments: Argument) -> Call:
        return Call(str(name), arguments, _at(name))

    def bar(self, mark: lark.Token) -> Bar:
        return Bar(_at(mark))

    def argument(self, *children: Any) -> Argument:
        *keywords, operand = children
        keyword = keywords[0] if keywords else None
        return Argument(keyword and str(keyword), operand, _at(keyword) if keyword else operand.position)

    def set(self, *elements: Number | Range) -> ValueSet:
        return ValueSet(elements, elements[0].position)

    def range(self, *numbers: lark.Token) -> Range:
        low, high, *step = map(_number, numbers)
        return Range(low, high, step[0] if step else None, low.position)

    def number(self, token: lark.Token) -> Number:
        return _number(token)
