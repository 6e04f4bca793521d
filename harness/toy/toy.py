"""The toy in text and as a JSON document: the network, its gradients and what the learning rates do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.toy.backprop import Example, Step
from harness.toy.formulas import BACKWARD, FORWARD, GRADIENTS, gradients, values, with_numbers
from harness.toy.gradient_check import GradientCheck
from harness.toy.rate_curve import RateCurve, remarks, shortest
from harness.training.result import finite


def document(start: Step, curves: Sequence[RateCurve], target: float) -> dict[str, Any]:
    """Return plain JSON values; a curve of N updates has N + 1 entries, and what is not finite is null."""
    return {
        "initial_loss": start.forward.E_total,
        "gradients": gradients(start),
        "curves": {str(curve.learning_rate): [finite(loss) for loss in curve.losses] for curve in curves},
        "target": target,
        "updates_to_target": {str(curve.learning_rate): curve.reached_after for curve in curves},
        "updates_searched": curves[0].searched,
        "remarks": remarks(curves, target),
    }


def check_document(check: GradientCheck) -> dict[str, Any]:
    """Return what ``--check`` found as plain JSON values."""
    return {
        "autograd": check.autograd,
        "central_differences": check.central_differences,
        "autograd_max_difference": check.autograd_difference,
        "central_differences_max_difference": check.central_differences_difference,
    }


def network_text(example: Example, start: Step) -> str:
    """Return both passes, each quantity as a formula, with the numbers put in, and as its value."""
    numbers = values(example, start)
    lines = ["The network: 2 inputs, 2 sigmoid hidden units, 2 sigmoid outputs, 8 weights, no biases", ""]
    lines.append("  " + "  ".join(f"{name} {numbers[name]:g}" for name in ("i1", "i2", "t1", "t2")))
    lines.append("  " + "  ".join(f"{name} {numbers[name]:g}" for name in GRADIENTS))
    lines += ["", "Forward: what enters each unit, what leaves it, the loss", "", *_worked_out(FORWARD, numbers)]
    lines += ["", "Backward: dE_dw1 is the derivative of E_total with respect to w1, and so on", ""]
    lines += _worked_out(BACKWARD, numbers)
    lines += ["", "The eight gradients in one formula each", ""]
    lines += [f"  dE_d{name} = {numbers[f'dE_d{name}']: .12f} = {formula}" for name, formula in GRADIENTS.items()]
    return "\n".join(lines)


def rates_text(curves: Sequence[RateCurve], target: float) -> str:
    """Return the table of learning rates, and below it what is out of the ordinary."""
    updates = len(curves[0].losses) - 1
    shown = sorted({*(10**power for power in range(len(str(updates)))), updates})
    head = ["rate", *(f"after {number:,}" for number in shown), f"updates to a loss below {shortest(target)}"]
    rows = [
        [shortest(curve.learning_rate), *(_loss(curve.losses[number]) for number in shown), _reached(curve)]
        for curve in curves
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [f"Learning rates: the loss, {curves[0].losses[0]:.9f} at the start, and after further updates", ""]
    lines += [
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)
    ]
    said = remarks(curves, target)
    return "\n".join([*lines, *([""] if said else []), *(f"  {sentence}" for sentence in said)])


def check_text(check: GradientCheck) -> str:
    """Return the gradients from all three sources side by side."""
    lines = ["Check: chain rule, autograd (float64), central differences", ""]
    lines += [
        f"  {name}  {check.chain_rule[name]:+.15f}  {check.autograd[name]:+.15f}  "
        f"{check.central_differences[name]:+.15f}"
        for name in check.chain_rule
    ]
    lines += ["", f"  the largest difference from autograd is {check.autograd_difference:.1e}"]
    lines += [f"  the largest difference from central differences is {check.central_differences_difference:.1e}"]
    return "\n".join(lines)


def _worked_out(formulas: Mapping[str, str], numbers: Mapping[str, float]) -> list[str]:
    """Return a line a quantity: its name, its formula, the formula with the numbers put in, its value."""
    put_in = {name: with_numbers(formula, numbers) for name, formula in formulas.items()}
    widths = [max(map(len, texts)) for texts in (formulas, formulas.values(), put_in.values())]
    return [
        f"  {name:<{widths[0]}} = {formula:<{widths[1]}} = {put_in[name]:<{widths[2]}} = {numbers[name]: .12f}"
        for name, formula in formulas.items()
    ]


def _loss(loss: float) -> str:
    return f"{loss:.6g}" if math.isfinite(loss) else "not a number"


def _reached(curve: RateCurve) -> str:
    return f"none in {curve.searched:,}" if curve.reached_after is None else f"{curve.reached_after:,}"
