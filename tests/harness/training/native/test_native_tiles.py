"""Convolutions in tiles (winograd.cpp): gradients in float64, and rounding errors in fp32 within their bounds."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from harness.spaces.network import MNIST
from harness.spaces.notation import parse_network
from harness.training.native import engine as engine_module
from harness.training.native.driver import NativeProgram
from harness.training.native.engine import _LEVELS, _Level
from harness.training.recipe import Recipe
from harness.training.torch_network import _draw_first_weights, build
from harness.training.training_loop import start
from tests.factories import make_images
from tests.harness.training.native.engines import (
    HERE,
    ON_EACH_LEVEL,
    check_against_torch,
    gradients,
    in_float64,
    reference,
)
from tests.harness.training.native.networks import IN_PAIRS, NETWORKS, TILED


@pytest.mark.parametrize("batch", [3, 33])
@ON_EACH_LEVEL
@pytest.mark.parametrize("text", TILED)
def test_gradients_of_tiled_convolutions_equal_torch_gradients(text: str, level: _Level, batch: int):
    check_against_torch(parse_network(text), batch, in_float64(level))


# Rounding --------------------------------------------------------------------------------------------------

# Transforms of Cook and Toom (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016). A tile of
# ``outputs`` <= 4 outputs per side uses the first ``outputs`` + 1 of these points, and infinity.
POINTS = (0, 1, -1, 2, -2)


def factor(point: int, outputs: int) -> float:
    """Return the divisor of the transformed kernel at a point, for a tile of ``outputs`` outputs per side."""
    return float(np.prod([point - root for root in POINTS[: outputs + 1] if root != point]))


def window_transform(outputs: int) -> Tensor:
    """Return the transform of a window, padded with zeros, float64 (6, 6).

    The rows are scaled to the divisors of four outputs, because the same transformed kernel serves all tiles.
    """
    matrix, points = np.zeros((6, 6)), POINTS[: outputs + 1]
    for row, point in enumerate(points):
        roots = [root for root in points if root != point]
        matrix[row, : outputs + 1] = np.poly(roots)[::-1] * factor(point, 4) / factor(point, outputs)
    matrix[5, : outputs + 2] = np.poly(points)[::-1]
    return torch.from_numpy(matrix)


def output_transform(outputs: int) -> Tensor:
    """Return the transform from six sums to at most four outputs, padded with zeros, float64 (4, 6)."""
    matrix = torch.zeros(4, 6, dtype=torch.float64)
    for column, point in enumerate(POINTS[: outputs + 1]):
        matrix[:outputs, column] = torch.tensor([float(point**power) for power in range(outputs)])
    matrix[outputs - 1, 5] = 1
    return matrix


KERNEL = torch.tensor(
    [*([power / factor(point, 4) for power in (1, point, point**2)] for point in POINTS), [0, 0, 1]],
    dtype=torch.float64,
)


@pytest.mark.parametrize("outputs", [1, 2, 3, 4])
def test_transforms_of_bounds_convolve(outputs: int):
    taps, window = torch.tensor([3.0, -1, 7], dtype=torch.float64), torch.arange(6, dtype=torch.float64) ** 2
    sums = (KERNEL @ taps) * (window_transform(outputs) @ window)
    expected = [float(taps @ window[first : first + 3]) for first in range(outputs)]
    assert (output_transform(outputs) @ sums)[:outputs].tolist() == pytest.approx(expected)


def magnitudes(transform: Callable[[int], Tensor], outputs: int) -> Tensor:
    """Return the absolute transforms of the tiles along a side of ``outputs`` outputs, (tile, to, from)."""
    return torch.stack([transform(min(4, outputs - first)).abs() for first in range(0, outputs, 4)])


# Largest number of roundings of a value in each stage, for both dimensions; a product and a sum count as two.
IN_WINDOW, IN_KERNEL, IN_OUTPUT, IN_TILE, IN_TAPS, IN_LANES = 6, 8, 6, 4, 10, 4

DRIVER = """
#include <vector>
#include "winograd.h"
using namespace engine;
namespace engine { void bias_gradient(const Map&, real*) {} }

