"""The optimizer of a recipe, as torch knows it; the native engine has its own."""

from __future__ import annotations

import torch
from torch import nn

from harness.training.recipe import Optimizer, Recipe


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer of a network's parameters; kernels decay, what has one dimension or none does not."""
    kernels = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer is Optimizer.ADAM:
        return torch.optim.Adam(groups, recipe.learning_rate, (recipe.momentum, 0.999), foreach=True)
    return torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=recipe.nesterov, foreach=True)
