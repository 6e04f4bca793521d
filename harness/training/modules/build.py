"""From an architecture to a torch network with first weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.training.modules.op_modules import FastDropout, sequence
from harness.training.recipe import Initialisation
from search_spaces.architecture import Architecture
from search_spaces.cost import analyse
from search_spaces.task import Task


class Network(nn.Module):
    """The ops of an architecture in order; takes (batch, channels, rows, columns), gives (batch, classes) logits."""

    def __init__(self, ops: nn.Sequential) -> None:
        """Take the built ops."""
        super().__init__()
        self.ops = ops

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (batch, classes)."""
        # A network may end in a 1x1 map; the loss wants a vector.
        return torch.flatten(self.ops(images), 1)


def build(architecture: Architecture, task: Task) -> Network:
    """Return the network as a module with torch's own first weights.

    Raises:
        ShapeError: the ops do not fit together.
        AssertionError: torch counts other parameters than ``search_spaces.cost``; a fault of this program.
    """
    expected = analyse(architecture, task).parameters
    network = Network(sequence(architecture.ops, task.input_shape))
    counted = sum(parameter.numel() for parameter in network.parameters())
    if counted != expected:
        raise AssertionError(
            f"torch counts {counted} parameters, search_spaces.cost {expected}: please report this network"
        )
    return network


def initialise(network: Network, initialisation: Initialisation) -> None:
    """Draw first weights from torch's current generator; a tied kernel is drawn once."""
    if initialisation is Initialisation.TORCH:
        return
    drawn: set[int] = set()
    for module in network.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if id(module.weight) not in drawn:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            drawn.add(id(module.weight))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def seed_dropout(network: Network, generator: torch.Generator) -> None:
    """Make every dropout of the network draw from ``generator``."""
    for module in network.modules():
        if isinstance(module, FastDropout):
            module.generator = generator
