"""Tests of kernels in several poses: what a turned image leaves is turned, and nothing else is learned."""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.training.recipe import Recipe
from harness.training.torch_network import _draw_first_weights, build
from search_spaces.modules import (
    FastDropout,
    PosedBatchNorm,
    PosedConv2d,
    PosedDepthwiseConv2d,
    PoseLinearModule,
    _channel_order,
    _composed,
    _orders,
    _Posed,
    in_poses,
)
from search_spaces.network import MNIST
from search_spaces.notation import parse_network
from search_spaces.ops import BatchNorm


def posed(maps: Tensor, pose: int, poses: int) -> Tensor:
    return torch.rot90(maps.flip(3) if pose >= 4 else maps, pose * (2 if poses == 2 else 1), (2, 3))


def moved(maps: Tensor, pose: int, poses: int) -> Tensor:
    """Maps in a pose whose channels have changed places with it."""
    order = [0] * maps.shape[1]
    for channel in range(maps.shape[1]):
        order[channel // poses * poses + _composed(pose, channel % poses, poses)] = channel
    return posed(maps, pose, poses)[:, order]


@pytest.mark.parametrize("poses", [1, 2, 4, 8])
def test_one_pose_after_the_other_is_the_pose_that_they_compose(poses: int):
    square = torch.arange(9).view(1, 1, 3, 3)
    assert len({tuple(posed(square, pose, poses).flatten().tolist()) for pose in range(poses)}) == poses
    for first, second in product(range(poses), repeat=2):
        once = posed(square, _composed(second, first, poses), poses)
        assert torch.equal(posed(posed(square, first, poses), second, poses), once)


def test_channels_change_places_among_the_poses_of_one_kernel_only():
    # Turned by a quarter, what was seen in the last pose is seen in the first.
    assert (_channel_order(1, 4), _channel_order(1, 2), _channel_order(0, 8)) == ((3, 0, 1, 2), (1, 0), tuple(range(8)))


@pytest.mark.parametrize("poses", [2, 4, 8])
def test_an_image_in_another_pose_leaves_maps_in_that_pose_whose_channels_have_changed_places(poses: int):
    text = (
        "conv3x3(16, poses=P) bn(poses=P) relu | avgpool | conv1x1(8, poses=P, bias) "
        "res(conv3x3(8, poses=P) prelu conv5x5(8, poses=P)) conv3x3(16, poses=P, pad=0) bn(unscaled, poses=P) maxpool "
        "dwconv3x3(poses=P, bias) bn(poses=P) relu conv1x1(8, poses=P)"
    )
    network = build(parse_network(f"{text} gap linear(10)".replace("P", str(poses))), MNIST).double()
    maps = network.ops[:-2]
    images = torch.rand(3, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    for pose in range(poses):
        # The last map keeps its poses' order only where each image is normalised with its own batch.
        found = maps(posed(images, pose, poses))
        assert torch.allclose(found, moved(maps(images), pose, poses), atol=1e-12)


def test_without_poses_nothing_of_the_kind_holds():
    network = build(parse_network("conv3x3(4) relu conv3x3(4) gap linear(10)"), MNIST)
    maps, images = network.ops[:-2], torch.rand(3, 1, 28, 28)
    assert not torch.allclose(maps(posed(images, 1, 4)), moved(maps(images), 1, 4), atol=1e-3)


def test_a_kernel_that_reads_one_channel_is_turned_and_nothing_more():
    kernel = torch.arange(9.0).view(1, 1, 3, 3)
    found = in_poses(kernel, 8)
    assert found.shape == (8, 1, 3, 3)
    assert found[1, 0].tolist() == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]
    assert found[4, 0].tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]


def test_the_gradient_of_a_kernel_is_the_sum_of_those_of_its_poses():
    layer = PosedConv2d(4, 8, 8, 3, padding=(1, 1)).double()
    images = torch.rand(2, 8, 6, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda kernel: functional.conv2d(images, in_poses(kernel, 4), padding=1), layer.weight
    )
    layer(images).sum().backward()
    # Four outputs of two images have one bias.
    assert layer.bias is not None
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [pytest.approx(4 * 2 * 36)] * 2


