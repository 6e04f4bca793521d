"""Torch modules of ops that ``torch.nn`` lacks, except exported modules (``rotated.py``).

Ops import this file inside ``module`` only, because it loads torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from harness.spaces import rotated as rotated_layers
from harness.spaces.rotated import RotatedConv2d, RotatedDepthwiseConv2d, rotated


class FlatLinear(nn.Linear):
    """A linear layer that flattens a map first, so that the op needs a single module."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, features)."""
        return super().forward(torch.flatten(input, 1))


class FastDropout(nn.Module):
    """Dropout that needs two random bytes per value; ``p`` is accurate to 1/65,536.

    ``torch.nn.Dropout`` draws a Bernoulli variable per value, which was 40 % of a training step of ``seed4`` on a CPU.
    This class uses a 64-bit random number for four values.

    Attributes:
        p: Probability of setting a value to zero.
        channels: Whether whole channels are dropped instead of single values.
        generator: Random generator, set by the training code; None for the default generator of torch.
    """

    def __init__(self, p: float, *, channels: bool = False) -> None:
        super().__init__()
        self.p = p
        self.channels = channels
        self.generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Return the values; in training a share of about ``p`` is zero and the rest is scaled by 1 / (1 - p)."""
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


class _GpuFilters(RotatedConv2d):
    """Filters in all poses as an index look-up in trainings on a GPU.

    Only on a GPU: on a CPU the gradients of tied kernels would be summed in a different order than in the existing
    records. ``rotated`` consists of ops that exporters support.
    """

    def filters(self) -> Tensor:
        if not (self.weight.is_cuda and self.training):
            return super().filters()
        orders = _orders(self.poses, *self.weight.shape[1:], self.weight.device)
        filters: Tensor = _Posed.apply(self.weight, *orders)  # type: ignore[no-untyped-call]
        return filters


class PosedConv2d(_GpuFilters, RotatedConv2d):
    """``RotatedConv2d`` for trainings."""


class PosedDepthwiseConv2d(_GpuFilters, RotatedDepthwiseConv2d):
    """``RotatedDepthwiseConv2d`` for trainings."""


# Variants of layers for trainings, by the name of the layer in exported code.
_FOR_TRAINING: dict[str, Callable[..., nn.Module]] = {
    "RotatedConv2d": PosedConv2d,
    "RotatedDepthwiseConv2d": PosedDepthwiseConv2d,
    "nn.Dropout": FastDropout,
    "nn.Dropout2d": partial(FastDropout, channels=True),
}


def layer_class(name: str) -> Callable[..., nn.Module]:
    """Return the class or function of ``LayerCall.name`` that makes the layer for a training."""
    return _FOR_TRAINING.get(name) or attrgetter(name)(rotated_layers)


class _Posed(torch.autograd.Function):
    """``rotated`` as an index look-up: a single GPU kernel instead of about forty.

    ``order`` and ``inverse`` are the results of ``_orders``.
    """

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
    order = rotated(places, poses).view(poses, -1).long()
    return order.to(device), order.argsort(1).to(device)
