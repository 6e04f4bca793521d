"""Torch networks compared with closed forms, naive sums and naive resampling: weights, BN statistics, augmentation."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.spaces.catalog import PRESETS, SPACES, space
from harness.spaces.network import MNIST, Architecture, analyse
from harness.spaces.notation import parse_network
from harness.spaces.ops import Shape
from harness.spaces.space import draw_uniform
from harness.training.native import engine as engine_module
from harness.training.recipe import Recipe
from harness.training.torch_network import (
    TorchNetwork,
    _affine_maps,
    _draw_first_weights,
    _ResidualModule,
    augment,
    build,
    network_on,
    recompute_statistics,
)
from harness.training.training_loop import Training, start
from tests.factories import make_images
from tests.harness.training.native.engines import CPU


def output_shapes(network: TorchNetwork) -> list[Shape]:
    """Return the output shape of each op in torch, without the batch dimension."""
    values, shapes = torch.zeros(2, *MNIST.input_shape), []
    network.eval()
    with torch.no_grad():
        for module in network.ops:
            values = module(values)
            shapes.append(tuple(values.shape[1:]))
    return shapes


def unique_parameters(network: nn.Module) -> int:
    """Count weights and biases by the addresses of the tensors, independently of torch's list of parameters."""
    storages: dict[int, int] = {}
    for module in network.modules():
        for name in ("weight", "bias"):
            tensor = getattr(module, name, None)
            if isinstance(tensor, Tensor):
                storages[tensor.data_ptr()] = tensor.numel()
    return sum(storages.values())


def tensor_of(network: TorchNetwork, *path: int, name: str = "weight") -> Tensor:
    """Return a tensor of the op at a path of indices; each ``res`` adds a level to the path."""
    module: nn.Module = network
    for index in path:
        assert isinstance(module, TorchNetwork | _ResidualModule)
        module = module.ops[index]
    tensor = getattr(module, name)
    assert isinstance(tensor, Tensor)
    return tensor.detach() if tensor.grad is None else tensor


def gradient(network: TorchNetwork, *path: int) -> Tensor:
    tensor_gradient = tensor_of(network, *path).grad
    assert tensor_gradient is not None
    return tensor_gradient


def stored_numbers(network: nn.Module) -> int:
    """Return the number of floats in torch's state; tensors with the same address count once."""
    tensors = {tensor.data_ptr(): tensor for tensor in network.state_dict().values() if tensor.is_floating_point()}
    return sum(tensor.numel() for tensor in tensors.values())


def check_against_analysis(architecture: Architecture) -> None:
    analysis = analyse(architecture, MNIST)
    network = build(architecture, MNIST)
    assert len(network.ops) == len(architecture.ops)
    assert unique_parameters(network) == analysis.parameters
    assert analyse(architecture, MNIST).stored_numbers == stored_numbers(network)
    assert output_shapes(network) == [layer.output_shape for layer in analysis.costed_ops]
    assert network(torch.zeros(3, *MNIST.input_shape)).shape == (3, 10)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_in_torch_have_analysed_counts_and_shapes(name: str):
    check_against_analysis(parse_network(PRESETS[name]))


@pytest.mark.parametrize("name", SPACES)
def test_networks_of_every_space_in_torch_have_analysed_counts_and_shapes(name: str):
    source = random.Random(name)
    for _ in range(5):
        check_against_analysis(draw_uniform(space(name), source).architecture)


@settings(max_examples=40)
@given(architecture=st.from_type(Architecture))
def test_any_network_in_torch_has_analysed_counts_and_shapes(architecture: Architecture):
    check_against_analysis(architecture)