@pytest.mark.parametrize("poses", [2, 4, 8])
def test_each_channel_of_a_depthwise_layer_is_convolved_with_its_pose_of_a_learned_kernel(poses: int):
    layer = PosedDepthwiseConv2d(poses, 2 * poses, 3, 2, 1).double()
    images = torch.rand(3, 2 * poses, 6, 7, dtype=torch.float64)
    learned = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    assert learned["weight"].shape == (2, 1, 3, 3)

    maps = layer(images).detach().numpy()

    for channel in range(2 * poses):
        kernel = learned["weight"][channel // poses, 0]
        pose = channel % poses
        seen = np.fliplr(kernel) if pose >= 4 else kernel
        turned = np.rot90(seen, 2 * pose if poses == 2 else pose)
        padded = np.pad(images[:, channel].numpy(), ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2]
        expected = (windows * turned).sum((3, 4)) + learned["bias"][channel // poses]
        np.testing.assert_allclose(maps[:, channel], expected, rtol=1e-12, atol=1e-14)


class Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch declares none
    """Keeps the names of the operators that run."""

    names: ClassVar[set[str]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("poses", [2, 4, 8])
def test_no_step_copies_an_index_from_the_host(poses: int):
    text = "conv3x3(8, poses=P) bn(poses=P) conv1x1(8, poses=P) bn(poses=P, shared) gap linear(10)"
    network = build(parse_network(text.replace("P", str(poses))), MNIST)
    Noting.names.clear()
    with Noting():  # type: ignore[no-untyped-call]
        network(torch.rand(2, 1, 28, 28)).sum().backward()
    assert "convolution" in Noting.names
    assert {"lift_fresh", "index", "_local_scalar_dense", "_to_copy"} & Noting.names == set()


@pytest.mark.parametrize("shape", [(7, 8, 5, 5), (7, 8)])
def test_a_bnin_poses_is_one_whose_scales_and_shifts_are_alike(shape: tuple[int, ...]):
    ours = PosedBatchNorm(8, 4)
    plain = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(8)
    with torch.no_grad():
        for name, learned in (("weight", [2.0, 3.0]), ("bias", [0.5, -1.0])):
            getattr(ours, name).copy_(torch.tensor(learned))
            getattr(plain, name).copy_(torch.tensor(learned).repeat_interleave(4))

    for values in torch.rand(3, *shape).unbind():
        assert torch.equal(ours(values), plain(values))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(ours.buffers(), plain.buffers(), strict=True))
    fresh = torch.rand(shape)
    assert torch.equal(ours.eval()(fresh), plain.eval()(fresh))


@pytest.mark.parametrize("shape", [(7, 8, 5, 3), (7, 8)])
@pytest.mark.parametrize("unscaled", [False, True])
def test_a_bn_with_shared_statistics_is_one_to_which_poses_are_positions(shape: tuple[int, ...], unscaled: bool):
    op = BatchNorm(unscaled=unscaled, poses=4, shared=True)
    ours, plain = op.module(shape[1:]).double(), nn.BatchNorm2d(2).double()
    with torch.no_grad():
        for name, learned in (("weight", [1.0, 1.0] if unscaled else [2.0, 3.0]), ("bias", [0.5, -1.0])):
            for norm in (plain, *([] if unscaled and name == "weight" else [ours])):
                getattr(norm, name).copy_(torch.tensor(learned))

    def expected(values: Tensor) -> Tensor:
        positions = values.reshape(7, 8, -1)
        groups = [torch.cat(positions[:, first : first + 4].chunk(4, 1), 2) for first in (0, 4)]
        made = plain(torch.cat(groups, 1).unsqueeze(3)).squeeze(3)
        return torch.cat([torch.cat(group.chunk(4, 2), 1) for group in made.chunk(2, 1)], 1).view(shape)

    for values in torch.rand(3, *shape, dtype=torch.float64).unbind():
        torch.testing.assert_close(ours(values), expected(values), rtol=0, atol=1e-12)
    assert ours.running_mean.shape == ours.running_var.shape == (2,)
    for mine, theirs in zip(ours.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    fresh = torch.rand(shape, dtype=torch.float64)
    torch.testing.assert_close(ours.eval()(fresh), plain.eval() and expected(fresh), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("norm", "holds"), [("bn(poses=4, shared)", True), ("bn(poses=4)", False)])
def test_only_shared_statistics_leave_a_turned_image_its_turned_maps_once_training_is_over(norm: str, holds: bool):
    network = build(
        parse_network(f"conv3x3(8, poses=4) {norm} relu conv3x3(4, poses=4) gap linear(10)"), MNIST
    ).double()
    maps = nn.Sequential(*list(network.ops)[:4])
    maps(torch.rand(20, 1, 11, 11, dtype=torch.float64) * torch.linspace(0, 1, 11, dtype=torch.float64))
    images = torch.rand(3, 1, 11, 11, dtype=torch.float64)
    found = maps.eval()(posed(images, 1, 4))
    assert torch.allclose(found, moved(maps(images), 1, 4), atol=1e-12) is holds


@pytest.mark.parametrize("op", ["conv3x3(8, poses=4)", "dwconv3x3(poses=4)"])
def test_a_dirac_kernelin_poses_hands_its_input_on(op: str):
    network = build(parse_network(f"conv3x3(8, poses=4) {op} gap linear(10)"), MNIST)
    _draw_first_weights(network, Recipe(initialisation="dirac"))
    maps = torch.rand(2, 8, 5, 5)
    assert torch.equal(network.ops[1](maps), maps)


def test_a_head_by_pose_adds_up_each_channel_in_each_pose():
    layer = PoseLinearModule(3, 4, 2).double()
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


def test_a_head_by_pose_that_begins_at_zero_says_nothing_and_learns():
    network = build(parse_network("conv3x3(8, poses=8) relu gap poselinear(10, poses=8)"), MNIST)
    _draw_first_weights(network, Recipe(zero_head=True))
    logits = network(torch.rand(4, 1, 28, 28))
    head = network.ops[-1]
    assert isinstance(head, PoseLinearModule)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, torch.arange(4)), head.weight)
    assert not logits.any()
    assert gradient[:, 0].all()


@pytest.mark.parametrize("p", [0.01, 0.069, 0.1, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_keeps_the_mean(p: float):
    dropout = FastDropout(p)
    dropout.generator = torch.Generator().manual_seed(1)
    dropped = dropout(torch.ones(100, 10, 40, 25))
    count = dropped.numel()
    zeroed = int((dropped == 0).sum())
    # Four deviations of a binomial count, and what rounding p to 1/65,536 may add.
    assert abs(zeroed - p * count) < 4 * (p * (1 - p) * count) ** 0.5 + count / 131_072
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - p)])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.05)


