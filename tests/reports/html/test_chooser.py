"""The leaderboard's page as readers use it: sorted, filtered and compared, by keyboard alone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.evidence.leaderboard import survey
from harness.system.files import Workspace
from reports.board.index import read_index, write_index
from reports.board.leaderboard_page import write_leaderboard
from reports.comparison.comparison import ratio_text
from reports.html.chooser import choosable, chooser_script, copyable, figure, named
from reports.html.page import Column, Html, Section, page, table, text
from tests import browser
from tests.outline import checked

# Facts ----------------------------------------------------------------------------------------------------------


def test_a_figure_keeps_its_number_beside_its_words():
    assert figure("1,234", 1234, is_amount=True) == '<data value="1234" class="amount">1,234</data>'
    assert figure("99.40", 99.4000001) == '<data value="99.4000001">99.40</data>'


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_no_number_is_words_only(value: float | None):
    assert figure("-", value, is_amount=True) == "-"


def test_a_name_is_kept_as_the_command_takes_it():
    assert named(text("x"), '"><script>') == '<span data-key="&quot;&gt;&lt;script&gt;">x</span>'


# In a browser ---------------------------------------------------------------------------------------------------

NAMES = ["plain", "<script>alert(1)</script>", "it's", "\u202egnirts desrever", "=cmd|' C'!A0", "x" * 10_000]
SIZES = [900, 12_000, 1_200, 30, 7_000, 1_500_000]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.started(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def rows(tab: browser.Page, tmp_path: Path) -> Iterator[browser.Page]:
    """A page with six rows, one of them without a size."""
    columns = (
        Column("rank", numeric=True),
        Column("name"),
        Column("size", numeric=True),
        Column("score", numeric=True, largest_first=True),
        Column("more"),
    )
    sizes = [None if size == 30 else size for size in SIZES]
    cells = [
        [
            figure(str(rank), rank),
            named(text(name), name),
            figure(f"{size:,}" if size else "-", size, is_amount=True),
            figure(str(rank % 4), rank % 4),
            Html(""),
        ]
        for rank, (name, size) in enumerate(zip(NAMES, sizes, strict=True), start=1)
    ]
    folds = [
        copyable(Html(f'<details><summary>more</summary><code class="notation">conv{rank}</code></details>'))
        for rank in range(1, 7)
    ]
    made = choosable(table("Six rows.", columns, cells, identifier="six", row_header=1, folds=folds), "rows")
    source = page(
        "Six", Html("<h1>Six</h1>"), [Section("all", "All", made)], text("end"), last_scripts=[chooser_script()]
    )
    checked(source)
    path = tmp_path / "six.html"
    path.write_text(source, encoding="utf-8")
    tab.complaints.clear()
    tab.open(path)
    yield tab
    assert tab.complaints == []


def ranks(page: browser.Page) -> list[int]:
    """The ranks of the rows in sight, in their order."""
    found: list[int] = page.evaluate(
        "[...document.querySelectorAll('[data-choose] tbody tr:not(.fold)')].filter((row) => !row.hidden)"
        ".map((row) => Number(row.cells[1].textContent))"
    )
    return found


def said(page: browser.Page, selector: str) -> str:
    found: str = page.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")
    return found


def tab_to(page: browser.Page, label: str) -> None:
    """Press Tab until what bears the label has the focus."""
    name = "document.activeElement.ariaLabel || document.activeElement.textContent"
    for _ in range(60):
        page.press("Tab")
        if str(page.evaluate(name))[: len(label)] == label:
            return
    raise AssertionError(f"Tab does not reach {label!r}")


def choose(page: browser.Page, *labels: str) -> None:
    for label in labels:
        tab_to(page, f"Compare {label}")
        page.press(" ", " ")


def compared(page: browser.Page) -> list[list[str]]:
    """The table of the open dialog, a list a row."""
    found: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('dialog[open] tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return found


@pytest.mark.browser
def test_enter_on_a_heading_sorts_and_sorts_back_and_leaves_the_unknown_last(rows: browser.Page):
    tab_to(rows, "size")
    rows.press("Enter", "\r")
    assert ranks(rows) == [1, 3, 5, 2, 6, 4]
    assert said(rows, "th[aria-sort=ascending]") == "size"

    rows.press("Enter", "\r")
    assert ranks(rows) == [6, 2, 5, 3, 1, 4]
    assert said(rows, "th[aria-sort=descending]") == "size"
    below = "[...document.querySelectorAll('tr.fold')].map((row) => Number(row.textContent.match(/conv(\\d)/)[1]))"
    assert rows.evaluate(below) == ranks(rows), "what a row unfolds to goes where the row goes"

    tab_to(rows, "Compare")  # another heading takes over
    rows.evaluate("document.querySelectorAll('.sort')[0].focus()")
    rows.press(" ", " ")
    assert ranks(rows) == [1, 2, 3, 4, 5, 6]
    assert rows.evaluate("document.querySelectorAll('th[aria-sort]').length") == 1


@pytest.mark.browser
def test_a_column_of_scores_is_sorted_from_the_top(rows: browser.Page):
    tab_to(rows, "score")
    rows.press("Enter", "\r")

    assert said(rows, "th[aria-sort=descending]") == "score"
    assert ranks(rows) == [3, 2, 6, 1, 5, 4]


@pytest.mark.browser
def test_codes_get_a_button_that_copies_them(rows: browser.Page):
    button = "document.querySelector('[data-copy] button')"
    rows.evaluate("navigator.clipboard.writeText = async (words) => { window.copied = words; }")
    rows.evaluate(f"{button}.click()")

    assert rows.evaluate(f"new Promise((done) => setTimeout(() => done({button}.textContent)))") == "Copied"
    assert rows.evaluate("window.copied") == "conv1"


@pytest.mark.browser
def test_a_column_without_words_is_not_sorted(rows: browser.Page):
    assert rows.evaluate("[...document.querySelectorAll('.sort')].map((item) => item.textContent)") == [
        "rank",
        "name",
        "size",
        "score",
    ]


@pytest.mark.browser
def test_words_that_are_typed_filter_the_rows(rows: browser.Page):
    rows.evaluate("document.querySelector('[type=search]').focus()")
    rows.send("Input.insertText", text="CONV 7,")

    assert ranks(rows) == [5]
    assert said(rows, ".finder [role=status]") == "1 of 6 rows"


@pytest.mark.browser
def test_rows_are_compared_by_keyboard_alone(rows: browser.Page):
    choose(rows, "plain", "<script>", "it's")
    assert said(rows, ".chooser [role=status]") == "3 of 2\N{EN DASH}4 rows selected"
    rows.evaluate("document.querySelector('.chooser').scrollIntoView()")
    for _ in range(12):
        rows.press("Tab")
        if said_of_focus(rows) == "Compare":
            break
    rows.press("Enter", "\r")

    assert compared(rows) == [
        ["column", "plain", "<script>alert(1)</script>", "it's"],
        ["rank", "1", "2", "3"],
        ["size", "900", "12,000 \u00d713.3", "1,200 \u00d71.33"],
        ["score", "1", "2", "3"],
        ["notation", "conv1", "conv2", "conv3"],
    ]
    assert said(rows, "dialog caption") == "The small figures are multiples of those of plain."
    command = said(rows, "dialog p code")
    assert command == "harness report plain '<script>alert(1)</script>' 'it'\\''s'"
    rows.press("Escape")
    assert compared(rows) == []
    assert said_of_focus(rows) == "Compare"


def press_compare(page: browser.Page) -> None:
    page.evaluate("document.querySelector('.chooser button').click()")


def said_of_focus(page: browser.Page) -> str:
    found: str = page.evaluate("document.activeElement.textContent")
    return found


@pytest.mark.browser
def test_no_more_than_four_and_no_fewer_than_two_are_compared(rows: browser.Page):
    enabled = "!document.querySelector('.chooser button').disabled"
    choose(rows, "plain")
    assert not rows.evaluate(enabled)

    choose(rows, "<script>", "it's", "\u202e", "=cmd")

    assert said(rows, ".chooser [role=status]") == "No more than 4 can be compared."
    assert rows.evaluate("document.querySelectorAll('tbody :checked').length") == 4
    assert rows.evaluate(enabled)


@pytest.mark.browser
def test_clear_begins_anew(rows: browser.Page):
    choose(rows, "plain", "it's")
    rows.evaluate("document.querySelectorAll('.chooser button')[1].focus()")
    rows.press("Enter", "\r")

    assert rows.evaluate("document.querySelectorAll('tbody :checked').length") == 0
    assert rows.evaluate("document.activeElement.ariaLabel") == "Compare plain"


@pytest.mark.browser
def test_ratios_read_as_those_that_python_writes(rows: browser.Page):
    draw = random.Random(3)
    rows.evaluate("[...document.querySelectorAll('tbody input')].slice(0, 2).forEach((box) => box.click())")
    pairs = [(draw.randrange(1, 10**6), draw.randrange(0, 10**6)) for _ in range(20)] + [(3, 3), (1, 999_999), (8, 0)]

    for first, other in pairs:
        rows.evaluate(f"document.querySelectorAll('data.amount')[0].value = '{first}'")
        rows.evaluate(f"document.querySelectorAll('data.amount')[1].value = '{other}'")
        press_compare(rows)
        assert said(rows, "dialog .ratio") == ratio_text(other / first)
        rows.evaluate("document.querySelector('dialog').close()")


@pytest.fixture
def standing(place: Workspace, synthetic: Any) -> Callable[[], Path]:
    """Two networks with records, one of them twice, with two targets."""
    for widths, errors, target in (((4, 6, 8), 60, 99.4), ((6, 8, 10), 50, 99.4), ((8, 9, 16), 52, 99.4)):
        record.write(place.records, synthetic.evidence(synthetic.network(*widths), [errors] * 5, target_pct=target))
    return lambda: write_leaderboard(place, survey(place))


@pytest.mark.browser
def test_the_leaderboard_names_the_command_that_compares_its_rows(
    tab: browser.Page, standing: Callable[[], Path], synthetic: Any
):
    tab.complaints.clear()
    tab.open(standing())
    keys = tab.evaluate("[...document.querySelectorAll('[data-key]')].map((item) => item.dataset.key)")
    tab.evaluate("[0, 2].forEach((n) => document.querySelectorAll('tbody input')[n].click())")
    press_compare(tab)

    assert said(tab, "dialog p code") == f"harness report {keys[0]} {keys[2]}"
    assert len(keys) == 3
    parameters = next(row for row in compared(tab) if row[0] == "parameters")
    assert "\u00d7" in parameters[2]
    assert tab.complaints == []


@pytest.mark.browser
def test_the_index_compares_studies_by_their_names(tab: browser.Page, new_study: Any, place: Workspace):
    for name in ("a", "b c"):
        new_study(name=name).write()
    tab.complaints.clear()
    tab.open(write_index(place, read_index(place)))
    tab.evaluate("document.querySelectorAll('tbody input').forEach((box) => box.click())")
    press_compare(tab)

    assert said(tab, "dialog p code") in ("harness report a 'b c'", "harness report 'b c' a")
    assert tab.complaints == []
