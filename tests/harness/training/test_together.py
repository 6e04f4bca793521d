"""Tests of several seeds trained together, against each of them trained alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness.training.recipe import Recipe, epoch_steps
from harness.training.train import (
    Population,
    Training,
    count_errors,
    finish_average,
    predicting_state,
    start,
    train_epoch,
)
from search_spaces.network import MNIST
from search_spaces.notation import parse_network
from tests.harness.training.native.networks import NETWORKS, POSED, SHARED, SIMPLY_POSED
from tests.harness.training.native.test_native_training import some_images
from tests.harness.training.test_teacher import TAUGHT, some_teacher
from tests.search_spaces.test_modules import Noting

CPU = torch.device("cpu")
RECIPES = (
    Recipe(epochs=2, batch_size=32),
    Recipe(epochs=2, batch_size=20, nesterov=False, momentum=0.0, average_decay=0.0, augmented_share=0.0),
    Recipe(epochs=2, batch_size=32, optimizer="adam", learning_rate=3e-3, weight_decay=0.01, average_start=0.5),
    Recipe(epochs=2, batch_size=32, weight_decay=1.0, decay_all=True, augmentation_off_share=0.5),
    Recipe(epochs=2, batch_size=32, average_start=0.0, average_decay=0.99, average_statistics="recomputed"),
    TAUGHT,
)


def runs_of(text: str, recipe: Recipe, count: int = 3) -> list[Training]:
    teacher = some_teacher() if recipe.teacher else None
    return [start(parse_network(text), recipe, seed, CPU, teacher=teacher, task=MNIST) for seed in range(count)]


@pytest.mark.parametrize("text", [*NETWORKS, POSED, SHARED])
def test_a_grouped_network_says_what_its_members_say(text: str):
    images, runs = some_images(9), runs_of(text, Recipe(batch_size=9), 4)
    population = Population(runs, images)
    population._gather()
    values = (images.pixels.float() / 255 - 0.13) / 0.31
    for mode in (True, False):
        together = population.network.train(mode)(values.expand(-1, 4, -1, -1)).view(9, 4, 10)
        for index, run in enumerate(runs):
            alone = run.network.train(mode)(values)
            torch.testing.assert_close(together[:, index], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("text", [NETWORKS[0], NETWORKS[2], NETWORKS[4], SIMPLY_POSED])
def test_members_end_where_they_would_have_ended_alone(text: str, recipe: Recipe):
    # Four steps in two epochs: before rounding has grown.
    images = some_images(2 * recipe.batch_size + 1)
    together, alone = runs_of(text, recipe), runs_of(text, recipe)
    population = Population(together, images)
    for _ in range(2):
        population.train_epoch()
        for run in alone:
            train_epoch(run, images)

    for mine, other in zip(together, alone, strict=True):
        for run in (mine, other):
            finish_average(run, images)
        assert mine.step == other.step == 4
        assert [epoch.learning_rate for epoch in mine.history] == [epoch.learning_rate for epoch in other.history]
        for one, two in zip(mine.history, other.history, strict=True):
            assert one.train_loss == pytest.approx(two.train_loss, rel=1e-3)
        assert (mine.average is None) == (other.average is None)
        for now, then in zip(predicting_state(mine), predicting_state(other), strict=True):
            # Adam's first steps turn on the sign of gradients that rounding decides, so single weights may differ.
            torch.testing.assert_close(now, then, rtol=5e-3, atol=1.3e-2 if recipe is RECIPES[2] else 5e-3)
        ours, theirs = (torch.cat([part.reshape(-1) for part in predicting_state(run)]) for run in (mine, other))
        assert (ours - theirs).abs().mean() < 2e-3
        for first, second in zip(mine.network.parameters(), other.network.parameters(), strict=True):
            for name, value in other.optimizer.state[second].items():
                if value is not None:
                    torch.testing.assert_close(mine.optimizer.state[first][name], value, rtol=2e-2, atol=5e-3)


@pytest.mark.parametrize("recipe", [RECIPES[2], TAUGHT], ids=["Adam", "taught"])
@pytest.mark.parametrize(
    "text", [*NETWORKS, POSED, SHARED, "conv3x3(8) bn relu dropout(0.2) gap dropout2d(0.1) linear(10)"]
)
def test_no_step_waits_for_the_host_which_no_cuda_graph_can_hold(text: str, recipe: Recipe):
    trained = Population(runs_of(text, recipe, 2), some_images(2 * recipe.batch_size))
    trained.schedule = trained._scheduled(epoch_steps(recipe, 0, 2))

    Noting.names.clear()
    with Noting():  # type: ignore[no-untyped-call]
        for _ in range(2):
            trained._step()

    assert {"index_select", "nll_loss_backward"} <= Noting.names
    # Numbers that the host reads, tensors that it makes, and shapes that depend on numbers.
    assert {"_local_scalar_dense", "lift_fresh", "nonzero", "masked_select"} & Noting.names == set()


def test_members_learn():
    recipe = Recipe(epochs=4, batch_size=32)
    images = some_images(640)
    text = "conv3x3(8) bn relu dropout(0.05) maxpool conv3x3(8) bn relu maxpool linear(10)"
    runs = runs_of(text, recipe, 2)
    population = Population(runs, images)
    for _ in range(4):
        population.train_epoch()
    # Chance is 576 errors.
    assert max(count_errors(run, images) for run in runs) < 64
    assert not torch.equal(runs[0].state[0], runs[1].state[0])


def test_one_member_that_diverges_leaves_the_others_alone():
    recipe = Recipe(epochs=1, batch_size=32, augmented_share=0.0)
    runs = runs_of(NETWORKS[0], recipe, 2)
    with torch.no_grad():
        runs[0].state[0].fill_(float("nan"))
    Population(runs, some_images(64)).train_epoch()
    assert [run.diverged for run in runs] == [True, False]
    assert runs[0].history[0].train_loss is None


@pytest.mark.gpu
@pytest.mark.parametrize("text", [NETWORKS[0], SIMPLY_POSED], ids=["plain", "in four poses"])
def test_captured_steps_end_where_single_ones_end(text: str):
    # Random draws of a GPU do not come in the same order, so nothing is moved and all images are one: all batches are
    # the same, and smoothing keeps the loss of this one image from zero. Twenty steps an epoch, more than the steps
    # before a capture.
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    recipe = Recipe(epochs=3, batch_size=64, augmented_share=0.0, average_start=0.0, label_smoothing=0.1)
    found = some_images(64)
    pixels, labels = found.pixels[:1].repeat(1280, 1, 1, 1).to(device), found.labels[:1].repeat(1280).to(device)
    images = replace(found, pixels=pixels, labels=labels)
    together, alone = (
        [start(parse_network(text), recipe, seed, device, task=MNIST) for seed in range(2)] for _ in range(2)
    )

    population = Population(together, images)
    for _ in range(3):
        population.train_epoch()
        for run in alone:
            train_epoch(run, images)

    assert population.graph is not None
    for mine, other in zip(together, alone, strict=True):
        for one, two in zip(mine.history, other.history, strict=True):
            assert one.train_loss == pytest.approx(two.train_loss, rel=1e-3)
        for now, then in zip(mine.state, other.state, strict=True):
            torch.testing.assert_close(now, then, rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
def test_a_captured_epoch_takes_every_step_with_fresh_masks():
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    recipe = Recipe(epochs=1, batch_size=32)
    found = some_images(640)
    images = replace(found, pixels=found.pixels.to(device), labels=found.labels.to(device))
    text = "conv3x3(8) bn relu dropout(0.5) maxpool conv3x3(8) bn relu maxpool linear(10)"
    runs = [start(parse_network(text), recipe, seed, device, task=MNIST) for seed in range(2)]

    population = Population(runs, images)
    population.train_epoch()
    first, graph = [tensor.clone() for tensor in runs[0].state], population.graph
    population.train_epoch()

    assert graph is not None
    assert population.graph is graph
    assert all(run.step == 40 and not run.diverged for run in runs)
    losses = [epoch.train_loss or 0.0 for epoch in runs[0].history]
    assert 0 < losses[1] < losses[0]
    assert not all(torch.equal(now, then) for now, then in zip(runs[0].state, first, strict=True))
