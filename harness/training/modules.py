"""The torch module of every op, for one network and for several side by side: a row of ``MODULES`` each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from search_spaces import ops as spec
from search_spaces.cost import output_shape
from search_spaces.poses import channel_order, mirrored, turns
from search_spaces.task import Shape


class _Residual(nn.Module):
    """Adds its input to what its ops make of it."""

    def __init__(self, ops: nn.Sequential) -> None:
        super().__init__()
        self.ops = ops

    def forward(self, values: Tensor) -> Tensor:
        """Return a tensor of the input's shape."""
        return values + self.ops(values)  # type: ignore[no-any-return]  # Sequential returns Any


class _FlatLinear(nn.Linear):
    """A linear layer that flattens a map first, so that one op stays one module."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, features)."""
        return super().forward(torch.flatten(input, 1))


class FastDropout(nn.Module):
    """Dropout whose mask costs two random bytes a value; ``p`` is kept to within 1/65,536.

    torch draws a Bernoulli variable a value, which was 40 % of a training step of ``seed4`` on a CPU. Here
    one 64-bit draw serves four values. ``channels`` drops whole channels instead of single values.
    """

    def __init__(self, p: float, *, channels: bool = False) -> None:
        """Keep the rate; the generator is given by ``seed_dropout`` and is torch's own until then."""
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


class _GroupedLinear(nn.Module):
    """A linear layer a member; its weights are stored as those of all members one below the other."""

    def __init__(self, features: int, out_features: int, members: int) -> None:
        """Make room for the weights: (members * out_features, features)."""
        super().__init__()
        self.members = members
        self.weight = nn.Parameter(torch.empty(members * out_features, features))
        self.bias = nn.Parameter(torch.empty(members * out_features))

    def forward(self, values: Tensor) -> Tensor:
        """Return (batch, members * out_features)."""
        each = values.reshape(len(values), self.members, -1)  # (batch, members, features)
        weight = self.weight.view(self.members, -1, each.shape[-1])
        return torch.einsum("nmf,mof->nmo", each, weight).flatten(1) + self.bias


class _GroupedPReLU(nn.Module):
    """A PReLU a member, each with one slope for all its channels: (members,)."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members))

    def forward(self, values: Tensor) -> Tensor:
        """Return a tensor of the shape of ``values``."""
        each = values.reshape(len(values), len(self.weight), -1)  # (batch, members, features)
        return functional.prelu(each, self.weight).view(values.shape)


def sequence(ops: tuple[spec.Op, ...], shape: Shape, members: int | None = None) -> nn.Sequential:
    """Return the modules of ops that get ``shape``, tied kernels shared.

    Args:
        members: of a population, whose channels lie side by side; None for a network by itself.
    """
    return _sequence(ops, shape, members, {})


def _sequence(ops: tuple[spec.Op, ...], shape: Shape, members: int | None, tied: dict[str, Tensor]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for op in ops:
        if isinstance(op, spec.Residual):
            module: nn.Module = _Residual(_sequence(op.ops, shape, members, tied))
        else:
            module = MODULES[type(op)](op, shape, members)
        if isinstance(module, nn.Conv2d) and isinstance(op, spec.Conv | spec.DepthwiseConv) and op.tie is not None:
            module.weight = tied.setdefault(op.tie, module.weight)
        modules.append(module)
        shape = output_shape(op, shape)
    return nn.Sequential(*modules)


def _convolution(op: spec.Conv, shape: Shape, members: int | None) -> nn.Module:
    channels, out, groups = ((members or 1) * count for count in (shape[0], op.out_channels, op.groups))
    window, padding = spec.kernel_shape(op), spec.paddings(op)
    if op.poses > 1:
        return PosedConv2d(op.poses, channels, out, window[0], op.stride, padding, groups=groups, bias=op.bias)
    return nn.Conv2d(channels, out, window, op.stride, padding, groups=groups, bias=op.bias)


def _depthwise(op: spec.DepthwiseConv, shape: Shape, members: int | None) -> nn.Module:
    channels = (members or 1) * shape[0]
    return nn.Conv2d(channels, channels, 3, op.stride, op.padding, groups=channels, bias=op.bias)


def _batch_norm(op: spec.BatchNorm, shape: Shape, members: int | None) -> nn.Module:
    """Return a BN of maps or of vectors; where it is unscaled, it has no scale that could be trained."""
    channels = (members or 1) * shape[0]
    if op.poses > 1:
        norm: nn.Module = _PosedBatchNorm(channels, op.poses, shared=op.shared)
    else:
        norm = nn.BatchNorm2d(channels) if len(shape) == 3 else nn.BatchNorm1d(channels)
    if op.unscaled:
        norm.register_parameter("weight", None)
    return norm


def _linear(op: spec.Linear, shape: Shape, members: int | None) -> nn.Module:
    features = math.prod(shape)
    return _GroupedLinear(features, op.out_features, members) if members else _FlatLinear(features, op.out_features)


# From an op, the shape before it and the members of a population, None for a network by itself. ``res`` is not here: it
# is a sequence of its own.
MODULES: Mapping[type[spec.Op], Callable[[Any, Shape, int | None], nn.Module]] = {
    spec.Conv: _convolution,
    spec.DepthwiseConv: _depthwise,
    spec.BatchNorm: _batch_norm,
    spec.ReLU: lambda op, shape, members: nn.ReLU(),
    spec.LeakyReLU: lambda op, shape, members: nn.LeakyReLU(op.slope),
    # One slope, 0.25 at first.
    spec.PReLU: lambda op, shape, members: (
        _GroupedPReLU(members) if members else nn.PReLU()
    ),  # one slope, 0.25 at first
    spec.Swish: lambda op, shape, members: nn.SiLU(),
    spec.Dropout: lambda op, shape, members: FastDropout(op.p),
    spec.Dropout2d: lambda op, shape, members: FastDropout(op.p, channels=True),
    spec.MaxPool: lambda op, shape, members: nn.MaxPool2d(op.size),
    spec.AvgPool: lambda op, shape, members: nn.AvgPool2d(op.size),
    spec.Unshuffle: lambda op, shape, members: nn.PixelUnshuffle(op.size),
    spec.GlobalAvgPool: lambda op, shape, members: nn.AdaptiveAvgPool2d(1),
    spec.Linear: _linear,
}


def _in_poses(kernel: Tensor, poses: int) -> Tensor:
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
            input, _in_poses(self.weight, self.poses), bias, self.stride, self.padding, groups=self.groups
        )


class _PosedBatchNorm(nn.modules.batchnorm._BatchNorm):
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
            joined = input.reshape(input.shape[0], self.num_features, -1)
            return self._normalised(joined, self.weight, self.bias).reshape(input.shape)
        scale = None if self.weight is None else self.weight.repeat_interleave(self.poses)
        return self._normalised(input, scale, self.bias.repeat_interleave(self.poses))

    def _normalised(self, values: Tensor, scale: Tensor | None, shift: Tensor) -> Tensor:
        statistics, momentum = (self.running_mean, self.running_var), self.momentum or 0.0
        return functional.batch_norm(values, *statistics, scale, shift, self.training, momentum, self.eps)
