"""Torch modules of ops that ``torch.nn`` lacks; ops import this file inside ``module`` only, because it loads torch.

A convolution with ``poses=4`` learns a kernel for each four outputs and applies the kernel in four quarter turns. With
``poses=8`` the mirror images are added, with ``poses=2`` the kernel is used upright and upside down. If the input has
poses too, the input channels of a kernel are permuted with each turn. Rotating the image then rotates the output maps
and permutes the channels: a group convolution over p4, p4m or p2 (Cohen and Welling, "Group equivariant convolutional
networks", ICML 2016).

Pose ``k`` of four or eight: mirror left and right if ``k >= 4``, then ``k % 4`` quarter turns counterclockwise. Pose 1
of two: upside down. Channel ``c * poses + p`` of a map is learned kernel c in pose p.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class FlatLinear(nn.Linear):
    """A linear layer that flattens a map first, so that the op needs a single module."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, features)."""
        return super().forward(torch.flatten(input, 1))


class PoseLinearModule(nn.Linear):
    """Linear layer with weights a[channel] * (1 + b[pose]) for each output (see the op ``PoseLinear``)."""

    def __init__(self, channels: int, poses: int, out: int) -> None:
        """Create ``weight``, (out, channels + poses), with the factors of channels first, and ``bias``.

        The factors of poses start at zero. The factors of channels and the biases are drawn as for a linear layer of
        channels * poses features.
        """
        super().__init__(channels + poses, out)
        self.poses = poses
        bound = (channels * poses) ** -0.5
        nn.init.uniform_(self.weight[:, :channels], -bound, bound)
        nn.init.zeros_(self.weight[:, channels:])
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, out)."""
        return functional.linear(torch.flatten(input, 1), pose_matrix(self.weight, self.poses), self.bias)


def pose_matrix(weight: Tensor, poses: int) -> Tensor:
    """Return the weights of a linear layer, (out, channels * poses): products of factors per channel and per pose.

    Args:
        weight: Factors of the channels, then of the poses, (out, channels + poses).
        poses: Number of poses.
    """
    by_channel = weight[:, :-poses, None]
    by_pose = weight[:, None, -poses:]
    matrix = by_channel * (1 + by_pose)
    return matrix.flatten(1)


class FastDropout(nn.Module):
    """Dropout that needs two random bytes per value; ``p`` is accurate to 1/65,536.

    ``torch.nn.Dropout`` draws a Bernoulli variable per value, which was 40 % of a training step of ``seed4`` on a CPU.
    This class uses a 64-bit random number for four values.

    Attributes:
        p: Probability of setting a value to zero.
        channels: Whether whole channels are dropped instead of single values.
        generator: Random generator, set by the training code; None for the default generator of torch.
    """

    def __init__(self, p: float, *, channels: bool = False) -> None:
        super().__init__()
        self.p = p
        self.channels = channels
        self.generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Return the values; in training a share of about ``p`` is zero and the rest is scaled by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return values
        count = values.shape[0] * values.shape[1] if self.channels else values.numel()
        draws = torch.empty((count + 3) // 4, dtype=torch.int64, device=values.device)
        draws.random_(-(2**63), None, generator=self.generator)
        # A value is kept if its 16-bit number, uniform from -32,768 to 32,767, reaches the threshold.
        threshold = min(round(self.p * 65_536) - 32_768, 32_767)
        factors = (draws.view(torch.int16)[:count] >= threshold).to(values.dtype).mul_(1 / (1 - self.p))
        if self.channels:
            return values * factors.view(*values.shape[:2], *[1] * (values.dim() - 2))
        # Random numbers may be used in any order; with the strides of the values, the product stays dense.
        return values * factors.as_strided(values.shape, values.stride())


class PosedConv2d(nn.Conv2d):
    """A convolution with a learned kernel, and a bias, for each ``poses`` neighbouring outputs."""

    def __init__(self, poses: int, channels: int, out: int, *arguments: Any, **options: Any) -> None:
        """Create the weights, (out / poses, channels / groups, window, window); ``out`` counts all poses.

        The remaining arguments are passed to ``nn.Conv2d``.
        """
        super().__init__(channels, out // poses, *arguments, **options)
        self.poses = poses

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, out, height, width)."""
        bias = None if self.bias is None else self.bias.repeat_interleave(self.poses)
        if self.weight.is_cuda and self.training:
            # Only on a GPU: on a CPU the gradients of tied kernels would be summed in a different order than in the
            # existing records.
            orders = _orders(self.poses, *self.weight.shape[1:], self.weight.device)
            kernel: Tensor = _Posed.apply(self.weight, *orders)  # type: ignore[no-untyped-call]
        else:
            # ``in_poses`` consists of ops that exporters support.
            kernel = in_poses(self.weight, self.poses)
        groups = self.in_channels // self.weight.shape[1]
        return functional.conv2d(input, kernel, bias, self.stride, self.padding, groups=groups)


