"""Several copies of one network as one network: channels side by side, every convolution grouped by member.

Nothing of one member reaches another: kernels are grouped, BN statistics are those of a channel or of the poses of one
kernel, which are one member's. So a population trains in as many kernel launches as a single network, which is what a
GPU needs for networks this small.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.training.modules.build import Network
from harness.training.modules.op_modules import sequence
from search_spaces.architecture import Architecture
from search_spaces.task import Task


def grouped_network(architecture: Architecture, members: int, task: Task) -> Network:
    """Return the network of a population.

    It takes (batch, members * channels, rows, columns) and gives (batch, members * classes). Its parameters
    and buffers come in the order of the single network's, each with ``members`` times the rows.
    """
    return Network(sequence(architecture.ops, task.input_shape, members))


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
