"""How the tests read the report of a study in a browser, and act on it."""

from __future__ import annotations

import json

from tests import browser


def shown(page: browser.Page) -> int:
    """How many rows of the table of networks are in sight."""
    found: int = page.evaluate("document.querySelectorAll('#networks tbody tr:not([hidden])').length")
    return found


def text_of(page: browser.Page, selector: str) -> str:
    """What an element shows."""
    found: str = page.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
    return found


def texts(page: browser.Page, selector: str) -> list[str]:
    found: list[str] = page.evaluate(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((item) => item.textContent)"
    )
    return found


def focused(page: browser.Page, expression: str = "textContent") -> str:
    """Something of the element that has the focus, its text unless said otherwise."""
    found: str = page.evaluate(f"document.activeElement.{expression}")
    return found


def focus(page: browser.Page, selector: str) -> None:
    """Give an element the focus."""
    page.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")


def press_button(page: browser.Page, words: str) -> None:
    """Press a button of the dialog that is open."""
    buttons = "[...document.querySelectorAll('dialog button')]"
    page.evaluate(f"{buttons}.find((button) => button.textContent === {json.dumps(words)}).click()")


def type_into(page: browser.Page, name: str, value: str) -> None:
    """Type into a control of the filter."""
    focus(page, f"#filter [name={name}]")
    page.send("Input.insertText", text=value)
