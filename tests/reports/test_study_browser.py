"""The report of a study in a browser: filter, links, themes, paper, hard studies, and what axe-core says."""

from __future__ import annotations

import csv
import io
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest

from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.networks import State, networks
from reports.study.study_files import StudyFiles
from reports.study.study_page import write_report
from search_spaces.draw import Decision
from tests import axe, browser
from tests.reports.reading import focus, focused, press_button, shown, text_of, type_into

pytestmark = pytest.mark.browser


def drawn(page: browser.Page, name: str = "accuracy") -> list[Any]:
    """The networks that a chart draws now."""
    page.evaluate("page.ready")
    found: list[Any] = page.evaluate(f"page.views[{name!r}].data('networks').map((row) => row.n)")
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_serious_violation(opened: browser.Page, realistic_report: Path, dark: bool):
    opened.complaints.clear()
    opened.open(realistic_report, dark=dark)
    opened.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    opened.evaluate("page.drawAll()")
    assert axe.violations(opened) == []
    opened.evaluate("page.study.open(0)")
    assert axe.violations(opened, "dialog[open]") == []
    assert opened.complaints == []


def test_axe_finds_what_is_wrong(opened: browser.Page, tmp_path: Path):
    path = tmp_path / "wrong.html"
    wrong = "<img src=''><p style='color:#bbb'>pale</p><dialog open><img src=''></dialog>"
    path.write_text(f"<html lang=en><title>x</title>{wrong}", encoding="utf-8")
    opened.open(path)

    assert {item.partition(":")[0] for item in axe.violations(opened)} == {"image-alt", "color-contrast"}


def test_one_filter_drives_table_and_charts(report_page: browser.Page, realistic_files: StudyFiles):
    found = networks(realistic_files)
    small = [number for number, network in enumerate(found) if network.parameters <= 3_000]
    assert 0 < len(small) < len(found)

    type_into(report_page, "largest", "3000")

    assert text_of(report_page, "#shown").startswith(f"{len(small)} of {len(found)} networks.")
    assert shown(report_page) == min(len(small), 20)
    assert drawn(report_page) == small
    # A chart that is drawn later shows the same.
    report_page.evaluate("document.querySelector('#budget details').open = true")
    report_page.evaluate("page.drawAll()")
    assert drawn(report_page, "over-time") == small

    address = report_page.evaluate("location.href")
    assert address.endswith("#?largest=3000")
    report_page.go("about:blank")
    report_page.go(address)
    assert shown(report_page) == min(len(small), 20)


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"q": "4) MAXPOOL conv3x3"}, lambda item: "4)" in str(item.architecture)),
        ({"q": "ladder"}, lambda item: item.origin == "ladder"),
        ({"least": "99.4", "most": "99.6"}, lambda item: item.accuracy_pct and 99.4 <= item.accuracy_pct <= 99.6),
        ({"q": "no such thing"}, lambda item: False),
    ],
)
def test_words_and_bounds_find_what_they_say(
    report_page: browser.Page, realistic_files: StudyFiles, changes: Any, passes: Any
):
    for name, value in changes.items():
        type_into(report_page, name, value)

    count = sum(bool(passes(item)) for item in networks(realistic_files))
    assert text_of(report_page, "#shown").startswith(f"{count} of ")


def test_state_front_and_test_are_filters_too(report_page: browser.Page, realistic_files: StudyFiles):
    report_page.evaluate("document.querySelector('[name=state]').value = 'pruned'; page.study.filter()")
    pruned = sum(item.state is State.PRUNED for item in networks(realistic_files))
    assert text_of(report_page, "#shown").startswith(f"{pruned} of ")
    report_page.evaluate("document.getElementById('reset').click()")
    report_page.evaluate("document.querySelector('[name=tested]').click()")
    assert shown(report_page) == 1


