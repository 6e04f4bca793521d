"""Sizes of loops and buffers in the exported C that is optimised for speed.

A convolution is computed in one of two ways:

- in *blocks*: up to four filters together, so that a number of the window is loaded once for all filters of the block;
- in *planes*, if the filters read a single channel: one output channel after another, for a *tile* of neighbouring
  output columns. The rows of the input under the kernel are copied to a buffer first, the *lines*.

``harness/exports/templates/convolve_speed.c.jinja`` contains the C code.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from enum import StrEnum

from harness.spaces.integer_plan import WIDE_BITS, IntegerPlan, IntegerStep, StepKind


class Optimisation(StrEnum):
    """Optimisation of the exported C."""

    SIZE = "size"
    SPEED = "speed"


def stored_plan(plan: IntegerPlan, optimise: Optimisation) -> IntegerPlan:
    """Return the plan with the bits per weight that C stores: a byte in code for speed."""
    return replace(plan, weight_bits=WIDE_BITS) if optimise is Optimisation.SPEED else plan


_EXPANDED_BYTES = 640  # largest number of weights of a kernel in all poses that may be on the stack, a byte each
_MAX_PLACES = 256  # kernel positions whose indices fit into the uint8 numbers of an order table
_LINE_BYTES = 128  # of stack for the lines of a tile: 28 output columns of a 3x3 kernel need 90


def _reads_single_channel(step: IntegerStep) -> bool:
    _, channels, rows, columns = step.form.shape
    is_single = step.kind is StepKind.CONVOLUTION and channels == 1 and not step.form.is_global
    return is_single and rows * columns <= _MAX_PLACES


def reads_planes(plan: IntegerPlan, step: IntegerStep) -> bool:
    """Return whether a step is computed in planes.

    A network without a depthwise step computes all steps in blocks, so that the exported code for planes is left out.
    """
    # Most steps read several channels.
    return _reads_single_channel(step) and any(
        _reads_single_channel(each) and plan.maps[each.source].shape[0] > 1 for each in plan.steps
    )


def _reads_blocks(plan: IntegerPlan, step: IntegerStep) -> bool:
    return step.kind is StepKind.CONVOLUTION and not reads_planes(plan, step)


def _groups(plan: IntegerPlan, step: IntegerStep) -> int:
    return plan.maps[step.source].shape[0] // step.form.shape[1]


def is_expanded(plan: IntegerPlan) -> bool:
    """Return whether steps in blocks first write the weights of all poses to the stack (*expand* the kernel).

    This applies to a network with poses and few weights. Otherwise each window is copied once per pose.
    """
    blocks = [step for step in plan.steps if _reads_blocks(plan, step)]
    if all(step.form.poses == 1 for step in blocks):
        return False
    if max(math.prod(step.form.shape[2:]) for step in blocks) > _MAX_PLACES:
        return False
    return max(step.form.poses * math.prod(step.form.shape) for step in blocks) <= _EXPANDED_BYTES


def block_filters(plan: IntegerPlan, step: IntegerStep) -> int:
    """Return the number of filters after which a new block must begin; 0 if a step has no blocks.

    A block lies within a group of channels. Filters of an expanded kernel are counted once per pose. The weights of a
    tied kernel are stored once, so the blocks must suit all its steps.
    """
    if not _reads_blocks(plan, step):
        return 0
    if is_expanded(plan):
        return step.form.poses * step.form.shape[0] // _groups(plan, step)
    users = [user for user in plan.steps if user.kernel == step.kernel and _reads_blocks(plan, user)]
    return math.gcd(*(user.form.shape[0] // _groups(plan, user) for user in users))


def block_sizes(filters: int) -> list[int]:
    """Return the sizes of the blocks of neighbouring filters, as ``next_block`` in the C code.

    A block has at most 4 filters, because more sums need further registers. Three filters at once are nearly as fast as
    four, so 10 filters become 3, 3 and 4.
    """
    sizes = []
    while filters:
        size = 3 if filters % 4 else 4
        sizes.append(min(size, filters))
        filters -= sizes[-1]
    return sizes


def tile_columns(plan: IntegerPlan, step: IntegerStep) -> int:
    """Return the number of output columns in a tile, after pooling; 0 for a step in blocks."""
    if step.target is None or not reads_planes(plan, step):
        return 0
    _, _, rows, columns = step.form.shape
    inner_columns = (_LINE_BYTES // rows - columns) // step.form.stride + 1
    return min(max(1, inner_columns // step.pool_window[1]), plan.output(step).shape[2])


@dataclass(frozen=True, slots=True)
class FastBuffers:
    """Sizes of the stack buffers of convolutions; by default the least sizes, because C has no empty arrays.

    Attributes:
        window: uint8 values in a window, all channels.
        inputs: uint8 values in a window in the order of a pose; 0 if no step orders a window.
        results: int32 output channels.
        sums: int32 output channels of a group.
        filters: Filters, with an int32 start of the sum each; an expanded filter counts once per pose.
        kernel: Expanded weights, uint8; 0 if weights are not expanded.
        plane_places: Kernel positions of planes, with an int32 weight each.
        lines: uint8 values in the rows under the kernel, for a tile of output columns.
        tile: Output columns of a tile, with an int32 sum and an int32 result each.
    """

    window: int = 1
    inputs: int = 0
    results: int = 1
    sums: int = 1
    filters: int = 1
    kernel: int = 0
    plane_places: int = 1
    lines: int = 1
    tile: int = 1

    @property
    def size(self) -> int:
        """In bytes; blocks and planes are not on the stack at the same time."""
        blocks = self.window + self.inputs + self.kernel + 4 * (self.results + self.sums + self.filters)
        planes = self.lines + 4 * (self.plane_places + 2 * self.tile)
        return max(blocks, planes)


def fast_buffers(plan: IntegerPlan) -> FastBuffers:
    """Return the stack buffers of C code for speed, each as large as the largest step needs."""
    has_expanded_kernels = is_expanded(plan)
    sizes = [FastBuffers()]
    for step in plan.steps:
        filters, channels, rows, columns = step.form.shape
        if step.target is None or step.kind is not StepKind.CONVOLUTION:
            continue
        places = rows * columns
        if reads_planes(plan, step):
            tile = tile_columns(plan, step)
            width = (tile * step.pool_window[1] - 1) * step.form.stride + columns
            sizes.append(FastBuffers(plane_places=places, lines=rows * width, tile=tile))
            continue
        groups = _groups(plan, step)
        outputs = plan.output(step).shape[0]
        weights = places * channels  # of a filter
        sizes.append(FastBuffers(window=weights * groups, results=outputs, sums=outputs // groups, filters=filters))
        if has_expanded_kernels:
            sizes.append(FastBuffers(filters=outputs, kernel=weights * outputs))
        if groups > 1 or (step.form.poses > 1 and not has_expanded_kernels):
            sizes.append(FastBuffers(inputs=weights))
    return FastBuffers(*map(max, zip(*map(astuple, sizes), strict=True)))