static Map map_of(int channels, int side, int groups, int margin) {
  Map map{nullptr, channels, side, side, groups, side + 2 * margin, 0, 0};
  map.plane = map.row * (side + 2 * margin);
  map.group = map.plane * channels;
  map.at = allocate(size_t(map.group) * groups) + margin * (map.row + 1);
  return map;
}
// Copies between a map and [image][channel][row][column].
static void copied(const Map& map, int images, float* dense, bool in) {
  for (int n = 0; n < images; n++)
    for (int c = 0; c < map.channels; c++)
      for (int h = 0; h < map.height; h++)
        for (int w = 0; w < map.width; w++, dense++) {
          float& value = reinterpret_cast<float*>(map.line(n / LANES, c, h) + w)[n % LANES];
          if (in) value = *dense; else *dense = value;
        }
}
extern "C" int run(int in, int out, int side, int padding, int images, float* x, float* kernel, float* dy, float* y,
                   float* dx, float* dkernel) {
  const Convolution c{3, 3, 1, padding, padding, in, out};
  const int outputs = side + 2 * padding - 2, groups = groups_of(images);
  const Map from = map_of(in, side, groups, padding), gradient = map_of(out, outputs, groups, 2 - padding);
  const Map to = map_of(out, outputs, groups, 0), given = map_of(in, side, groups, 0);
  V *packed = allocate(tiled_kernel(c)), *room = allocate(tiled_room(c));
  copied(from, images, x, true);
  copied(gradient, images, dy, true);
  pack_in_tiles(c, kernel, false, packed);
  convolve_in_tiles(c, from, packed, nullptr, to, room);
  copied(to, images, y, false);
  pack_in_tiles(c, kernel, true, packed);
  convolve_back_in_tiles(c, gradient, packed, given, room);
  copied(given, images, dx, false);
  kernel_gradient_in_tiles(c, from, gradient, dkernel, nullptr, room);
  return pays_in_tiles(c, outputs, outputs);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Compile winograd.cpp alone, in fp32, for this processor."""
    folder: Path = tmp_path_factory.mktemp("tiles")
    (folder / "driver.cpp").write_text(DRIVER, encoding="utf-8")
    options = [*engine_module.OPTIONS, *engine_module.level().options, f"-I{engine_module._SOURCE_FOLDER}", "-O1"]
    units = [str(folder / "driver.cpp"), str(engine_module._SOURCE_FOLDER / "winograd.cpp")]
    subprocess.run([*engine_module.compiler(), *options, *units, "-o", str(folder / "tiles.so")], check=True)
    return ctypes.CDLL(str(folder / "tiles.so"))


def windows(values: Tensor, padding: int, outputs: int, size: int) -> Tensor:
    """Return the windows of all tiles of a map padded with zeros, (image, channel, tile, tile, size, size)."""
    tiles = -(-outputs // 4)
    beyond = 4 * tiles + size - 4 - values.shape[-1] - padding
    wide = functional.pad(values, (padding, beyond, padding, beyond))
    return wide.unfold(2, size, 4).unfold(3, size, 4)


def bound(roundings: int) -> float:
    """Return the bound of the relative error of fp32 roundings (Higham, Accuracy and stability, 2002, lemma 3.1)."""
    return roundings * 2.0**-24 / (1 - roundings * 2.0**-24)


def output_scale(x: Tensor, kernel: Tensor, padding: int, outputs: int) -> Tensor:
    """Return each output of the tiled convolution with all factors replaced by their absolute values."""
    to_sums, to_outputs = magnitudes(window_transform, outputs), magnitudes(output_transform, outputs)
    factors = torch.einsum("tjy,nituyx,ukx->nitujk", to_sums, windows(x.abs(), padding, outputs, 6), to_sums)
    weights = KERNEL.abs() @ kernel.abs() @ KERNEL.abs().T
    sums = torch.einsum("nitujk,oijk->notujk", factors, weights)
    tiles = torch.einsum("tyj,notujk,uxk->notuyx", to_outputs, sums, to_outputs)
    return tiles.transpose(3, 4).flatten(4, 5).flatten(2, 3)[:, :, :outputs, :outputs]


@pytest.mark.nightly  # compiles winograd.cpp
@pytest.mark.parametrize(("inputs", "outputs"), [(12, 32), (32, 12), (7, 9)])
@pytest.mark.parametrize(("side", "padding"), [(14, 1), (7, 1), (11, 0), (8, 2), (5, 1)])
def test_rounding_errors_of_tiles_stay_within_bounds(
    inputs: int, outputs: int, side: int, padding: int, library: ctypes.CDLL
):
    generator = torch.Generator().manual_seed(side)
    images, edge = 40, side + 2 * padding - 2
    x = torch.randn(images, inputs, side, side, generator=generator)
    kernel = torch.randn(outputs, inputs, 3, 3, generator=generator)
    dy = torch.randn(images, outputs, edge, edge, generator=generator)
    y, dx, gradient = torch.empty_like(dy), torch.empty_like(x), torch.zeros_like(kernel)

    arrays = [ctypes.c_void_p(each.data_ptr()) for each in (x, kernel, dy, y, dx, gradient)]
    library.run(inputs, outputs, side, padding, images, *arrays)

    exact = x.double(), kernel.double(), dy.double()
    sums = IN_WINDOW + IN_KERNEL + 1 + IN_OUTPUT
    scale = output_scale(exact[0], exact[1], padding, edge)
    assert ((y - functional.conv2d(exact[0], exact[1], padding=padding)).abs() <= bound(sums + inputs) * scale).all()
    flipped = exact[1].transpose(0, 1).flip(2, 3)
    scale = output_scale(exact[2], flipped, 2 - padding, side)
    expected = conv2d_input(x.shape, exact[1], exact[2], padding=padding)  # type: ignore[no-untyped-call]
    assert ((dx - expected).abs() <= bound(sums + outputs) * scale).all()
    to_sums, from_tiles = magnitudes(window_transform, edge), magnitudes(output_transform, edge)
    factors = torch.einsum("tjy,nituyx,ukx->nitujk", to_sums, windows(exact[0].abs(), padding, edge, 6), to_sums)
    tiles = torch.einsum("tyj,notuyx,uxk->notujk", from_tiles, windows(exact[2].abs(), 0, edge, 4), from_tiles)
    scale = KERNEL.abs().T @ torch.einsum("nitujk,notujk->oijk", factors, tiles) @ KERNEL.abs()
    tile_sums = (-(-edge // 4)) ** 2 * -(-images // 16)
    expected = conv2d_weight(exact[0], kernel.shape, exact[2], padding=padding)  # type: ignore[no-untyped-call]
    roundings = IN_WINDOW + IN_TILE + 1 + tile_sums + IN_TAPS + IN_LANES
    assert ((gradient - expected).abs() <= bound(roundings) * scale).all()


TURNED = (
    "conv3x3(8, poses=4, bias) bn(poses=4) prelu | avgpool | prelu bn conv3x3(8) prelu bn(poses=2, shared) leaky "
    "dropout(0.2) | swish bn swish avgpool | dropout2d(0.2) gap | linear(10)"
)
WIDE = "maxpool(4) conv1x1(9) bn relu conv1x1(23, bias) relu gap linear(10)"


def digest(text: str, recipe: Recipe, *options: str) -> str:
    """Return the digest of the weights after an epoch on 70 images, with an engine compiled with these options."""
    engine = engine_module.load(_LEVELS[-1], extra=("-O0", *options))
    run = start(parse_network(text), recipe, 3, torch.device("cpu"), engine, task=MNIST)
    run.train(make_images(70))
    return run.weights_digest()


@pytest.mark.slow  # compiles three engines
@pytest.mark.parametrize(
    "recipe",
    [Recipe(epochs=1, batch_size=32), Recipe(epochs=1, batch_size=20, optimizer="adam", learning_rate=0.003)],
    ids=["SGD", "Adam"],
)
@pytest.mark.parametrize(
    "text",
    [*NETWORKS[:4], TURNED, TILED[1], TILED[3], WIDE],
    ids=["0", "1", "2", "3", "poses", "tiles", "narrow tiles", "1x1"],
)
def test_vector_width_does_not_change_trained_bits(text: str, recipe: Recipe):
    # Every processor has the instructions for narrow vectors; the compiler splits wide vectors.
    narrow = digest(text, recipe)
    assert [digest(text, recipe, f"-DVECTOR_BYTES={width}") for width in (32, 64)] == [narrow, narrow]


class RoundedConvolution(torch.autograd.Function):
    """Convolution with factors rounded to bf16, forward and backward; sums are not rounded."""

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
    """Round the factors of the 3x3 convolutions that are wide enough for the engine's products in bf16."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            if min(layer.in_channels, layer.out_channels) // layer.groups < 8:
                continue

            def forward(x: Tensor, layer: nn.Conv2d = layer) -> Tensor:
                options = x, layer.weight, layer.stride[0], layer.padding[0], layer.groups
                sums: Tensor = RoundedConvolution.apply(*options)  # type: ignore[no-untyped-call]
                return sums if layer.bias is None else sums + layer.bias[:, None, None]

            layer.forward = forward  # type: ignore[method-assign, assignment]


@pytest.mark.skipif(not HERE[0].name.endswith("bf16"), reason="this processor has no products of bf16")
@pytest.mark.parametrize("batch", [16, 40])
@pytest.mark.parametrize("text", IN_PAIRS)
def test_gradients_in_bf16_equal_gradients_with_rounded_factors(text: str, batch: int):
    images, recipe = make_images(batch), Recipe(batch_size=batch, precision="bf16")
    torch.manual_seed(1)
    network = build(parse_network(text), MNIST)
    _draw_first_weights(network, Recipe(initialisation="kaiming"))
    program = NativeProgram(engine_module.load(), parse_network(text), recipe, make_images(1))
    loss, gradient = gradients(program, network, images.pixels, images.labels)
    network.double()
    _, exact = reference(network, images, 0.0)
    network.zero_grad()
    round_factors(network)
    expected_loss, expected = reference(network, images, 0.0)

    # Only factors that fp32 and fp64 sums round to different bf16 numbers differ.
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert (gradient - expected).norm() < 0.1 * (gradient - exact).norm()
    assert (gradient - exact).norm() < 0.05 * exact.norm()
