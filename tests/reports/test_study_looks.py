"""The report of a study in a browser: themes, paper, no scripts, hard studies, and what axe-core says."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any

import pytest

from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.study_page import write_report
from search_spaces.draw import Decision
from tests import axe, browser
from tests.reports.reading import shown, text_of, type_into

pytestmark = pytest.mark.browser


# Looks.


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_serious_violation(opened: browser.Page, realistic_report: Path, dark: bool):
    opened.complaints.clear()
    opened.open(realistic_report, dark=dark)
    opened.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    assert axe.violations(opened) == []
    opened.evaluate("study.open(0)")
    assert axe.violations(opened, "dialog[open]") == []
    assert opened.complaints == []


def test_axe_finds_what_is_wrong(opened: browser.Page, tmp_path: Path):
    path = tmp_path / "wrong.html"
    wrong = "<img src=''><p style='color:#bbb'>pale</p><dialog open><img src=''></dialog>"
    path.write_text(f"<html lang=en><title>x</title>{wrong}", encoding="utf-8")
    opened.open(path)

    assert {item.partition(":")[0] for item in axe.violations(opened)} == {"image-alt", "color-contrast"}
    assert {item.partition(":")[0] for item in axe.violations(opened, "dialog[open]")} == {"image-alt"}


def test_the_theme_can_be_chosen(report_page: browser.Page):
    background = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for _ in range(4):
        seen.append((text_of(report_page, "button.theme"), report_page.evaluate(background)))
        report_page.evaluate("document.querySelector('button.theme').click()")
    report_page.evaluate("localStorage.clear()")

    light, dark = "rgb(255, 255, 255)", "rgb(20, 24, 28)"
    assert seen == [
        ("Theme: automatic", light), ("Theme: light", light), ("Theme: dark", dark), ("Theme: automatic", light)
    ]  # fmt: skip


def test_the_strip_of_layers_wraps_on_a_telephone(report_page: browser.Page):
    report_page.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=False)
    report_page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    columns = "[...document.querySelectorAll('.strip svg')].map((item) => item.getBoundingClientRect())"
    right, tops = report_page.evaluate(
        f"(() => {{ const all = {columns}; "
        "return [Math.max(...all.map((box) => box.right)), new Set(all.map((box) => box.top)).size]; })()"
    )
    strips = report_page.evaluate("document.querySelectorAll('.strip').length")
    report_page.send("Emulation.clearDeviceMetricsOverride")

    assert 0 < right <= 390
    assert tops > strips > 0


def test_it_prints_whole_and_without_controls(report_page: browser.Page):
    report_page.send("Emulation.setEmulatedMedia", media="print")
    hidden = report_page.evaluate("getComputedStyle(document.getElementById('filter')).display")
    printed = report_page.send("Page.printToPDF")["data"]
    report_page.send("Emulation.setEmulatedMedia", media="")

    assert hidden == "none"
    assert len(printed) > 100_000


def test_without_scripts_the_page_is_complete_and_has_no_dead_controls(opened: browser.Page, realistic_report: Path):
    opened.complaints.clear()
    opened.open(realistic_report)
    opened.send("Emulation.setScriptExecutionDisabled", value=True)
    opened.reload()
    opened.send("Emulation.setScriptExecutionDisabled", value=False)

    rows = "[...document.querySelectorAll('#networks tbody tr')].filter((row) => row.offsetHeight).length"
    assert opened.evaluate(rows) == opened.evaluate("document.querySelectorAll('#networks tbody tr').length") > 50
    assert opened.evaluate("document.getElementById('filter').offsetHeight") == 0
    assert opened.evaluate("document.querySelectorAll('th button, nav button').length") == 0


# Studies that are hard to show.

HOSTILE = (
    "<script>window.broken = 1</script>",
    "</script><img src=x onerror='window.broken = 1'>",
    "=cmd|' /C calc'!A0",
    "\u202egnirts desrever",
    "x" * 10_000,
)


def hostile(study: Any, synthetic: Any) -> None:
    for number, words in enumerate(HOSTILE):
        proposal = study.propose(synthetic.network(4 + number, 8, 8))
        study.events[-1]["origin"] = study.events[-1]["architecture"] = words
        decisions = (Decision(words[:200], number % 2, 2, ordered=False),)
        study.finish(proposal, 50 + number, decisions=decisions)
        study.note("rejected", reason=words)
    for width in (11, 12, 13, 14):
        study.finish(study.propose(synthetic.network(width, 8, 8)), 60)


@pytest.mark.parametrize("kind", ["hostile", "one", "none finished", "failed", "begun"])
def test_hard_studies_open_without_a_complaint(
    opened: browser.Page, new_study: Any, place: Workspace, synthetic: Any, kind: str
):
    study = new_study()
    if kind == "hostile":
        hostile(study, synthetic)
    elif kind == "one":
        study.finish(study.propose(synthetic.network(8, 8, 8)), 50)
    elif kind == "none finished":
        study.propose(synthetic.network(8, 8, 8))
    elif kind == "failed":
        study.finish(study.propose(synthetic.network(8, 8, 8)), None, status=Status.DIVERGED)
    opened.complaints.clear()
    opened.open(write_report(study.write(), place))

    assert opened.evaluate("typeof window.broken") == "undefined"
    if kind != "begun":
        opened.evaluate("study.open(0)")
        opened.evaluate("document.querySelector('dialog').close()")
        type_into(opened, "q", "a")
        guarded = opened.evaluate("(document.getElementById('reset').click(), study.csv())")
        assert not re.search(r"(?:^|,)=", guarded, re.MULTILINE)
    assert opened.complaints == []
    assert axe.violations(opened) == []


def busy_seconds(page: browser.Page) -> float:
    """How long the page's thread has been at work since it was first asked."""
    found = page.send("Performance.getMetrics")["metrics"]
    return float(next(item["value"] for item in found if item["name"] == "TaskDuration"))


@pytest.mark.slow
def test_five_thousand_networks_are_written_and_opened_in_time(
    opened: browser.Page,
    realistic_report: Path,
    new_study: Any,
    place: Workspace,
    synthetic: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("harness.system.files.os.fsync", lambda handle: None)
    study = new_study()
    draw = random.Random(1)
    for number in range(5_000):
        proposal = study.propose(synthetic.network(3 + number % 17, 3 + number // 17 % 17, 3 + number // 289))
        coins = tuple(Decision(f"choice-{place}", draw.randrange(4), 4, ordered=True) for place in range(12))
        status, epochs = (Status.COMPLETE, 15) if number % 3 else (Status.PRUNED, 4)
        study.finish(proposal, 50 + number % 400, status=status, epochs=epochs, decisions=coins)
    folder = study.write()
    # Time of this process, and of the page's thread, and not of the clock: other programs may run beside them.
    began = time.process_time()
    path = write_report(folder, place)
    written = time.process_time() - began
    opened.complaints.clear()
    opened.open(realistic_report)
    opened.send("Performance.enable", timeDomain="threadTicks")
    before = busy_seconds(opened)
    opened.go(path.as_uri())

    assert written < 10
    assert busy_seconds(opened) - before < 2
    assert opened.evaluate("document.querySelectorAll('#networks tbody tr').length") == 5_000
    assert shown(opened) == 500
    assert text_of(opened, "#shown") == "5,000 of 5,000 networks. The table shows the first 500."
    type_into(opened, "largest", "2000")
    assert "5,000 networks" in text_of(opened, "#shown")
    opened.evaluate("document.getElementById('reset').click()")
    opened.evaluate("document.getElementById('all-rows').click()")
    assert shown(opened) == 5_000
    assert opened.complaints == []
