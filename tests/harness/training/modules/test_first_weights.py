"""Tests of first weights: what convolutions that hand their input on say, and which heads begin as zeros."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.training.build import Network, _initialise, build, draw_first_weights
from harness.training.native import native
from harness.training.recipe import Initialisation, Recipe
from harness.training.train import start, train_epoch
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.training.native.test_native_training import CPU, some_images

DIRAC = Recipe(initialisation=Initialisation.DIRAC)


def drawn(text: str, recipe: Recipe) -> Network:
    torch.manual_seed(4)
    network = build(parse_network(text), MNIST)
    draw_first_weights(network, recipe)
    return network


@pytest.mark.parametrize("op", ["conv3x3(7)", "conv5x5(7)", "conv1x1(7)", "dwconv3x3"])
def test_a_convolution_that_keeps_its_width_begins_as_the_identity(op: str):
    network = drawn(f"conv3x3(7) {op} gap linear(10)", DIRAC)
    values = torch.randn(2, 7, 9, 9)
    assert torch.equal(network.ops[1](values), values)


def test_a_strided_one_begins_by_leaving_positions_out():
    values = torch.randn(2, 5, 8, 8)
    assert torch.equal(
        drawn("conv3x3(5) conv3x3(5, stride=2) gap linear(10)", DIRAC).ops[1](values), values[..., ::2, ::2]
    )


def test_all_other_weights_are_those_of_kaiming():
    text = "conv3x3(4) bn conv3x3(4) conv3x3(6) conv1x1(6, bias) gap linear(10)"
    identity, normal = drawn(text, DIRAC).state_dict(), drawn(text, Recipe()).state_dict()
    assert {name for name in normal if not torch.equal(identity[name], normal[name])} == {
        "ops.2.weight",
        "ops.4.weight",
    }


@pytest.mark.parametrize("initialisation", [Initialisation.TORCH, Initialisation.KAIMING])
def test_the_initialisations_of_before_draw_what_they_drew(initialisation: Initialisation):
    torch.manual_seed(4)
    network = build(parse_network("conv3x3(4) bn conv3x3(4, bias) gap linear(10)"), MNIST)
    _initialise(network, initialisation)
    again = drawn("conv3x3(4) bn conv3x3(4, bias) gap linear(10)", Recipe(initialisation=initialisation))
    for one, other in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "text",
    [
        "conv3x3(4) relu gap linear(10)",
        "conv3x3(4) relu conv1x1(10, bias) gap",
        "conv3x3(4) bn relu gap conv1x1(10)",
        "conv3x3(4, tie=a) relu conv3x3(10) maxpool(4) dropout(0.1) gap",
    ],
)
def test_all_classes_begin_equal_where_the_head_is_zero_and_then_it_learns(text: str):
    recipe, images = Recipe(zero_head=True, batch_size=32), some_images(64)
    network = drawn(text, recipe)

    assert not network(torch.randn(3, 1, 28, 28)).any()
    for engine in (None, native.load()):
        run = start(parse_network(text), recipe, 0, CPU, engine, task=MNIST)
        first = run.state[0].clone()
        train_epoch(run, images)
        assert run.network(torch.randn(3, 1, 28, 28)).any()
        # The first step moves the head only, the second what stands before it.
        assert not torch.equal(run.state[0], first)


@pytest.mark.parametrize(
    "text",
    [
        "conv3x3(4) relu conv3x3(10) bn gap",
        "conv3x3(4) relu conv3x3(10) relu gap",
        "conv3x3(10) conv3x3(10, tie=a) relu conv3x3(10, tie=a) gap",
        "conv3x3(10) relu res(conv3x3(10)) gap",
    ],
    ids=["norm", "relu", "tied", "residual"],
)
def test_a_head_that_zeros_would_silence_for_good_stays_as_it_was_drawn(text: str):
    plain, zeroed = (drawn(text, Recipe(zero_head=value)).state_dict() for value in (False, True))
    assert all(torch.equal(one, other) for one, other in zip(plain.values(), zeroed.values(), strict=True))


def test_a_head_of_zeros_leaves_all_other_weights_alone():
    text = "conv3x3(4) bn relu conv3x3(4) gap linear(10)"
    plain, zeroed = (drawn(text, Recipe(zero_head=value)) for value in (False, True))
    *others, head = zip(plain.ops, zeroed.ops, strict=True)
    for one, other in others:
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert isinstance(head[1], nn.Linear)
    assert not any(parameter.any() for parameter in head[1].parameters())
