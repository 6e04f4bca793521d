"""Tests of the native engine's dropout, on every instruction set of the machine: its shares, its masks, its absence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.training.build import Network, build
from harness.training.native.native import Engine, Level
from harness.training.native.native_training import NativeProgram, open_program
from harness.training.recipe import Recipe
from harness.training.train import predictions, start
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.dropout_masks import assert_masks
from tests.harness.training.native.networks import gradients
from tests.harness.training.native.test_native_training import CPU, HERE_IN_FLOAT64, in_float64, some_images

LEVELS = pytest.mark.parametrize("level", HERE_IN_FLOAT64, ids=lambda level: level.name)


def opened_with(
    text: str, batch: int, engine: Engine
) -> tuple[NativeProgram, Network, Callable[[], tuple[float, Tensor]]]:
    """A program in float64 with its network, and what gives loss and gradient under the same masks each time."""
    architecture = parse_network(text)
    torch.manual_seed(2)
    network = build(architecture, MNIST).double()
    program = open_program(engine, architecture, Recipe(batch_size=batch), some_images(1))
    images = some_images(batch)

    def under_one_mask() -> tuple[float, Tensor]:
        engine.library.engine_seed(program.handle.pointer, 7)
        return gradients(program, network, images.pixels, images.labels)

    return program, network, under_one_mask


def behind_dropout(op: str, rate: float, level: Level, seeds: int) -> Tensor:
    """What dropout makes of ones: (seeds, channels, positions)."""
    # Maps of ones; with all weights of the last layer zero its gradient is its input times a constant.
    text = f"conv1x1(40, bias) {op}({rate}) linear(10)"
    program, network, _ = opened_with(text, 1, in_float64(level))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        list(network.parameters())[1].fill_(1.0)
    seen = []
    for seed in range(seeds):
        program.engine.library.engine_seed(program.handle.pointer, seed)
        pixels, labels = torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
        gradient = gradients(program, network, pixels, labels)[1]
        # For each class but the right one it is a tenth of the input; before it come the 80 numbers of the convolution,
        # behind it 10 biases.
        seen.append(gradient[80:-10].view(10, 40, 784)[1] * 10)

    return torch.stack(seen)


@pytest.mark.parametrize(("op", "values"), [("dropout", 784), ("dropout2d", 1)])
@pytest.mark.parametrize("rate", [0.02, 0.25, 0.9])
def test_dropout_zeroes_the_share_it_is_told_and_scales_the_rest(op: str, values: int, rate: float):
    best, *others = HERE_IN_FLOAT64
    found = behind_dropout(op, rate, best, 60)
    assert_masks(found, op, rate, values)
    # All instruction sets have the same random numbers.
    for level in others:
        torch.testing.assert_close(behind_dropout(op, rate, level, 5), found[:5], rtol=1e-9, atol=0)


@LEVELS
@pytest.mark.parametrize("batch", [16, 21])
def test_gradients_pass_through_the_masks_of_the_forward_pass(batch: int, level: Level):
    # Smooth ops only, so that central differences are exact; each use of a mask has one before and one after it.
    text = "conv3x3(4) bn dropout(0.3) | avgpool | conv3x3(6) dropout2d(0.3) bn dropout(0.5) | gap | linear(10)"
    _, network, under_one_mask = opened_with(text, batch, in_float64(level))
    _, gradient = under_one_mask()
    at = 0
    for parameter in network.parameters():
        flat = parameter.data.reshape(-1)
        assert flat.data_ptr() == parameter.data_ptr()
        for index in range(0, flat.numel(), 1 + flat.numel() // 8):
            losses = []
            for step in (1e-5, -1e-5):
                flat[index] += step
                losses.append(under_one_mask()[0])
                flat[index] -= step
            assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float(gradient[at + index]), rel=1e-5, abs=1e-8)
        at += flat.numel()


@LEVELS
@pytest.mark.parametrize("batch", [16, 21])
@pytest.mark.parametrize("dropout", ["dropout(0.3)", "dropout2d(0.4)"])
@pytest.mark.parametrize("pool", ["maxpool", "avgpool"])
def test_a_pool_right_behind_dropout_sees_the_same_masks(pool: str, dropout: str, batch: int, level: Level):
    # A pool over windows of one value changes nothing, but keeps the engine from taking dropout and pool as one.
    texts = [
        f"conv3x3(4) bn relu {dropout} {between} {pool} conv3x3(6) relu bn {dropout} {between} {pool} gap linear(10)"
        for between in ("", "maxpool(1)")
    ]
    (loss, gradient), (apart, of_apart) = (opened_with(text, batch, in_float64(level))[2]() for text in texts)
    assert loss == pytest.approx(apart, rel=1e-12)
    assert torch.allclose(gradient, of_apart, rtol=1e-9, atol=1e-12)


@LEVELS
def test_dropout_is_off_when_predicting(level: Level):
    network = parse_network("dropout(0.9) conv3x3(4) dropout2d(0.9) gap linear(10)")
    run = start(network, Recipe(batch_size=32), 0, CPU, in_float64(level), task=MNIST)
    images = some_images(100)
    assert predictions(run, images).tolist() == predictions(run, images).tolist()
