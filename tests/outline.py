"""HTML pages as lists of elements and texts, and the rules for all pages of reports."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from html.parser import HTMLParser

# Attributes that may contain an address.
ADDRESSES = {"href", "src", "action", "data", "poster", "srcset", "background", "xlink:href", "formaction"}
VOID = ("meta", "br", "hr", "input", "img")


class Outline(HTMLParser):
    """Elements with attributes, and texts with the enclosing tag; all elements must be closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            # Non-breaking spaces only affect the layout.
            self.texts.append((self.open[-1], data.replace("\N{NO-BREAK SPACE}", " ")))

    def text(self, tag: str | None = None) -> str:
        return "".join(
            text for parent, text in self.texts if parent == tag or (tag is None and parent not in ("style", "script"))
        )

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def checked_outline(source: str, *, links: tuple[str, ...] = ()) -> Outline:
    """Assert that a page follows the rules, and return the outline; ``links`` are the allowed addresses of files."""
    outline = Outline(source)
    ids = Counter(attributes["id"] for _, attributes in outline.elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    for tag, attributes in outline.elements:
        assert tag not in ("link", "iframe", "object", "embed", "form", "base"), tag
        assert [name for name in attributes if name.startswith("on")] == []
        for name in ADDRESSES & attributes.keys():
            address = attributes[name]
            assert address in links or address.startswith("data:") or address[1:] in ids, address
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(name, "").split()) <= set(ids)
    assert "url(" not in outline.text("style")
    tags = Counter(tag for tag, _ in outline.elements)
    assert tags["table"] == tags["caption"]
    assert {attributes.get("scope") for attributes in outline.all("th")} <= {"col", "row"}
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch(r"h[1-6]", tag)]
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(following <= level + 1 for level, following in itertools.pairwise(levels))
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", outline.text())
    return outline
