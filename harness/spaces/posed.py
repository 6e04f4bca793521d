"""Torch modules of kernels in poses; ``harness export --pytorch`` copies the definitions into ``model.py``.

Ops import this file inside ``module`` only, because it loads torch. The definitions become code of users, so this file
imports torch only, and a line has at most 100 characters.

A convolution with ``poses=4`` applies each learned kernel in four quarter turns, with ``poses=8`` also mirrored, with
``poses=2`` upright and upside down. If the input has poses too, each turn permutes the input channels of a kernel.
Rotating the image then rotates the output maps and permutes the channels: a group convolution over p4, p4m or p2 (Cohen
and Welling, "Group equivariant convolutional networks", ICML 2016).

Pose ``k`` of four or eight: mirror left and right if ``k >= 4``, then ``k % 4`` quarter turns counterclockwise. Pose 1
of two: upside down. Channel ``c * poses + p`` of a map is learned kernel c in pose p.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def learned_channel(channel: int, pose: int, poses: int) -> int:
    """Return the index of the learned weights that a filter in ``pose`` applies to a channel.

    The index counts the ``poses`` neighbouring input channels of a learned filter.
    """
    if poses < 8:
        return (channel - pose) % poses
    turns = channel - pose if pose < 4 else pose - channel
    is_mirrored = (channel < 4) != (pose < 4)
    return turns % 4 + 4 if is_mirrored else turns % 4


def posed_filters(kernel: Tensor, poses: int) -> Tensor:
    """Return filters, (out, in, rows, rows), in all poses, (out * poses, in, rows, rows).

    Two poses are upright and upside down, four are quarter turns counterclockwise. Poses 4 to 7 of
    eight are mirrored left and right, then turned. The poses of a filter are neighbours. If the
    input has poses too, each pose permutes its channels, as in the group convolutions of Cohen and
    Welling (ICML 2016): the maps of a rotated image are rotated and permuted maps.
    """
    filters = []
    for pose in range(poses):
        view = kernel
        if kernel.shape[1] > 1:
            channels = kernel.reshape(len(kernel), -1, poses, *kernel.shape[2:]).unbind(2)
            order = [learned_channel(channel, pose, poses) for channel in range(poses)]
            view = torch.stack([channels[index] for index in order], 2).flatten(1, 2)
        if pose >= 4:
            view = view.flip(3)
        quarter_turns = 2 * pose if poses == 2 else pose
        filters.append(torch.rot90(view, quarter_turns, (2, 3)))
    return torch.stack(filters, 1).flatten(0, 1)


class PosedConv2d(nn.Conv2d):
    """A convolution with a learned kernel and bias for each ``poses`` neighbouring outputs."""

    in_poses = staticmethod(posed_filters)

    def __init__(self, inputs: int, outputs: int, size: int, *, poses: int, **options: Any) -> None:
        super().__init__(inputs, outputs // poses, size, **options)
        self.poses = poses

    def forward(self, input: Tensor) -> Tensor:
        """Return maps, (batch, outputs, rows, columns)."""
        bias = None if self.bias is None else self.bias.repeat_interleave(self.poses)
        groups = self.in_channels // self.weight.shape[1]
        filters = self.in_poses(self.weight, self.poses)
        return F.conv2d(input, filters, bias, self.stride, self.padding, groups=groups)


class PosedDepthwiseConv2d(PosedConv2d):
    """A depthwise convolution with a learned kernel for each ``poses`` neighbouring channels."""

    def __init__(self, channels: int, size: int, *, poses: int, **options: Any) -> None:
        kernels = channels // poses
        super().__init__(kernels, channels, size, poses=poses, groups=kernels, **options)
        self.in_channels = channels  # nn.Conv2d gets a channel for each learned kernel


class PosedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with a scale and a shift for each ``poses`` neighbouring channels.

    Each channel has a mean and a variance of its own.
    """

    momentum: float

    def __init__(self, channels: int, *, poses: int) -> None:
        super().__init__(channels)
        self.poses = poses
        self.weight = nn.Parameter(torch.ones(channels // poses))
        self.bias = nn.Parameter(torch.zeros(channels // poses))

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised values, in the shape of the input."""
        scale = None if self.weight is None else self.weight.repeat_interleave(self.poses)
        shift = self.bias.repeat_interleave(self.poses)
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(input, mean, var, scale, shift, self.training, self.momentum, self.eps)


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation that treats ``poses`` neighbouring channels as a single channel."""

    def __init__(self, channels: int, *, poses: int) -> None:
        super().__init__(channels // poses)
        self.poses = poses

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised values, in the shape of the input."""
        flat_maps = input.reshape(input.shape[0], self.num_features, -1)
        return super().forward(flat_maps).reshape(input.shape)


def unscaled(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    """Return a batch normalisation whose scale is fixed at 1."""
    norm.register_parameter("weight", None)
    return norm


def pose_matrix(weight: Tensor, poses: int) -> Tensor:
    """Return the weights of a linear layer, (outputs, channels * poses).

    ``weight``, (outputs, channels + poses), holds factors of channels, then of poses.
    """
    by_channel = weight[:, :-poses, None]
    by_pose = weight[:, None, -poses:]
    matrix = by_channel * (1 + by_pose)
    return matrix.flatten(1)


class PosedLinear(nn.Linear):
    """A linear layer whose weight of channel c in pose p is a[c] * (1 + b[p]), for each output.

    The learned ``weight``, (outputs, channels + poses), holds a, then b.
    """

    def __init__(self, inputs: int, outputs: int, *, poses: int) -> None:
        channels = inputs // poses
        super().__init__(channels + poses, outputs)
        self.poses = poses
        bound = inputs**-0.5
        nn.init.uniform_(self.weight[:, :channels], -bound, bound)
        nn.init.zeros_(self.weight[:, channels:])
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, outputs)."""
        return F.linear(torch.flatten(input, 1), pose_matrix(self.weight, self.poses), self.bias)
