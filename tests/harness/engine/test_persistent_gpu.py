"""The persistent kernel on a GPU, against torch there and against itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness.engine.persistent_kernel import load
from harness.engine.persistent_training import train_epoch_side_by_side
from harness.training.recipe import Recipe
from harness.training.train import Images, Training, count_errors, start, train_epoch
from search_spaces.notation import parse_network
from tests.harness.engine.test_native_training import NETWORKS, RECIPES, some_images

pytestmark = pytest.mark.gpu
DROPPING = "conv3x3(8) bn relu dropout(0.2) maxpool conv3x3(8) bn relu dropout2d(0.1) maxpool linear(10)"


def gpu() -> torch.device:
    return torch.device("cuda", torch.cuda.device_count() - 1)


def images_there(count: int) -> Images:
    found = some_images(count)
    return replace(found, pixels=found.pixels.to(gpu()), labels=found.labels.to(gpu()))


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_steps_of_every_network_end_where_torch_ends(recipe: Recipe):
    # Moves of a GPU do not come in the same order, so nothing is moved; two steps, before rounding has grown.
    recipe = replace(recipe, augmented_share=0.0)
    images = images_there(2 * recipe.batch_size)
    ours, plain = ([start(parse_network(text), recipe, 3, gpu()) for text in NETWORKS] for _ in range(2))

    train_epoch_side_by_side(load(gpu()), ours, images)
    for run in plain:
        train_epoch(run, images)

    for mine, other in zip(ours, plain, strict=True):
        assert mine.history[0].train_loss == pytest.approx(other.history[0].train_loss, rel=1e-2)
        for now, then in zip(mine.average or mine.state, other.average or other.state, strict=True):
            # Adam's first steps turn on the sign of gradients that rounding decides, so single weights may differ.
            torch.testing.assert_close(now, then, rtol=1e-2, atol=2e-2)


def test_a_device_without_a_number_is_the_current_one():
    for index in range(torch.cuda.device_count()):
        with torch.cuda.device(index):
            assert load(torch.device("cuda")) is load(torch.device("cuda", index))


def ended(count: int) -> list[Training]:
    recipe = Recipe(epochs=3, batch_size=32)
    runs = [start(parse_network(DROPPING), recipe, seed, gpu()) for seed in range(count)]
    for _ in range(recipe.epochs):
        train_epoch_side_by_side(load(gpu()), runs, images_there(640))
    return runs


def test_networks_learn_and_two_launches_give_the_same_bits():
    # More networks than multiprocessors: blocks of half the size, some of which wait.
    many = ended(2 * torch.cuda.get_device_properties(gpu()).multi_processor_count + 3)
    few = ended(2)

    # Chance is 576 errors.
    assert max(count_errors(run, images_there(640)) for run in many) < 64
    for first, second in zip(many, few, strict=False):
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(first.state, second.state, strict=True))
