"""Torch modules that only this program uses; modules of exported code are in ``posed.py``.

Ops import this file inside ``module`` only, because it loads torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from harness.spaces import posed


class FlatLinear(nn.Linear):
    """A linear layer that flattens a map first, so that the op needs a single module."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, features)."""
        return super().forward(torch.flatten(input, 1))


class FastDropout(nn.Module):
    """Dropout that needs two random bytes per value; ``p`` is accurate to 1/65,536.

    ``torch.nn.Dropout`` draws a Bernoulli variable per value, which took 40 % of a training step on a CPU.

    Attributes:
        channels: Whether whole channels are dropped instead of single values.
        generator: Set by the training code; None for the default generator of torch.
    """

    def __init__(self, p: float, *, channels: bool = False) -> None:
        super().__init__()
        self.p = p
        self.channels = channels
        self.generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """In training a share of about ``p`` is zero and the rest is scaled by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return values
        count = values.shape[0] * values.shape[1] if self.channels else values.numel()
        draws = torch.empty((count + 3) // 4, dtype=torch.int64, device=values.device)
        draws.random_(-(2**63), None, generator=self.generator)
        # A value is kept if its 16-bit number, uniform from -32,768 to 32,767, reaches the threshold.
        threshold = min(round(self.p * 65_536) - 32_768, 32_767)
        factors = (draws.view(torch.int16)[:count] >= threshold).to(values.dtype).mul_(1 / (1 - self.p))
        if self.channels:
            return values * factors.view(*values.shape[:2], *[1] * (values.dim() - 2))
        # Random numbers may be used in any order; with the strides of the values, the product stays dense.
        return values * factors.as_strided(values.shape, values.stride())


# By the name in exported code.
_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "nn.Linear": FlatLinear,
    "nn.Dropout": FastDropout,
    "nn.Dropout2d": partial(FastDropout, channels=True),
}


def layer_class(name: str) -> Callable[..., nn.Module]:
    """Return the class that makes the layer ``LayerCall.name``."""
    return _LAYERS.get(name) or attrgetter(name)(posed)


def indexed_filters(kernel: Tensor, poses: int) -> Tensor:
    """Return the same as ``posed_filters`` by an index look-up: a GPU kernel instead of about forty.

    On a CPU, gradients of tied kernels would be summed in a different order than in the existing records.
    """
    orders = _orders(poses, *kernel.shape[1:], kernel.device)
    filters: Tensor = _IndexedFilters.apply(kernel, *orders)  # type: ignore[no-untyped-call]
    return filters


class _IndexedFilters(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, kernel: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        context.save_for_backward(inverse)
        return kernel.flatten(1)[:, order].view(-1, *kernel.shape[1:])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = context.saved_tensors
        poses = len(inverse)
        by_pose = gradient.reshape(-1, poses, inverse.shape[1])
        in_learned_order = by_pose.gather(2, inverse.expand(len(by_pose), -1, -1))
        return in_learned_order.sum(1).view(-1, *gradient.shape[1:]), None, None


@cache
def _orders(poses: int, channels: int, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    places = torch.arange(channels * rows * columns, dtype=torch.float64).view(1, channels, rows, columns)
    order = posed.posed_filters(places, poses).view(poses, -1).long()
    return order.to(device), order.argsort(1).to(device)