def test_a_click_on_a_point_opens_its_network_which_leads_to_its_row(report_page: browser.Page):
    report_page.evaluate("page.ready")
    report_page.evaluate("document.getElementById('picture').scrollIntoView({behavior: 'instant'})")
    marks = "document.querySelector('#accuracy-chart g.mark-symbol.role-mark:not(.role-legend-symbol) path')"
    middle = "({x, y, width, height}) => [x + width / 2, y + height / 2]"
    box = report_page.evaluate(f"({middle})({marks}.getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        report_page.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
    assert report_page.evaluate("document.querySelector('dialog').open")
    label = text_of(report_page, "dialog h2").removeprefix("Network ")

    press_button(report_page, "Show in table")

    assert focused(report_page) == label
    assert report_page.evaluate("!document.activeElement.closest('tr').hidden")


def test_the_table_is_sorted_and_opened_by_keyboard_alone(report_page: browser.Page):
    report_page.evaluate("document.getElementById('all-rows').click()")
    focus(report_page, "#networks-table th:nth-child(4) button")
    assert focused(report_page) == "parameters"
    report_page.press("Enter", "\r")

    sizes = report_page.evaluate(
        "[...document.querySelectorAll('#networks-table tbody td:nth-child(4)')]"
        ".map((item) => Number(item.textContent.replaceAll(',', '')))"
    )
    assert sizes == sorted(sizes)
    focus(report_page, "#networks-table tbody th button")
    report_page.press("Enter", "\r")
    assert report_page.evaluate("document.querySelector('dialog').open")
    report_page.press("Escape")
    assert not report_page.evaluate("document.querySelector('dialog').open")


def test_what_is_shown_can_be_taken_along(report_page: browser.Page, realistic_files: StudyFiles):
    type_into(report_page, "largest", "3000")

    rows = list(csv.DictReader(io.StringIO(report_page.evaluate("page.study.csv()"))))

    expected = [item for item in networks(realistic_files) if item.parameters <= 3_000]
    assert [row["hash"] for row in rows] == [item.hash for item in expected]
    assert [row["architecture"] for row in rows] == [str(item.architecture) for item in expected]
    assert [int(row["parameters"]) for row in rows] == [item.parameters for item in expected]


def test_the_theme_can_be_chosen_and_charts_follow(report_page: browser.Page):
    report_page.evaluate("page.ready")
    colours = (
        "[getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('.drawing svg text')).fill]"
    )
    seen = []
    for _ in range(3):
        seen.append((text_of(report_page, "button.theme"), *report_page.evaluate(colours)))
        report_page.evaluate("document.querySelector('button.theme').click()")
    report_page.evaluate("localStorage.clear()")

    assert seen == [
        ("Theme: automatic", "rgb(255, 255, 255)", "rgb(27, 33, 39)"),
        ("Theme: light", "rgb(255, 255, 255)", "rgb(27, 33, 39)"),
        ("Theme: dark", "rgb(20, 24, 28)", "rgb(230, 234, 238)"),
    ]


def test_a_telephone_and_paper_have_it_whole(report_page: browser.Page):
    report_page.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    report_page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    report_page.evaluate("page.drawAll()")
    width = report_page.evaluate("document.documentElement.scrollWidth")
    report_page.send("Emulation.clearDeviceMetricsOverride")
    report_page.send("Emulation.setEmulatedMedia", media="print")
    hidden = report_page.evaluate("getComputedStyle(document.getElementById('filter')).display")
    printed = report_page.send("Page.printToPDF")["data"]
    report_page.send("Emulation.setEmulatedMedia", media="")

    assert width <= 390
    assert hidden == "none"
    assert len(printed) > 100_000


def test_without_scripts_the_table_is_whole_and_nothing_is_dead(opened: browser.Page, realistic_report: Path):
    opened.open(realistic_report)
    opened.send("Emulation.setScriptExecutionDisabled", value=True)
    opened.reload()
    opened.send("Emulation.setScriptExecutionDisabled", value=False)

    rows = "[...document.querySelectorAll('#networks-table tbody tr')].filter((row) => row.offsetHeight).length"
    assert opened.evaluate(rows) == opened.evaluate("document.querySelectorAll('#networks-table tbody tr').length") > 50
    assert opened.evaluate("document.getElementById('filter').offsetHeight") == 0


# Studies that are hard to show.

HOSTILE = (
    "<script>window.broken = 1</script>",
    "</script><img src=x onerror='window.broken = 1'>",
    "=cmd|' /C calc'!A0",
    "\u202egnirts desrever",
    "x" * 10_000,
    "{{ 7 * 7 }}",
)


@pytest.mark.parametrize("kind", ["hostile", "one", "none finished", "begun"])
def test_hard_studies_open_without_a_complaint(
    opened: browser.Page, new_study: Any, place: Workspace, synthetic: Any, kind: str
):
    study = new_study()
    if kind == "hostile":
        for number, words in enumerate(HOSTILE):
            proposal = study.propose(synthetic.network(4 + number, 8, 8))
            study.events[-1]["origin"] = words
            study.finish(proposal, 50 + number, decisions=(Decision(words[:200], number % 2, 2, ordered=False),))
            study.note("rejected", reason=words)
        for width in range(60):
            decisions = (Decision(HOSTILE[0], width % 2, 2, ordered=False),)
            study.finish(study.propose(synthetic.network(11 + width, 8, 8)), 60 + width, decisions=decisions)
    elif kind == "one":
        study.finish(study.propose(synthetic.network(8, 8, 8)), 50)
    elif kind == "none finished":
        study.propose(synthetic.network(8, 8, 8))
    opened.complaints.clear()
    opened.open(write_report(study.write(), place))
    opened.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    opened.evaluate("page.drawAll()")

    if kind != "begun":
        opened.evaluate("page.study.open(0)")
        opened.evaluate("document.querySelector('dialog').close()")
        type_into(opened, "q", "a")
        guarded = opened.evaluate("(document.getElementById('reset').click(), page.study.csv())")
        assert not re.search(r"(?:^|,)=", guarded, re.MULTILINE)
    assert opened.evaluate("typeof window.broken") == "undefined"
    assert opened.complaints == []
    assert axe.violations(opened) == []


def test_a_live_page_reloads_keeps_folds_and_can_be_paused(
    opened: browser.Page, realistic_study: Any, place: Workspace
):
    path = write_report(realistic_study.folder, place, live=True)
    source = re.sub(r'data-(seconds|quiet)="\d+"', r'data-\1="1"', path.read_text(encoding="utf-8"))
    path.write_text(source, encoding="utf-8")
    opened.complaints.clear()
    opened.open(path)

    def becomes(expression: str, seconds: float = 30.0) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if opened.evaluate(f"document.readyState === 'complete' && Boolean({expression})"):
                return True
            time.sleep(0.1)
        return False

    opened.evaluate("document.querySelectorAll('details.folded')[1].open = true; window.marked = true")
    path.write_text(source.replace("<h1>", "<h1>New: "), encoding="utf-8")
    assert becomes("window.marked !== true && document.querySelector('h1').textContent.startsWith('New: ')")
    assert opened.evaluate("[...document.querySelectorAll('details.folded')].map((item) => item.open)")[:2] == [
        False,
        True,
    ]
    focus(opened, "#live-button")
    opened.press("Enter", "\r")
    opened.evaluate("window.marked = true")
    assert not becomes("window.marked !== true", 2.5)
    assert opened.complaints == []


@pytest.mark.slow
def test_five_thousand_networks_are_written_and_opened_in_time(
    opened: browser.Page, new_study: Any, place: Workspace, synthetic: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("harness.system.files.os.fsync", lambda handle: None)
    study = new_study()
    draw = random.Random(1)
    for number in range(5_000):
        proposal = study.propose(synthetic.network(3 + number % 17, 3 + number // 17 % 17, 3 + number // 289))
        coins = tuple(Decision(f"choice-{at}", draw.randrange(4), 4, ordered=True) for at in range(12))
        status, epochs = (Status.COMPLETE, 15) if number % 3 else (Status.PRUNED, 4)
        study.finish(proposal, 50 + number % 400, status=status, epochs=epochs, decisions=coins)
    folder = study.write()
    # Time of this process, and not of the clock: other programs may run beside it.
    began = time.process_time()
    path = write_report(folder, place)
    assert time.process_time() - began < 10
    opened.complaints.clear()
    opened.open(path)
    opened.evaluate("page.ready")

    assert text_of(opened, "#shown") == "5,000 of 5,000 networks. The table shows 20."
    type_into(opened, "largest", "2000")
    assert 0 < len(drawn(opened)) < 5_000
    opened.evaluate("document.getElementById('reset').click()")
    opened.evaluate("document.getElementById('all-rows').click()")
    assert shown(opened) == 5_000
    assert opened.complaints == []
