"""Tests of the README's picture: which points it shows and where, and that the committed files are current."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import frontier
from harness.evidence.leaderboard import LeaderboardRow, Tier
from search_spaces.notation import parse_network

SVG = "{http://www.w3.org/2000/svg}"
ROOT = Path(__file__).resolve().parents[2]


def row(parameters: int, accuracy: float, tier: Tier = Tier.VERIFIED, **changes: Any) -> LeaderboardRow:
    made = LeaderboardRow(
        tier=tier,
        target_pct=99.4,
        reached=True,
        parameters=parameters,
        macs=1,
        receptive_field=9,
        mean_test_accuracy_pct=accuracy,
        dataset="mnist",
        recipe="small",
        architecture=parse_network("gap | linear(10)"),
        hash=f"{parameters:012x}",
        protocol_version=1,
    )
    return replace(made, **changes)


ROWS = [
    row(1_000, 99.4, Tier.CERTIFIED),
    row(900, 99.42, Tier.AT_TARGET),
    row(2_000, 99.45),
    row(300, 98.0, target_pct=98.0),
    row(8_000, 99.5, Tier.MEASURED, name="seed1", recipe="seed1"),
    row(7_000, 99.2, Tier.MEASURED, name="seed0", recipe="documents"),
    row(100, 99.9, Tier.CLAIMED),
    row(101, 99.9, Tier.SEARCHED, mean_test_accuracy_pct=None),
    row(500, 99.6, dataset="mnist-5k"),
]


@pytest.fixture(scope="module")
def drawn() -> ElementTree.Element:
    return ElementTree.fromstring(frontier.picture(ROWS, frontier.THEMES["light"]))


def test_the_committed_pictures_are_those_of_the_leaderboard():
    for name, content in frontier.current().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == content, "run python -m benchmarks.frontier"


def test_the_smallest_proven_row_of_each_target_is_joined(drawn: ElementTree.Element):
    assert [item.parameters for item in frontier.smallest(ROWS)] == [300, 1_000]
    [line] = drawn.iter(f"{SVG}polyline")
    places = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]

    assert len(places) == 2
    (x1, y1), (x2, y2) = places
    # More parameters lie to the right, by their logarithm, and fewer errors higher.
    across = (frontier.RIGHT - frontier.LEFT) / math.log(frontier.SIZES[1] / frontier.SIZES[0])
    assert x2 - x1 == pytest.approx(across * math.log(1_000 / 300), abs=0.1)
    assert y2 < y1


def test_what_was_measured_on_the_test_images_of_mnist_is_shown_and_nothing_else(drawn: ElementTree.Element):
    titles = [found.text or "" for found in drawn.iter(f"{SVG}title")][1:]
    shown = sorted(int(re.match(r"[\d,]+", title)[0].replace(",", "")) for title in titles)  # type: ignore[index]

    assert shown == [300, 900, 1_000, 2_000, 7_000, 8_000]
    words = [found.text for found in drawn.iter(f"{SVG}text")]
    assert {"seed0", "seed1"} <= set(words)


def test_no_words_run_out_of_the_picture(drawn: ElementTree.Element):
    for found in drawn.iter(f"{SVG}text"):
        if found.attrib["text-anchor"] == "start":
            # Shares of the size that a letter of DejaVu Sans takes on average; few usual fonts are wider.
            share = 0.6 if "font-weight" in found.attrib else 0.52
            width = share * float(found.attrib.get("font-size", "13")) * len(found.text or "")
            assert float(found.attrib["x"]) + width <= frontier.WIDTH, found.text


def test_the_title_compares_with_the_smallest_document_that_reaches_the_target(drawn: ElementTree.Element):
    title = next(drawn.iter(f"{SVG}title")).text or ""

    assert title.startswith("1,000 learned")
    assert "8.0 times fewer than seed1" in title
