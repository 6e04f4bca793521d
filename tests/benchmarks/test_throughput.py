"""Tests of the measured throughput: the loops on a few images, and what is made of their speeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import throughput
from benchmarks.same_bits import some_images
from harness.training.train import train_epoch
from tests.benchmarks.made_up import ask, small_data

TEXT = "avgpool(4) conv3x3(4) bn relu dropout(0.1) | gap | linear(10)"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Leave the number of threads as it was: bits depend on it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A folder of four hundred images in the format of MNIST, where torchvision looks for it."""
    images, raw = some_images(400), tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        sizes = b"".join(size.to_bytes(4, "big") for size in (400, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + images.pixels.numpy().tobytes())
        labels = images.labels.to(torch.uint8).numpy().tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + (400).to_bytes(4, "big") + labels)
    return tmp_path


def test_the_loop_of_the_documents_trains(unpacked: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throughput, "SEED_STYLE_IMAGES", 160)

    assert throughput.seed_style(TEXT, 16, unpacked, 0) > 0


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_the_harness_counts_whole_batches(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throughput, "load", lambda name, folder: small_data())
    monkeypatch.setattr(throughput, "SEED_STYLE_IMAGES", 330)
    monkeypatch.setattr(throughput, "HARNESS_IMAGES", 330)
    seconds = []
    real = train_epoch

    def watched(run: Any, images: Any) -> Any:
        epoch = real(run, images)
        seconds.append((len(images), run.seconds))
        return epoch

    monkeypatch.setattr(throughput, "train_epoch", watched)

    speed = throughput.by_harness(TEXT, 16, tmp_path, engine)

    (warm, before), (counted, after) = seconds
    assert (warm, counted) == (160, 330)
    assert speed == 320 / (after - before)


def test_speeds_are_medians_and_ratios_those_of_the_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    speeds = {
        ("seed_style", 0): iter([100.0, 120.0, 110.0]),
        ("seed_style", 1): iter([200.0, 100.0, 210.0]),
        ("by_harness", "torch"): iter([400.0, 410.0, 420.0]),
        ("by_harness", "native"): iter([2000.0, 2000.0, 1050.0]),
    }
    asked = []

    def measured(side: Any, count: int, *arguments: Any) -> float:
        asked.append((side.__name__, count, arguments[1], arguments[2]))
        return next(speeds[side.__name__, arguments[-1]])

    @contextmanager
    def nothing_unpacked(folder: Path) -> Iterator[Path]:
        yield folder

    monkeypatch.setattr(throughput, "RESULTS", tmp_path / "throughput.json")
    monkeypatch.setattr(throughput, "machine", lambda: {"cores": 3})
    monkeypatch.setattr(throughput, "core_count", lambda: 3)
    monkeypatch.setattr(throughput, "NETWORKS", {"small": (TEXT, 16)})
    monkeypatch.setattr(throughput, "measured", measured)
    monkeypatch.setattr(throughput, "torchvision_folder", nothing_unpacked)
    monkeypatch.setattr(throughput, "load_engine", lambda: None)

    ask(monkeypatch, throughput.main, "--rounds", "3", "--data", str(tmp_path))

    found = json.loads((tmp_path / "throughput.json").read_text(encoding="utf-8"))
    assert (found["machine"], found["rounds"]) == ({"cores": 3}, 3)
    assert found["images_a_second"]["small"]["harness, native"] == [2000, 2000, 1050]
    # The loop with one loader has the best median, 200; its rounds make ratios of 10, 20 and 5.
    assert found["rows"] == [
        {
            "network": "small",
            "batch": 16,
            "seed_style": 200,
            "seed_style_best": "seed style, 1 loaders",
            "harness_torch": 410,
            "harness_native": 2000,
            "ratio": 10,
            "ratio_least": 5,
            "ratio_most": 20,
            # 2000 / 400, 2000 / 410 and 1050 / 420.
            "ratio_to_torch": 4.88,
        }
    ]
    # One process a core on all sides, in turn.
    sides = [*2 * [("seed_style", 3)], *2 * [("by_harness", 3)]]
    assert [(name, count) for name, count, *_ in asked] == 3 * sides
