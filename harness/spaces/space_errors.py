"""Exceptions of the package, each with a message in a single line, and helpers for error messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LONG_LIST = re.compile(r"((?:\(?\d+\)?, ){8})(?:\(?\d+\)?, ){8,}")


class SearchSpaceError(Exception):
    """Base class of all exceptions of this package.

    Attributes:
        position: Offset of the error in ``text``, in characters; None if unknown.
        hint: The nearest known name or a suggestion, or None.
        text: The parsed text; set by ``harness.spaces.notation``, else None.
    """

    def __init__(self, message: str, *, position: int | None = None, hint: str | None = None) -> None:
        message = message_line(message)
        hint = hint and message_line(hint)
        super().__init__(message)
        self.message = message
        self.position = position
        self.hint = hint
        if hint:
            self.add_note(hint)  # shows the hint in tracebacks
        self.text: str | None = None


class NotationError(SearchSpaceError):
    """Raised if a text is not a valid network, search space or list of conditions."""


class ShapeError(SearchSpaceError):
    """Raised if an op cannot take the input shape, or the network has the wrong output shape.

    Attributes:
        path: Index of the op, and further indices inside ``res(...)``; empty if the output shape of the network is
            wrong.
    """

    def __init__(self, message: str, *, path: tuple[int, ...] = (), position: int | None = None) -> None:
        super().__init__(message, position=position)
        self.path = path


class DrawError(SearchSpaceError):
    """Raised if drawing from a space finds no network that satisfies the conditions."""


class UnknownNameError(SearchSpaceError):
    """Raised if no preset, search space or chip has the requested name, or the file of a space cannot be read."""


class NoIntegerFormError(SearchSpaceError):
    """Raised if the integer form of a network is requested, and an op does not have an integer form."""


def printable(text: str) -> str:
    """Return ``text`` with question marks for characters that are not printable."""
    return "".join(character if character.isprintable() else "?" for character in text)


def message_line(text: str) -> str:
    """Return a message as a printable line, with lists of more than 16 numbers shortened."""
    return _LONG_LIST.sub(r"\1..., ", printable(text))


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with a noun, by default with an s in plural: ``1 worker``, ``1,200 workers``."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def reason(error: BaseException) -> str:
    """Return the message of an error, without the error number and path that an ``OSError`` adds."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def nearest(name: str, known_names: Iterable[str]) -> str | None:
    """Return a "did you mean" hint for ``name``, ignoring case, or None if no known name is similar.

    >>> nearest("shape", ["mnist", "shapes-1f0c83a2"])
    "did you mean 'shapes-1f0c83a2'?"
    """
    names = list(known_names)
    # The part after the last hyphen is often a hash or a number.
    stems = {each.rpartition("-")[0].lower(): each for each in names if "-" in each}
    name_of_spelling = stems | {each.lower(): each for each in names}
    matches = difflib.get_close_matches(name.lower(), name_of_spelling, n=1, cutoff=0.6)
    return f"did you mean {name_of_spelling[matches[0]]!r}?" if matches else None


def caret(text: str, position: int) -> str:
    """Return the line of ``text`` at ``position`` with a caret below, both indented by two spaces.

    A text of several lines gets a line number.
    """
    position = min(max(position, 0), len(text))
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    characters = text[start:] if end < 0 else text[start:end]
    line = "".join(character if character.isprintable() else " " for character in characters)
    column = position - start
    # 60 characters before and 40 after the position, so that the caret stays visible.
    cut = max(0, column - 60)
    above = text.count("\n", 0, start)
    number = f"line {above + 1}: " if "\n" in text.strip() else ""
    before = number + ("..." if cut else "")
    return f"  {before}{line[cut : column + 40]}\n  {' ' * (len(before) + column - cut)}^"
