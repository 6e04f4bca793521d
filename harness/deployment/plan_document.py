"""An integer network as JSON, which the page on which one tries it computes with."""

from __future__ import annotations

from typing import Any

from harness.training.integer import Integers, IntegerNetwork, StepNumbers
from search_spaces.deployment import IntegerPlan, Kind, Map, Step
from search_spaces.ops import Conv, Kernel, LeakyReLU, PReLU, Role


def plan_document(network: IntegerNetwork) -> dict[str, Any]:
    """Return the maps, learned kernels and steps of a network; a number has the name that it has in Python."""
    plan = network.plan
    steps = zip(plan.steps, network.numbers, strict=True)
    return {
        "offset": network.offset,
        "maps": [_map_document(each) for each in plan.maps],
        "kernels": [_kernel_document(kernel) for kernel in network.kernels],
        "steps": [_step_document(plan, step, numbers) for step, numbers in steps],
    }


def _map_document(each: Map) -> dict[str, Any]:
    channels, rows, columns = each.shape
    return {"channels": channels, "rows": rows, "columns": columns, "signed": each.signed}


def _kernel_document(kernel: Integers) -> dict[str, Any]:
    filters, rows, columns, channels = kernel.shape
    sizes = {"filters": filters, "rows": rows, "columns": columns, "channels": channels}
    return {**sizes, "weights": kernel.ravel().tolist()}


def _step_document(plan: IntegerPlan, step: Step, numbers: StepNumbers) -> dict[str, Any]:
    op = step.op
    pool = op if step.kind in (Kind.POOLING, Kind.UNSHUFFLE) else step.pool
    window = None if pool is None else pool.window()
    if pool is not None and window is None:
        # It is a pooling of the whole map.
        window = (*plan.maps[step.source].shape[1:], 1)
    has_slope = isinstance(step.rectifier, LeakyReLU | PReLU)
    return {
        "kind": step.kind,
        "text": str(op) if op is not None else "",
        "source": step.source,
        "target": step.target,
        "skip": step.skip,
        "kernel": step.kernel,
        "poses": op.poses if isinstance(op, Conv) else 1,
        "stride": op.stride if isinstance(op, Kernel) else 1,
        "paddings": op.paddings if isinstance(op, Kernel) else (0, 0),
        "window": None if window is None else window[:2],
        "takes_mean": pool is not None and pool.role is Role.MEAN_POOLING,
        "is_global": step.is_global,
        "multipliers": numbers.multipliers.tolist(),
        "shifts": numbers.shifts.tolist(),
        "sum_shift": numbers.sum_shift,
        "shift_shift": numbers.shift_shift,
        "output_shift": numbers.output_shift,
        "skip_multiplier": numbers.skip_multiplier,
        "slope": numbers.slope if has_slope else None,
    }
