"""Modules whose kernels and scales are learned once and used in several poses (``search_spaces.poses``).

Their parameters are what is learned, so that a network's ``parameters()`` are those that ``search_spaces.cost`` counts.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from search_spaces.poses import channel_order, mirrored, turns


def in_poses(kernel: Tensor, poses: int) -> Tensor:
    """Return a learned kernel in all its poses: (out, in, rows, rows) to (out * poses, in, rows, rows).

    The poses of one kernel lie side by side, as the next kernel expects them.
    """
    posed = []
    for pose in range(poses):
        seen = _reordered(kernel, pose, poses)
        if mirrored(pose):
            seen = seen.flip(3)
        posed.append(torch.rot90(seen, turns(pose, poses), (2, 3)))
    return torch.stack(posed, 1).flatten(0, 1)


def _reordered(kernel: Tensor, pose: int, poses: int) -> Tensor:
    """Return a kernel whose input channels have changed places with a pose; one channel has no other place."""
    if kernel.shape[1] == 1:
        return kernel
    # Not an index: it would be copied to the device at each use, which the capture of a CUDA graph forbids.
    parts = kernel.reshape(len(kernel), -1, poses, *kernel.shape[2:]).unbind(2)
    return torch.stack([parts[place] for place in channel_order(pose, poses, poses)], 2).flatten(1, 2)


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
        return functional.conv2d(
            input, in_poses(self.weight, self.poses), bias, self.stride, self.padding, groups=self.groups
        )


class PosedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of maps or vectors with one shift, and one scale, for each ``poses`` neighbouring channels.

    Statistics are each channel's own, (channels,), or those of all values of these neighbours where they are
    ``shared``, (channels / poses,).
    """

    def __init__(self, channels: int, poses: int, *, shared: bool = False) -> None:
        """Make room for shifts and scales, (channels / poses,), and for statistics."""
        super().__init__(channels // poses if shared else channels)
        self.poses = poses
        self.shared = shared
        self.weight = nn.Parameter(torch.ones(channels // poses))
        self.bias = nn.Parameter(torch.zeros(channels // poses))

    def forward(self, input: Tensor) -> Tensor:
        """Return a tensor of the input's shape."""
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.shared:
            # What channels share they are given as one channel of more positions: (batch, channels / poses, values).
            joined = input.reshape(len(input), self.num_features, -1)
            return self._normalised(joined, self.weight, self.bias).reshape(input.shape)
        scale = None if self.weight is None else self.weight.repeat_interleave(self.poses)
        return self._normalised(input, scale, self.bias.repeat_interleave(self.poses))

    def _normalised(self, values: Tensor, scale: Tensor | None, shift: Tensor) -> Tensor:
        statistics, momentum = (self.running_mean, self.running_var), self.momentum or 0.0
        return functional.batch_norm(values, *statistics, scale, shift, self.training, momentum, self.eps)
