"""Parts of the benchmarks: data of the prior, operation counts, loops of the throughput, cost of the coordinator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.data.datasets import DATASETS
from harness.data.training_images import ImageData
from harness.searching import finder
from harness.searching.surrogate.prior import csv_of
from harness.spaces.notation import parse_network
from harness.system import files
from harness.training.recipe import RECIPES, Recipe
from harness.training.result import PROTOCOL_VERSION, Purpose, Result, Status
from harness.training.run import Job
from measurements import coordinator, throughput, trainings
from tests.factories import make_images
from tests.fakes import Seeds

TEXT = "conv3x3(2) | gap | linear(10)"


def test_committed_prior_equals_collected_result_files():
    """If this fails, run ``python -m measurements.trainings collect``."""
    sources = trainings.sources(trainings.ROOT)
    prior = trainings.collected(sources)
    provenance = (trainings.PACKAGED / "trainings-mnist.json").read_text(encoding="utf-8")

    assert csv_of(prior).encode() == (trainings.PACKAGED / "trainings-mnist.csv").read_bytes()
    assert files.json_text(trainings.provenance(sources, prior)) == provenance
    assert sum(item.runs for item in prior) == sum(run.runs for source in sources.values() for run in source.trainings)


def test_committed_trainings_of_further_data_sets_equal_tables():
    committed = (trainings.PACKAGED / "trainings-elsewhere.csv").read_text(encoding="utf-8")

    assert csv_of(trainings.collected_elsewhere(trainings.TABLES)) == committed


def test_keep_appends_each_valid_training_of_a_search_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    small = RECIPES["small"].recipe

    def run(purpose: Purpose, index: int, errors: int, recipe: Recipe = small) -> Result:
        network = parse_network(TEXT)
        job = Job(architecture=network, recipe=recipe, recipe_name="x", purpose=purpose, seed_index=index)
        result = replace(Seeds().answer(job, "mnist"), test_errors=None, test_size=None, wrong=())
        return replace(result, validation_errors=errors, validation_size=10_000)

    runs = [
        run(Purpose.SEARCH, 0, 60),
        run(Purpose.CONFIRM, 0, 900),
        run(Purpose.CONFIRM, 0, 70, replace(small, epochs=12)),
        run(Purpose.CONFIRM, 1, 61, replace(small, label_smoothing=0.1)),
        run(Purpose.VERIFY, 0, 62),
        replace(run(Purpose.CONFIRM, 2, 63), status=Status.DIVERGED),
        replace(run(Purpose.CONFIRM, 3, 64), dataset="mnist-5k"),
    ]
    seeds = {tmp_path / "a": 0, tmp_path / "b": 7}

    def read_state(folder: Path) -> SimpleNamespace:
        config = SimpleNamespace(protocol_version=PROTOCOL_VERSION, seed=seeds[folder], run_seed=seeds[folder])
        return SimpleNamespace(config=config, results=runs)

    monkeypatch.setattr(trainings, "read_state", read_state)
    path = tmp_path / "trainings.jsonl"
    path.touch()

    assert [trainings.keep(folders, path) for folders in ([tmp_path / "a"], seeds, seeds)] == [3, 3, 0]
    lines = list(map(json.loads, path.read_text().splitlines()))
    assert [(line["errors"], line["epochs"], line["study_seed"]) for line in lines] == [
        *((60, 30, 0), (900, 30, 0), (70, 12, 0)),
        *((60, 30, 7), (900, 30, 7), (70, 12, 7)),
    ]


def test_flops_of_a_training_step_equal_count_by_hand():
    # Multiply-adds of the convolution (2 x 9 x 784) and the linear layer (20), for the forward pass and two gradients;
    # the convolution of the input needs no input gradient.
    assert throughput.flops_of(TEXT) == 2 * (3 * (14_112 + 20) - 14_112)


@pytest.fixture
def restored_threads() -> Iterator[None]:
    """Restore the number of threads after a test: results depend on the number in the last bits."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("restored_threads")
def test_throughput_loops_report_positive_speeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images, raw = make_images(400), tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        sizes = b"".join(size.to_bytes(4, "big") for size in (400, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + images.pixels.numpy().tobytes())
        labels = images.labels.to(torch.uint8).numpy().tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + (400).to_bytes(4, "big") + labels)
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=320, validation_size=80, test_size=30)
    data = ImageData(spec, images.pixels, images.labels, data_hash="abc", source="memory", folder=None)
    monkeypatch.setattr(throughput, "load", lambda name, folder: data)
    monkeypatch.setattr(throughput, "SEED_STYLE_IMAGES", 160)
    monkeypatch.setattr(throughput, "HARNESS_IMAGES", 160)
    network = "avgpool(4) conv3x3(4) bn relu dropout(0.1) | gap | linear(10)"

    assert throughput.seed_style(network, 16, tmp_path, 0) > 0
    assert all(throughput.by_harness(network, 16, tmp_path, engine) > 0 for engine in ("torch", "native"))


def test_coordinator_benchmark_measures_recording_and_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coordinator, "machine", dict)
    monkeypatch.setattr(finder, "_SURROGATE_DRAWS", 3)
    monkeypatch.setattr(finder, "_MAX_ROUNDS", 1)

    measurement = coordinator.measured(2, 6, 1, tmp_path / "s")

    assert measurement["trainings"] >= 2
    assert 0 < measurement["recording"] < measurement["total"]
    assert 0 < measurement["asking"] < measurement["total"]
