"""Tests of the roofline: operations and bytes of a step against counting by hand, shares of a given peak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import roofline
from harness.training.native.program import program
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.benchmarks.made_up import ask

MACHINE = {"processor": "one", "commit": "0123456789", "dirty": False}
TEXT = "conv3x3(2) | gap | linear(10)"
# The convolution's 2 x 9 x 784 multiply-adds and the layer's 20, three times, less the first input gradient.
FLOPS = 2 * (3 * (14_112 + 20) - 14_112)
# Values of 784, 2 x 784, 2 and 10: three passes of either side of the convolution, two of a pool, 3 and 2 of a layer.
BYTES = 4 * (3 * 784 + 3 * 1_568 + 2 * 1_568 + 2 * 2 + 3 * 2 + 2 * 10)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(roofline, "RESULTS", tmp_path / "roofline.json")
    monkeypatch.setattr(roofline, "PAGE", tmp_path / "page.md")
    (tmp_path / "page.md").write_text("before\n" + "".join(roofline.MARKS) + "behind\n", encoding="utf-8")
    monkeypatch.setattr(roofline, "machine", lambda: MACHINE)
    monkeypatch.setattr(roofline, "NETWORKS", {"small": (TEXT, 16), "one": (TEXT, 32), "two": (TEXT, 64)})
    monkeypatch.setattr(roofline, "by_harness", lambda text, batch, folder, engine: 1_000_000.0 * batch / 16)
    return tmp_path / "roofline.json"


def test_operations_and_bytes_of_a_step_are_those_counted_by_hand():
    assert roofline.flops_of(TEXT) == FLOPS
    assert roofline.bytes_of(program(parse_network(TEXT), MNIST.input_shape)) == BYTES


def test_rows_are_shares_of_the_median_peak_and_are_drawn(results: Path, monkeypatch: pytest.MonkeyPatch):
    peaks = iter([(400.0, 30.0), (500.0, 50.0), (300.0, 40.0)])
    monkeypatch.setattr(roofline, "limits", lambda: next(peaks))

    ask(monkeypatch, roofline.main, "--rounds", "3")

    [found] = json.loads(results.read_text(encoding="utf-8"))
    assert (found["machine"], found["rounds"]) == (MACHINE, 3)
    assert (found["peak_gflops"], found["peak_gbytes"]) == (400, 40)
    first, second, _ = found["rows"]
    assert first == {
        "network": "small",
        "images_a_second": 1_000_000,
        "flops_an_image": FLOPS,
        "flops_a_byte": round(FLOPS / BYTES, 2),
        "gflops": round(FLOPS / 1000, 1),
        "share_of_peak": round(FLOPS / 1000 / 400, 3),
    }
    assert second["gflops"] == round(FLOPS / 500, 1)
    drawn = ElementTree.parse(results.with_suffix(".svg")).getroot()
    assert drawn.tag.endswith("svg")


def test_each_kind_of_machine_keeps_its_line_until_it_is_measured_again(results: Path, monkeypatch: pytest.MonkeyPatch):
    def measured(processor: str, peak: float) -> list[tuple[str, float]]:
        monkeypatch.setattr(roofline, "machine", lambda: MACHINE | {"processor": processor})
        monkeypatch.setattr(roofline, "limits", lambda: (peak, 40.0))
        ask(monkeypatch, roofline.main, "--rounds", "1")
        lines: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))
        return [(line["machine"]["processor"], line["peak_gflops"]) for line in lines]

    assert measured("one", 400.0) == [("one", 400.0)]
    assert measured("other", 400.0) == [("one", 400.0), ("other", 400.0)]
    # The processor's name does not tell its speed.
    assert measured("one", 800.0) == [("one", 400.0), ("other", 400.0), ("one", 800.0)]
    assert measured("one", 456.0) == [("other", 400.0), ("one", 456.0), ("one", 800.0)]
    assert measured("one", 397.0) == [("one", 397.0), ("other", 400.0), ("one", 800.0)]
    assert measured("one", 460.0) == [("one", 397.0), ("other", 400.0), ("one", 460.0), ("one", 800.0)]
    page = (results.parent / "page.md").read_text(encoding="utf-8")
    assert page == "before\n" + roofline.MARKS[0] + roofline.current() + roofline.MARKS[1] + "behind\n"
    share = round(100 * FLOPS / 1000 / 397)
    assert f"\n| small | {share} % |" in page


def test_the_page_has_the_committed_results():
    assert roofline.current() in roofline.PAGE.read_text(encoding="utf-8")


def test_an_engine_that_is_much_faster_than_the_peak_is_a_wrong_peak(results: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(roofline, "limits", lambda: (1.0, 40.0))

    with pytest.raises(SystemExit, match=r"^no engine is so much faster than a peak of 1 GFLOP/s: "):
        ask(monkeypatch, roofline.main, "--rounds", "1")

    assert not results.exists()
