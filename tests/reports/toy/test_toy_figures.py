from __future__ import annotations

import re

import numpy as np
import pytest

from harness.toy.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, losses
from reports.toy import toy_figures
from reports.toy.toy_curves import references, spread
from reports.toy.toy_figures import COUNTS, RateMap, curves_figure, map_figure, rate_map


@pytest.fixture(scope="module")
def found() -> RateMap:
    return rate_map()


def test_the_figure_has_the_six_curves_twice_labelled_at_their_ends():
    linear, logarithmic = curves_figure().axes

    assert (linear.get_yscale(), logarithmic.get_yscale()) == ("linear", "log")
    for axes in (linear, logarithmic):
        # The others are the short leaders from a line's end to its label.
        curves = [line for line in axes.lines if len(np.asarray(line.get_ydata())) > 2]
        drawn = [np.asarray(line.get_ydata()).tolist() for line in curves]
        assert drawn == [losses(WEIGHTS, EXAMPLE, rate, 1_000) for rate in LEARNING_RATES]
        assert len({line.get_color() for line in curves}) == 6
        assert [text.get_text() for text in axes.texts] == ["0.1", "0.2", "0.5", "0.8", "1.0", "2.0"]
        assert all(text.get_position()[0] > 1_000 for text in axes.texts)


def test_the_map_reaches_from_a_thousandth_to_a_thousand(found: RateMap):
    assert found.learning_rates[0] == pytest.approx(0.001)
    assert found.learning_rates[-1] == pytest.approx(1_000)
    assert found.after(10)[60] == losses(WEIGHTS, EXAMPLE, 1.0, 10)[10]


def test_a_larger_step_stops_helping_near_sixty_to_ninety(found: RateMap):
    for updates in COUNTS:
        rate, loss = found.best(updates)
        assert 60 < rate < 90
        assert loss < 4e-5
        assert loss == min(found.after(updates))
    # Far beyond, the outputs stick at 0 and 1: the loss is that of targets 0.01 and 0.99, whatever the updates.
    for updates in COUNTS:
        assert found.after(updates)[-1] == pytest.approx(2 * 0.5 * 0.01**2)


def test_the_map_says_the_best_rate_of_each_count(found: RateMap):
    lines, area = map_figure(found).axes[:2]

    words = [text.get_text() for text in lines.get_legend().get_texts()]  # type: ignore[union-attr]
    assert [text.partition(":")[0] for text in words] == ["1 update", "10 updates", "100 updates", "1,000 updates"]
    title = lines.get_legend().get_title().get_text()  # type: ignore[union-attr]
    assert title == "best of 20 rates a decade"
    assert (area.get_xscale(), area.get_yscale()) == ("log", "log")


def test_both_pictures_come_in_both_formats_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch, found: RateMap):
    monkeypatch.setattr(toy_figures, "rate_map", lambda: found)

    contents = toy_figures.contents()

    assert toy_figures.contents() == contents
    assert list(contents) == [
        "learning-rates.svg",
        "learning-rates.png",
        "learning-rate-map.svg",
        "learning-rate-map.png",
    ]
    for name, content in contents.items():
        assert content.startswith(b"\x89PNG" if name.endswith(".png") else b"<?xml")
        if name.endswith(".svg"):
            assert not re.search(rb'(href|src)="http', content)


def test_labels_that_would_touch_move_apart_and_keep_their_order():
    # Places count downwards, as pixels do: the lowest label stays, those above make room.
    assert spread([90.0, 99.0, 100.0], 10.0, 100.0) == [80.0, 90.0, 100.0]
    assert spread([10.0, 50.0, 100.0], 10.0, 100.0) == [10.0, 50.0, 100.0]
    assert spread([100.0, 100.0], 10.0, 95.0) == [95.0, 85.0]


def test_the_references_of_the_page_are_the_documents_rates():
    assert list(references()) == list(LEARNING_RATES)
    assert references()[0.5] == losses(WEIGHTS, EXAMPLE, 0.5, 1_000)
