"""Tables that a reader can sort, whose rows can be filtered and set side by side, and codes that can be copied.

A script adds all of that; without it a table is complete and has no control that does nothing.
"""

from __future__ import annotations

import math

from harness.system.errors import typed
from reports.html.page import Html, element, resource, text


def choosable(content: Html, kind: str) -> Html:
    """Return a table whose rows can be chosen; ``kind`` says what they are, in the plural.

    In each row an element made by ``named`` tells ``harness report`` what is meant.
    """
    return element("div", content, data_choose=kind, data_command=typed("report"))


def named(content: Html, key: str) -> Html:
    """Return what names a row, with what ``harness report`` would call it."""
    return element("span", content, data_key=key)


def figure(words: str, value: float | None, *, is_amount: bool = False) -> Html:
    """Return a number in words, with the number itself to sort by; amounts have ratios when they are compared."""
    if value is None or not math.isfinite(value):
        return text(words)
    return element("data", text(words), value=repr(value), class_="amount" if is_amount else None)


def copyable(code: Html) -> Html:
    """Return code that a script gives a button to copy it."""
    return element("span", code, data_copy="")


def chooser_script() -> str:
    """Return the script of such tables."""
    return "".join(map(resource, ("html/sorting.js", "html/chooser.js")))
