"""The first weights of a recipe: drawn, then set where the recipe says what they are to be."""

from __future__ import annotations

from torch import nn

from harness.training.modules.build import Network, initialise
from harness.training.modules.op_modules import FastDropout
from harness.training.modules.posed import PosedConv2d
from harness.training.recipe import Initialisation, Recipe

# What may stand behind a head that says nothing yet: it lets the gradient through all the same.
_TRANSPARENT = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, FastDropout)


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