def test_gradient_of_tied_kernel_is_sum_over_uses():
    tied = build(
        parse_network("conv3x3(4) conv3x3(4, tie=a) relu res(conv3x3(4, tie=a)) gap linear(10)"), MNIST
    ).double()
    untied = build(parse_network("conv3x3(4) conv3x3(4) relu res(conv3x3(4)) gap linear(10)"), MNIST).double()
    untied.load_state_dict(tied.state_dict())
    images = torch.randn(5, *MNIST.input_shape, dtype=torch.float64)

    for network in (tied, untied):
        network(images).square().sum().backward()

    uses = gradient(untied, 1), gradient(untied, 3, 0)
    assert all(float(use.norm()) > 0 for use in uses)
    torch.testing.assert_close(gradient(tied, 1), uses[0] + uses[1])
    torch.testing.assert_close(gradient(tied, 0), gradient(untied, 0))


def test_gradient_of_tied_norms_is_sum_over_uses_and_statistics_are_separate():
    text = "conv3x3(4) bn{0} relu conv3x3(8, poses=2) bn(poses=2{1}) gap linear(10)"
    tied = build(parse_network(text.format("(tie=a)", ", tie=a")), MNIST).double()
    untied = build(parse_network(text.format("", "")), MNIST).double()
    untied.load_state_dict(tied.state_dict())
    images = torch.randn(5, *MNIST.input_shape, dtype=torch.float64)

    for network in (tied, untied):
        network(images).square().sum().backward()

    for name in ("weight", "bias"):
        first, second = (getattr(untied.ops[index], name).grad for index in (1, 4))
        torch.testing.assert_close(getattr(tied.ops[1], name).grad, first + second)
    for index in (1, 4):
        mean, expected = (network.ops[index].running_mean for network in (tied, untied))
        torch.testing.assert_close(mean, expected)


def test_residual_adds_input_to_output_of_ops():
    network = build(parse_network("conv3x3(4) res(conv3x3(4) bn relu) gap linear(10)"), MNIST).eval()
    residual = network.ops[1]
    values = torch.randn(2, 4, 28, 28)
    assert isinstance(residual, _ResidualModule)
    inner = torch.nn.functional.conv2d(values, tensor_of(network, 1, 0), padding=1)
    # A fresh bn in evaluation mode divides by sqrt(1 + 1e-5).
    expected = values + torch.relu(inner / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(residual(values), expected)


def test_dropouts_draw_from_generator_of_network_only():
    text = "conv3x3(8) dropout(0.2) res(conv3x3(8) dropout2d(0.2)) | gap | linear(10)"
    images = torch.randn(4, *MNIST.input_shape)
    before = torch.get_rng_state()
    outputs = []
    for seed in (5, 5, 6):
        network = network_on(parse_network(text), MNIST, CPU, generator=torch.Generator().manual_seed(seed))
        outputs.append(network.train()(images))

    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_kaiming_weights_are_scaled_by_fan_in_and_biases_are_zero():
    network = build(parse_network("conv3x3(32) conv3x3(64, bias) | gap | conv1x1(10, bias)"), MNIST)
    torch.manual_seed(1)
    _draw_first_weights(network, Recipe(initialisation="kaiming"))
    kernel = tensor_of(network, 1)
    assert float(kernel.std()) == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.03)
    assert float(kernel.mean()) == pytest.approx(0, abs=0.002)
    assert tensor_of(network, 1, name="bias").tolist() == [0.0] * 64
    assert tensor_of(network, 3, name="bias").tolist() == [0.0] * 10


DIRAC = Recipe(initialisation="dirac")


def initial_network(text: str, recipe: Recipe) -> TorchNetwork:
    torch.manual_seed(4)
    network = build(parse_network(text), MNIST)
    _draw_first_weights(network, recipe)
    return network


@pytest.mark.parametrize("op", ["conv3x3(7)", "conv5x5(7)", "conv1x1(7)", "dwconv3x3"])
def test_dirac_convolution_with_equal_channels_is_identity(op: str):
    network = initial_network(f"conv3x3(7) {op} gap linear(10)", DIRAC)
    values = torch.randn(2, 7, 9, 9)
    assert torch.equal(network.ops[1](values), values)


