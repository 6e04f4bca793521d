"""The toy's gradients from two sources that share no line with the chain rule: autograd and central differences."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from harness.system.errors import HarnessError
from harness.toy.backprop import Example, Weights, forward, train
from harness.toy.formulas import WEIGHT_NAMES, gradients

# The loss is about 0.24, so a difference of this width errs by 1e-11: rounding and the third derivative balance.
_WIDTH = 1e-5
# For slopes and losses up to 1; larger ones bring larger roundings, and the tolerances grow with them.
AUTOGRAD_TOLERANCE = 1e-12
DIFFERENCES_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """The eight partial derivatives, by weight, from all three sources."""

    chain_rule: dict[str, float]
    autograd: dict[str, float]
    central_differences: dict[str, float]

    @property
    def autograd_difference(self) -> float:
        """The largest distance between chain rule and autograd."""
        return max(abs(self.chain_rule[name] - self.autograd[name]) for name in WEIGHT_NAMES)

    @property
    def central_differences_difference(self) -> float:
        """The largest distance between chain rule and central differences."""
        return max(abs(self.chain_rule[name] - self.central_differences[name]) for name in WEIGHT_NAMES)


def checked(weights: Weights, example: Example) -> GradientCheck:
    """Return the gradients from all three sources; loads torch.

    Raises:
        HarnessError: they disagree, which is a fault of the program.
    """
    start = next(train(weights, example, 0.0))
    check = GradientCheck(gradients(start), autograd(weights, example), central_differences(weights, example))
    # The rounding of the steepest slope; that of the two losses that are subtracted, over the width.
    slope_rounding = AUTOGRAD_TOLERANCE * max(1.0, *map(abs, check.chain_rule.values()))
    loss_rounding = DIFFERENCES_TOLERANCE * max(1.0, start.forward.E_total)
    if check.autograd_difference > slope_rounding or check.central_differences_difference > loss_rounding:
        raise HarnessError(
            f"the chain rule differs from autograd by {check.autograd_difference:.1e} (allowed {slope_rounding:.0e}) "
            f"and from central differences by {check.central_differences_difference:.1e} (allowed {loss_rounding:.0e})"
        )
    return check


def central_differences(weights: Weights, example: Example) -> dict[str, float]:
    """Return (E(w + width) - E(w - width)) / (2 width) for each weight."""

    def loss(name: str, change: float) -> float:
        moved = dataclasses.replace(weights, **{name: getattr(weights, name) + change})
        return forward(moved, example).E_total

    return {name: (loss(name, _WIDTH) - loss(name, -_WIDTH)) / (2 * _WIDTH) for name in WEIGHT_NAMES}


def autograd(weights: Weights, example: Example) -> dict[str, float]:
    """Return torch's gradients in float64, of the network written as two matrices."""
    import torch

    numbers = dataclasses.astuple(weights)
    hidden = torch.tensor(numbers[:4], dtype=torch.float64).reshape(2, 2).requires_grad_()
    output = torch.tensor(numbers[4:], dtype=torch.float64).reshape(2, 2).requires_grad_()
    inputs = torch.tensor([example.i1, example.i2], dtype=torch.float64)
    targets = torch.tensor([example.t1, example.t2], dtype=torch.float64)
    answers = torch.sigmoid(output @ torch.sigmoid(hidden @ inputs))
    found = torch.autograd.grad(((targets - answers) ** 2).sum() / 2, (hidden, output))
    return dict(zip(WEIGHT_NAMES, torch.cat([part.reshape(-1) for part in found]).tolist(), strict=True))
