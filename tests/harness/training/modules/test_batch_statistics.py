"""Tests of BN statistics that are recomputed for averaged weights."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.training import train as train_module
from harness.training.build import build, recompute_statistics
from harness.training.native import native
from harness.training.recipe import AverageStatistics, Recipe
from harness.training.steps import Images
from harness.training.together import population_of, train_epoch_together
from harness.training.train import (
    Training,
    checkpoint,
    count_errors,
    finish_average,
    predictions,
    resume,
    start,
    train_epoch,
    weights_digest,
)
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.training.native.test_native_training import CPU, some_images

NETWORK = parse_network(
    "conv3x3(4) bn relu dropout(0.3) | maxpool | res(conv3x3(4) relu bn) conv3x3(6) bn relu | linear(8) bn linear(10)"
)
RECIPE = Recipe(
    epochs=2, batch_size=32, average_start=0.0, average_decay=0.99, average_statistics=AverageStatistics.RECOMPUTED
)
ENGINES = [pytest.param(lambda: None, id="torch"), pytest.param(native.load, id="native")]
Load = Callable[[], Any]


def trained(load: Load, recipe: Recipe = RECIPE, epochs: int = 2) -> Training:
    run = start(NETWORK, recipe, 3, CPU, load(), task=MNIST)
    for _ in range(epochs):
        train_epoch(run, some_images(320))
    return run


def norms_of(network: nn.Module) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def test_statistics_of_one_batch_are_those_of_the_whole_it_is():
    # With one batch, what a BN normalises by is what it then keeps: in both modes the network says the same, but for
    # the n / (n - 1) of the kept variance and, with dropout off, nothing else.
    torch.manual_seed(1)
    network, values = build(NETWORK, MNIST).double(), torch.randn(400, 1, 28, 28, dtype=torch.float64)
    recompute_statistics(network, [values])

    kept = network(values)
    for norm in norms_of(network):
        norm.train()
    fresh = network(values)

    torch.testing.assert_close(kept, fresh, rtol=1e-2, atol=1e-2)


def test_statistics_are_moments_of_all_that_a_bn_is_given():
    torch.manual_seed(1)
    network, batches = build(NETWORK, MNIST), [torch.randn(50, 1, 28, 28) * scale for scale in (1.0, 3.0)]
    first, given = norms_of(network)[0], []
    hook = first.register_forward_pre_hook(lambda _, values: given.append(values[0]))

    recompute_statistics(network, batches)
    hook.remove()

    # Batches of unequal spread: their statistics averaged would not be those of both together.
    values = torch.cat(given).double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(first.running_mean.double(), values.mean(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(first.running_var.double(), values.var(1), rtol=1e-4, atol=1e-6)
    assert not network.training


def test_a_bn_without_scale_gets_the_statistics_of_what_it_is_given():
    torch.manual_seed(2)
    network = build(parse_network("bn(unscaled) | gap | linear(10)"), MNIST).double()
    values = 3 * torch.randn(50, 1, 28, 28, dtype=torch.float64) + 1
    recompute_statistics(network, [values])
    (norm,) = norms_of(network)
    assert norm.running_mean.item() == pytest.approx(values.mean().item(), abs=1e-12)
    assert norm.running_var.item() == pytest.approx(values.var().item(), abs=1e-12)


def test_shared_statistics_are_those_of_all_values_of_the_channels_that_share_them():
    torch.manual_seed(3)
    text = "conv3x3(4) bn(poses=2, shared) relu linear(4) bn(poses=4, shared) linear(10)"
    network = build(parse_network(text), MNIST).double()
    batches, given = [torch.randn(30, 1, 28, 28, dtype=torch.float64) * scale for scale in (1.0, 3.0)], []
    for norm in norms_of(network):
        norm.register_forward_pre_hook(lambda _, values: given.append(values[0]))

    recompute_statistics(network, batches)

    first, second = norms_of(network)
    maps, vectors = torch.cat(given[::2]), torch.cat(given[1::2])
    for norm, groups in ((first, [maps[:, :2], maps[:, 2:]]), (second, [vectors])):
        torch.testing.assert_close(norm.running_mean, torch.stack([values.mean() for values in groups]))
        torch.testing.assert_close(norm.running_var, torch.stack([values.var() for values in groups]))


def test_dropout_is_off_while_statistics_are_gathered():
    torch.manual_seed(1)
    network, values = (
        build(parse_network("dropout(0.9) conv3x3(4) bn gap linear(10)"), MNIST),
        torch.ones(40, 1, 28, 28),
    )
    recompute_statistics(network, [values])
    once = norms_of(network)[0].running_var.clone()

    recompute_statistics(network, [values])

    assert torch.equal(norms_of(network)[0].running_var, once)


@pytest.mark.parametrize("load", ENGINES)
def test_only_the_statistics_of_an_average_are_its_own(load: Load):
    run, images = trained(load), some_images(320)

    finish_average(run, images)

    assert run.average is not None
    assert run.finished_average is not None
    names = [name for name, tensor in run.network.state_dict().items() if tensor.is_floating_point()]
    changed = {
        name
        for name, one, two in zip(names, run.average, run.finished_average, strict=True)
        if not torch.equal(one, two)
    }
    assert changed == {name for name in names if "running" in name}


@pytest.mark.parametrize("load", ENGINES)
def test_predictions_are_those_of_the_settled_weights(load: Load):
    run, images = trained(load), some_images(100, seed=4)
    finish_average(run, some_images(320))
    network = build(NETWORK, MNIST).eval()
    floating = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    for tensor, value in zip(floating, run.finished_average or [], strict=True):
        tensor.copy_(value)

    expected = network((images.pixels.float() / 255 - images.mean[0]) / images.deviation[0]).argmax(1)

    assert torch.equal(predictions(run, images), expected)


@pytest.mark.parametrize("load", ENGINES)
def test_settling_changes_nothing_of_what_is_trained_further(load: Load):
    images, looked, plain = some_images(320), start(NETWORK, RECIPE, 3, CPU, load(), task=MNIST), trained(load)
    for _ in range(2):
        train_epoch(looked, images)
        finish_average(looked, images)
        count_errors(looked, images)
    finish_average(plain, images)
    assert weights_digest(looked) == weights_digest(plain)


@pytest.mark.parametrize("load", ENGINES)
def test_a_run_gone_on_with_settles_to_the_same_bits(load: Load):
    images, whole = some_images(320), trained(load)
    finish_average(whole, images)
    buffer = io.BytesIO()
    torch.save(checkpoint(whole), buffer)

    again = start(NETWORK, RECIPE, 3, CPU, load(), task=MNIST)
    resume(again, torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    finish_average(again, images)

    assert weights_digest(again) == weights_digest(whole)


def test_the_recipe_trains_to_the_weights_of_one_that_averages_statistics():
    plain = trained(native.load, replace(RECIPE, average_statistics=AverageStatistics.AVERAGED))
    run = trained(native.load)
    assert run.average is not None
    assert all(torch.equal(one, two) for one, two in zip(run.average, plain.average or [], strict=True))
    finish_average(plain, some_images(320))
    assert plain.finished_average is None


def test_members_settle_to_what_they_would_have_alone():
    images = some_images(65)
    network = parse_network("conv3x3(4) bn relu maxpool conv3x3(6) bn relu gap linear(10)")
    together, alone = ([start(network, RECIPE, seed, CPU, task=MNIST) for seed in range(2)] for _ in range(2))

    train_epoch_together(population_of(together, images))
    for run in alone:
        train_epoch(run, images)
    for run in (*together, *alone):
        finish_average(run, images)

    for mine, other in zip(together, alone, strict=True):
        for now, then in zip(mine.finished_average or [], other.finished_average or [], strict=True):
            torch.testing.assert_close(now, then, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("load", ENGINES)
def test_an_average_that_is_not_settled_predicts_nothing(load: Load):
    run, images = trained(load), some_images(320)
    finish_average(run, images)
    train_epoch(run, images)
    with pytest.raises(AssertionError, match="an average is finished before it predicts"):
        predictions(run, images)


def test_images_are_moved_as_training_moves_them(monkeypatch: pytest.MonkeyPatch):
    run, seen = trained(native.load), []

    def spy(pixels: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
        seen.append((len(pixels), recipe.augmented_share, generator is run.generator))
        return pixels

    monkeypatch.setattr(train_module, "augment", spy)
    monkeypatch.setattr(train_module, "_STATISTICS_IMAGES", 300)
    monkeypatch.setattr(train_module, "_EVALUATION_BATCH", 200)
    images = some_images(320)
    finish_average(run, Images(images.pixels, images.labels, images.mean, images.deviation))

    assert seen == [(200, RECIPE.augmented_share, False), (100, RECIPE.augmented_share, False)]


def test_looks_before_the_end_take_fewer_images(monkeypatch: pytest.MonkeyPatch):
    passed = []
    monkeypatch.setattr(train_module, "recompute_statistics", lambda _, batches: passed.append(sum(map(len, batches))))
    monkeypatch.setattr(train_module, "_PASSING_STATISTICS_IMAGES", 100)
    finish_average(trained(native.load, replace(RECIPE, epochs=9)), some_images(320))
    finish_average(trained(native.load), some_images(320))
    assert passed == [100, 320]


def test_images_are_not_moved_where_the_last_epoch_moved_none(monkeypatch: pytest.MonkeyPatch):
    run, shares = trained(native.load, replace(RECIPE, augmentation_off_share=0.5)), []

    def spy(pixels: torch.Tensor, recipe: Recipe, _: torch.Generator) -> torch.Tensor:
        shares.append(recipe.augmented_share)
        return pixels

    monkeypatch.setattr(train_module, "augment", spy)
    finish_average(run, some_images(320))

    assert shares == [0.0]
