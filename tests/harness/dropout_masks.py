"""What the masks of dropout must be, whichever engine draws them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def assert_masks(inputs: Tensor, op: str, rate: float, values: int) -> None:
    """Inputs behind dropout of ones, (seeds, channels, positions); ``values`` positions of a channel are drawn."""
    zero = inputs == 0
    rate = round(rate * 65_536) / 65_536  # a draw has 16 bits
    torch.testing.assert_close(inputs[~zero], torch.full_like(inputs[~zero], 1 / (1 - rate)), rtol=1e-9, atol=0)
    if op == "dropout2d":
        assert bool((zero.all(2) | (~zero).all(2)).all())
    draws = zero[:, :, :values].double()
    # Five standard deviations of a share.
    assert abs(draws.mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / draws.numel())
    # Neighbours, and the masks of two seeds, know nothing of each other.
    for first, second in ((draws[1:], draws[:-1]), (draws[:, 1:], draws[:, :-1])):
        both = (first * second).mean()
        assert abs(both - rate**2) < 5 * rate / math.sqrt(first.numel())
