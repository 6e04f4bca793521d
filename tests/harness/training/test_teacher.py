"""Tests of teachers: trained once by the harness, kept, and the same for all students of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness.system.errors import ContentError
from harness.training import run as run_module
from harness.training.modules import (
    Images,
    Network,
    Teacher,
    _draw_first_weights,
    build,
    soft_losses,
    soft_targets,
    state_tensors,
)
from harness.training.native import engine as engine_module
from harness.training.native.driver import NativeProgram
from harness.training.recipe import Recipe
from harness.training.result import Purpose, derive_seed
from harness.training.run import Job, _teacher_of
from harness.training.train import Training, predictions, start, train_epoch
from search_spaces.network import MNIST
from search_spaces.notation import parse_network
from tests.factories import make_images
from tests.harness.training.native.engines import CPU, gradients, in_float64
from tests.harness.training.native.networks import NETWORKS

NETWORK = parse_network("conv3x3(5) bn relu maxpool(4) gap linear(10)")
OWN = Recipe(epochs=2, batch_size=16, average_start=0.2)
STUDENTS = Recipe(teacher=str(NETWORK), teacher_recipe=OWN)


def taught_by(recipe: Recipe, folder: Path | None, *, data_hash: str = "abc", **changes: Any) -> Teacher | None:
    job = Job(
        architecture=NETWORK, recipe=recipe, recipe_name="own", purpose=Purpose.SEARCH, seed_index=0, teachers=folder
    )
    return _teacher_of(replace(job, **changes), make_images(64), data_hash, CPU, fold=0)


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry an epoch that a teacher has trained: the number of its images."""
    seen: list[int] = []

    def spy(*given: Any) -> Any:
        seen.append(len(given[1]))
        return train_epoch(*given)

    monkeypatch.setattr(run_module, "train_epoch", spy)
    return seen


def weights(teacher: Any) -> list[torch.Tensor]:
    return [tensor for network in teacher.networks for tensor in state_tensors(network)]


def test_a_recipe_without_a_teacher_has_none(tmp_path: Path):
    assert taught_by(Recipe(), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_a_teacher_is_an_ordinary_run_with_a_fixed_seed(engine: str, tmp_path: Path):
    images = make_images(64)
    seed = derive_seed(NETWORK.hash, OWN.hash, Purpose.TEACHER, 0)
    run = start(NETWORK, OWN, seed, CPU, engine_module.load() if engine == "native" else None, task=MNIST)
    for _ in range(2):
        train_epoch(run, images)

    teacher = taught_by(STUDENTS, tmp_path, engine=engine)

    assert teacher is not None
    assert run.average is not None
    assert all(torch.equal(one, other) for one, other in zip(weights(teacher), run.average, strict=True))
    (network,) = teacher.networks
    said = network((images.pixels.float() / 255 - images.mean[0]) / images.deviation[0]).argmax(1)
    assert torch.equal(said, predictions(run, images))
    assert not network.training


def test_a_teacher_is_trained_once_and_kept(tmp_path: Path, epochs: list[int]):
    first = taught_by(STUDENTS, tmp_path)
    second = taught_by(replace(STUDENTS, epochs=99, distill_weight=0.9), tmp_path)
    assert epochs == [64, 64]
    assert first is not None
    assert second is not None
    assert all(torch.equal(one, other) for one, other in zip(weights(first), weights(second), strict=True))
    assert second.seconds == first.seconds > 0


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (replace(STUDENTS, teacher="gap linear(10)"), {}),
        (replace(STUDENTS, teacher_recipe=replace(OWN, learning_rate=0.05)), {}),
        (STUDENTS, {"purpose": Purpose.VERIFY}),
        (STUDENTS, {"data_hash": "abd"}),
        (STUDENTS, {"engine": "native"}),
    ],
    ids=["network", "recipe", "images", "data", "engine"],
)
def test_whatever_gives_other_weights_is_another_teacher(
    recipe: Recipe, changes: dict[str, Any], tmp_path: Path, epochs: list[int]
):
    taught_by(STUDENTS, tmp_path)
    taught_by(recipe, tmp_path, **changes)
    assert epochs == [64] * 4
    assert len(list(tmp_path.glob("*.pt"))) == 2


