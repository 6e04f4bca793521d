"""Effect of the learning rate on the toy network, and checks of the gradients with autograd and finite differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from harness.system.errors import HarnessError, UsageError
from harness.system.terminal import counted
from harness.toy.backprop import EXAMPLE, WEIGHTS, forward_and_backward, gradients, train

# The slowest rate of the source documents needs 1,199 updates for a loss of 0.01.
_MAX_UPDATES = 20_000
# Largest gradient that counts as vanished, over the distance between outputs and targets: 1,000 updates then change the
# loss by less than 0.2 %.
_NO_SLOPE = 5e-5
# A smaller share of the loss in the first update is a small rate: for the weights of the source documents, below 0.02.
_SMALL_STEP = 1e-3
# Step of the central differences. For a loss of about 0.24 the error is 1e-11: rounding and the third derivative
# balance.
_WIDTH = 1e-5
_AUTOGRAD_TOLERANCE = 1e-12  # times max(1, largest gradient), as rounding errors grow with the gradient
_DIFFERENCES_TOLERANCE = 1e-10  # times max(1, loss), as rounding errors grow with the loss


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Training at a given learning rate.

    Attributes:
        losses: Loss before the first update and after each update; not finite after an overflow of the weights.
        reached_after: Updates until the loss is below the target; None if not reached within ``update_limit`` updates.
        last_quantities: All quantities of ``forward_and_backward`` after the last update of ``losses``.
    """

    learning_rate: float
    losses: tuple[float, ...]
    reached_after: int | None
    update_limit: int
    last_quantities: Mapping[str, float]


def rate_curve(start: Mapping[str, float], learning_rate: float, updates: int, target: float) -> RateCurve:
    """Return the training at a learning rate.

    Args:
        updates: Number of updates whose losses are kept, at least 1. If the target is not reached by then, the training
            continues until the target is reached, the weights stop changing, the loss is not finite, or
            ``_MAX_UPDATES``.
        target: The target is reached if the loss is below this value.

    Raises:
        UsageError: The rate is not finite, or the target is not a finite number above 0.
    """
    if not math.isfinite(learning_rate):
        raise UsageError(f"learning rate {learning_rate} must be finite; 0 and negative numbers are allowed")
    if not (math.isfinite(target) and target > 0):
        raise UsageError(f"target {target} must be a finite number above 0")
    steps = train(start, learning_rate)
    losses = []
    for quantities in islice(steps, updates + 1):
        losses.append(quantities["E_total"])
    reached_after = next((number for number, loss in enumerate(losses) if loss < target), None)
    if reached_after is None:
        before = quantities
        for number, step in enumerate(islice(steps, max(_MAX_UPDATES - updates, 0)), start=updates + 1):
            if step["E_total"] < target:
                reached_after = number
                break
            if step == before or not math.isfinite(step["E_total"]):
                break
            before = step
    return RateCurve(learning_rate, tuple(losses), reached_after, max(updates, _MAX_UPDATES), quantities)


def remarks(curves: Sequence[RateCurve], target: float) -> list[str]:
    """Return sentences about unusual behaviour at the learning rates of ``curves``, which start at the same loss."""
    lines = []
    if curves[0].reached_after == 0:
        lines.append(f"target {shortest(target)}: the loss is below the target before the first update")
    for curve in curves:
        remark = _remark(curve)
        if remark:
            lines.append(f"rate {shortest(curve.learning_rate)}: {remark}")
    return lines


def _remark(curve: RateCurve) -> str:
    rate = curve.learning_rate
    losses = curve.losses
    if rate == 0:
        return f"a rate of 0 takes no step: the loss stays at {losses[0]:.6g}"
    if not all(map(math.isfinite, losses)):
        return "the weights overflow, and the loss is not finite"
    if rate < 0:
        return f"a negative rate increases the loss: from {losses[0]:.6g} to {losses[-1]:.6g}"
    slope = max(map(abs, gradients(curve.last_quantities).values()))
    # The root is the distance between outputs and targets, to which a gradient is proportional.
    if slope < _NO_SLOPE * math.sqrt(2 * losses[-1]):
        return f"too large: the sigmoids saturate, and the gradients vanish at a loss of {losses[-1]:.3g}"
    if curve.reached_after is None and losses[1] > (1 - _SMALL_STEP) * losses[0]:
        share = 100 * (1 - losses[-1] / losses[0])
        return f"too small: the loss falls by {share:.2g} % in {counted(len(losses) - 1, 'update')}"
    return ""


def shortest(number: float) -> str:
    """Return the number as text with six digits if exact, else with the digits that identify the number."""
    text = f"{number:g}"
    return text if float(text) == number else repr(number)


def checked_gradients(start: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the eight gradients by ``chain_rule``, ``autograd`` and ``central_differences``; loads torch.

    Raises:
        HarnessError: The chain rule differs from an alternative method by more than the tolerance.
    """
    quantities = forward_and_backward(start)
    by_source = {"chain_rule": gradients(quantities), "autograd": autograd(start)}
    by_source["central_differences"] = central_differences(start)
    # Rounding errors of autograd grow with the largest gradient, those of differences with the losses.
    limits = {
        "autograd": _AUTOGRAD_TOLERANCE * max(1.0, *map(abs, by_source["chain_rule"].values())),
        "central_differences": _DIFFERENCES_TOLERANCE * max(1.0, quantities["E_total"]),
    }
    for source, bound in limits.items():
        if (difference := largest_difference(by_source, source)) > bound:
            raise HarnessError(f"the chain rule differs from {source} by {difference:.1e} (allowed {bound:.0e})")
    return by_source


def largest_difference(by_source: Mapping[str, Mapping[str, float]], source: str) -> float:
    """Return the largest absolute difference between the gradients of ``chain_rule`` and of ``source``."""
    return max(abs(by_source["chain_rule"][name] - by_source[source][name]) for name in WEIGHTS)


def central_differences(start: Mapping[str, float]) -> dict[str, float]:
    """Return (E(w + h) - E(w - h)) / (2 h) for each weight w, with h = ``_WIDTH``."""

    def loss(name: str, change: float) -> float:
        return forward_and_backward({**start, name: start[name] + change})["E_total"]

    return {name: (loss(name, _WIDTH) - loss(name, -_WIDTH)) / (2 * _WIDTH) for name in WEIGHTS}


def autograd(start: Mapping[str, float]) -> dict[str, float]:
    """Return the gradients computed by torch in float64, with the network as two weight matrices."""
    import torch

    weights = torch.tensor([start[name] for name in WEIGHTS], dtype=torch.float64)
    hidden, output = (part.clone().requires_grad_() for part in weights.reshape(2, 2, 2))
    inputs, targets = torch.tensor([start[name] for name in EXAMPLE], dtype=torch.float64).reshape(2, 2)
    answers = torch.sigmoid(output @ torch.sigmoid(hidden @ inputs))
    slopes = torch.autograd.grad(((targets - answers) ** 2).sum() / 2, (hidden, output))
    return dict(zip(WEIGHTS, torch.cat([part.reshape(-1) for part in slopes]).tolist(), strict=True))
