"""All report pages in a browser: accessibility and console in both themes, layout, paper, no scripts, interaction."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.data.datasets import DATASETS
from harness.evidence import record
from harness.evidence.leaderboard_table import survey
from harness.pages.board import write_leaderboard
from harness.pages.study_facts import StudyFacts
from harness.pages.study_page import page, write_report
from harness.spaces.catalog import PRESETS
from harness.spaces.notation import parse_network
from harness.spaces.space import OBJECTIVES, Decision, Metric
from harness.system.files import Workspace
from harness.training.result import Status
from tests import axe, browser
from tests.factories import CONFIG
from tests.harness.pages.conftest import SyntheticStudy, evidence, network, realistic

pytestmark = pytest.mark.browser
KINDS = ("study", "live", "hostile", "leaderboard")
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
    """Return the path of a page of each of ``KINDS``, from a successful, an empty and a hostile study."""
    home = Workspace(tmp_path_factory.mktemp("pages"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.system.files.os.fsync", lambda handle: None)
        complete, empty = realistic(home), SyntheticStudy(home, name=f"begun-{'with-a-long-name-' * 5}").begin()
        empty.write()
        hostile = SyntheticStudy(home, name="hostile").begin()
        for number in range(66):
            text = HOSTILE[number % len(HOSTILE)]
            proposal = hostile.propose(network(4 + number, 8, 8), origin=text)
            decisions = (Decision(text[:200], number % 2, 2, ordered=False),)
            hostile.finish(proposal, 50 + number, decisions=decisions)
            hostile.log("rejected", reason=text)
        hostile.write()
    record.write(home.records, evidence(parse_network(PRESETS["seed4"]), [63, 65, 60], "s" * 200, name="seed4"))
    record.write(home.records, evidence(network(5, 6, 7), [70, 65, 60, 61, 62], target_pct=99.0))
    return {
        "study": write_report(complete.folder, home),
        "live": write_report(empty.folder, home, live=True),
        "hostile": write_report(hostile.folder, home),
        "leaderboard": write_leaderboard(home, survey(home)),
    }


@pytest.fixture
def report(tab: browser.Page, realistic_report: Path) -> browser.Page:
    """Return the browser page with the report of the realistic study, after the charts are drawn."""
    tab.open(realistic_report)
    tab.evaluate("page.ready")
    return tab


def text_of(page: browser.Page, selector: str) -> str:
    """Return the visible text of an element."""
    text: str = page.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
    return text


def focus(page: browser.Page, selector: str) -> None:
    page.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")


def type_into(page: browser.Page, name: str, value: str) -> None:
    """Type a value into a field of the filter."""
    focus(page, f"#filter [name={name}]")
    page.send("Input.insertText", text=value)


def unfold(page: browser.Page) -> None:
    """Open all folds and draw the charts in the folds; pause a live page, so that the page does not reload."""
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
def test_both_themes_have_charts_and_no_violations_or_foreign_code(
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
            assert not re.search(r"(?:^|,)=", tab.evaluate("page.study.csv()"), re.MULTILINE)
        assert tab.evaluate("typeof window.broken") == "undefined"


def test_axe_reports_violations(chromium: browser.Page, tmp_path: Path):
    path = tmp_path / "wrong.html"
    markup = "<img src=''><p style='color:#bbb'>pale</p><dialog open><img src=''></dialog>"
    path.write_text(f"<html lang=en><title>x</title>{markup}", encoding="utf-8")
    chromium.open(path)

    assert {item.partition(":")[0] for item in axe.violations(chromium)} == {"image-alt", "color-contrast"}


@pytest.mark.parametrize("kind", KINDS)
def test_page_fits_phone_laptop_and_paper(tab: browser.Page, pages: dict[str, Path], kind: str):
    tab.open(pages[kind])
    unfold(tab)
    boxes = "[...document.querySelectorAll('[data-choose] .scroll')]"
    outside = """[...document.querySelectorAll(".drawing svg text")].filter((text) => {
      const [inner, outer] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
      return getComputedStyle(text).opacity !== "0" && (inner.left < outer.left - 2 || inner.right > outer.right + 2);
    }).map((text) => text.textContent)"""
    for width in (360, 1280):
        tab.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        tab.reload()
        unfold(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(f"{boxes}.every((box) => box.scrollWidth <= box.clientWidth)")
        assert tab.evaluate(outside) == []
    tab.send("Emulation.clearDeviceMetricsOverride")
    tab.send("Emulation.setEmulatedMedia", media="print")
    controls = "[...document.querySelectorAll('.chooser, .finder, #live, #filter')].filter((item) => item.offsetHeight)"
    assert tab.evaluate(f"{controls}.length") == 0
    if kind == "study":
        assert len(tab.send("Page.printToPDF")["data"]) > 100_000
    tab.send("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("kind", ["study", "leaderboard"])
def test_page_without_scripts_shows_all_rows_and_no_controls(chromium: browser.Page, pages: dict[str, Path], kind: str):
    chromium.open(pages[kind])
    chromium.send("Emulation.setScriptExecutionDisabled", value=True)
    chromium.reload()
    chromium.send("Emulation.setScriptExecutionDisabled", value=False)

    controls = "[...document.querySelectorAll('button, input, dialog')].filter((item) => item.offsetHeight).length"
    assert chromium.evaluate(controls) == 0
    rows = "[...document.querySelectorAll('#networks-table tbody tr, [data-choose] tbody tr:not(.fold)')]"
    assert chromium.evaluate(f"{rows}.every((row) => row.offsetHeight)")
    assert chromium.evaluate(f"{rows}.length") > 5


def test_matrix_of_long_class_names_fits(
    tab: browser.Page, realistic_facts: StudyFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    names = tuple(f"spotted woodpecker {number}" for number in range(10))
    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], class_names=names))
    (path := tmp_path / "report.html").write_text(page(realistic_facts), encoding="utf-8")
    tab.open(path)
    tab.send("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)

    for name in ("matrix", "classes"):
        box = f"document.getElementById('{name}').parentElement"
        assert tab.evaluate(f"{box}.scrollWidth <= 1.2 * {box}.clientWidth")


@pytest.mark.parametrize("metrics", [(Metric.PARAMETERS,), (Metric.MACS, Metric.RAM_BYTES)])
def test_columns_of_networks_match_width_and_metrics(
    tab: browser.Page, new_study: Any, home: Workspace, metrics: tuple[Metric, ...]
):
    objectives: dict[str, Any] = dict(zip(("minimise", "second"), metrics, strict=False))
    study = new_study(config=replace(CONFIG, **objectives, most=60_000, second_most=60_000))
    study.finish(study.propose(network(8, 8, 8)), 40)
    tab.open(write_report(study.write(), home))
    cells = "[...document.querySelectorAll('#networks-table tr:first-child > *')].filter((item) => item.offsetWidth)"
    numbers = {"parameters", "validation, % (seeds)", *(OBJECTIVES[metric] for metric in metrics)}
    spare = ["rank", "epochs", "errors", "test, % (seeds)"]
    for width, more_numbers, more in ((360, [], []), (1440, spare, ["layers"])):
        tab.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        rows = tab.evaluate(f"{cells}.map((item) => [item.innerText, getComputedStyle(item).textAlign])")
        titles = dict(rows[: len(rows) // 2])
        assert {*titles} - {"notation"} == {"network", "state", *numbers, *more_numbers, *more}
        assert {title for title, side in titles.items() if side == "right"} == {*numbers, *more_numbers}
        assert [side for _, side in rows[len(rows) // 2 :]] == [*titles.values()]


def test_skip_link_is_above_the_bar_of_a_live_page(tab: browser.Page, pages: dict[str, Path]):
    tab.open(pages["live"])
    tab.press("Tab")

    assert tab.evaluate("document.elementFromPoint(30, 20).hash") == "#content"


def test_class_names_break_only_between_words(report: browser.Page):
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


# Report of a study ----------------------------------------------------------------------------------------------------


def networks_in_chart(page: browser.Page, name: str = "accuracy") -> list[Any]:
    """Return the indices of the networks in a chart."""
    numbers: list[Any] = page.evaluate(f"page.views[{name!r}].data('networks').map((row) => row.n)")
    return numbers


def test_filter_applies_to_table_charts_address_and_csv(report: browser.Page, realistic_facts: StudyFacts):
    networks = realistic_facts.networks
    small = [number for number, item in enumerate(networks) if item.parameters <= 3_000]
    assert 0 < len(small) < len(networks)

    type_into(report, "largest", "3000")

    assert text_of(report, "#shown").startswith(f"{len(small)} of {len(networks)} networks.")
    assert networks_in_chart(report) == small
    # A chart that is drawn later has the same filter.
    unfold(report)
    assert networks_in_chart(report, "over-time") == small
    rows = list(csv.DictReader(io.StringIO(report.evaluate("page.study.csv()"))))
    assert [row["hash"] for row in rows] == [networks[number].hash for number in small]
    assert [row["architecture"] for row in rows] == [str(networks[number].architecture) for number in small]
    address = report.evaluate("location.href")
    assert address.endswith("#?largest=3000")
    report.go("about:blank")
    report.go(address)
    visible_rows = "document.querySelectorAll('#networks tbody tr:not([hidden])').length"
    assert report.evaluate(visible_rows) == min(len(small), 20)


def test_click_on_point_opens_network_and_leads_to_row(report: browser.Page):
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


def test_table_is_sorted_and_opened_by_keyboard(report: browser.Page):
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


def test_live_page_reloads_keeps_folds_and_can_be_paused(tab: browser.Page, realistic_study: Any, home: Workspace):
    path = write_report(realistic_study.folder, home, live=True)
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
    # A live page reloads every second, so a script may read an incomplete page.
    opens = "[...document.querySelectorAll('details.folded')].slice(0, 2).map((item) => item.open)"
    assert becomes(f"{opens}.join() === 'false,true'")
    focus(tab, "#live-button")
    tab.press("Enter", "\r")
    tab.evaluate("window.marked = true")
    assert not becomes("window.marked !== true", 2.5)


@pytest.mark.slow
def test_report_of_five_thousand_networks_is_written_fast_and_opens(
    tab: browser.Page, new_study: Any, home: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("harness.system.files.os.fsync", lambda handle: None)
    study = new_study()
    draw = random.Random(1)
    for number in range(5_000):
        proposal = study.propose(network(3 + number % 17, 3 + number // 17 % 17, 3 + number // 289))
        coins = tuple(Decision(f"choice-{index}", draw.randrange(4), 4, ordered=True) for index in range(12))
        status, epochs = (Status.COMPLETE, 15) if number % 3 else (Status.PRUNED, 4)
        study.finish(proposal, 50 + number % 400, status=status, epochs=epochs, decisions=coins)
    folder = study.write()
    # CPU time, because wall-clock time depends on the load of the machine.
    began = time.process_time()
    path = write_report(folder, home)
    assert time.process_time() - began < 10
    tab.open(path)
    tab.evaluate("page.ready")

    assert text_of(tab, "#shown") == "5,000 of 5,000 networks. The table shows 20."
    type_into(tab, "largest", "2000")
    assert 0 < len(networks_in_chart(tab)) < 5_000
    tab.evaluate("document.getElementById('reset').click()")
    tab.evaluate("document.getElementById('all-rows').click()")
    assert tab.evaluate("document.querySelectorAll('#networks tbody tr:not([hidden])').length") == 5_000


# Leaderboard and index ------------------------------------------------------------------------------------------------


def test_search_field_filters_chart_and_tables(tab: browser.Page, pages: dict[str, Path]):
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


def test_dialog_shows_rows_side_by_side(tab: browser.Page, pages: dict[str, Path]):
    tab.open(pages["leaderboard"])
    press_compare(tab)

    cells = "[...document.querySelectorAll('dialog tr')].map((row) => row.cells[0].textContent)"
    assert "parameters" in tab.evaluate(cells)
    tab.press("Escape")
    # At most four rows can be checked.
    boxes = "[...document.querySelector('[data-choose]').querySelectorAll('tbody input')]"
    tab.evaluate(f"{boxes}.slice(2, 5).forEach((box) => box.click())")
    assert tab.evaluate(f"{boxes}.filter((box) => box.checked).length") <= 4


def test_rows_of_the_leaderboard_unfold_without_scrolling_on_a_tablet(tab: browser.Page, pages: dict[str, Path]):
    tab.open(pages["leaderboard"])
    tab.send("Emulation.setDeviceMetricsOverride", width=800, height=800, deviceScaleFactor=1, mobile=False)
    boxes = "[...document.querySelectorAll('tr.fold :is(summary, .inside)')]"
    ends = f"{boxes}.map((item) => item.getBoundingClientRect().right)"

    assert 0 < max(tab.evaluate(ends)) <= 800
    unfold(tab)
    assert max(tab.evaluate(ends)) <= 800


@pytest.mark.parametrize("way", ["button", "filter", "address"])
def test_long_table_of_the_leaderboard_begins_with_25_rows(
    way: str, tab: browser.Page, pages: dict[str, Path], tmp_path: Path
):
    text = pages["leaderboard"].read_text(encoding="utf-8")
    start = text.index('<tr id="row-1-1">')
    row = text[start : text.index("</tbody>", start)].partition('<tr id="row-1-2">')[0]
    rows = "".join(row.replace("row-1-1", f"row-1-{number}") for number in range(1001, 1031))
    path = tmp_path / "long.html"
    path.write_text(text[:start] + rows + text[start:], encoding="utf-8")
    tab.open(path)
    all_rows = "[...document.querySelectorAll('#rows-1 > tbody > tr:not(.fold)')]"
    visible = f"{all_rows}.filter((row) => row.offsetHeight).length"
    assert tab.evaluate(visible) == 25

    if way == "button":
        tab.evaluate("document.querySelector('button.all').click()")
    elif way == "address":
        tab.evaluate("location.hash = 'row-1-1030'")
        tab.evaluate("new Promise((resolve) => setTimeout(resolve, 100))")
    else:
        tab.evaluate("document.querySelector('.finder input').dispatchEvent(new Event('input'))")

    assert tab.evaluate(visible) == tab.evaluate(f"{all_rows}.length") > 30
    assert tab.evaluate("document.querySelector('[data-choose] button.all')") is None


def test_keyboard_and_address_choose_tab_of_target(tab: browser.Page, pages: dict[str, Path]):
    visible_panels = (
        "[...document.querySelectorAll('[role=tabpanel]')].filter((part) => part.offsetHeight).map((part) => part.id)"
    )
    tab.open(pages["leaderboard"])
    assert tab.evaluate(visible_panels) == ["mnist-99.4"]

    tab.evaluate("document.querySelector('[role=tab][aria-selected=true]').focus()")
    tab.press("ArrowRight")
    assert tab.evaluate(visible_panels) == ["mnist-99"]
    assert tab.evaluate("document.activeElement.hash") == tab.evaluate("location.hash") == "#mnist-99"
    tab.press("Home")
    assert tab.evaluate(visible_panels) == ["mnist-99.4"]

    tab.open(pages["study"])
    tab.go(f"{pages['leaderboard'].resolve().as_uri()}#row-2-1")
    assert tab.evaluate(visible_panels) == ["mnist-99"]
    assert tab.evaluate("document.getElementById('row-2-1').offsetHeight") > 0
    assert tab.evaluate("document.getElementById('row-2-1').nextElementSibling.querySelector('details').open")