def test_dropout_zeroes_neighbours_independently_of_each_other():
    # Four values share one 64-bit draw; a mask that repeated itself would show as correlation at these lags.
    dropout = FastDropout(0.5)
    dropout.generator = torch.Generator().manual_seed(2)
    kept = (dropout(torch.ones(400_000)) != 0).double() - 0.5
    for lag in (1, 2, 3, 4, 8):
        correlation = float((kept[:-lag] * kept[lag:]).mean()) * 4
        assert abs(correlation) < 4 / 400_000**0.5


def test_channel_dropout_zeroes_whole_channels_each_image_by_itself():
    dropout = FastDropout(0.3, channels=True)
    dropout.generator = torch.Generator().manual_seed(3)
    dropped = dropout(torch.ones(500, 20, 4, 4).contiguous(memory_format=torch.channels_last))
    zeroed = (dropped == 0).flatten(2)
    assert bool((zeroed.all(2) == zeroed.any(2)).all())
    share = zeroed.all(2).double()
    assert float(share.mean()) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 10_000) ** 0.5)
    assert len(share.unique(dim=0)) > 400
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / 0.7])


@pytest.mark.parametrize("channels", [False, True])
def test_dropout_is_the_identity_in_evaluation_and_at_rate_zero(channels: bool):
    values = torch.randn(3, 4, 5, 5)
    assert FastDropout(0.5, channels=channels).eval()(values) is values
    assert FastDropout(0.0, channels=channels).train()(values) is values


def test_the_mask_lies_over_the_values_in_the_order_of_their_memory():
    values = torch.ones(3, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    dropout, kept = FastDropout(0.5), []
    for order in (values, values.permute(0, 2, 3, 1)):
        dropout.generator = torch.Generator().manual_seed(4)
        kept.append(dropout(order))
    assert torch.equal(kept[0].permute(0, 2, 3, 1), kept[1])


def test_dropout_passes_the_gradient_where_it_kept_the_value():
    values = torch.ones(1000, requires_grad=True)
    dropped = FastDropout(0.25)(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped.detach())


@pytest.mark.parametrize("poses", [2, 4, 8])
@pytest.mark.parametrize("window", [1, 3])
def test_the_look_up_of_a_gpu_gives_the_poses_and_their_gradient(poses: int, window: int):
    kernel = torch.randn(3, poses, window, window, dtype=torch.float64, requires_grad=True)
    factors = torch.randn(3 * poses, poses, window, window, dtype=torch.float64)
    orders = _orders(poses, poses, window, window, kernel.device)
    looked_up = _Posed.apply(kernel, *orders)  # type: ignore[no-untyped-call]
    assert torch.equal(looked_up, in_poses(kernel, poses))
    assert torch.autograd.gradcheck(lambda values: _Posed.apply(values, *orders), kernel)  # type: ignore[no-untyped-call]
    expected = torch.autograd.grad((in_poses(kernel, poses) * factors).sum(), kernel)
    torch.testing.assert_close(torch.autograd.grad((looked_up * factors).sum(), kernel), expected)
