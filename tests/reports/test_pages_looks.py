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
from reports.board.index import read_index, write_index
from reports.board.leaderboard_page import write_leaderboard
from reports.comparison.comparison_page import write_network_comparison, write_study_comparison
from reports.study.live import write_live_report
from search_spaces.catalog import PRESETS
from search_spaces.notation import parse_network
from tests import axe, browser
from tests.outline import checked

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
        "live": write_live_report(begun.folder, place),
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
        assert axe.violations(tab) == []
        if tab.evaluate("document.querySelectorAll('.chooser').length"):
            boxes = "document.querySelector('[data-choose]').querySelectorAll('tbody input')"
            tab.evaluate(f"[...{boxes}].slice(0, 2).forEach((box) => box.click())")
            tab.evaluate("document.querySelector('.chooser button').click()")
            assert tab.evaluate("document.querySelector('dialog').open")
            assert axe.violations(tab, "dialog[open]") == []
        assert tab.complaints == []


@pytest.mark.parametrize("kind", ["networks", "studies", "index", "leaderboard"])
def test_a_page_fits_a_telephone_and_paper(tab: browser.Page, pages: dict[str, Path], kind: str):
    tab.open(pages[kind])
    tab.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=False)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    if kind == "leaderboard":
        headings = "[...document.querySelectorAll('[data-choose] thead th')].filter((item) => item.offsetWidth)"
        said = tab.evaluate(f"{headings}.map((item) => item.textContent)")
        assert said == ["rank", "network", "parameters", "accuracy, %", "tier"]
        assert tab.evaluate(IN_VIEW)
    tab.send("Emulation.clearDeviceMetricsOverride")

    tab.send("Emulation.setEmulatedMedia", media="print")
    controls = "[...document.querySelectorAll('.chooser, .finder, #live')].filter((item) => item.offsetHeight).length"
    assert tab.evaluate(controls) == 0
    hidden = "[...document.querySelectorAll('[data-tabs] > section')].filter((part) => !part.offsetHeight).length"
    assert tab.evaluate(hidden) == 0
    tab.send("Emulation.setEmulatedMedia", media="")


IN_VIEW = (
    """[...document.querySelectorAll('[data-choose] .scroll')].every((box) => box.scrollWidth <= box.clientWidth)"""
)
# The word that unfolds a row stands upon no word of the row above it.
CLEAR = """[...document.querySelectorAll('tr.fold summary')].filter((item) => item.offsetHeight).every((item) => {
  const ours = item.getBoundingClientRect();
  const words = [...item.closest('tr').previousElementSibling.cells].flatMap((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return [...range.getClientRects()];
  });
  const apart = (theirs) => theirs.right <= ours.left || theirs.left >= ours.right
    || theirs.bottom <= ours.top || theirs.top >= ours.bottom;
  return ours.width > 0 && words.every(apart);
})"""


@pytest.mark.parametrize("kind", ["index", "leaderboard"])
def test_all_columns_are_in_view_on_a_small_laptop_what_is_folded_too(
    tab: browser.Page, pages: dict[str, Path], kind: str
):
    tab.open(pages[kind])
    tab.send("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
    assert tab.evaluate(IN_VIEW)
    tab.evaluate("document.querySelectorAll('td details').forEach((item) => { item.open = true; })")
    assert tab.evaluate(IN_VIEW)
    assert tab.evaluate(CLEAR)
    tab.send("Emulation.clearDeviceMetricsOverride")


def test_without_scripts_the_index_is_complete_and_has_no_dead_control(tab: browser.Page, pages: dict[str, Path]):
    tab.open(pages["index"])
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    tab.reload()
    tab.send("Emulation.setScriptExecutionDisabled", value=False)

    assert tab.evaluate("document.querySelectorAll('button, input, dialog').length") == 0
    assert tab.evaluate("document.querySelectorAll('#rungs tbody tr').length") > 0
    rows = "[...document.querySelectorAll('[data-choose] tbody tr:not(.fold)')]"
    assert tab.evaluate(f"{rows}.every((row) => row.offsetHeight)")
    assert (
        tab.evaluate(f"{rows}.length") == 2 + tab.evaluate("document.querySelectorAll('#standings .fold').length") > 4
    )


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


@pytest.mark.parametrize("kind", ["networks", "studies"])
def test_a_comparison_runs_nothing(pages: dict[str, Path], kind: str):
    assert checked(pages[kind].read_text(encoding="utf-8")).all("script") == []


def test_two_hundred_studies_are_listed_soon_and_in_a_small_file(tab: browser.Page, new_study: Any, place: Workspace):
    for number in range(200):
        study = new_study(name=f"study-{number:03d}")
        study.note("ended", reason="time")
        study.write()
    before = time.process_time()
    path = write_index(place, read_index(place))
    assert time.process_time() - before < 10

    assert path.stat().st_size < 1_000_000
    tab.open(path)
    assert tab.evaluate("document.querySelectorAll('#studies tbody tr:not(.fold)').length") == 200
