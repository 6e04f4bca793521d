"""Distillation: a student learns from trained teachers what they say of the very images that it trains on.

Hinton, Vinyals and Dean, arXiv 1503.02531. This is the arithmetic in torch, ``native/distillation.cpp`` the same in
C++; ``teacher`` trains the teachers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from harness.training.modules.build import Network
from search_spaces.network import Architecture


@dataclass(frozen=True, slots=True)
class Teacher:
    """The trained teachers of one recipe: one architecture, a network a seed.

    Attributes:
        networks: in evaluation mode, with the weights that predict: averaged where their recipe averages.
        seconds: that the training of all of them took.
    """

    architecture: Architecture
    networks: tuple[Network, ...]
    seconds: float


def soft_targets(teacher: Teacher, batch: Tensor, temperature: float) -> Tensor:
    """Return the mean over the teachers of their softened probabilities, (batch, classes), without a gradient."""
    with torch.no_grad():
        each = [functional.softmax(network(batch).float() / temperature, 1) for network in teacher.networks]
        return torch.stack(each).mean(0)


def soft_losses(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the divergence of each image's softened logits from its targets, times the temperature squared, (batch,).

    The square keeps the gradient's size independent of the temperature.
    """
    log_probabilities = functional.log_softmax(logits / temperature, 1)
    return functional.kl_div(log_probabilities, targets, reduction="none").sum(1) * temperature**2
