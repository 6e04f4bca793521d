"""Tests of teachers: trained once by the harness, kept, and the same for all students of a recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.system.errors import ContentError
from harness.training import teacher as teacher_module
from harness.training.build import build
from harness.training.native import native
from harness.training.native.native_training import state_tensors
from harness.training.recipe import Optimizer, Precision, Recipe
from harness.training.result import Purpose, derive_seed
from harness.training.steps import Teacher
from harness.training.teacher import teacher_of
from harness.training.train import predictions, start, train_epoch
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.training.native.test_native_training import some_images

CPU = torch.device("cpu")
NETWORK = parse_network("conv3x3(5) bn relu maxpool(4) gap linear(10)")
OWN = Recipe(epochs=2, batch_size=16, average_start=0.2)
TAUGHT = Recipe(teacher=str(NETWORK), teacher_recipe=OWN)


def taught_by(recipe: Recipe, folder: Path | None, engine: str = "torch", **changes: str) -> Teacher | None:
    named = {"split": "split", "data_hash": "abc"} | changes
    return teacher_of(recipe, some_images(64), device=CPU, engine=engine, folder=folder, **named)


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry an epoch that a teacher has trained: the number of its images."""
    seen: list[int] = []

    def spy(*given: Any) -> Any:
        seen.append(len(given[1]))
        return train_epoch(*given)

    monkeypatch.setattr(teacher_module, "train_epoch", spy)
    return seen


def weights(teacher: Any) -> list[torch.Tensor]:
    return [tensor for network in teacher.networks for tensor in state_tensors(network)]


def test_a_recipe_without_a_teacher_has_none(tmp_path: Path):
    assert taught_by(Recipe(), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_a_teacher_is_an_ordinary_run_with_a_fixed_seed(engine: str, tmp_path: Path):
    images = some_images(64)
    seed = derive_seed(NETWORK.hash, OWN.hash, Purpose.TEACHER, 0)
    run = start(NETWORK, OWN, seed, CPU, native.load() if engine == "native" else None, task=MNIST)
    for _ in range(2):
        train_epoch(run, images)

    teacher = taught_by(TAUGHT, tmp_path, engine=engine)

    assert teacher is not None
    assert run.average is not None
    assert all(torch.equal(one, other) for one, other in zip(weights(teacher), run.average, strict=True))
    (network,) = teacher.networks
    said = network((images.pixels.float() / 255 - images.mean[0]) / images.deviation[0]).argmax(1)
    assert torch.equal(said, predictions(run, images))
    assert not network.training


def test_a_teacher_is_trained_once_and_kept(tmp_path: Path, epochs: list[int]):
    first = taught_by(TAUGHT, tmp_path)
    second = taught_by(replace(TAUGHT, epochs=99, distill_weight=0.9), tmp_path)
    assert epochs == [64, 64]
    assert first is not None
    assert second is not None
    assert all(torch.equal(one, other) for one, other in zip(weights(first), weights(second), strict=True))
    assert second.seconds == first.seconds > 0


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (replace(TAUGHT, teacher="gap linear(10)"), {}),
        (replace(TAUGHT, teacher_recipe=replace(OWN, learning_rate=0.05)), {}),
        (TAUGHT, {"split": "all"}),
        (TAUGHT, {"data_hash": "abd"}),
        (TAUGHT, {"engine": "native"}),
    ],
    ids=["network", "recipe", "split", "data", "engine"],
)
def test_whatever_gives_other_weights_is_another_teacher(
    recipe: Recipe, changes: dict[str, Any], tmp_path: Path, epochs: list[int]
):
    taught_by(TAUGHT, tmp_path)
    taught_by(recipe, tmp_path, **changes)
    assert epochs == [64] * 4
    assert len(list(tmp_path.glob("*.pt"))) == 2


def test_more_teachers_are_further_seeds(tmp_path: Path, epochs: list[int]):
    one = taught_by(TAUGHT, tmp_path)
    three = taught_by(replace(TAUGHT, teacher_seeds=3), tmp_path)

    assert epochs == [64] * 6
    assert one is not None
    assert three is not None
    assert len(three.networks) == 3
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(three), strict=False))
    assert len({next(network.parameters()).sum().item() for network in three.networks}) == 3
    assert three.seconds > one.seconds


def test_without_a_folder_nothing_is_kept(epochs: list[int]):
    taught_by(TAUGHT, None)
    taught_by(TAUGHT, None)
    assert len(epochs) == 4


def test_of_several_that_lack_a_teacher_one_trains_and_the_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained: list[int] = []

    def slow(*_: Any) -> dict[str, Any]:
        trained.append(1)
        time.sleep(0.2)
        return {"weights": state_tensors(build(NETWORK, MNIST)), "seconds": 2.0}

    monkeypatch.setattr(teacher_module, "_trained", slow)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: taught_by(TAUGHT, tmp_path), range(3)))

    assert trained == [1]
    assert [teacher.seconds for teacher in found if teacher] == [2.0] * 3


def test_a_teacher_that_the_engine_declines_is_trained_by_torch(tmp_path: Path):
    recipe = replace(TAUGHT, teacher_recipe=replace(OWN, precision=Precision.BF16))
    assert taught_by(recipe, tmp_path, engine="native") is not None


def test_a_teacher_that_diverges_teaches_nobody(tmp_path: Path):
    wild = Recipe(epochs=30, batch_size=16, learning_rate=1e3, warmup=0.0, optimizer=Optimizer.SGD, momentum=0.99)
    recipe = replace(TAUGHT, teacher="conv3x3(4) conv3x3(4) gap linear(10)", teacher_recipe=wild)
    with pytest.raises(ContentError, match=r"^the teacher [0-9a-f]{12} diverged in epoch \d+ of its recipe$"):
        taught_by(recipe, tmp_path)
    assert list(tmp_path.glob("*.pt")) == []


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-1], lambda content: b"torn"])
def test_a_file_that_is_damaged_is_named(damage: Callable[[bytes], bytes], tmp_path: Path):
    taught_by(TAUGHT, tmp_path)
    (path,) = tmp_path.glob("*.pt")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ContentError, match=rf"^the teacher .*{path.name} is damaged$") as caught:
        taught_by(TAUGHT, tmp_path)
    assert caught.value.hint == "remove the file, and the teacher is trained again"


def test_finding_a_teacher_leaves_the_global_generator_alone(tmp_path: Path):
    before = torch.get_rng_state()
    taught_by(TAUGHT, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
