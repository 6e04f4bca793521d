"""From an architecture to a torch network with first weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.training.modules.op_modules import FastDropout, sequence
from harness.training.modules.posed import PosedConv2d
from harness.training.recipe import Initialisation, Recipe
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.task import Task

# What may stand behind a head that says nothing yet: it lets the gradient through all the same.
_TRANSPARENT = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, FastDropout)


class Network(nn.Module):
    """The ops of an architecture in order; takes (batch, channels, rows, columns), gives (batch, classes) logits."""

    def __init__(self, ops: nn.Sequential) -> None:
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


def draw_first_weights(network: Network, recipe: Recipe) -> None:
    """Give a network the recipe's first weights, from torch's current generator."""
    initialise(network, recipe.initialisation)
    if recipe.initialisation is Initialisation.DIRAC:
        _pass_on(network)
    if recipe.zero_head:
        _silence_head(network)


def _pass_on(network: Network) -> None:
    """Make every convolution with as many outputs as inputs hand its input on: 1 in the middle, 0 elsewhere."""
    for module in network.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        poses = module.poses if isinstance(module, PosedConv2d) else 1
        if module.in_channels == poses * module.out_channels:
            nn.init.zeros_(module.weight)
            # The first pose of a kernel hands on the first pose of its input, and so each pose its like.
            nn.init.dirac_(module.weight[:, ::poses], module.groups)


def _silence_head(network: Network) -> None:
    """Set the last convolution or linear layer to zero, so that all classes begin equal.

    It stays as drawn where a BN or a ReLU behind it would make nothing of that, or where its kernel is another's too.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    last = next((module for module in reversed(list(network.ops)) if not isinstance(module, _TRANSPARENT)), None)
    if not isinstance(last, nn.Conv2d | nn.Linear) or sum(layer.weight is last.weight for layer in layers) > 1:
        return
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)


def seed_dropout(network: Network, generator: torch.Generator) -> None:
    """Make every dropout of the network draw from ``generator``."""
    for module in network.modules():
        if isinstance(module, FastDropout):
            module.generator = generator
