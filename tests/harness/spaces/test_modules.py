"""Modules of ops: kernels in poses, which give turned maps for turned images, norms, heads by pose and dropout."""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.spaces.modules import FastDropout, indexed_filters
from harness.spaces.network import MNIST
from harness.spaces.notation import parse_network
from harness.spaces.ops import BatchNorm
from harness.spaces.posed import (
    PosedBatchNorm,
    PosedConv2d,
    PosedDepthwiseConv2d,
    PosedLinear,
    learned_channel,
    posed_filters,
)
from harness.training.recipe import Recipe
from harness.training.torch_network import _draw_first_weights, build


def composed(second: int, first: int, poses: int) -> int:
    """Return the pose that results from ``first`` followed by ``second``."""
    if poses < 8:
        return (first + second) % poses
    # A mirror image reverses the direction of the turns before it.
    turns = second - first if second >= 4 else second + first
    is_mirrored = (first >= 4) != (second >= 4)
    return turns % 4 + 4 if is_mirrored else turns % 4


def apply_pose(maps: Tensor, pose: int, poses: int) -> Tensor:
    return torch.rot90(maps.flip(3) if pose >= 4 else maps, pose * (2 if poses == 2 else 1), (2, 3))


def apply_pose_and_permute(maps: Tensor, pose: int, poses: int) -> Tensor:
    """Return maps in a pose, with the channels permuted by the pose."""
    order = [0] * maps.shape[1]
    for channel in range(maps.shape[1]):
        order[channel // poses * poses + composed(pose, channel % poses, poses)] = channel
    return apply_pose(maps, pose, poses)[:, order]


@pytest.mark.parametrize("poses", [1, 2, 4, 8])
def test_composed_is_the_pose_of_two_successive_poses(poses: int):
    square = torch.arange(9).view(1, 1, 3, 3)
    assert len({tuple(apply_pose(square, pose, poses).flatten().tolist()) for pose in range(poses)}) == poses
    for first, second in product(range(poses), repeat=2):
        once = apply_pose(square, composed(second, first, poses), poses)
        assert torch.equal(apply_pose(apply_pose(square, first, poses), second, poses), once)


@pytest.mark.parametrize("poses", [2, 4, 8])
def test_pose_moves_the_learned_channel_to_the_composed_pose(poses: int):
    for first, pose in product(range(poses), repeat=2):
        assert learned_channel(composed(pose, first, poses), pose, poses) == first


@pytest.mark.parametrize("poses", [2, 4, 8])
def test_turned_image_gives_turned_maps_with_permuted_channels(poses: int):
    text = (
        "conv3x3(16, poses=P) bn(poses=P) relu | avgpool | conv1x1(8, poses=P, bias) "
        "res(conv3x3(8, poses=P) prelu conv5x5(8, poses=P)) conv3x3(16, poses=P, pad=0) bn(unscaled, poses=P) maxpool "
        "dwconv3x3(poses=P, bias) bn(poses=P) relu conv1x1(8, poses=P)"
    )
    maps = build(parse_network(f"{text} gap linear(10)".replace("P", str(poses))), MNIST).double().ops[:-2]
    images = torch.rand(3, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    for pose in range(poses):
        # Holds in training mode, because each pose of the images is normalised with the statistics of its batch.
        result = maps(apply_pose(images, pose, poses))
        assert torch.allclose(result, apply_pose_and_permute(maps(images), pose, poses), atol=1e-12)


def test_turned_image_does_not_give_turned_maps_without_poses():
    network = build(parse_network("conv3x3(4) relu conv3x3(4) gap linear(10)"), MNIST)
    maps, images = network.ops[:-2], torch.rand(3, 1, 28, 28)
    assert not torch.allclose(maps(apply_pose(images, 1, 4)), apply_pose_and_permute(maps(images), 1, 4), atol=1e-3)


def test_poses_of_a_single_channel_kernel_are_turned_and_mirrored():
    kernels = posed_filters(torch.arange(9.0).view(1, 1, 3, 3), 8)
    assert kernels.shape == (8, 1, 3, 3)
    assert kernels[1, 0].tolist() == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]
    assert kernels[4, 0].tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]


def test_gradient_of_a_kernel_is_the_sum_over_all_poses():
    layer = PosedConv2d(8, 8, 3, poses=4, padding=(1, 1)).double()
    images = torch.rand(2, 8, 6, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda kernel: functional.conv2d(images, posed_filters(kernel, 4), padding=1), layer.weight
    )
    layer(images).sum().backward()
    # Four outputs share a bias, which receives the gradients of two images with 36 positions.
    assert layer.bias is not None
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [pytest.approx(4 * 2 * 36)] * 2


