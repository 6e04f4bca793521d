"""Torch modules of ops that torch has none for; imported by the ops' own ``module`` only, as it imports torch.

A convolution with ``poses=4`` learns one kernel for each four outputs, which use it in its four quarter turns; with 8
these and their mirror images, with 2 as it is and upside down. Where its input comes in poses too, the input channels
of a kernel change places with its turns, so that a turned image leaves turned maps whose channels have changed places:
a group convolution over p4, p4m or p2 (Cohen and Welling, "Group equivariant convolutional networks", ICML 2016).

Pose ``k`` of eight is ``k % 4`` quarter turns against the clock, after a mirroring of left and right where ``k >= 4``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class FlatLinear(nn.Linear):
    """A linear layer that flattens a map first, so that one op stays one module."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, features)."""
        return super().forward(torch.flatten(input, 1))


class PoseLinear(nn.Linear):
    """A linear layer whose weight of a channel in a pose is made of a number of the channel and one of the pose."""

    def __init__(self, channels: int, poses: int, out: int) -> None:
        """Make room for the numbers of an output, those of channels before those of poses: (out, channels + poses).

        Those of poses are zero at first; those of channels are drawn as if each of channels * poses features had one.
        """
        super().__init__(channels + poses, out)
        self.poses = poses
        bound = (channels * poses) ** -0.5
        nn.init.uniform_(self.weight[:, :channels], -bound, bound)
        nn.init.zeros_(self.weight[:, channels:])
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, out)."""
        by_channel = self.weight[:, : -self.poses, None]
        by_pose = self.weight[:, None, -self.poses :]
        matrix = by_channel * (1 + by_pose)
        return functional.linear(torch.flatten(input, 1), matrix.flatten(1), self.bias)


class FastDropout(nn.Module):
    """Dropout whose mask costs two random bytes a value; ``p`` is kept to within 1/65,536.

    torch draws a Bernoulli variable a value, which was 40 % of a training step of ``seed4`` on a CPU. Here
    one 64-bit draw serves four values. ``channels`` drops whole channels instead of single values.

    Attributes:
        generator: given by whoever trains; torch's own until then.
    """

    def __init__(self, p: float, *, channels: bool = False) -> None:
        super().__init__()
        self.p = p
        self.channels = channels
        self.generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Return the values, in training with a share ``p`` zeroed and the rest scaled by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return values
        count = values.shape[0] * values.shape[1] if self.channels else values.numel()
        draws = torch.empty((count + 3) // 4, dtype=torch.int64, device=values.device)
        draws.random_(-(2**63), None, generator=self.generator)
        threshold = min(round(self.p * 65_536) - 32_768, 32_767)
        keep = (draws.view(torch.int16)[:count] >= threshold).to(values.dtype).mul_(1 / (1 - self.p))
        if self.channels:
            return values * keep.view(*values.shape[:2], *[1] * (values.dim() - 2))
        # The mask has no order of its own, so it takes the memory order of the values: the product is dense.
        return values * keep.as_strided(values.shape, values.stride())


class PosedConv2d(nn.Conv2d):
    """A convolution with one learned kernel, and one bias, for each ``poses`` neighbouring outputs."""

    def __init__(self, poses: int, channels: int, out: int, *further: Any, **named: Any) -> None:
        """Make room for the weights, (out / poses, channels / groups, window, window); ``out`` counts all poses.

        What follows are the arguments of ``nn.Conv2d``.
        """
        super().__init__(channels, out // poses, *further, **named)
        self.poses = poses

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, out, height, width)."""
        bias = None if self.bias is None else self.bias.repeat_interleave(self.poses)
        if self.weight.is_cuda and self.training:
            # Not on a CPU: gradients of tied kernels would add up in another order, and records have the old one.
            orders = _orders(self.poses, *self.weight.shape[1:], self.weight.device)
            kernel: Tensor = _Posed.apply(self.weight, *orders)  # type: ignore[no-untyped-call]
        else:
            # Exporters know these ops.
            kernel = in_poses(self.weight, self.poses)
        groups = self.in_channels // self.weight.shape[1]
        return functional.conv2d(input, kernel, bias, self.stride, self.padding, groups=groups)