class PosedDepthwiseConv2d(PosedConv2d):
    """A depthwise convolution in which channel ``c * poses + p`` uses the learned kernel c in pose p."""

    def __init__(self, poses: int, channels: int, *further: Any, **named: Any) -> None:
        """Create the weights, (channels / poses, 1, window, window).

        The remaining arguments are passed to ``nn.Conv2d``.
        """
        kernels = channels // poses
        super().__init__(poses, kernels, channels, *further, groups=kernels, **named)
        # ``nn.Conv2d`` gets a channel per learned kernel; the actual input has a channel per kernel and pose.
        self.in_channels = channels


class _Posed(torch.autograd.Function):
    """``in_poses`` as an index look-up: a single GPU kernel instead of about forty.

    ``order`` and ``inverse`` are the results of ``_orders``.
    """

    @staticmethod
    def forward(context: Any, kernel: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        context.save_for_backward(inverse)
        return kernel.flatten(1)[:, order].view(-1, *kernel.shape[1:])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = context.saved_tensors
        poses = len(inverse)
        by_pose = gradient.reshape(-1, poses, inverse.shape[1])
        in_learned_order = by_pose.gather(2, inverse.expand(len(by_pose), -1, -1))
        return in_learned_order.sum(1).view(-1, *gradient.shape[1:]), None, None


@cache
def _orders(poses: int, channels: int, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the index of each posed weight in the learned filter, and the inverse order, both (poses, weights)."""
    places = torch.arange(channels * rows * columns, dtype=torch.float64).view(1, channels, rows, columns)
    order = in_poses(places, poses).view(poses, -1).long()
    return order.to(device), order.argsort(1).to(device)


def in_poses(kernel: Tensor, poses: int) -> Tensor:
    """Return learned filters, (out, in, rows, rows), in all poses, (out * poses, in, rows, rows).

    The poses of a filter are adjacent, the order that the next layer expects. If ``in`` is above 1, the input has poses
    too, and ``in`` must be a multiple of ``poses``.
    """
    kernels = []
    for pose in range(poses):
        view = kernel
        if kernel.shape[1] > 1:
            # ``torch.stack`` instead of indexing, which would copy the index tensor to the device at each call.
            by_pose = kernel.reshape(len(kernel), -1, poses, *kernel.shape[2:]).unbind(2)
            view = torch.stack([by_pose[channel] for channel in _channel_order(pose, poses)], 2).flatten(1, 2)
        if pose >= 4:
            view = view.flip(3)
        quarter_turns = 2 * pose if poses == 2 else pose % 4
        kernels.append(torch.rot90(view, quarter_turns, (2, 3)))
    return torch.stack(kernels, 1).flatten(0, 1)


@cache
def _channel_order(pose: int, poses: int) -> tuple[int, ...]:
    """Return, for each of ``poses`` neighbouring channels in ``pose``, the index of the learned kernel's channel."""
    inverse = {_composed(pose, first, poses): first for first in range(poses)}
    return tuple(inverse[channel] for channel in range(poses))


def _composed(second: int, first: int, poses: int) -> int:
    """Return the pose that results from ``first`` followed by ``second``."""
    if poses < 8:
        return (first + second) % poses
    # A mirror image reverses the direction of the turns before it.
    turns = second - first if second >= 4 else second + first
    is_mirrored = (first >= 4) != (second >= 4)
    return turns % 4 + 4 if is_mirrored else turns % 4


class PosedBatchNorm(_BatchNorm):
    """Batch normalisation of maps or vectors with a shift and a scale for each ``poses`` neighbouring channels.

    Statistics are per channel, (channels,), or, if ``shared``, per group of neighbouring channels, (channels / poses,).
    """

    def __init__(self, channels: int, poses: int, *, shared: bool = False) -> None:
        super().__init__(channels // poses if shared else channels)
        self.poses = poses
        self.shared = shared
        self.weight = nn.Parameter(torch.ones(channels // poses))
        self.bias = nn.Parameter(torch.zeros(channels // poses))

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised values, in the shape of the input."""
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.shared:
            # The channels of a group become a single channel with more positions: (batch, channels / poses, values).
            maps = input.reshape(input.shape[0], self.num_features, -1)
            return self._normalised(maps, self.weight, self.bias).reshape(input.shape)
        scale = None if self.weight is None else self.weight.repeat_interleave(self.poses)
        return self._normalised(input, scale, self.bias.repeat_interleave(self.poses))

    def _normalised(self, values: Tensor, scale: Tensor | None, shift: Tensor) -> Tensor:
        assert self.momentum is not None, "the constructor sets a momentum"
        statistics = self.running_mean, self.running_var
        return functional.batch_norm(values, *statistics, scale, shift, self.training, self.momentum, self.eps)
