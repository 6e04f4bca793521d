"""Comparisons, index and leaderboard in a browser: both themes, paper, a narrow window, no scripts, many studies."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.evidence.leaderboard import survey
from harness.system.files import Workspace
from reports.board import read_index, write_index, write_leaderboard
from reports.comparison.comparison_page import write_network_comparison, write_study_comparison
from reports.study.study_page import write_report
from search_spaces.catalog import PRESETS
from search_spaces.notation import parse_network
from tests import axe, browser

pytestmark = pytest.mark.browser
PAGES = ("networks", "studies", "index", "leaderboard", "live")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.started(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module")
def pages(realistic_template: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind about the realistic study, one that has only begun, and two networks with records."""
    place = Workspace(tmp_path_factory.mktemp("pages"))
    source: Path = realistic_template.place.root
    for path in sorted(source.rglob("*")):
        target = place.root / path.relative_to(source)
        target.mkdir(parents=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    begun = type(realistic_template)(place, name="begun").begin()
    begun.write()
    [winner] = record.read_all(place.records)
    presets = {name: parse_network(PRESETS[name].text) for name in ("seed1", "seed4")}
    synthetic = sys.modules[type(realistic_template).__module__]
    record.write(place.records, synthetic.evidence(presets["seed4"], [63, 65, 60], name="seed4"))
    other = synthetic.evidence(synthetic.network(5, 6, 7), [70, 65, 60, 61, 62], target_pct=99.0)
    record.write(place.records, other)
    studies = [place.runs / realistic_template.name, begun.folder]
    named = [("", winner.architecture), *presets.items()]
    return {
        "networks": write_network_comparison(named, place),
        "studies": write_study_comparison(studies, place),
        "live": write_report(begun.folder, place, live=True),
        "index": write_index(place, read_index(place)),
        "leaderboard": write_leaderboard(place, survey(place)),
    }


@pytest.mark.parametrize("kind", PAGES)
def test_both_themes_are_without_violation_and_complaint(tab: browser.Page, pages: dict[str, Path], kind: str):
    for dark in (False, True):
        tab.complaints.clear()
        tab.open(pages[kind], dark=dark)
        tab.evaluate("document.getElementById('live-button')?.click()")  # or it might reload under axe
        tab.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        tab.evaluate("typeof page === 'undefined' ? 0 : page.ready?.then(() => 0)")
        empty = "[...document.querySelectorAll('.drawing')].filter((item) => !item.querySelector('.role-mark path'))"
        assert tab.evaluate(f"{empty}.map((item) => item.parentElement.id)") == []
        assert axe.violations(tab) == []
        if tab.evaluate("document.querySelectorAll('.chooser').length"):
            press_compare(tab, 0, 1)
            assert axe.violations(tab, "dialog[open]") == []
        assert tab.complaints == []


def press_compare(tab: browser.Page, *rows: int) -> None:
    boxes = "document.querySelector('[data-choose]').querySelectorAll('tbody input')"
    for row in rows:
        tab.evaluate(f"{boxes}[{row}].click()")
    tab.evaluate("document.querySelector('.chooser button').click()")
    assert tab.evaluate("document.querySelector('dialog').open")


@pytest.mark.parametrize("kind", ["networks", "studies", "index", "leaderboard"])
def test_a_page_fits_a_telephone_a_laptop_and_paper(tab: browser.Page, pages: dict[str, Path], kind: str):
    tab.open(pages[kind])
    tab.evaluate("document.querySelectorAll('td details').forEach((item) => { item.open = true; })")
    for width in (360, 1280):
        tab.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(IN_VIEW)
        if kind == "leaderboard" and width == 360:
            headings = "[...document.querySelectorAll('[data-choose] thead th')].filter((item) => item.offsetWidth)"
            said = tab.evaluate(f"{headings}.map((item) => item.textContent)")
            assert said == ["rank", "network", "parameters", "accuracy, %", "tier"]
    tab.send("Emulation.clearDeviceMetricsOverride")

    tab.send("Emulation.setEmulatedMedia", media="print")
    controls = "[...document.querySelectorAll('.chooser, .finder, #live')].filter((item) => item.offsetHeight).length"
    assert tab.evaluate(controls) == 0
    tab.send("Emulation.setEmulatedMedia", media="")


IN_VIEW = (
    """[...document.querySelectorAll('[data-choose] .scroll')].every((box) => box.scrollWidth <= box.clientWidth)"""
)


def test_without_scripts_the_index_is_complete_and_has_no_dead_control(tab: browser.Page, pages: dict[str, Path]):
    tab.open(pages["index"])
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    tab.reload()
    tab.send("Emulation.setScriptExecutionDisabled", value=False)

    assert tab.evaluate("document.querySelectorAll('button, input, dialog').length") == 0
    rows = "[...document.querySelectorAll('[data-choose] tbody tr:not(.fold)')]"
    assert tab.evaluate(f"{rows}.every((row) => row.offsetHeight)")
    assert tab.evaluate(f"{rows}.length") == 2 + tab.evaluate("document.querySelectorAll('#standings .fold').length")


def test_words_that_are_typed_filter_chart_and_tables(tab: browser.Page, pages: dict[str, Path]):
    tab.complaints.clear()
    tab.open(pages["leaderboard"])
    tab.evaluate("page.ready.then(() => 0)")
    marks = "document.querySelectorAll('#frontier-chart .mark-symbol.role-mark path').length"
    rows = "[...document.querySelectorAll('[data-choose] tbody tr:not(.fold)')].filter((row) => !row.hidden)"
    before = tab.evaluate(marks)
    assert before == tab.evaluate(f"{rows}.length") > 3
    tab.evaluate("document.querySelector('[type=search]').focus()")
    tab.send("Input.insertText", text="SEED4 certified")

    assert tab.evaluate(f"{rows}.length") == 0
    tab.evaluate("(() => { const box = document.activeElement; box.value = ''; })()")
    tab.send("Input.insertText", text="seed4")
    assert tab.evaluate(f"{rows}.map((row) => row.querySelector('b').textContent)") == ["seed4"]
    assert tab.evaluate(f"new Promise((done) => setTimeout(() => done({marks}), 300))") == 1
    assert tab.complaints == []


def test_a_row_that_an_address_names_is_in_sight_and_unfolded(tab: browser.Page, pages: dict[str, Path]):
    tab.open(pages["index"])
    tab.go(f"{pages['leaderboard'].resolve().as_uri()}#row-2-1")

    assert tab.evaluate("document.getElementById('row-2-1').offsetHeight") > 0
    assert tab.evaluate("document.getElementById('row-2-1').nextElementSibling.querySelector('details').open")


@pytest.mark.parametrize("kind", ["index", "leaderboard"])
def test_rows_are_set_side_by_side_with_the_command_that_compares_them(
    tab: browser.Page, pages: dict[str, Path], kind: str
):
    tab.open(pages[kind])
    press_compare(tab, 0, 1)

    keys = tab.evaluate("[...document.querySelectorAll('[data-choose] [data-key]')].map((item) => item.dataset.key)")
    assert tab.evaluate("document.querySelector('dialog p code').textContent") == f"harness report {keys[0]} {keys[1]}"
    cells = "[...document.querySelectorAll('dialog tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    assert "parameters" in [line[0] for line in tab.evaluate(cells)]
    tab.press("Escape")
    # A fifth is refused.
    boxes = "[...document.querySelector('[data-choose]').querySelectorAll('tbody input')]"
    tab.evaluate(f"{boxes}.slice(2, 5).forEach((box) => box.click())")
    assert tab.evaluate(f"{boxes}.filter((box) => box.checked).length") <= 4


SHOWN = "[...document.querySelectorAll('[role=tabpanel]')].filter((part) => part.offsetHeight).map((part) => part.id)"


def test_targets_are_tabs_that_the_keyboard_and_the_address_choose(tab: browser.Page, pages: dict[str, Path]):
    tab.complaints.clear()
    tab.open(pages["leaderboard"])
    assert tab.evaluate(SHOWN) == ["mnist-99.4"]

    tab.evaluate("document.querySelector('[role=tab][aria-selected=true]').focus()")
    tab.press("ArrowRight")
    assert tab.evaluate(SHOWN) == ["mnist-99"]
    assert tab.evaluate("document.activeElement.hash") == tab.evaluate("location.hash") == "#mnist-99"
    tab.press("Home")
    assert tab.evaluate(SHOWN) == ["mnist-99.4"]

    tab.open(pages["index"])
    tab.go(f"{pages['leaderboard'].resolve().as_uri()}#mnist-99")
    assert tab.evaluate(SHOWN) == ["mnist-99"]
    assert tab.complaints == []


def test_two_hundred_studies_are_listed_soon_and_in_a_small_file(tab: browser.Page, new_study: Any, place: Workspace):
    for number in range(200):
        study = new_study(name=f"study-{number:03d}")
        study.note("ended", reason="time")
        study.write()
    before = time.process_time()
    path = write_index(place, read_index(place))
    assert time.process_time() - before < 10

    assert path.stat().st_size < 2_000_000
    tab.open(path)
    assert tab.evaluate("document.querySelectorAll('#studies tbody tr:not(.fold)').length") == 200