def test_more_teachers_are_further_seeds(tmp_path: Path, epochs: list[int]):
    one = taught_by(STUDENTS, tmp_path)
    three = taught_by(replace(STUDENTS, teacher_seeds=3), tmp_path)
    assert epochs == [64] * 6
    assert one is not None
    assert three is not None
    assert len(three.networks) == 3
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(three), strict=False))
    assert len({next(network.parameters()).sum().item() for network in three.networks}) == 3
    assert three.seconds > one.seconds


def test_without_a_folder_nothing_is_kept(epochs: list[int]):
    taught_by(STUDENTS, None)
    taught_by(STUDENTS, None)
    assert len(epochs) == 4


def test_a_teacher_that_diverges_teaches_nobody(tmp_path: Path):
    wild = Recipe(epochs=30, batch_size=16, learning_rate=1e3, warmup=0.0, optimizer="sgd", momentum=0.99)
    recipe = replace(STUDENTS, teacher="conv3x3(4) conv3x3(4) gap linear(10)", teacher_recipe=wild)
    with pytest.raises(ContentError):
        taught_by(recipe, tmp_path)
    assert list(tmp_path.glob("*.pt")) == []


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-1], lambda content: b"torn"])
def test_a_file_that_is_damaged_is_named(damage: Callable[[bytes], bytes], tmp_path: Path):
    taught_by(STUDENTS, tmp_path)
    (path,) = tmp_path.glob("*.pt")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ContentError) as caught:
        taught_by(STUDENTS, tmp_path)
    assert caught.value.hint is not None


TEACHER = parse_network("conv3x3(5, pad=0) bn relu | maxpool | conv3x3(6) relu bn | gap | linear(10)")
TAUGHT = Recipe(
    epochs=2,
    batch_size=32,
    teacher=str(TEACHER),
    teacher_recipe=Recipe(),
    teacher_seeds=2,
    distill_weight=0.7,
    distill_temperature=3.0,
)
STUDENT = parse_network(NETWORKS[0])
ENGINES = [pytest.param(lambda: None, id="torch"), pytest.param(engine_module.load, id="native")]
Load = Callable[[], Any]


def teacher_network(seed: int) -> Network:
    """A network that nobody has trained, but with weights and statistics of its own."""
    torch.manual_seed(seed)
    network = build(TEACHER, MNIST)
    _draw_first_weights(network, Recipe(initialisation="kaiming"))
    for name, tensor in network.state_dict().items():
        if "running" in name:
            tensor.copy_(tensor + torch.rand(tensor.shape))
    return network.eval().requires_grad_(False)


def some_teacher(seconds: float = 5.0) -> Teacher:
    return Teacher(TEACHER, (teacher_network(1), teacher_network(2)), seconds)


def taught(recipe: Recipe, load: Load, seed: int = 3) -> Training:
    return start(STUDENT, recipe, seed, CPU, load(), some_teacher() if recipe.teacher else None, task=MNIST)


def test_soft_targets_are_the_mean_of_softened_probabilities():
    said = [[1.0, 2.0, -1.0], [0.0, 4.0, 0.5]]
    networks: Any = tuple(lambda batch, row=row: torch.tensor([row] * len(batch)) for row in said)
    targets = soft_targets(Teacher(TEACHER, networks, 0.0), torch.zeros(2, 1, 28, 28), 2.0)
    parts = [[math.exp(value / 2) for value in row] for row in said]
    expected = [sum(part[c] / sum(part) for part in parts) / 2 for c in range(3)]
    assert targets.tolist() == [pytest.approx(expected)] * 2


def test_the_soft_loss_is_nothing_where_student_and_teacher_agree():
    logits = torch.tensor([[1.0, 2.0, -1.0], [40.0, 0.0, -300.0]])
    losses = soft_losses(logits + 7, functional.softmax(logits / 3, 1), 3.0)
    assert losses.tolist() == pytest.approx([0.0, 0.0], abs=1e-5)


def test_the_gradient_of_the_soft_loss_is_temperature_times_the_difference_of_probabilities():
    logits = torch.randn(4, 10, dtype=torch.float64, requires_grad=True)
    targets = functional.softmax(torch.randn(4, 10, dtype=torch.float64), 1)
    (gradient,) = torch.autograd.grad(soft_losses(logits, targets, 5.0).sum(), logits)
    # Hinton et al., equation 2, times the square of the temperature.
    torch.testing.assert_close(gradient, 5.0 * (functional.softmax(logits.detach() / 5, 1) - targets))


