"""Reads a text by ``notation.lark`` into lark's tree, and says in one line what a text breaks.

Nothing is looked up here: a tree may hold unknown names and numbers out of range. ``lark`` is imported only when a
text is read, because commands that read none should start fast.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from search_spaces.errors import NotationError

if TYPE_CHECKING:
    import lark

# A rule of the grammar, in ``data``, with its parts, in ``children``: trees, and tokens, which are texts.
Tree: TypeAlias = "lark.Tree[lark.Token]"

_LONGEST_TEXT = 100_000
_DEEPEST_NESTING = 50
_CHOICES = {"<", "/", "?", "{", "..", ";", "=", "let", "where"}
_SPOKEN = {"NAME": "a name", "NUMBER": "a number", "COMPARISON": "<=, >= or ==", "$END": "the end"}


@cache
def _parser() -> lark.Lark:
    import lark

    grammar = resources.files("search_spaces").joinpath("notation.lark").read_text("utf-8")
    return lark.Lark(grammar, parser="lalr", start=["network", "space", "limits"], maybe_placeholders=False)


def read(text: str, start: Literal["network", "space", "limits"]) -> Tree:
    """Return the tree of a text.

    That of a network is a ``sequence``, with its choices still in it; of a space its ``definitions``, or the bare
    sequence that it is; of conditions as they stand after ``where`` the ``limits``.

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


def at(node: Any) -> int:
    """Return where a tree or token begins, as an offset into the text."""
    while not isinstance(node, str):
        if not node.children:
            return 0
        node = node.children[0]
    return int(node.start_pos)  # type: ignore[attr-defined]  # tokens have it


def normal(node: Any) -> str:
    """Return the text of a tree or token in normal form, which reads back as one of the same normal form."""
    if isinstance(node, str):
        number = format(Decimal(node), "f") if node[:1].isdigit() else node
        return number.rstrip("0").rstrip(".") if "." in number and node[:1].isdigit() else str(number)
    parts = [normal(child) for child in node.children]
    match node.data:
        case "definitions":
            return "".join(f"{part};\n" for part in parts)
        case "let":
            return f"let {parts[0]} = {parts[1]}"
        case "rule":
            return f"{parts[0]} = {parts[1]}"
        case "where":
            return f"where {', '.join(parts)}"
        case "call":
            return parts[0] + (f"({', '.join(parts[1:])})" if parts[1:] else "")
        case "argument":
            return "=".join(parts)
        case "group":
            return f"<{' / '.join(parts[1:])}>"
        case "maybe":
            return f"{parts[0]}?"
        case "repeat":
            body, low, high = parts[0], parts[1], parts[-1]
            return f"{body}{{{low if low == high else f'{low}..{high}'}}}"
        case "set":
            return f"{{{', '.join(parts)}}}"
        case "range":
            return "..".join(parts[:2]) + (f" step {parts[2]}" if parts[2:] else "")
        case _:
            return " ".join(parts)
