"""What a learning rate does to the toy: its loss curve, when it meets a target, and what there is to say about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from harness.system.errors import UsageError
from harness.toy.backprop import Example, Step, Weights, train
from harness.toy.formulas import gradients

TARGET_LOSS = 0.01
# The slowest of the documents' rates needs 1,199 updates for a loss of 0.01; five digits are room to try others.
MOST_UPDATES = 20_000
# A steepest slope below this share of the error is none: 1,000 updates then change the loss by less than 0.2 %.
_NO_SLOPE = 5e-5
# A rate is small if its first update takes less than this share off the loss: one below 0.02 at the documents' weights.
_SMALL_STEP = 1e-3


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Training at one learning rate.

    Attributes:
        losses: before the first update and after each; not finite where the weights have overflowed.
        reached_after: updates until the loss is below the target, None if it is not within ``searched`` updates.
        first: the network after the first update.
        last: the network after the last update of ``losses``.
    """

    learning_rate: float
    losses: tuple[float, ...]
    reached_after: int | None
    searched: int
    first: Step
    last: Step


def checked_rate(learning_rate: float) -> float:
    """Return the rate.

    Raises:
        UsageError: it is not a finite number.
    """
    if not math.isfinite(learning_rate):
        raise UsageError(
            f"learning rate {learning_rate}: a step is the rate times the slope, so the rate must be a finite number; "
            "0, negative and huge ones are allowed, and the table says what they do"
        )
    return learning_rate


def checked_target(target: float) -> float:
    """Return the target.

    Raises:
        UsageError: no loss can be below it, or it is not a finite number.
    """
    if not (math.isfinite(target) and target > 0):
        raise UsageError(
            f"target {target}: the target of the toy is a loss, half a sum of squares, so it must be a finite number "
            f"above 0; the default is {TARGET_LOSS}"
        )
    return target


def rate_curve(weights: Weights, example: Example, learning_rate: float, updates: int, target: float) -> RateCurve:
    """Train for ``updates``, and on until the target is met, ``MOST_UPDATES`` are done or nothing moves any more.

    Raises:
        UsageError: a number is not as ``checked_rate`` and ``checked_target`` ask, or there is no update.
    """
    checked_rate(learning_rate)
    checked_target(target)
    if updates < 1:
        raise UsageError(f"updates {updates}: a curve needs at least one update")
    steps = train(weights, example, learning_rate)
    losses = [next(steps).forward.E_total]
    first = last = next(steps)
    losses.append(last.forward.E_total)
    # A step is 40 times the size of its loss, so only the first and the last are kept.
    for last in islice(steps, updates - 1):
        losses.append(last.forward.E_total)
    reached_after = next((number for number, loss in enumerate(losses) if loss < target), None)
    if reached_after is None:
        reached_after = _reached_later(last, islice(steps, max(MOST_UPDATES - updates, 0)), updates, target)
    return RateCurve(learning_rate, tuple(losses), reached_after, max(updates, MOST_UPDATES), first, last)


def _reached_later(last: Step, steps: Iterator[Step], updates: int, target: float) -> int | None:
    for number, step in enumerate(steps, start=updates + 1):
        if step.forward.E_total < target:
            return number
        if step.weights == last.weights or not math.isfinite(step.forward.E_total):
            return None
        last = step
    return None


def shortest(number: float) -> str:
    """Return the number with as few digits as tell it from every other."""
    rounded = f"{number:g}"
    return rounded if float(rounded) == number else repr(number)


def remarks(curves: Sequence[RateCurve], target: float) -> list[str]:
    """Return what is out of the ordinary at the rates of one network, in sentences."""
    said = []
    # All curves begin at the same loss.
    if curves and curves[0].reached_after == 0:
        said.append(f"target {shortest(target)}: the loss is below it before the first update")
    for curve in curves:
        sentence = _remark(curve)
        if sentence:
            said.append(f"rate {shortest(curve.learning_rate)}: {sentence}")
    return said


def _remark(curve: RateCurve) -> str | None:
    rate, losses, updates = curve.learning_rate, curve.losses, len(curve.losses) - 1
    plural = f"{updates:,} update{'s' * (updates != 1)}"
    lost = next((number for number, loss in enumerate(losses) if not math.isfinite(loss)), None)
    slope = max(abs(value) for value in gradients(curve.last).values())
    if rate == 0:
        return f"a rate of 0 takes no step: the loss stays at {losses[0]:.6g}"
    if lost is not None:
        return f"the weights overflow: from update {lost:,} on the loss is not a number"
    if rate < 0:
        return f"a negative rate walks uphill: the loss rises from {losses[0]:.6g} to {losses[-1]:.6g}"
    # The root is the distance of the outputs from their targets; a slope is that times what the sigmoids let through.
    if slope < _NO_SLOPE * math.sqrt(2 * losses[-1]):
        units = curve.first.forward
        return (
            f"too large: the first update throws the outputs to {units.a_o1:.3g} and {units.a_o2:.3g} (hidden units "
            f"{units.a_h1:.3g} and {units.a_h2:.3g}), where the sigmoids are flat; after {plural} "
            f"the steepest slope is {slope:.1g} and the loss {losses[-1]:.3g}"
        )
    if curve.reached_after is None and losses[1] > (1 - _SMALL_STEP) * losses[0]:
        share = 100 * (1 - losses[-1] / losses[0])
        return f"so small a rate takes {share:.2g} % off the loss in {plural}"
    return None
