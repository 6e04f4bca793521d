"""Every page in a browser: axe and the console in both themes, a telephone, paper, no scripts, and what people do."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.evidence.leaderboard_table import survey
from harness.system.files import Workspace
from harness.training.result import Status
from reports.board import read_index, write_index, write_leaderboard
from reports.comparison_page import write_network_comparison, write_study_comparison
from reports.study_facts import StudyFacts
from reports.study_page import write_report
from search_spaces.catalog import PRESETS
from search_spaces.notation import parse_network
from search_spaces.space import Decision
from tests import axe, browser
from tests.reports.conftest import SyntheticStudy, evidence, network, realistic

pytestmark = pytest.mark.browser
KINDS = ("study", "live", "hostile", "networks", "studies", "index", "leaderboard")
HOSTILE = (
    "<script>window.broken = 1</script>",
    "</script><img src=x onerror='window.broken = 1'>",
    "=cmd|' /C calc'!A0",
    "\u202egnirts desrever",
    "x" * 10_000,
    "{{ 7 * 7 }}",
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind: of a study that went well, of one that has only begun, of one full of hostile words."""
    place = Workspace(tmp_path_factory.mktemp("pages"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.system.files.os.fsync", lambda handle: None)
        whole, begun = realistic(place), SyntheticStudy(place, name="begun").begin()
        begun.write()
        hostile = SyntheticStudy(place, name="hostile").begin()
        for number in range(66):
            words = HOSTILE[number % len(HOSTILE)]
            proposal = hostile.propose(network(4 + number, 8, 8), origin=words)
            decisions = (Decision(words[:200], number % 2, 2, ordered=False),)
            hostile.finish(proposal, 50 + number, decisions=decisions)
            hostile.note("rejected", reason=words)
        hostile.write()
    [winner] = record.read_all(place.records)
    presets = {name: parse_network(PRESETS[name]) for name in ("seed1", "seed4")}
    record.write(place.records, evidence(presets["seed4"], [63, 65, 60], name="seed4"))
    record.write(place.records, evidence(network(5, 6, 7), [70, 65, 60, 61, 62], target_pct=99.0))
    return {
        "study": write_report(whole.folder, place),
        "live": write_report(begun.folder, place, live=True),
        "hostile": write_report(hostile.folder, place),
        "networks": write_network_comparison([("", winner.architecture), *presets.items()], place),
        "studies": write_study_comparison([whole.folder, begun.folder], place),
        "index": write_index(place, read_index(place)),
        "leaderboard": write_leaderboard(place, survey(place)),
    }


@pytest.fixture
def tab(opened: browser.Page) -> Iterator[browser.Page]:
    """A tab that must not complain."""
    opened.complaints.clear()
    yield opened
    assert opened.complaints == []


@pytest.fixture
def report(tab: browser.Page, realistic_report: Path) -> browser.Page:
    """The report of the realistic study, just loaded and drawn."""
    tab.open(realistic_report)
    tab.evaluate("page.ready")
    return tab


def text_of(page: browser.Page, selector: str) -> str:
    """What an element shows."""
    found: str = page.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
    return found


def focus(page: browser.Page, selector: str) -> None:
    page.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")


def type_into(page: browser.Page, name: str, value: str) -> None:
    """Type into a control of the filter."""
    focus(page, f"#filter [name={name}]")
    page.send("Input.insertText", text=value)


def unfold(page: browser.Page) -> None:
    """Open all folds and draw what is in them; a live page is paused, or it might reload."""
    page.evaluate("document.getElementById('live-button')?.click()")
    page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    page.evaluate("page.drawAll()")


def press_compare(page: browser.Page) -> None:
    boxes = "document.querySelector('[data-choose]').querySelectorAll('tbody input')"
    page.evaluate(f"{boxes}[0].click()")
    page.evaluate(f"{boxes}[1].click()")
    page.evaluate("document.querySelector('.chooser button').click()")
    assert page.evaluate("document.querySelector('dialog').open")


# All pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_both_themes_are_drawn_without_violation_complaint_and_foreign_program(
    tab: browser.Page, pages: dict[str, Path], kind: str
):
    for dark in (False, True):
        tab.open(pages[kind], dark=dark)
        unfold(tab)
        empty = "[...document.querySelectorAll('.drawing')].filter((item) => !item.querySelector('.role-mark path'))"
        assert tab.evaluate(f"{empty}.map((item) => item.parentElement.id)") == []
        assert axe.violations(tab) == []
        if tab.evaluate("document.querySelectorAll('.chooser').length"):
            press_compare(tab)
            assert axe.violations(tab, "dialog[open]") == []
        elif kind in ("study", "hostile"):
            tab.evaluate("page.study.open(0)")
            assert axe.violations(tab, "dialog[open]") == []
            guarded = tab.evaluate("page.study.csv()")
            assert not re.search(r"(?:^|,)=", guarded, re.MULTILINE)
        assert tab.evaluate("typeof window.broken") == "undefined"


def test_axe_finds_what_is_wrong(opened: browser.Page, tmp_path: Path):
    path = tmp_path / "wrong.html"
    wrong = "<img src=''><p style='color:#bbb'>pale</p><dialog open><img src=''></dialog>"
    path.write_text(f"<html lang=en><title>x</title>{wrong}", encoding="utf-8")
    opened.open(path)

    assert {item.partition(":")[0] for item in axe.violations(opened)} == {"image-alt", "color-contrast"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_fits_a_telephone_a_laptop_and_paper(tab: browser.Page, pages: dict[str, Path], kind: str):
    tab.open(pages[kind])
    unfold(tab)
    boxes = "[...document.querySelectorAll('[data-choose] .scroll')]"
    for width in (360, 1280):
        tab.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(f"{boxes}.every((box) => box.scrollWidth <= box.clientWidth)")
    tab.send("Emulation.clearDeviceMetricsOverride")
    tab.send("Emulation.setEmulatedMedia", media="print")
    controls = "[...document.querySelectorAll('.chooser, .finder, #live, #filter')].filter((item) => item.offsetHeight)"
    assert tab.evaluate(f"{controls}.length") == 0
    if kind == "study":
        assert len(tab.send("Page.printToPDF")["data"]) > 100_000
    tab.send("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("kind", ["study", "index"])
def test_without_scripts_a_page_is_whole_and_has_no_dead_control(
    opened: browser.Page, pages: dict[str, Path], kind: str
):
    opened.open(pages[kind])
    opened.send("Emulation.setScriptExecutionDisabled", value=True)
    opened.reload()
    opened.send("Emulation.setScriptExecutionDisabled", value=False)

    live = "[...document.querySelectorAll('button, input, dialog')].filter((item) => item.offsetHeight).length"
    assert opened.evaluate(live) == 0
    rows = "[...document.querySelectorAll('#networks-table tbody tr, [data-choose] tbody tr:not(.fold)')]"
    assert opened.evaluate(f"{rows}.every((row) => row.offsetHeight)")
    assert opened.evaluate(f"{rows}.length") > 5


def test_class_names_break_between_words(report: browser.Page):
    unfold(report)
    names = "[...document.querySelectorAll('.gallery figcaption b')]"
    report.evaluate(f"{names}.forEach((name) => {{ name.textContent = 'greenhouse \u2192 conservatory'; }})")

    lines = """(name, start, end) => {
      const range = document.createRange();
      range.setStart(name.firstChild, start);
      range.setEnd(name.firstChild, end);
      return range.getClientRects().length;
    }"""
    assert report.evaluate(f"{names}.length") > 0
    for width in (360, 1280):
        report.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        for start, end in ((0, 10), (13, 25)):
            assert set(report.evaluate(f"{names}.map((name) => ({lines})(name, {start}, {end}))")) == {1}
    report.send("Emulation.clearDeviceMetricsOverride")


# A study --------------------------------------------------------------------------------------------------------------


def drawn(page: browser.Page, name: str = "accuracy") -> list[Any]:
    """The networks that a chart draws now."""
    found: list[Any] = page.evaluate(f"page.views[{name!r}].data('networks').map((row) => row.n)")
    return found


def test_one_filter_drives_table_charts_address_and_file(report: browser.Page, realistic_facts: StudyFacts):
    found = realistic_facts.networks
    small = [number for number, item in enumerate(found) if item.parameters <= 3_000]
    assert 0 < len(small) < len(found)

    type_into(report, "largest", "3000")

    assert text_of(report, "#shown").startswith(f"{len(small)} of {len(found)} networks.")
    assert drawn(report) == small
    # A chart that is drawn later shows the same.
    unfold(report)
    assert drawn(report, "over-time") == small
    rows = list(csv.DictReader(io.StringIO(report.evaluate("page.study.csv()"))))
    assert [row["hash"] for row in rows] == [found[number].hash for number in small]
    assert [row["architecture"] for row in rows] == [str(found[number].architecture) for number in small]
    address = report.evaluate("location.href")
    assert address.endswith("#?largest=3000")
    report.go("about:blank")
    report.go(address)
    shown = "document.querySelectorAll('#networks tbody tr:not([hidden])').length"
    assert report.evaluate(shown) == min(len(small), 20)


def test_a_click_on_a_point_opens_its_network_which_leads_to_its_row(report: browser.Page):
    report.evaluate("document.getElementById('picture').scrollIntoView({behavior: 'instant'})")
    marks = "document.querySelector('#accuracy-chart g.mark-symbol.role-mark:not(.role-legend-symbol) path')"
    middle = "({x, y, width, height}) => [x + width / 2, y + height / 2]"
    box = report.evaluate(f"({middle})({marks}.getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        report.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
    label = text_of(report, "dialog[open] h2").removeprefix("Network ")

    report.evaluate("[...document.querySelectorAll('dialog button')].find((b) => b.textContent[0] === 'S').click()")

    assert report.evaluate("document.activeElement.textContent") == label
    assert report.evaluate("!document.activeElement.closest('tr').hidden")


def test_the_table_is_sorted_and_opened_by_keyboard_alone(report: browser.Page):
    report.evaluate("document.getElementById('all-rows').click()")
    focus(report, "#networks-table th:nth-child(4) button")
    report.press("Enter", "\r")

    cells = "[...document.querySelectorAll('#networks-table tbody td:nth-child(4)')]"
    sizes = report.evaluate(f"{cells}.map((item) => Number(item.textContent.replaceAll(',', '')))")
    assert sizes == sorted(sizes)
    focus(report, "#networks-table tbody th button")
    report.press("Enter", "\r")
    assert report.evaluate("document.querySelector('dialog').open")
    report.press("Escape")
    assert not report.evaluate("document.querySelector('dialog').open")


def test_a_live_page_reloads_keeps_folds_and_can_be_paused(tab: browser.Page, realistic_study: Any, place: Workspace):
    path = write_report(realistic_study.folder, place, live=True)
    source = re.sub(r'data-(seconds|quiet)="\d+"', r'data-\1="1"', path.read_text(encoding="utf-8"))
    path.write_text(source, encoding="utf-8")
    tab.open(path)

    def becomes(expression: str, seconds: float = 30.0) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if tab.evaluate(f"document.readyState === 'complete' && Boolean({expression})"):
                return True
            time.sleep(0.1)
        return False

    tab.evaluate("document.querySelectorAll('details.folded')[1].open = true; window.marked = true")
    path.write_text(source.replace("<h1>", "<h1>New: "), encoding="utf-8")
    assert becomes("window.marked !== true && document.querySelector('h1').textContent.startsWith('New: ')")
    folds = tab.evaluate("[...document.querySelectorAll('details.folded')].map((item) => item.open)")
    assert folds[:2] == [False, True]
    focus(tab, "#live-button")
    tab.press("Enter", "\r")
    tab.evaluate("window.marked = true")
    assert not becomes("window.marked !== true", 2.5)


@pytest.mark.slow
def test_five_thousand_networks_are_written_and_opened_in_time(
    tab: browser.Page, new_study: Any, place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("harness.system.files.os.fsync", lambda handle: None)
    study = new_study()
    draw = random.Random(1)
    for number in range(5_000):
        proposal = study.propose(network(3 + number % 17, 3 + number // 17 % 17, 3 + number // 289))
        coins = tuple(Decision(f"choice-{at}", draw.randrange(4), 4, ordered=True) for at in range(12))
        status, epochs = (Status.COMPLETE, 15) if number % 3 else (Status.PRUNED, 4)
        study.finish(proposal, 50 + number % 400, status=status, epochs=epochs, decisions=coins)
    folder = study.write()
    # Time of this process, and not of the clock: other programs may run beside it.
    began = time.process_time()
    path = write_report(folder, place)
    assert time.process_time() - began < 10
    tab.open(path)
    tab.evaluate("page.ready")

    assert text_of(tab, "#shown") == "5,000 of 5,000 networks. The table shows 20."
    type_into(tab, "largest", "2000")
    assert 0 < len(drawn(tab)) < 5_000
    tab.evaluate("document.getElementById('reset').click()")
    tab.evaluate("document.getElementById('all-rows').click()")
    assert tab.evaluate("document.querySelectorAll('#networks tbody tr:not([hidden])').length") == 5_000


# The leaderboard and the index ----------------------------------------------------------------------------------------


def test_words_that_are_typed_filter_chart_and_tables(tab: browser.Page, pages: dict[str, Path]):
    tab.open(pages["leaderboard"])
    tab.evaluate("page.ready.then(() => 0)")
    marks = "document.querySelectorAll('#frontier-chart .mark-symbol.role-mark path').length"
    rows = "[...document.querySelectorAll('[data-choose] tbody tr:not(.fold)')].filter((row) => !row.hidden)"
    assert tab.evaluate(marks) == tab.evaluate(f"{rows}.length") > 3
    tab.evaluate("document.querySelector('[type=search]').focus()")
    tab.send("Input.insertText", text="seed4")

    assert tab.evaluate(f"{rows}.map((row) => row.querySelector('b').textContent)") == ["seed4"]
    assert tab.evaluate(f"new Promise((done) => setTimeout(() => done({marks}), 300))") == 1
    tab.send("Input.insertText", text=" certified")
    assert tab.evaluate(f"{rows}.length") == 0


@pytest.mark.parametrize("kind", ["index", "leaderboard"])
def test_rows_are_set_side_by_side_with_the_command_that_compares_them(
    tab: browser.Page, pages: dict[str, Path], kind: str
):
    tab.open(pages[kind])
    press_compare(tab)

    keys = tab.evaluate("[...document.querySelectorAll('[data-choose] [data-key]')].map((item) => item.dataset.key)")
    assert tab.evaluate("document.querySelector('dialog p code').textContent") == f"harness report {keys[0]} {keys[1]}"
    cells = "[...document.querySelectorAll('dialog tr')].map((row) => row.cells[0].textContent)"
    assert "parameters" in tab.evaluate(cells)
    tab.press("Escape")
    # A fifth is refused.
    boxes = "[...document.querySelector('[data-choose]').querySelectorAll('tbody input')]"
    tab.evaluate(f"{boxes}.slice(2, 5).forEach((box) => box.click())")
    assert tab.evaluate(f"{boxes}.filter((box) => box.checked).length") <= 4


def test_targets_are_tabs_that_the_keyboard_and_the_address_choose(tab: browser.Page, pages: dict[str, Path]):
    shown = (
        "[...document.querySelectorAll('[role=tabpanel]')].filter((part) => part.offsetHeight).map((part) => part.id)"
    )
    tab.open(pages["leaderboard"])
    assert tab.evaluate(shown) == ["mnist-99.4"]

    tab.evaluate("document.querySelector('[role=tab][aria-selected=true]').focus()")
    tab.press("ArrowRight")
    assert tab.evaluate(shown) == ["mnist-99"]
    assert tab.evaluate("document.activeElement.hash") == tab.evaluate("location.hash") == "#mnist-99"
    tab.press("Home")
    assert tab.evaluate(shown) == ["mnist-99.4"]

    tab.open(pages["index"])
    tab.go(f"{pages['leaderboard'].resolve().as_uri()}#row-2-1")
    assert tab.evaluate(shown) == ["mnist-99"]
    assert tab.evaluate("document.getElementById('row-2-1').offsetHeight") > 0
    assert tab.evaluate("document.getElementById('row-2-1').nextElementSibling.querySelector('details').open")