@pytest.mark.parametrize("poses", [2, 4, 8])
def test_depthwise_layer_convolves_each_channel_with_a_pose_of_the_kernel(poses: int):
    layer = PosedDepthwiseConv2d(2 * poses, 3, poses=poses, stride=2, padding=1).double()
    images = torch.rand(3, 2 * poses, 6, 7, dtype=torch.float64)
    parameters = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    assert parameters["weight"].shape == (2, 1, 3, 3)

    maps = layer(images).detach().numpy()

    for channel in range(2 * poses):
        kernel = parameters["weight"][channel // poses, 0]
        pose = channel % poses
        mirrored = np.fliplr(kernel) if pose >= 4 else kernel
        pose_kernel = np.rot90(mirrored, 2 * pose if poses == 2 else pose)
        image_rows = np.pad(images[:, channel].numpy(), ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(image_rows, (3, 3), (1, 2))[:, ::2, ::2]
        expected = (windows * pose_kernel).sum((3, 4)) + parameters["bias"][channel // poses]
        np.testing.assert_allclose(maps[:, channel], expected, rtol=1e-12, atol=1e-14)


class OperatorNames(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch declares none
    """Records the names of the operators that run."""

    names: ClassVar[set[str]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("poses", [2, 4, 8])
def test_training_step_copies_no_index_from_the_host(poses: int):
    text = "conv3x3(8, poses=P) bn(poses=P) conv1x1(8, poses=P) bn(poses=P, shared) gap linear(10)"
    network = build(parse_network(text.replace("P", str(poses))), MNIST)
    OperatorNames.names.clear()
    with OperatorNames():  # type: ignore[no-untyped-call]
        network(torch.rand(2, 1, 28, 28)).sum().backward()
    assert "convolution" in OperatorNames.names
    assert {"lift_fresh", "index", "_local_scalar_dense", "_to_copy"} & OperatorNames.names == set()


@pytest.mark.parametrize("shape", [(7, 8, 5, 5), (7, 8)])
def test_bn_in_poses_equals_bn_with_repeated_scales_and_shifts(shape: tuple[int, ...]):
    norm = PosedBatchNorm(8, poses=4)
    plain = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(8)
    with torch.no_grad():
        for name, numbers in (("weight", [2.0, 3.0]), ("bias", [0.5, -1.0])):
            getattr(norm, name).copy_(torch.tensor(numbers))
            getattr(plain, name).copy_(torch.tensor(numbers).repeat_interleave(4))

    for values in torch.rand(3, *shape).unbind():
        assert torch.equal(norm(values), plain(values))
    for name in ("running_mean", "running_var"):
        assert torch.equal(norm.get_buffer(name), plain.get_buffer(name))
    inputs = torch.rand(shape)
    assert torch.equal(norm.eval()(inputs), plain.eval()(inputs))


@pytest.mark.parametrize("shape", [(7, 8, 5, 3), (7, 8)])
@pytest.mark.parametrize("unscaled", [False, True])
def test_bn_with_shared_statistics_equals_bn_with_poses_as_positions(shape: tuple[int, ...], unscaled: bool):
    op = BatchNorm(unscaled=unscaled, poses=4, shared=True)
    shared_norm, plain_norm = op.module(shape[1:]).double(), nn.BatchNorm2d(2).double()
    with torch.no_grad():
        for name, numbers in (("weight", [1.0, 1.0] if unscaled else [2.0, 3.0]), ("bias", [0.5, -1.0])):
            for norm in (plain_norm, *([] if unscaled and name == "weight" else [shared_norm])):
                getattr(norm, name).copy_(torch.tensor(numbers))

    def expected(values: Tensor) -> Tensor:
        positions = values.reshape(7, 8, -1)
        groups = [torch.cat(positions[:, first : first + 4].chunk(4, 1), 2) for first in (0, 4)]
        normalised = plain_norm(torch.cat(groups, 1).unsqueeze(3)).squeeze(3)
        return torch.cat([torch.cat(group.chunk(4, 2), 1) for group in normalised.chunk(2, 1)], 1).view(shape)

    for values in torch.rand(3, *shape, dtype=torch.float64).unbind():
        torch.testing.assert_close(shared_norm(values), expected(values), rtol=0, atol=1e-12)
    assert shared_norm.running_mean.shape == shared_norm.running_var.shape == (2,)
    for buffer, expected_buffer in zip(shared_norm.buffers(), plain_norm.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected_buffer, rtol=0, atol=1e-12)
    inputs = torch.rand(shape, dtype=torch.float64)
    torch.testing.assert_close(shared_norm.eval()(inputs), plain_norm.eval() and expected(inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("norm", "holds"), [("bn(poses=4, shared)", True), ("bn(poses=4)", False)])
def test_turned_image_gives_turned_maps_in_evaluation_only_with_shared_statistics(norm: str, holds: bool):
    network = build(
        parse_network(f"conv3x3(8, poses=4) {norm} relu conv3x3(4, poses=4) gap linear(10)"), MNIST
    ).double()
    maps = nn.Sequential(*list(network.ops)[:4])
    maps(torch.rand(20, 1, 11, 11, dtype=torch.float64) * torch.linspace(0, 1, 11, dtype=torch.float64))
    images = torch.rand(3, 1, 11, 11, dtype=torch.float64)
    result = maps.eval()(apply_pose(images, 1, 4))
    assert torch.allclose(result, apply_pose_and_permute(maps(images), 1, 4), atol=1e-12) is holds


@pytest.mark.parametrize("op", ["conv3x3(8, poses=4)", "dwconv3x3(poses=4)"])
def test_dirac_kernel_in_poses_is_the_identity(op: str):
    network = build(parse_network(f"conv3x3(8, poses=4) {op} gap linear(10)"), MNIST)
    _draw_first_weights(network, Recipe(initialisation="dirac"))
    maps = torch.rand(2, 8, 5, 5)
    assert torch.equal(network.ops[1](maps), maps)


def test_poselinear_sums_all_channels_in_all_poses():
    layer = PosedLinear(12, 2, poses=4).double()
    values = np.random.default_rng(0).normal(size=(5, 12))
    with torch.no_grad():
        layer.weight.normal_()
    numbers = layer.weight.detach().numpy()
    expected = np.tile(layer.bias.detach().numpy(), (5, 1))
    for image, output, channel, pose in product(range(5), range(2), range(3), range(4)):
        a, b = numbers[output, channel], numbers[output, 3 + pose]
        expected[image, output] += values[image, channel * 4 + pose] * a * (1 + b)

    logits = layer(torch.from_numpy(values).view(5, 12, 1, 1)).detach().numpy()
    assert np.allclose(logits, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("p", [0.01, 0.069, 0.1, 0.5, 0.9])
def test_dropout_zeroes_requested_share_and_keeps_the_mean(p: float):
    dropout = FastDropout(p)
    dropout.generator = torch.Generator().manual_seed(1)
    result = dropout(torch.ones(100, 10, 40, 25))
    count = result.numel()
    zeros = int((result == 0).sum())
    # Four standard deviations of a binomial count, plus the error of rounding p to a multiple of 1/65,536.
    assert abs(zeros - p * count) < 4 * (p * (1 - p) * count) ** 0.5 + count / 131_072
    assert result[result != 0].unique().tolist() == pytest.approx([1 / (1 - p)])
    assert float(result.mean()) == pytest.approx(1, abs=0.05)


def test_dropout_zeroes_neighbours_independently():
    # Four values share a 64-bit draw; a repeated mask would show as correlation at these lags.
    dropout = FastDropout(0.5)
    dropout.generator = torch.Generator().manual_seed(2)
    mask = (dropout(torch.ones(400_000)) != 0).double() - 0.5
    for lag in (1, 2, 3, 4, 8):
        correlation = float((mask[:-lag] * mask[lag:]).mean()) * 4
        assert abs(correlation) < 4 / 400_000**0.5


def test_channel_dropout_zeroes_whole_channels_independently_per_image():
    dropout = FastDropout(0.3, channels=True)
    dropout.generator = torch.Generator().manual_seed(3)
    result = dropout(torch.ones(500, 20, 4, 4).contiguous(memory_format=torch.channels_last))
    zeros = (result == 0).flatten(2)
    assert bool((zeros.all(2) == zeros.any(2)).all())
    share = zeros.all(2).double()
    assert float(share.mean()) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 10_000) ** 0.5)
    assert len(share.unique(dim=0)) > 400
    assert result[result != 0].unique().tolist() == pytest.approx([1 / 0.7])


@pytest.mark.parametrize("channels", [False, True])
def test_dropout_is_the_identity_in_evaluation_and_at_rate_zero(channels: bool):
    values = torch.randn(3, 4, 5, 5)
    assert FastDropout(0.5, channels=channels).eval()(values) is values
    assert FastDropout(0.0, channels=channels).train()(values) is values


def test_dropout_mask_follows_memory_order_of_values():
    values = torch.ones(3, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    dropout, results = FastDropout(0.5), []
    for order in (values, values.permute(0, 2, 3, 1)):
        dropout.generator = torch.Generator().manual_seed(4)
        results.append(dropout(order))
    assert torch.equal(results[0].permute(0, 2, 3, 1), results[1])


def test_dropout_passes_gradients_of_kept_values_only():
    values = torch.ones(1000, requires_grad=True)
    result = FastDropout(0.25)(values)
    result.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, result.detach())


@pytest.mark.parametrize("poses", [2, 4, 8])
@pytest.mark.parametrize("window", [1, 3])
def test_index_based_poses_equal_rotated_kernels_with_gradient(poses: int, window: int):
    kernel = torch.randn(3, poses, window, window, dtype=torch.float64, requires_grad=True)
    factors = torch.randn(3 * poses, poses, window, window, dtype=torch.float64)
    kernels = indexed_filters(kernel, poses)
    assert torch.equal(kernels, posed_filters(kernel, poses))
    assert torch.autograd.gradcheck(lambda values: indexed_filters(values, poses), kernel)
    expected = torch.autograd.grad((posed_filters(kernel, poses) * factors).sum(), kernel)
    torch.testing.assert_close(torch.autograd.grad((kernels * factors).sum(), kernel), expected)
