"""What of a recipe reaches the training loop: rates, optimizer, decay, smoothing, precision, averaging."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.training.native import native
from harness.training.native.native import Engine
from harness.training.recipe import Optimizer, Precision, Recipe, Schedule
from harness.training.steps import Images, learning_rate
from harness.training.together import population_of, train_epoch_together
from harness.training.train import checkpoint, predictions, resume, start, train_epoch, weights_digest
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

CPU = torch.device("cpu")
NETWORK = parse_network("conv3x3(4) bn relu | maxpool(4) | conv3x3(4, bias) | gap | linear(10)")
RECIPE = Recipe(epochs=4, batch_size=16, augmented_share=0.0)


def noise(count: int) -> Images:
    source = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % 10, (0.13,), (0.3,))


@pytest.mark.parametrize(
    ("step", "rate"),
    # 100 steps in all, 20 of them warm-up: 0.1 x (0.1 + 0.9 s / 20), then 0.1 x (1 - s / 100) / 0.8.
    [(0, 0.01), (10, 0.055), (19, 0.0955), (20, 0.1), (60, 0.05), (99, 0.00125)],
)
def test_the_linear_schedule_climbs_from_a_tenth_and_falls_to_nothing(step: int, rate: float):
    recipe = Recipe(epochs=10, learning_rate=0.1, warmup=0.2, schedule=Schedule.LINEAR)
    assert learning_rate(recipe, step, steps_per_epoch=10) == pytest.approx(rate)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.4), (19, 0.4), (20, 0.2), (29, 0.2), (30, 0.1), (99, 0.1)])
def test_the_step_schedule_multiplies_after_each_epoch_it_names(step: int, rate: float):
    recipe = Recipe(
        epochs=10, learning_rate=0.4, warmup=0.0, schedule=Schedule.STEP, step_epochs=(2, 3), step_factor=0.5
    )
    assert learning_rate(recipe, step, steps_per_epoch=10) == pytest.approx(rate)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.03), (5, 0.165), (10, 0.3), (99, 0.3)])
def test_the_constant_schedule_stays_after_its_warm_up(step: int, rate: float):
    recipe = Recipe(epochs=10, learning_rate=0.3, warmup=0.1, schedule=Schedule.CONSTANT)
    assert learning_rate(recipe, step, steps_per_epoch=10) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("step", "rate"),
    # 100 steps in all, 20 of them warm-up; then 0.1 x (1 + cos(pi x (s - 20) / 80)) / 2: a quarter of the way down
    # after a third of the 80 steps, half after 40.
    [(0, 0.01), (10, 0.055), (20, 0.1), (40, 0.0853553), (60, 0.05), (80, 0.0146447), (99, 3.8548e-05)],
)
def test_the_cosine_schedule_falls_along_half_a_wave_to_nothing(step: int, rate: float):
    recipe = Recipe(epochs=10, learning_rate=0.1, warmup=0.2, schedule=Schedule.COSINE)
    assert learning_rate(recipe, step, steps_per_epoch=10) == pytest.approx(rate, rel=1e-4)


def test_the_cosine_schedule_is_torch_s():
    recipe = Recipe(epochs=5, learning_rate=0.3, warmup=0.0, schedule=Schedule.COSINE, final_rate=0.2)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=0.06)
    for step in range(50):
        assert learning_rate(recipe, step, steps_per_epoch=10) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("schedule", [Schedule.LINEAR, Schedule.COSINE])
def test_a_final_rate_of_a_tenth_is_where_the_fall_ends(schedule: Schedule):
    falling = Recipe(epochs=10, learning_rate=0.1, warmup=0.2, schedule=schedule)
    ending = replace(falling, final_rate=0.1)
    for step in range(100):
        zero = learning_rate(falling, step, steps_per_epoch=10)
        # The warm-up is the same; after it, the way to zero becomes the way to 0.01.
        expected = zero if step < 20 else 0.01 + 0.9 * zero
        assert learning_rate(ending, step, steps_per_epoch=10) == pytest.approx(expected)


def test_the_rates_of_the_schedule_reach_the_optimizer_and_the_history():
    run, used = start(NETWORK, RECIPE, 7, CPU, task=MNIST), []
    for _ in range(2):
        train_epoch(run, noise(64), on_step=lambda: used.append(run.optimizer.param_groups[0]["lr"]))
    assert used == [learning_rate(RECIPE, step, 4) for step in range(8)]
    assert [epoch.learning_rate for epoch in run.history] == [used[3], used[7]]
    assert [group["lr"] for group in run.optimizer.param_groups] == [used[7]] * 2


def test_the_average_begins_where_the_recipe_says():
    run = start(NETWORK, replace(RECIPE, average_start=0.5), 7, CPU, task=MNIST)
    begun = []
    for _ in range(3):
        train_epoch(run, noise(64), on_step=lambda: begun.append(run.average is not None))
    assert begun == [False] * 7 + [True] * 5


@pytest.mark.parametrize("load", [lambda: None, native.load], ids=["torch", "native"])
def test_epochs_after_the_augmentation_are_those_of_a_recipe_without(load: Callable[[], Engine | None]):
    ending = Recipe(epochs=2, batch_size=16, augmentation_off_share=0.5)
    run, plain = (
        start(NETWORK, recipe, 7, CPU, load(), task=MNIST) for recipe in (ending, Recipe(epochs=2, batch_size=16))
    )
    for each in (run, plain):
        train_epoch(each, noise(64))
    # Until then they are the same; then one goes on from there as if there were no augmentation.
    assert weights_digest(run) == weights_digest(plain)
    without = start(
        NETWORK, replace(ending, augmented_share=0.0, augmentation_off_share=0.0), 7, CPU, load(), task=MNIST
    )
    resume(without, deepcopy(checkpoint(plain)))

    for each in (run, plain, without):
        train_epoch(each, noise(64))

    assert weights_digest(run) == weights_digest(without) != weights_digest(plain)


def test_members_end_their_augmentation_together():
    recipe = Recipe(epochs=2, batch_size=16, augmentation_off_share=0.5)
    together, alone = ([start(NETWORK, recipe, seed, CPU, task=MNIST) for seed in range(2)] for _ in range(2))
    population = population_of(together, noise(32))
    for _ in range(2):
        train_epoch_together(population)
        for run in alone:
            train_epoch(run, noise(32))

    for mine, other in zip(together, alone, strict=True):
        assert mine.history[1].train_loss == pytest.approx(other.history[1].train_loss, rel=1e-3)


@pytest.mark.parametrize(("decay_all", "of_others"), [(False, 0.0), (True, 0.01)])
def test_weight_decay_is_on_kernels_and_matrices_and_where_asked_on_all(decay_all: bool, of_others: float):
    run = start(NETWORK, replace(RECIPE, weight_decay=0.01, decay_all=decay_all), 7, CPU, task=MNIST)

    kernels, others = run.optimizer.param_groups
    assert kernels["weight_decay"] == 0.01
    assert {parameter.ndim for parameter in kernels["params"]} == {2, 4}
    assert others["weight_decay"] == of_others
    assert {parameter.ndim for parameter in others["params"]} == {1}
    listed = len(kernels["params"]) + len(others["params"])
    assert listed == len(list(run.network.parameters()))


def test_a_network_without_biases_has_one_group():
    run = start(parse_network("conv3x3(4) | gap | conv1x1(10)"), RECIPE, 7, CPU, task=MNIST)
    assert len(run.optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("recipe", "kind", "expected"),
    [
        (replace(RECIPE, momentum=0.8), torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
        (replace(RECIPE, nesterov=False), torch.optim.SGD, {"momentum": 0.9, "nesterov": False}),
        (replace(RECIPE, optimizer=Optimizer.ADAM), torch.optim.Adam, {"betas": (0.9, 0.999)}),
    ],
)
def test_the_optimizer_is_the_recipes(recipe: Recipe, kind: type, expected: dict[str, Any]):
    optimizer = start(NETWORK, recipe, 7, CPU, task=MNIST).optimizer
    assert type(optimizer) is kind
    assert {name: optimizer.param_groups[0][name] for name in expected} == expected


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_cross_entropy_with_the_recipes_smoothing(smoothing: float):
    network, images = parse_network("conv3x3(4) relu | gap | linear(10)"), noise(16)
    run = start(network, replace(RECIPE, label_smoothing=smoothing), 7, CPU, task=MNIST)
    with torch.no_grad():
        logits = run.network((images.pixels.float() / 255 - images.mean[0]) / images.deviation[0]).double()
    chances = logits - logits.logsumexp(1, keepdim=True)
    targets = torch.nn.functional.one_hot(images.labels, 10) * (1 - smoothing) + smoothing / 10
    expected = float(-(targets * chances).sum(1).mean())

    assert train_epoch(run, images).train_loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("precision", Precision)
def test_the_network_runs_in_the_recipes_precision(precision: Precision):
    run, kinds = start(NETWORK, replace(RECIPE, precision=precision), 7, CPU, task=MNIST), []
    run.network.ops[0].register_forward_hook(lambda *values: kinds.append(values[-1].dtype))
    train_epoch(run, noise(16))
    predictions(run, noise(16))
    assert set(kinds) == {torch.bfloat16 if precision is Precision.BF16 else torch.float32}
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}


def test_a_recipe_without_averaging_keeps_no_average():
    run = start(NETWORK, replace(RECIPE, average_decay=0.0), 7, CPU, task=MNIST)
    train_epoch(run, noise(64))
    assert run.average is None
