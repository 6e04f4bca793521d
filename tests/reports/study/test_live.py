from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.system.files import Workspace
from reports.study.live import QUIET_SECONDS, RELOAD_SECONDS, write_live_report
from reports.study.study_page import write_report
from tests import browser
from tests.outline import checked


def policy_of(source: str) -> str:
    return checked(source).all("meta")[1]["content"]


def test_the_page_is_the_report_with_a_bar_and_a_script(realistic_study: Any, place: Workspace):
    plain = write_report(realistic_study.folder, place).read_text(encoding="utf-8")

    path = write_live_report(realistic_study.folder, place)

    page = checked(path.read_text(encoding="utf-8"))
    assert path == realistic_study.folder / "report.html"
    assert "reload this page" in page.text("span")
    assert page.all("aside")[0]["data-seconds"] == str(RELOAD_SECONDS)
    # Taken away again, what was added leaves the report.
    source = path.read_text(encoding="utf-8")
    source = re.sub(r'<aside id="live".*?</aside>', "", source, flags=re.S)
    source = re.sub(r'<script>"use strict";\n// Reloads.*?</script>', "", source, flags=re.S)
    allowed = re.escape("'sha256-").replace("'", "&#x27;") + "[^ &]*&#x27;"
    source = re.sub(f"script-src {allowed} ", "script-src ", source)
    assert source == plain


def test_the_policy_allows_the_scripts_of_the_page_and_no_other(realistic_study: Any, place: Workspace):
    source = write_live_report(realistic_study.folder, place).read_text(encoding="utf-8")

    scripts = re.findall(r"<script>(.*?)</script>", source, flags=re.S)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(scripts) == 2, "that of the report and the one that reloads it"
    assert f"; script-src 'sha256-{digests[1]}' 'sha256-{digests[0]}'; " in policy_of(source)
    assert "default-src 'none'" in policy_of(source)


# In a browser -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.started(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def page(realistic_study: Any, place: Workspace, tab: browser.Page) -> browser.Page:
    """The live report in a browser; it reloads after a second, and waits for one, instead of fifteen and five."""
    path = write_live_report(realistic_study.folder, place)
    source = path.read_text(encoding="utf-8").replace(f'data-seconds="{RELOAD_SECONDS}"', 'data-seconds="1"')
    source = source.replace(f'data-quiet="{QUIET_SECONDS}"', 'data-quiet="1"')
    path.write_text(source, encoding="utf-8")
    tab.complaints.clear()
    tab.open(path)
    return tab


def mark(page: browser.Page) -> None:
    page.evaluate("window.marked = true")


def becomes(page: browser.Page, expression: str, seconds: float = 30.0) -> bool:
    """Return whether something becomes true of the page within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if page.evaluate(f"document.readyState === 'complete' && ({expression})"):
            return True
        time.sleep(0.1)
    return False


def focus(page: browser.Page, selector: str) -> None:
    page.evaluate(f"document.querySelector({selector!r}).focus()")


@pytest.mark.browser
def test_the_page_reloads_and_shows_what_is_new(page: browser.Page, realistic_study: Any):
    path = Path(realistic_study.folder) / "report.html"
    path.write_text(path.read_text(encoding="utf-8").replace("<h1>", "<h1>New: "), encoding="utf-8")

    assert becomes(page, "document.querySelector('h1').textContent.startsWith('New: ')")
    assert page.complaints == []


@pytest.mark.browser
def test_it_can_be_paused_by_keyboard_and_stays_so(page: browser.Page):
    focus(page, "#live-button")
    page.press("Enter", "\r")
    assert becomes(page, "document.getElementById('live-words').textContent === 'The search goes on; this page waits.'")

    mark(page)
    assert not becomes(page, "window.marked !== true", 2.5)
    page.evaluate("location.reload()")
    paused = "document.getElementById('live-button').textContent === 'Reload again'"
    assert becomes(page, f"window.marked !== true && {paused}")


@pytest.mark.browser
def test_what_was_open_is_open_again(page: browser.Page):
    page.evaluate("document.querySelectorAll('details.folded')[1].open = true")
    mark(page)

    assert becomes(page, "window.marked !== true && document.querySelectorAll('details.folded')[1].open")
    assert not page.evaluate("document.querySelectorAll('details.folded')[0].open")


@pytest.mark.browser
def test_pause_can_be_clicked_wherever_the_page_is_scrolled_to(page: browser.Page):
    page.send("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.evaluate("document.querySelector('#networks tbody').scrollIntoView()")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box = "document.getElementById('live').getBoundingClientRect()"

    assert page.evaluate("scrollY") > 1_000
    assert page.evaluate(f"document.getElementById('filter').getBoundingClientRect().top >= Math.floor({box}.bottom)")
    button = "document.getElementById('live-button').getBoundingClientRect()"
    middle = f"({button}.x + {button}.width / 2, {button}.y + {button}.height / 2)"
    assert page.evaluate(f"document.elementFromPoint{middle}.id") == "live-button"
    page.send("Emulation.clearDeviceMetricsOverride")


@pytest.mark.browser
def test_it_waits_after_somebody_was_at_work(page: browser.Page, realistic_study: Any):
    path = Path(realistic_study.folder) / "report.html"
    source = path.read_text(encoding="utf-8").replace('data-quiet="1"', 'data-quiet="120"')
    path.write_text(source, encoding="utf-8")
    page.open(path)
    page.press("Tab")

    mark(page)

    assert not becomes(page, "window.marked !== true", 2.5)
