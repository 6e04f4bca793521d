"""The shell of a page: elements that escape what they are given, tables, sections, and the document around them.

``Html`` is text that is markup already. Everything else becomes ``Html`` through ``text`` or ``element`` alone, so the
type checker finds what was not escaped. A page is one file with no address outside itself. It says all it has to say
without a script; where some are given, the page allows these and no others.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import NewType

Html = NewType("Html", str)

# HTML forbids these characters, and lone surrogates cannot be written as UTF-8.
_FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")
_PER_CENT = re.compile(r"(?<=\d) %")
_VOID = {"meta", "br", "hr", "img", "input"}
# Elements of SVG that may close themselves; a page holds thousands of them.
_MARKS = {"circle", "line", "path", "polygon", "polyline", "rect"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; numbers stand on the right, ``class_`` is for the style sheet.

    Attributes:
        bare: only the heading carries the class, for tables so long that it would weigh; the style sheet of their page
            knows such a column by its place.
        largest_first: where a script sorts by it, the largest value comes first.
    """

    title: str
    numeric: bool = False
    class_: str | None = None
    bare: bool = False
    largest_first: bool = False


def numeric(*titles: str) -> tuple[Column, ...]:
    """Return columns of numbers."""
    return tuple(Column(title, numeric=True) for title in titles)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page with a heading and an entry in the list of contents.

    Attributes:
        group: neighbours of one group stand under its heading; empty for none.
        folded: only the heading is in sight until it is asked for.
    """

    identifier: str
    title: str
    content: Html
    group: str = ""
    folded: bool = False


def text(value: object) -> Html:
    """Return any value as escaped text; a number and its per cent sign stay on one line."""
    return _escaped(_PER_CENT.sub("\N{NO-BREAK SPACE}%", str(value)))


def _escaped(value: object) -> Html:
    return Html(html.escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value))))


def foreign(value: object) -> Html:
    """Return a text that others wrote; its writing direction does not reorder what stands around it."""
    return element("bdi", _escaped(value))


def element(tag: str, /, *children: Html, **attributes: object) -> Html:
    """Return an element; ``class_`` and ``stroke_width`` become ``class`` and ``stroke-width``, None is left out."""
    shown = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_escaped(_short(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Html(f"<{tag}{shown}>")
    if tag in _MARKS and not children:
        return Html(f"<{tag}{shown}/>")
    return Html(f"<{tag}{shown}>{''.join(children)}</{tag}>")


def joined(parts: Iterable[Html], separator: str = "\n") -> Html:
    """Return several pieces of markup as one."""
    return Html(separator.join(parts))


def paragraph(*parts: str, class_: str | None = None) -> Html:
    """Return a paragraph of plain text."""
    return element("p", text(" ".join(parts)), class_=class_)


def items(parts: Iterable[Html], class_: str | None = None) -> Html:
    """Return a list."""
    return element("ul", joined(element("li", part) for part in parts), class_=class_)


def left_out(damage: Iterable[str]) -> Html:
    """Return what a page says of files that it had to leave out; nothing where there are none."""
    found = list(damage)
    if not found:
        return Html("")
    words = paragraph(
        "These files are damaged or contradict each other. They are left out, with all that rests on them:"
    )
    return element("div", words, items(foreign(message) for message in found), class_="box")


def terms(entries: Mapping[str, str], class_: str | None = None) -> Html:
    """Return terms with what is to be said of each."""
    pairs = (element("dt", text(term)) + element("dd", text(words)) for term, words in entries.items())
    return element("dl", joined(Html(pair) for pair in pairs), class_=f"terms {class_}" if class_ else "terms")


def figures(entries: Iterable[tuple[str, Html]]) -> Html:
    """Return figures as cards, each with its name."""
    cards = (element("div", element("dt", text(name)), element("dd", value)) for name, value in entries)
    return element("dl", joined(cards), class_="figures")


def details(summary: str, content: Html) -> Html:
    """Return a part that is folded away until it is asked for."""
    return element("details", element("summary", text(summary)), content)


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Html]],
    *,
    identifier: str,
    row_header: int = 0,
    row_identifiers: Sequence[str] = (),
    folds: Sequence[Html] = (),
    sortable: bool = False,
) -> Html:
    """Return a table that scrolls inside its own frame.

    Args:
        caption: says what the rows are and how they are ordered.
        columns: one a cell of each row.
        rows: the cells.
        identifier: of the caption, which names the frame.
        row_header: the column whose cell names its row.
        row_identifiers: one a row, or none.
        folds: what stands below each row over all columns, or none.
        sortable: a script of the page may let readers sort it.
    """
    head = element("tr", *(_heading(column) for column in columns))
    body = []
    for number, cells in enumerate(rows):
        shown = [
            element("th", cell, scope="row", class_=None if column.bare else _kind(column))
            if place == row_header
            else element("td", cell, class_=None if column.bare else _kind(column))
            for place, (cell, column) in enumerate(zip(cells, columns, strict=True))
        ]
        body.append(element("tr", *shown, id=row_identifiers[number] if row_identifiers else None))
        if folds:
            body.append(element("tr", element("td", folds[number], colspan=len(columns)), class_="fold"))
    whole = element(
        "table",
        element("caption", text(caption), id=identifier),
        element("thead", head),
        element("tbody", joined(body)),
        data_sortable="" if sortable else None,
    )
    return element("div", whole, class_="scroll", role="region", aria_labelledby=identifier, tabindex=0)


def page(
    title: str,
    introduction: Html,
    sections: Sequence[Section],
    footer: Html,
    *,
    toolbar: Html | None = None,
    toolbar_group: str = "",
    styles: str = "",
    script: str = "",
    data: Html | None = None,
    last_scripts: Sequence[str] = (),
    top: Html = Html(""),
) -> str:
    """Return the whole document.

    Args:
        title: of the window.
        introduction: stands before the list of contents.
        sections: the parts, each with an entry in that list.
        footer: the last lines.
        toolbar: stands before the sections of ``toolbar_group`` and may stay in sight over these.
        styles: what the page needs beyond the common style sheet.
        script: the text of a script that is loaded before the page's content.
        data: what the script reads, as ``data_block`` returns it.
        last_scripts: the texts of those that are loaded after it; no other script may run.
        top: stands before all else.
    """
    groups = [(name, list(parts)) for name, parts in groupby(sections, lambda part: part.group)]
    main = element(
        "main",
        introduction,
        _contents(groups),
        *(_group(*group, toolbar if group[0] == toolbar_group else None) for group in groups),
        id="content",
        tabindex=-1,
    )
    return document(
        title,
        styles,
        script,
        last_scripts,
        top,
        element("a", text("Skip to the report"), href="#content", class_="skip"),
        main,
        element("footer", footer),
        *([data] if data is not None else []),
    )


def document(title: str, styles: str, script: str, last_scripts: Sequence[str], *body: Html) -> str:
    """Return a document of these parts; ``script`` runs before the body, the others after it."""
    first = [script] if script else []
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy([*last_scripts, *first])),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", text(title)),
        element("style", style(), Html(styles)),
        *(element("script", Html(each)) for each in first),
    ]
    last = (element("script", Html(each)) for each in last_scripts)
    whole = element("html", element("head", joined(head)), element("body", *body, *last), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _policy(scripts: Sequence[str]) -> str:
    """Return a Content-Security-Policy: nothing can be fetched, and nothing can run but these scripts.

    It holds even if a text slipped through unescaped.
    """
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    allowed = f"script-src {sources}; " if scripts else ""
    return f"default-src 'none'; {allowed}style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def data_block(identifier: str, value: object) -> Html:
    """Return a value as JSON for the page's script; no browser takes it for markup or for a program."""
    words = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return element("script", Html(words.replace("<", "\\u003c")), type="application/json", id=identifier)


