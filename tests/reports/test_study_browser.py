"""The report of a study in a browser: the filter, the keyboard, and what readers take along."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from harness.training.result import Status
from reports.study.networks import State, named, networks
from reports.study.study_files import StudyFiles
from tests import browser
from tests.reports.reading import focus, focused, shown, text_of, texts, type_into

pytestmark = pytest.mark.browser


# The filter.


def test_one_filter_drives_every_view(report_page: browser.Page, realistic_files: StudyFiles):
    small = [network for network in networks(realistic_files) if network.parameters <= 3_000]
    assert 0 < len(small) < len(networks(realistic_files))

    type_into(report_page, "largest", "3000")

    assert text_of(report_page, "#shown") == f"{len(small)} of {len(networks(realistic_files))} networks."
    assert shown(report_page) == len(small)
    for picture in ("picture", "curves", "budget"):
        numbers = report_page.evaluate(
            f"[...document.querySelectorAll('#{picture} svg [data-n]')].filter((item) => !item.closest('.out'))"
            ".map((item) => Number(item.dataset.n))"
        )
        sizes = [networks(realistic_files)[number].parameters for number in numbers]
        assert sizes
        assert max(sizes) <= 3_000
    closer = report_page.evaluate(
        "[...document.querySelectorAll('#closer details.about:not(.out)')].map((item) => item.dataset.n)"
    )
    assert all(networks(realistic_files)[int(number)].parameters <= 3_000 for number in closer)
    seconds = sum(run.train_seconds for network in small for run in network.runs if run.status is Status.PRUNED)
    assert texts(report_page, "#spent-pruned td")[0].startswith(f"{int(seconds) // 60} min")


def test_the_page_counts_what_python_counted(report_page: browser.Page):
    """A filter that takes nothing away and one that takes much and is taken back lead to the same figures."""
    places = "#choices td, #time td"
    before = texts(report_page, places)

    type_into(report_page, "largest", "2000")
    filtered = texts(report_page, places)
    report_page.evaluate("document.getElementById('reset').click()")

    assert filtered != before
    assert texts(report_page, places) == before


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

    assert shown(report_page) == sum(bool(passes(item)) for item in networks(realistic_files))


def test_state_front_and_test_are_filters_too(report_page: browser.Page, realistic_files: StudyFiles):
    report_page.evaluate("document.querySelector('[name=state]').value = 'pruned'; study.filter()")
    assert shown(report_page) == sum(item.state is State.PRUNED for item in networks(realistic_files))
    report_page.evaluate("document.getElementById('reset').click()")
    report_page.evaluate("document.querySelector('[name=tested]').click()")
    assert shown(report_page) == 1
    report_page.evaluate(
        "document.querySelector('[name=tested]').click(); document.querySelector('[name=front]').click()"
    )
    assert shown(report_page) == report_page.evaluate(
        "document.querySelectorAll('#picture .mark.on-front[data-n]').length"
    )


def test_the_address_keeps_the_filter(report_page: browser.Page):
    type_into(report_page, "largest", "3000")
    found, address = shown(report_page), report_page.evaluate("location.href")

    report_page.go("about:blank")
    report_page.go(address)

    assert address.endswith("#?largest=3000")
    assert shown(report_page) == found


# The keyboard.


def test_the_table_is_sorted_filtered_and_opened_by_keyboard_alone(
    report_page: browser.Page, realistic_files: StudyFiles
):
    focus(report_page, "#filter input")
    report_page.press("Tab")
    assert focused(report_page, "name") == "state"
    focus(report_page, "#networks .scroll")
    report_page.press("Tab")
    assert focused(report_page) == "#"
    for _ in range(2):
        report_page.press("Tab")
    assert focused(report_page) == "parameters"
    report_page.press("Enter", "\r")

    sizes = [int(item.replace(",", "")) for item in texts(report_page, "#networks tbody td:nth-child(4)")]
    assert sizes == sorted(network.parameters for network in networks(realistic_files))
    assert report_page.evaluate("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"
    report_page.press(" ", " ")
    assert report_page.evaluate("document.activeElement.closest('th').getAttribute('aria-sort')") == "descending"
    largest = report_page.evaluate("document.querySelector('#networks tbody th button').textContent")

    focus(report_page, "#networks tbody th button")
    report_page.press("Enter", "\r")
    assert text_of(report_page, "dialog h2") == f"Network {largest}"
    report_page.press("Escape")
    assert report_page.evaluate("document.querySelector('dialog').open") is False
    assert focused(report_page) == largest


def test_what_is_missing_is_sorted_to_the_end_both_ways(report_page: browser.Page):
    for _ in range(2):
        report_page.evaluate("document.querySelectorAll('#networks thead button')[4].click()")
        column = texts(report_page, "#networks tbody td:nth-child(6)")
        assert "\u2013" in column
        assert set(column[column.index("\u2013") :]) == {"\u2013"}
        figures = [float(item.split()[0]) for item in column if item != "\u2013"]
        assert figures in (sorted(figures), sorted(figures, reverse=True))


def test_arrows_go_from_point_to_point_and_enter_opens_the_network(
    report_page: browser.Page, realistic_files: StudyFiles
):
    stops = "document.querySelectorAll('#picture svg [tabindex=\"0\"]').length"
    assert report_page.evaluate(stops) == 1
    focus(report_page, "#picture .picture")
    report_page.press("Tab")
    report_page.press("Home")
    seen = []
    labels = [network.label for network in named(networks(realistic_files))]
    for _ in range(10):
        number = int(focused(report_page, "dataset.n"))
        seen.append(networks(realistic_files)[number].parameters)
        assert focused(report_page, "getAttribute('aria-label')").startswith(labels[number])
        assert labels[number] in text_of(report_page, ".tip")
        report_page.press("ArrowRight")
    assert seen == sorted(seen)
    assert report_page.evaluate(stops) == 1
    number = int(focused(report_page, "dataset.n"))
    report_page.press("Enter", "\r")
    assert text_of(report_page, "dialog h2") == f"Network {labels[number]}"


def test_the_opened_network_leads_to_its_section_and_its_row(report_page: browser.Page, realistic_files: StudyFiles):
    report_page.evaluate("study.open(0)")
    report_page.evaluate(
        "[...document.querySelectorAll('dialog button')].find((b) => b.textContent === 'Its section').click()"
    )
    assert focused(report_page, "closest('details').id") == f"about-{networks(realistic_files)[0].hash}"
    type_into(report_page, "q", "no such thing")
    report_page.evaluate("study.open(3)")
    report_page.evaluate(
        "[...document.querySelectorAll('dialog button')].find((b) => b.textContent.startsWith('Its row')).click()"
    )
    assert focused(report_page, "closest('tr').id") == f"network-{networks(realistic_files)[3].hash}"
    assert shown(report_page) == len(networks(realistic_files))


def test_a_click_on_a_point_opens_its_network(report_page: browser.Page, realistic_files: StudyFiles):
    place = report_page.evaluate(
        "(() => { const point = document.querySelector('#picture .mark[data-n=\"5\"]'); "
        "point.scrollIntoView({block: 'center', behavior: 'instant'}); "
        "const box = point.getBoundingClientRect(); return {x: box.x + box.width / 2, y: box.y + box.height / 2}; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        report_page.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    assert text_of(report_page, "dialog h2") == f"Network {named(networks(realistic_files))[5].label}"
    words = text_of(report_page, "dialog")
    assert f"{networks(realistic_files)[5].parameters:,} parameters" in words
    assert str(networks(realistic_files)[5].architecture) in words
    assert "width = option" in words


# What readers take along.


def test_what_is_shown_can_be_saved(report_page: browser.Page, realistic_files: StudyFiles):
    type_into(report_page, "largest", "3000")

    rows = list(csv.DictReader(io.StringIO(report_page.evaluate("study.csv()"))))
    same = report_page.evaluate("study.chosen()")

    small = [network for network in networks(realistic_files) if network.parameters <= 3_000]
    assert [row["hash"] for row in rows] == [network.hash for network in small] == [row["hash"] for row in same]
    assert [row["architecture"] for row in rows] == [str(network.architecture) for network in small]
    assert [int(row["parameters"]) for row in rows] == [network.parameters for network in small]
