"""What a learning rate does to the toy, and its gradients from two sources that share no line with the chain rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from harness.system.errors import HarnessError, UsageError
from harness.system.terminal import counted
from harness.toy.backprop import EXAMPLE, WEIGHTS, gradients, passes, train

# The slowest of the documents' rates needs 1,199 updates for a loss of 0.01; five digits are room to try others.
_MOST_UPDATES = 20_000
# A steepest slope below this share of the error is none: 1,000 updates then change the loss by less than 0.2 %.
_NO_SLOPE = 5e-5
# A rate is small if its first update takes less than this share off the loss: one below 0.02 at the documents' weights.
_SMALL_STEP = 1e-3
# The loss is about 0.24, so a difference of this width errs by 1e-11: rounding and the third derivative balance.
_WIDTH = 1e-5
# For slopes and losses up to 1; larger ones bring larger roundings, and the tolerances grow with them.
_AUTOGRAD_TOLERANCE = 1e-12
_DIFFERENCES_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Training at one learning rate.

    Attributes:
        losses: before the first update and after each; not finite where the weights have overflowed.
        reached_after: updates until the loss is below the target, None if it is not within ``searched`` updates.
        last: all numbers after the last update of ``losses``.
    """

    learning_rate: float
    losses: tuple[float, ...]
    reached_after: int | None
    searched: int
    last: Mapping[str, float]


def rate_curve(start: Mapping[str, float], learning_rate: float, updates: int, target: float) -> RateCurve:
    """Train for ``updates``, and on until the target is met, ``_MOST_UPDATES`` are done or nothing moves any more."""
    if not math.isfinite(learning_rate):
        raise UsageError(f"learning rate {learning_rate}: it must be a finite number; 0 and negative ones are allowed")
    if not (math.isfinite(target) and target > 0):
        raise UsageError(f"target {target}: a loss cannot be below it; it must be a finite number above 0")
    steps = train(start, learning_rate)
    losses = []
    for last in islice(steps, updates + 1):
        losses.append(last["E_total"])
    reached_after = next((number for number, loss in enumerate(losses) if loss < target), None)
    if reached_after is None:
        before = last
        for number, step in enumerate(islice(steps, max(_MOST_UPDATES - updates, 0)), start=updates + 1):
            if step["E_total"] < target:
                reached_after = number
                break
            if step == before or not math.isfinite(step["E_total"]):
                break
            before = step
    return RateCurve(learning_rate, tuple(losses), reached_after, max(updates, _MOST_UPDATES), last)


def remarks(curves: Sequence[RateCurve], target: float) -> list[str]:
    """Return what is out of the ordinary at the rates of one network, in sentences."""
    lines = []
    # All curves begin at the same loss.
    if curves[0].reached_after == 0:
        lines.append(f"target {shortest(target)}: the loss is below it before the first update")
    return lines + [f"rate {shortest(curve.learning_rate)}: {words}" for curve in curves if (words := _remark(curve))]


def _remark(curve: RateCurve) -> str:
    rate = curve.learning_rate
    losses = curve.losses
    if rate == 0:
        return f"a rate of 0 takes no step: the loss stays at {losses[0]:.6g}"
    if not all(map(math.isfinite, losses)):
        return "the weights overflow, and the loss is no longer a number"
    if rate < 0:
        return f"a negative rate walks uphill: the loss rises from {losses[0]:.6g} to {losses[-1]:.6g}"
    slope = max(map(abs, gradients(curve.last).values()))
    # The root is the distance of the outputs from their targets; a slope is that times what the sigmoids let through.
    if slope < _NO_SLOPE * math.sqrt(2 * losses[-1]):
        return f"too large: the sigmoids are flat where it leads, at a loss of {losses[-1]:.3g} no slope is left"
    if curve.reached_after is None and losses[1] > (1 - _SMALL_STEP) * losses[0]:
        share = 100 * (1 - losses[-1] / losses[0])
        return f"so small a rate takes {share:.2g} % off the loss in {counted(len(losses) - 1, 'update')}"
    return ""


def shortest(number: float) -> str:
    """Return the number with as few digits as tell it from every other."""
    rounded = f"{number:g}"
    return rounded if float(rounded) == number else repr(number)


def checked_gradients(start: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the eight gradients by ``chain_rule``, ``autograd`` and ``central_differences``; loads torch."""
    quantities = passes(start)
    by_source = {
        "chain_rule": gradients(quantities),
        "autograd": autograd(start),
        "central_differences": central_differences(start),
    }
    # The rounding of the steepest slope; that of the two losses that are subtracted, over the width.
    allowed = {
        "autograd": _AUTOGRAD_TOLERANCE * max(1.0, *map(abs, by_source["chain_rule"].values())),
        "central_differences": _DIFFERENCES_TOLERANCE * max(1.0, quantities["E_total"]),
    }
    for source, bound in allowed.items():
        if (apart := largest_difference(by_source, source)) > bound:
            raise HarnessError(f"the chain rule differs from {source} by {apart:.1e} (allowed {bound:.0e})")
    return by_source


def largest_difference(by_source: Mapping[str, Mapping[str, float]], source: str) -> float:
    """Return the largest distance between a gradient by the chain rule and by another source."""
    return max(abs(by_source["chain_rule"][name] - by_source[source][name]) for name in WEIGHTS)


def central_differences(start: Mapping[str, float]) -> dict[str, float]:
    """Return (E(w + width) - E(w - width)) / (2 width) for each weight."""

    def loss(name: str, change: float) -> float:
        return passes({**start, name: start[name] + change})["E_total"]

    return {name: (loss(name, _WIDTH) - loss(name, -_WIDTH)) / (2 * _WIDTH) for name in WEIGHTS}


def autograd(start: Mapping[str, float]) -> dict[str, float]:
    """Return torch's gradients in float64, of the network written as two matrices."""
    import torch

    weights = torch.tensor([start[name] for name in WEIGHTS], dtype=torch.float64)
    hidden, output = (part.clone().requires_grad_() for part in weights.reshape(2, 2, 2))
    inputs, targets = torch.tensor([start[name] for name in EXAMPLE], dtype=torch.float64).reshape(2, 2)
    answers = torch.sigmoid(output @ torch.sigmoid(hidden @ inputs))
    slopes = torch.autograd.grad(((targets - answers) ** 2).sum() / 2, (hidden, output))
    return dict(zip(WEIGHTS, torch.cat([part.reshape(-1) for part in slopes]).tolist(), strict=True))