def resource(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files("reports").joinpath(name).read_text(encoding="utf-8")


def style() -> Html:
    """Return the style sheet."""
    return Html(resource("html/page.css"))


def _contents(groups: Sequence[tuple[str, Sequence[Section]]]) -> Html:
    """Return the list of contents: an entry a group with its sections below it, an entry a section without one."""
    entries: list[Html] = []
    for group, parts in groups:
        links = [element("a", text(part.title), href=f"#{part.identifier}") for part in parts]
        title = element("a", text(group), href=f"#{_group_identifier(group)}")
        entries += [joined([title, items(links)])] if group else links
    return element("nav", items(entries), aria_label="Contents")


def _group(group: str, parts: Sequence[Section], toolbar: Html | None) -> Html:
    shown = joined([*([toolbar] if toolbar is not None else []), *map(_section, parts)])
    if not group:
        return shown
    return element("div", element("h2", text(group)), shown, id=_group_identifier(group), class_="group")


def _group_identifier(group: str) -> str:
    return f"part-{group.lower()}"


def _section(part: Section) -> Html:
    tag = "h3" if part.group else "h2"
    heading = element(tag, text(part.title), id=f"{part.identifier}-heading")
    content = joined([heading, part.content], "")
    if part.folded:
        content = element("details", element("summary", heading), part.content, class_="folded")
    return element("section", content, id=part.identifier, aria_labelledby=f"{part.identifier}-heading")


def _heading(column: Column) -> Html:
    first = "largest" if column.largest_first else None
    return element("th", text(column.title), scope="col", class_=_kind(column), data_first=first)


def _kind(column: Column) -> str | None:
    return " ".join(filter(None, ("number" if column.numeric else None, column.class_))) or None


def _short(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
