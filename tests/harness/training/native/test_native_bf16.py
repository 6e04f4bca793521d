"""Tests of the native engine's products in bf16 against a torch network whose convolutions round what they multiply."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from harness.training.build import _initialise, build
from harness.training.native import native
from harness.training.native.native import LEVELS, Choice, choose_engine
from harness.training.native.native_training import open_program
from harness.training.recipe import Initialisation, Precision, Recipe
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.training.native.networks import gradients
from tests.harness.training.native.test_native_training import CPU, HERE, reference, some_images


def test_bf16_it_declines_where_the_processor_has_no_products_of_it(monkeypatch: pytest.MonkeyPatch):
    recipe, plain = Recipe(precision=Precision.BF16), native.load(LEVELS[-1], extra=("-O0",))
    why = f"{plain.name} has no products of bf16, for which the recipe asks"
    # It may be the compiler that does not know them.
    unknown = replace(plain, skipped=("without avx512bf16: c++ fails", "without avx512: c++ fails"))
    monkeypatch.setattr(native, "load", lambda: unknown)
    assert choose_engine("auto", recipe, CPU) == Choice(None, f"{why}; {'; '.join(unknown.skipped)}")
    assert choose_engine("auto", Recipe(), CPU) == Choice(unknown)


# Products in bf16 ------------------------------------------------------------------------------------------

# Odd numbers of channels, strides, paddings, groups, poses, and layers too narrow for it.
IN_PAIRS = (
    "conv3x3(8) bn relu conv3x3(16, bias) bn relu gap linear(10)",
    "conv3x3(9) relu maxpool conv3x3(11, stride=2, bias) relu conv3x3(9, pad=0) relu conv3x3(16, pad=2) gap linear(10)",
    "conv1x1(18) relu conv3x3(22, groups=2, bias) relu maxpool conv3x3(4) relu conv3x3(16) leaky linear(10)",
    "conv3x3(12) relu res(conv3x3(12, tie=a) relu) conv3x3(12, tie=a, stride=3) relu linear(10)",
)


class RoundedConvolution(torch.autograd.Function):
    """A convolution whose factors are rounded to bf16 on both ways, and whose sums are not."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, stride: int, padding: int, groups: int) -> Tensor:
        context.save_for_backward(x, weight)
        context.geometry = stride, padding, groups
        return functional.conv2d(rounded(x), rounded(weight), None, stride, padding, 1, groups)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        stride, padding, groups = context.geometry
        dy = rounded(gradient)
        dx = conv2d_input(x.shape, rounded(weight), dy, stride, padding, 1, groups)  # type: ignore[no-untyped-call]
        dw = conv2d_weight(rounded(x), weight.shape, dy, stride, padding, 1, groups)  # type: ignore[no-untyped-call]
        return dx, dw, None, None, None


def rounded(values: Tensor) -> Tensor:
    return values.bfloat16().to(values.dtype)


def round_factors(network: nn.Module) -> None:
    """Round what convolutions multiply that are wide enough for the engine's products in bf16."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            if min(layer.in_channels, layer.out_channels) // layer.groups < 8:
                continue

            def forward(x: Tensor, layer: nn.Conv2d = layer) -> Tensor:
                given = x, layer.weight, layer.stride[0], layer.padding[0], layer.groups
                found: Tensor = RoundedConvolution.apply(*given)  # type: ignore[no-untyped-call]
                return found if layer.bias is None else found + layer.bias[:, None, None]

            layer.forward = forward  # type: ignore[method-assign, assignment]


@pytest.mark.skipif(not HERE[0].name.endswith("bf16"), reason="this processor has no products of bf16")
@pytest.mark.parametrize("batch", [16, 40])
@pytest.mark.parametrize("text", IN_PAIRS)
def test_gradients_in_bf16_are_those_of_rounded_factors(text: str, batch: int):
    images, recipe = some_images(batch), Recipe(batch_size=batch, precision=Precision.BF16)
    torch.manual_seed(1)
    network = build(parse_network(text), MNIST)
    _initialise(network, Initialisation.KAIMING)
    opened = open_program(native.load(), parse_network(text), recipe, some_images(1))
    loss, gradient = gradients(opened, network, images.pixels, images.labels)
    network.double()
    _, exact = reference(network, images, 0.0)
    network.zero_grad()
    round_factors(network)
    expected_loss, expected = reference(network, images, 0.0)

    # Where sums of fp32 and fp64 round to different numbers of bf16 single factors differ; all others do not.
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert (gradient - expected).norm() < 0.1 * (gradient - exact).norm()
    assert (gradient - exact).norm() < 0.05 * exact.norm()
