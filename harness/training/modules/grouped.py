"""Several copies of one network as one network: channels side by side, every convolution grouped by member.

Nothing of one member reaches another: kernels are grouped, BN statistics are those of a channel or of the poses of one
kernel, which are one member's. So a population trains in as many kernel launches as a single network, which is what a
GPU needs for networks this small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from harness.training.modules.build import Network, Residual, batch_norm, by_channel, convolution
from search_spaces import architecture as spec
from search_spaces.shapes import Shape, output_shape
from search_spaces.task import MNIST, Task


class GroupedLinear(nn.Module):
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


class GroupedPReLU(nn.Module):
    """A PReLU a member, each with one slope for all its channels: (members,)."""

    def __init__(self, members: int) -> None:
        """Make room for the slopes."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members))

    def forward(self, values: Tensor) -> Tensor:
        """Return a tensor of the shape of ``values``."""
        each = values.reshape(len(values), len(self.weight), -1)  # (batch, members, features)
        return functional.prelu(each, self.weight).view(values.shape)


def grouped_network(architecture: spec.Architecture, members: int, task: Task = MNIST) -> Network:
    """Return the network of a population.

    It takes (batch, members * channels, rows, columns) and gives (batch, members * classes). Its parameters
    and buffers come in the order of the single network's, each with ``members`` times the rows.
    """
    return Network(_sequence(architecture.ops, task.input_shape, members, {}))


def stack(networks: Sequence[nn.Module], grouped: nn.Module) -> None:
    """Copy the members' parameters and statistics into the grouped network."""
    with torch.no_grad():
        for target, *parts in zip(_tensors(grouped), *map(_tensors, networks), strict=True):
            target.copy_(torch.cat([part.reshape(-1) for part in parts]).view(target.shape))


def unstack(grouped: nn.Module, networks: Sequence[nn.Module]) -> None:
    """Copy the grouped network's parameters and statistics back to the members."""
    with torch.no_grad():
        for source, *parts in zip(_tensors(grouped), *map(_tensors, networks), strict=True):
            for part, values in zip(parts, source.reshape(len(networks), -1), strict=True):
                part.copy_(values.view(part.shape))


def _tensors(network: nn.Module) -> list[Tensor]:
    """Return parameters, each once, and BN statistics."""
    buffers = [tensor for tensor in network.buffers() if tensor.is_floating_point()]
    return [*network.parameters(), *buffers]


def _sequence(ops: tuple[spec.Op, ...], shape: Shape, members: int, tied: dict[str, Tensor]) -> nn.Sequential:
    modules = []
    for op in ops:
        modules.append(_module(op, shape, members, tied))
        shape = output_shape(op, shape)
    return nn.Sequential(*modules)


def _module(op: spec.Op, shape: Shape, members: int, tied: dict[str, Tensor]) -> nn.Module:
    channels = members * shape[0]
    match op:
        case spec.Conv():
            return _tie(convolution(op, shape[0], members), op.tie, tied)
        case spec.DepthwiseConv():
            return _tie(
                nn.Conv2d(channels, channels, 3, op.stride, op.padding, groups=channels, bias=op.bias), op.tie, tied
            )
        case spec.BatchNorm():
            return batch_norm(op, channels, of_maps=len(shape) == 3)
        case spec.PReLU():
            return GroupedPReLU(members)
        case spec.Linear():
            return GroupedLinear(math.prod(shape), op.out_features, members)
        case spec.Residual():
            return Residual(_sequence(op.ops, shape, members, tied))
        case _:
            return by_channel(op)


def _tie(conv: nn.Conv2d, name: str | None, tied: dict[str, Tensor]) -> nn.Conv2d:
    if name is not None:
        conv.weight = tied.setdefault(name, conv.weight)
    return conv
