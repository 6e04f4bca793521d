"""Errors of the notation and of what it describes.

    SearchSpaceError
    |- NotationError        the text does not follow the grammar, or names something unknown
    |- ShapeError           the ops do not fit together
    |- UnknownNameError     there is no preset, space or chip of that name
    |- NoIntegerFormError   an op cannot be computed in integers
    `- DrawError            no network of the space satisfies its conditions, or none was found

Each is one line for a person; ``caret`` shows where in a text it points.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SearchSpaceError(Exception):
    """Base of all errors of this package.

    Attributes:
        message: one line; what was given, which rule it broke, what is allowed.
        position: offset into the text, or None when there is no text.
        hint: the nearest known name or the next thing to try, or None.
        text: what was being read, where that is known.
    """

    def __init__(self, message: str, *, position: int | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.hint = hint
        if hint:
            self.add_note(hint)  # for those who see a traceback
        self.text: str | None = None


class NotationError(SearchSpaceError):
    """Raise when a text is not a network or a search space."""


class ShapeError(SearchSpaceError):
    """Raise when an op cannot take what the op before it gives, or the network ends in the wrong shape.

    Attributes:
        path: index of the op that caused it; inside ``res(...)`` one index a level; empty for the end.
    """

    def __init__(self, message: str, *, path: tuple[int, ...] = (), position: int | None = None) -> None:
        super().__init__(message, position=position)
        self.path = path


class DrawError(SearchSpaceError):
    """Raise when drawing from a space finds no network that satisfies its conditions."""


class UnknownNameError(SearchSpaceError):
    """Raise when no preset or search space has the name asked for."""


class NoIntegerFormError(SearchSpaceError):
    """Raise when integers are asked for, and an op has none."""


def reason(error: BaseException) -> str:
    """Return what an error says, without the number and the path that the system adds to it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return a "did you mean" hint for ``name``, whatever its case, or None when nothing is near.

    >>> nearest("shape", ["mnist", "shapes-1f0c83a2"])
    "did you mean 'shapes-1f0c83a2'?"
    """
    names = list(known)
    # What follows the last hyphen is often a hash or a number, which nobody types from memory.
    stems = {each.rpartition("-")[0].lower(): each for each in names if "-" in each}
    written = stems | {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), written, n=1, cutoff=0.6)
    return f"did you mean {written[close[0]]!r}?" if close else None


def caret(text: str, position: int) -> str:
    """Return the line of ``text`` that holds ``position``, with its number where there are several, and a caret."""
    position = min(max(position, 0), len(text))
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = "".join(
        character if character.isprintable() else " " for character in text[start : end if end >= 0 else len(text)]
    )
    column = position - start
    # A long line is cut around the position, so that the caret stays in sight.
    left = max(0, column - 60)
    above = text.count("\n", 0, start)
    number = f"line {above + 1}: " if "\n" in text.strip() else ""
    before = number + ("..." if left else "")
    return f"  {before}{line[left : column + 40]}\n  {' ' * (len(before) + column - left)}^"