def test_dirac_convolution_with_stride_subsamples():
    values = torch.randn(2, 5, 8, 8)
    assert torch.equal(
        initial_network("conv3x3(5) conv3x3(5, stride=2) gap linear(10)", DIRAC).ops[1](values), values[..., ::2, ::2]
    )


def test_dirac_recipe_draws_all_further_weights_as_kaiming():
    text = "conv3x3(4) bn conv3x3(4) conv3x3(6) conv1x1(6, bias) gap linear(10)"
    identity, normal = initial_network(text, DIRAC).state_dict(), initial_network(text, Recipe()).state_dict()
    assert {name for name in normal if not torch.equal(identity[name], normal[name])} == {
        "ops.2.weight",
        "ops.4.weight",
    }


NETWORK = parse_network(
    "conv3x3(4) bn relu dropout(0.3) | maxpool | res(conv3x3(4) relu bn) conv3x3(6) bn relu | linear(8) bn linear(10)"
)
RECIPE = Recipe(epochs=2, batch_size=32, average_start=0.0, average_decay=0.99, average_statistics="recomputed")
ENGINES = [pytest.param(lambda: None, id="torch"), pytest.param(engine_module.load, id="native")]
Load = Callable[[], Any]


def train_run(load: Load, recipe: Recipe = RECIPE, epochs: int = 2) -> Training:
    run = start(NETWORK, recipe, 3, CPU, load(), task=MNIST)
    run.train(make_images(320), epochs)
    return run