class PosedDepthwiseConv2d(PosedConv2d):
    """A convolution of each channel by itself, in which channel ``c * poses + p`` has learned kernel c in pose p."""

    def __init__(self, poses: int, channels: int, *further: Any, **named: Any) -> None:
        """Make room for the weights, (channels / poses, 1, window, window).

        What follows are the arguments of ``nn.Conv2d``.
        """
        learned = channels // poses
        super().__init__(poses, learned, channels, *further, groups=learned, **named)
        # The learned kernels are in as many groups; what they read is a channel for each of their poses.
        self.in_channels = channels


class _Posed(torch.autograd.Function):
    """``in_poses`` as a look-up: one kernel of a GPU in place of some forty."""

    @staticmethod
    def forward(context: Any, kernel: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        context.save_for_backward(inverse)
        return kernel.flatten(1)[:, order].view(-1, *kernel.shape[1:])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = context.saved_tensors
        poses = len(inverse)
        by_pose = gradient.reshape(-1, poses, inverse.shape[1])
        by_pose = by_pose.gather(2, inverse.expand(len(by_pose), -1, -1))
        return by_pose.sum(1).view(-1, *gradient.shape[1:]), None, None


@cache
def _orders(poses: int, channels: int, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return which weight of a filter each weight of its poses is, (poses, weights), and the inverse."""
    places = torch.arange(channels * rows * columns, dtype=torch.float64).view(1, channels, rows, columns)
    order = in_poses(places, poses).view(poses, -1).long()
    return order.to(device), order.argsort(1).to(device)


def in_poses(kernel: Tensor, poses: int) -> Tensor:
    """Return learned filters, (out, in, rows, rows), in all poses, (out * poses, in, rows, rows).

    The poses of a filter are neighbours, as the next layer expects.
    """
    kernels = []
    for pose in range(poses):
        view = kernel
        if kernel.shape[1] > 1:
            # Channels are stacked, as a tensor of indices would be copied to the device at each use.
            parts = kernel.reshape(len(kernel), -1, poses, *kernel.shape[2:]).unbind(2)
            view = torch.stack([parts[channel] for channel in _channel_order(pose, poses)], 2).flatten(1, 2)
        if pose >= 4:
            view = view.flip(3)
        kernels.append(torch.rot90(view, pose * (2 if poses == 2 else 1) % 4, (2, 3)))
    return torch.stack(kernels, 1).flatten(0, 1)


@cache
def _channel_order(pose: int, poses: int) -> tuple[int, ...]:
    """Return which of ``poses`` neighbouring channels of the learned kernel each channel of it in ``pose`` is."""
    inverse = {_composed(pose, first, poses): first for first in range(poses)}
    return tuple(inverse[channel] for channel in range(poses))


def _composed(second: int, first: int, poses: int) -> int:
    # The pose that is the first, then the second.
    if poses < 8:
        return (first + second) % poses
    turned = second % 4 + (-(first % 4) if second >= 4 else first % 4)
    return turned % 4 + 4 * ((first >= 4) != (second >= 4))


class PosedBatchNorm(_BatchNorm):
    """Batch normalisation of maps or vectors with one shift, and one scale, for each ``poses`` neighbouring channels.

    Statistics are each channel's own, (channels,), or those of all values of these neighbours where they are
    ``shared``, (channels / poses,).
    """

    def __init__(self, channels: int, poses: int, *, shared: bool = False) -> None:
        super().__init__(channels // poses if shared else channels)
        self.poses = poses
        self.shared = shared
        self.weight = nn.Parameter(torch.ones(channels // poses))
        self.bias = nn.Parameter(torch.zeros(channels // poses))

    def forward(self, input: Tensor) -> Tensor:
        """Return the values normalised, in the shape that they came in."""
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.shared:
            # What channels share they are given as one channel of more positions: (batch, channels / poses, values).
            joined = input.reshape(input.shape[0], self.num_features, -1)
            return self._normalised(joined, self.weight, self.bias).reshape(input.shape)
        scale = None if self.weight is None else self.weight.repeat_interleave(self.poses)
        return self._normalised(input, scale, self.bias.repeat_interleave(self.poses))

    def _normalised(self, values: Tensor, scale: Tensor | None, shift: Tensor) -> Tensor:
        statistics, momentum = (self.running_mean, self.running_var), self.momentum or 0.0
        return functional.batch_norm(values, *statistics, scale, shift, self.training, momentum, self.eps)