def by_hand(network: Network, teacher: Teacher, images: Images, recipe: Recipe) -> Tensor:
    """The loss of a batch in float64, its parts in other words than the code's."""
    values = (images.pixels.double() / 255 - images.mean[0]) / images.deviation[0]
    logits, temperature = network(values), recipe.distill_temperature
    targets = torch.stack([(one(values) / temperature).softmax(1) for one in teacher.networks]).mean(0).detach()
    entropy = -(targets * targets.log()).sum(1).mean()
    crossed = functional.cross_entropy(logits / temperature, targets)
    hard = functional.cross_entropy(logits, images.labels, label_smoothing=recipe.label_smoothing)
    return (1 - recipe.distill_weight) * hard + recipe.distill_weight * temperature**2 * (crossed - entropy)


@pytest.mark.parametrize("load", ENGINES)
def test_the_loss_is_the_labels_and_the_teachers_share(load: Load):
    images = make_images(32)
    recipe = replace(TAUGHT, augmented_share=0.0, label_smoothing=0.1)
    run, teacher = taught(recipe, load), some_teacher()
    network = build(STUDENT, MNIST).double().train()
    network.load_state_dict(run.network.state_dict())
    doubled = Teacher(TEACHER, tuple(one.double() for one in teacher.networks), 0.0)
    epoch = train_epoch(run, images)
    assert epoch.train_loss == pytest.approx(by_hand(network, doubled, images, recipe).item(), rel=1e-4)


@pytest.mark.parametrize("batch", [16, 21])
@pytest.mark.parametrize("text", NETWORKS[:4])
def test_the_engine_s_gradients_of_a_taught_batch_equal_torch_s(text: str, batch: int):
    images, recipe = make_images(batch), replace(TAUGHT, batch_size=batch, label_smoothing=0.1)
    architecture, teacher = parse_network(text), some_teacher()
    doubled = Teacher(TEACHER, tuple(one.double() for one in teacher.networks), 0.0)
    torch.manual_seed(1)
    network = build(architecture, MNIST).double().train()
    engine = in_float64()

    loss, gradient = gradients(
        NativeProgram(engine, architecture, recipe, images, doubled), network, images.pixels, images.labels
    )
    expected = by_hand(network, doubled, images, recipe)
    parts = torch.autograd.grad(expected, list(network.parameters()))

    assert loss == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(gradient, torch.cat([part.reshape(-1) for part in parts]), rtol=1e-8, atol=1e-10)


def test_a_taught_run_by_the_engine_follows_the_one_by_torch():
    # Two steps only: before rounding has grown.
    images = make_images(2 * TAUGHT.batch_size)
    plain, fast = taught(TAUGHT, lambda: None), taught(TAUGHT, engine_module.load)
    for run in (plain, fast):
        train_epoch(run, images)
    assert fast.history[-1].train_loss == pytest.approx(plain.history[-1].train_loss, rel=1e-3)
    for ours, theirs in zip(fast.state, plain.state, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("load", ENGINES)
def test_teachers_stay_as_they_were(load: Load):
    run = taught(TAUGHT, load)
    assert run.teacher is not None
    before = [tensor.clone() for network in run.teacher.networks for tensor in network.state_dict().values()]
    train_epoch(run, make_images(64))
    after = [tensor for network in run.teacher.networks for tensor in network.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not any(network.training for network in run.teacher.networks)


@pytest.mark.parametrize("load", ENGINES)
def test_a_share_of_nothing_trains_as_without_a_teacher(load: Load):
    images = make_images(320)
    runs = [taught(replace(TAUGHT, distill_weight=0.0), load), taught(Recipe(epochs=2, batch_size=32), load)]
    for run in runs:
        train_epoch(run, images)
    assert all(torch.equal(one, other) for one, other in zip(runs[0].state, runs[1].state, strict=True))


@pytest.mark.parametrize("load", ENGINES)
def test_a_share_of_all_leaves_the_labels_out(load: Load):
    images = make_images(320)
    others = replace(images, labels=(images.labels + 1) % 10)
    runs = [taught(replace(TAUGHT, distill_weight=1.0), load) for _ in range(2)]
    for run, seen in zip(runs, (images, others), strict=True):
        train_epoch(run, seen)
    for one, other in zip(runs[0].state, runs[1].state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
