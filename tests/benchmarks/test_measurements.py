"""What a measurement is made of: the prior's files, operations by hand, the loops on a few images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import coordinator, throughput, trainings
from harness.data.datasets import DATASETS
from harness.data.training_images import ImageData
from harness.searching import finder
from harness.searching.surrogate.past import csv_of
from harness.system import files
from harness.training.recipe import RECIPES, Recipe
from harness.training.result import PROTOCOL_VERSION, Purpose, Result, Status
from harness.training.run import Job
from search_spaces.notation import parse_network
from tests.factories import make_images
from tests.fakes import Seeds

TEXT = "conv3x3(2) | gap | linear(10)"


def test_the_committed_prior_is_what_the_files_give():
    """Where it is not, ``python -m benchmarks.trainings collect`` writes it anew."""
    found = trainings.sources(trainings.ROOT)
    made = trainings.collected(found)
    noted = (trainings.PACKAGED / "trainings-mnist.json").read_text(encoding="utf-8")

    assert csv_of(made).encode() == (trainings.PACKAGED / "trainings-mnist.csv").read_bytes()
    assert files.json_text(trainings.provenance(found, made)) == noted
    assert sum(item.runs for item in made) == sum(run.runs for source in found.values() for run in source.trainings)


def test_the_committed_trainings_of_other_data_sets_are_what_the_tables_give():
    committed = (trainings.PACKAGED / "trainings-elsewhere.csv").read_text(encoding="utf-8")

    assert csv_of(trainings.collected_elsewhere(trainings.TABLES)) == committed


def test_the_trainings_of_a_search_are_kept_once_whatever_came_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    small = RECIPES["small"].recipe

    def run(purpose: Purpose, index: int, errors: int, recipe: Recipe = small) -> Result:
        network = parse_network(TEXT)
        job = Job(architecture=network, recipe=recipe, recipe_name="x", purpose=purpose, seed_index=index)
        changed = replace(Seeds().answer(job, "mnist"), test_errors=None, test_size=None, wrong=())
        return replace(changed, validation_errors=errors, validation_size=10_000)

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

    def read(folder: Path) -> SimpleNamespace:
        config = SimpleNamespace(protocol_version=PROTOCOL_VERSION, seed=seeds[folder], run_seed=seeds[folder])
        return SimpleNamespace(config=config, results=runs)

    monkeypatch.setattr(trainings, "read_state", read)
    path = tmp_path / "trainings.jsonl"
    path.touch()

    assert [trainings.keep(chosen, path) for chosen in ([tmp_path / "a"], seeds, seeds)] == [3, 3, 0]
    lines = list(map(json.loads, path.read_text().splitlines()))
    assert [(line["errors"], line["epochs"], line["study_seed"]) for line in lines] == [
        *((60, 30, 0), (900, 30, 0), (70, 12, 0)),
        *((60, 30, 7), (900, 30, 7), (70, 12, 7)),
    ]


def test_operations_of_a_step_are_those_counted_by_hand():
    # The convolution's 2 x 9 x 784 multiply-adds and the layer's 20, three times, less the first input gradient.
    assert throughput.flops_of(TEXT) == 2 * (3 * (14_112 + 20) - 14_112)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Leave the number of threads as it was: bits depend on it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_both_loops_of_the_throughput_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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


def test_a_coordinator_is_measured_while_the_model_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coordinator, "machine", dict)
    monkeypatch.setattr(finder, "_SURROGATE_DRAWS", 3)
    monkeypatch.setattr(finder, "_MOST_ROUNDS", 1)

    found = coordinator.measured(2, 6, 1, tmp_path / "s")

    assert found["trainings"] >= 2
    assert 0 < found["recording"] < found["total"]
    assert 0 < found["asking"] < found["total"]