def norms_of(network: nn.Module) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def test_recomputed_statistics_are_moments_of_all_bn_inputs():
    torch.manual_seed(1)
    network, batches = build(NETWORK, MNIST), [torch.randn(50, 1, 28, 28) * scale for scale in (1.0, 3.0)]
    first, inputs = norms_of(network)[0], []
    hook = first.register_forward_pre_hook(lambda _, values: inputs.append(values[0]))

    recompute_statistics(network, batches)
    hook.remove()

    # The batches have unequal spread, so the mean of their statistics differs from the statistics of all values.
    values = torch.cat(inputs).double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(first.running_mean.double(), values.mean(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(first.running_var.double(), values.var(1), rtol=1e-4, atol=1e-6)
    assert not network.training


def test_shared_statistics_are_moments_over_channels_of_group():
    torch.manual_seed(3)
    text = "conv3x3(4) bn(poses=2, shared) relu linear(4) bn(poses=4, shared) linear(10)"
    network = build(parse_network(text), MNIST).double()
    batches, inputs = [torch.randn(30, 1, 28, 28, dtype=torch.float64) * scale for scale in (1.0, 3.0)], []
    for norm in norms_of(network):
        norm.register_forward_pre_hook(lambda _, values: inputs.append(values[0]))

    recompute_statistics(network, batches)

    first, second = norms_of(network)
    map_inputs, vectors = torch.cat(inputs[::2]), torch.cat(inputs[1::2])
    for norm, groups in ((first, [map_inputs[:, :2], map_inputs[:, 2:]]), (second, [vectors])):
        torch.testing.assert_close(norm.running_mean, torch.stack([values.mean() for values in groups]))
        torch.testing.assert_close(norm.running_var, torch.stack([values.var() for values in groups]))


@pytest.mark.parametrize("load", ENGINES)
@pytest.mark.parametrize("count", [501, 1001])
def test_statistics_behind_1x1_maps_are_right_for_any_number_of_images(load: Load, count: int):
    network = parse_network("maxpool(4) maxpool(4) conv3x3(4) bn relu | gap bn linear(10)")
    run, images = start(network, replace(RECIPE, augmented_share=0.0), 3, CPU, load(), task=MNIST), make_images(count)
    run.train(images)

    run.finish_average(images)

    assert run.finished_average is not None
    # The first BN gets the same values for any division into batches.
    kernel = run.finished_average[0]
    pooled = functional.max_pool2d((images.pixels / 255 - images.mean[0]) / images.deviation[0], 16)
    values = functional.conv2d(pooled, kernel, padding=1).double().transpose(0, 1).flatten(1)
    names = [name for name, tensor in run.network.state_dict().items() if tensor.is_floating_point()]
    mean = run.finished_average[names.index("ops.3.running_mean")]
    torch.testing.assert_close(mean.double(), values.mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("load", ENGINES)
def test_finish_average_changes_statistics_only(load: Load):
    run, images = train_run(load), make_images(320)

    run.finish_average(images)

    assert run.average is not None
    assert run.finished_average is not None
    names = [name for name, tensor in run.network.state_dict().items() if tensor.is_floating_point()]
    changed_names = {
        name
        for name, average, finished in zip(names, run.average, run.finished_average, strict=True)
        if not torch.equal(average, finished)
    }
    assert changed_names == {name for name in names if "running" in name}


@pytest.mark.parametrize("load", ENGINES)
def test_predictions_use_finished_average(load: Load):
    run, images = train_run(load), make_images(100, seed=4)
    run.finish_average(make_images(320))
    network = build(NETWORK, MNIST).eval()
    floating = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    for tensor, value in zip(floating, run.finished_average or [], strict=True):
        tensor.copy_(value)
    expected = network((images.pixels.float() / 255 - images.mean[0]) / images.deviation[0]).argmax(1)
    assert torch.equal(run.predictions(images), expected)


@pytest.mark.parametrize("load", ENGINES)
def test_finish_average_does_not_change_further_training(load: Load):
    images, observed, plain = make_images(320), start(NETWORK, RECIPE, 3, CPU, load(), task=MNIST), train_run(load)
    for _ in range(2):
        observed.train(images)
        observed.finish_average(images)
        observed.evaluation(images)
    plain.finish_average(images)
    assert observed.weights_digest() == plain.weights_digest()


@pytest.mark.parametrize("load", ENGINES)
def test_finish_average_of_resumed_run_gives_same_bits(load: Load):
    images, whole = make_images(320), train_run(load)
    whole.finish_average(images)
    buffer = io.BytesIO()
    torch.save(whole.checkpoint(), buffer)
    resumed = start(NETWORK, RECIPE, 3, CPU, load(), task=MNIST)
    resumed.resume(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    resumed.finish_average(images)
    assert resumed.weights_digest() == whole.weights_digest()


NO_MOVES = Recipe(augmented_share=1.0, rotation_degrees=0.0, shift_pixels=0.0, scale=0.0, shear=0.0)
IDENTITY = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def affine_maps(count: int, rows: int, columns: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    return _affine_maps(torch.rand(7, count, generator=generator), rows, columns, recipe)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_maps(count: int = 2000, **changes: float) -> Tensor:
    return affine_maps(count, 28, 28, replace(NO_MOVES, **changes), generator())  # type: ignore[arg-type]  # floats all


def naive_resampling(image: Any, theta: Any) -> Any:
    """Resample a square image bilinearly, pixel by pixel; pixels outside the image are 0.

    Coordinates run from -1 to 1 between the outer edges of the outer pixels.
    """
    edge = len(image)

    def pixel(row: int, column: int) -> float:
        return float(image[row, column]) if 0 <= row < edge and 0 <= column < edge else 0.0

    moved = np.zeros((edge, edge))
    for row in range(edge):
        for column in range(edge):
            point = np.array([(2 * column + 1) / edge - 1, (2 * row + 1) / edge - 1, 1.0])
            x, y = ((theta @ point + 1) * edge - 1) / 2
            left, top = math.floor(x), math.floor(y)
            right_share, low_share = x - left, y - top
            moved[row, column] = (
                pixel(top, left) * (1 - right_share) * (1 - low_share)
                + pixel(top, left + 1) * right_share * (1 - low_share)
                + pixel(top + 1, left) * (1 - right_share) * low_share
                + pixel(top + 1, left + 1) * right_share * low_share
            )
    return moved


@pytest.mark.parametrize("edge", [9, 28])
def test_augment_equals_naive_resampling(edge: int):
    recipe = Recipe(augmented_share=0.7, rotation_degrees=30, shift_pixels=3, scale=0.3, shear=0.4)
    images = torch.rand(6, 1, edge, edge, generator=generator(2))
    moved = augment(images, recipe, generator(3))
    theta = affine_maps(6, edge, edge, recipe, generator(3)).numpy().astype(np.float64)
    for image, affine_map, result in zip(images, theta, moved, strict=True):
        # Rounding errors of single precision for coordinates of some tens of pixels.
        np.testing.assert_allclose(result[0], naive_resampling(image[0].double().numpy(), affine_map), atol=2e-5)


def test_shift_is_in_pixels_and_fills_with_background():
    moved = augment(torch.ones(400, 1, 28, 28), replace(NO_MOVES, shift_pixels=2.0), generator())
    # A shift by (a, b) pixels moves 28 a + 28 b - ab of the 784 pixels out of the image.
    lost = 784 - moved.sum((1, 2, 3))
    assert 0 <= float(lost.min()) < 20
    assert 90 < float(lost.max()) <= 2 * 28 * 2 - 4 + 1e-3


def test_augmented_share_of_zero_changes_neither_images_nor_generator():
    images, source = torch.rand(4, 1, 28, 28), generator()
    before = source.get_state()
    assert augment(images, replace(NO_MOVES, augmented_share=0.0, shear=1.0), source) is images
    assert torch.equal(source.get_state(), before)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_share_of_moved_images_is_augmented_share(share: float):
    theta = make_maps(4000, augmented_share=share, rotation_degrees=10.0, shift_pixels=2.0, scale=0.1, shear=0.1)
    moved = (theta != IDENTITY).flatten(1).any(1).double().mean()
    assert float(moved) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4000))


def test_rotations_are_orthogonal_with_angles_up_to_limit_in_both_directions():
    theta = make_maps(rotation_degrees=10.0)
    linear = theta[:, :, :2]
    torch.testing.assert_close(linear @ linear.transpose(1, 2), torch.eye(2).expand(2000, 2, 2))
    angles = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert -10.0 - 1e-4 <= float(angles.min()) < -9.9
    assert 9.9 < float(angles.max()) <= 10.0 + 1e-4
    assert not theta[:, :, 2].any()


def test_scales_of_axes_are_independent_within_range():
    theta = make_maps(scale=0.25)
    wide, high = 1 / theta[:, 0, 0], 1 / theta[:, 1, 1]
    for axis in (wide, high):
        assert 0.75 - 1e-5 <= float(axis.min()) < 0.76
        assert 1.24 < float(axis.max()) <= 1.25 + 1e-5
    assert abs(float(torch.corrcoef(torch.stack([wide, high]))[0, 1])) < 0.1
    assert not theta[:, 0, 1].any()
    assert not theta[:, 1, 0].any()


def test_shear_changes_horizontal_axis_only():
    theta = make_maps(shear=0.2)
    shear = theta[:, 0, 1]
    assert -0.2 <= float(shear.min()) < -0.199
    assert 0.199 < float(shear.max()) <= 0.2
    rest = theta.clone()
    rest[:, 0, 1] = 0
    assert torch.equal(rest, IDENTITY.expand(2000, 2, 3))


def test_shifts_of_axes_are_independent_within_range():
    pixels = make_maps(shift_pixels=3.0)[:, :, 2] * 14
    assert -3 - 1e-5 <= float(pixels.min()) < -2.98
    assert 2.98 < float(pixels.max()) <= 3 + 1e-5
    assert abs(float(torch.corrcoef(pixels.T)[0, 1])) < 0.1
