"""What a verification leaves of the test images for people to look at."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.data.datasets import DATASETS
from harness.data.training_images import ImageData
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training import inspection
from harness.training import run as run_module
from harness.training.inspection import (
    CONFIDENCE_EDGES,
    Inspection,
    Miss,
    packed,
    path_of,
    read_inspections,
    unpacked,
)
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job, TrainingData, execute, inspect
from harness.training.steps import Images
from harness.training.train import Training
from search_spaces.notation import parse_network
from tests.harness import unrun

NETWORK = "conv3x3(4) bn relu | maxpool(4) | conv3x3(6) bn relu | gap | linear(10)"
RECIPE = Recipe(epochs=2, batch_size=16, average_start=0.3)
MISS = Miss(image=7, label=2, said=3, confidence=0.5, pixels=packed(bytes(range(256)) * 3 + bytes(16)))
INSPECTION = Inspection(
    hash="0123456789ab",
    recipe_hash="ba9876543210",
    dataset="mnist",
    data_hash="cd",
    seed_index=3,
    weights_sha256="ef",
    label_counts=(1,) * 10,
    image_shape=(28, 28),
    misses=(MISS,),
    confidences=(),
    kernel_edge=0,
    kernels=(),
)


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8), torch.arange(count) % 10


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> TrainingData:
    """A hundred images to train on; the test set has thirty others."""
    monkeypatch.setattr(run_module, "read_test_set", lambda *_, **__: images(30, 2))
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20, test_size=30)
    return TrainingData.of(ImageData(spec, *images(100, 1), data_hash="abc", source="memory", folder=None))


def seen(bench: TrainingData, folder: Path, **changes: object) -> tuple[Result, list[Inspection]]:
    job = Job(
        architecture=parse_network(NETWORK), recipe=RECIPE, recipe_name="toy", purpose=Purpose.VERIFY, seed_index=0
    )
    wanted = {"test_log": folder / "log", "inspection": path_of(folder, "row", 0), **changes}
    job = replace(job, **wanted)  # type: ignore[arg-type]  # fields of a job
    return execute(job, bench), read_inspections(folder, "row")


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_a_verification_leaves_its_wrong_images_with_label_and_pixels(bench: TrainingData, tmp_path: Path, engine: str):
    result, [found] = seen(bench, tmp_path, engine=engine)

    pixels, labels = images(30, 2)
    assert [(miss.image, miss.said) for miss in found.misses] == list(result.wrong)
    assert len(found.misses) > 10
    for miss in found.misses:
        assert miss.label == int(labels[miss.image])
        assert unpacked(miss.pixels) == pixels[miss.image].numpy().tobytes()
        assert 0 <= miss.confidence <= 1
    assert found.weights_sha256 == result.weights_sha256
    assert found.label_counts == (3,) * 10
    assert (found.hash, found.recipe_hash, found.seed_index, found.data_hash) == (
        result.hash, RECIPE.hash, 0, "abc"
    )  # fmt: skip


def test_every_image_is_in_one_class_of_confidence_and_the_right_ones_are_counted(bench: TrainingData, tmp_path: Path):
    result, [found] = seen(bench, tmp_path)
    assert sum(item.images for item in found.confidences) == 30
    assert sum(item.right for item in found.confidences) == 30 - (result.test_errors or 0)
    for item in found.confidences:
        assert item.low < item.mean <= item.high
        assert (item.low, item.high) in itertools.pairwise(CONFIDENCE_EDGES)


def test_the_first_kernels_are_those_of_the_weights_that_predict(
    bench: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runs: list[Training] = []

    def spy(run: Training, test: Images, result: Result) -> Inspection:
        runs.append(run)
        return inspect(run, test, result)

    monkeypatch.setattr(run_module, "inspect", spy)

    _, [found] = seen(bench, tmp_path)

    [run] = runs
    assert run.average is not None
    # The averaged state begins with the first kernel.
    assert torch.tensor(found.kernels) == pytest.approx(run.average[0].flatten(1), abs=1e-4)
    assert found.kernel_edge == 3


def test_a_network_that_begins_otherwise_shows_no_kernels(bench: TrainingData, tmp_path: Path):
    _, [found] = seen(bench, tmp_path, architecture=parse_network("bn conv3x3(4) | gap | linear(10)"))
    assert (found.kernel_edge, found.kernels) == (0, ())


def test_a_diverged_seed_leaves_nothing(bench: TrainingData, tmp_path: Path):
    bad = replace(RECIPE, epochs=30, learning_rate=1e3, warmup=0.0, nesterov=False, momentum=0.99)
    result, found = seen(
        bench, tmp_path, architecture=parse_network("conv3x3(4) conv3x3(4) | gap | linear(10)"), recipe=bad
    )
    assert result.status is Status.DIVERGED
    assert found == []


def test_looking_changes_no_bit_of_the_result(bench: TrainingData, tmp_path: Path):
    with_looking, _ = seen(bench, tmp_path)
    without, _ = seen(bench, tmp_path / "other", inspection=None)
    assert (with_looking.weights_sha256, with_looking.wrong) == (without.weights_sha256, without.wrong)


def test_a_verification_says_where_each_seed_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place, seeds = Workspace(tmp_path), unrun.without_training(monkeypatch)
    unrun.run(place, unrun.plan(range(2)))
    [record] = place.records.glob("*-*.json")
    assert [job.inspection for job in seeds.asked] == [path_of(place.runs, record.stem, index) for index in (0, 1)]


@given(st.binary(max_size=1_000))
def test_pixels_come_back_as_they_were(pixels: bytes):
    assert unpacked(packed(pixels)) == pixels


@pytest.mark.parametrize("text", ["", "%", "abcd", "\u00e4"])
def test_damaged_pixels_are_none(text: str):
    assert unpacked(text) == b""


def test_an_inspection_comes_back_as_it_was_written(tmp_path: Path):
    inspection.write(path_of(tmp_path, "row", 3), INSPECTION)
    assert read_inspections(tmp_path, "row") == [INSPECTION]
    assert read_inspections(tmp_path, "other") == []


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (replace(INSPECTION, misses=(replace(MISS, pixels="x"),)), "an image that is not of 28 x 28 pixels"),
        (replace(INSPECTION, image_shape=(28, 29)), "an image that is not of 28 x 29 pixels"),
    ],
)
def test_an_image_of_another_size_is_refused(tmp_path: Path, damaged: Inspection, words: str):
    inspection.write(path_of(tmp_path, "row", 3), damaged)
    with pytest.raises(ContentError, match=words):
        read_inspections(tmp_path, "row")


def test_what_is_no_inspection_is_refused(tmp_path: Path):
    path = path_of(tmp_path, "row", 0)
    path.parent.mkdir(parents=True)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ContentError, match=r"seed-0000\.json: "):
        read_inspections(tmp_path, "row")
