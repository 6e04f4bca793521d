"""Kernels of the exported C that is optimised for speed: blocks of filters, and planes of a single channel.

A step whose filters read several channels computes up to four filters together, so that a number of the window is
loaded once for all of them. A step whose filters read a single channel computes an output channel after the other,
for a tile of neighbouring output columns. ``harness/deployment/templates/convolve_speed.c.jinja`` contains the C code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from search_spaces.deployment import IntegerPlan, IntegerStep, StepKind


class Optimisation(StrEnum):
    """Optimisation of the exported C."""

    SIZE = "size"
    SPEED = "speed"


_EXPANDED_BYTES = 640  # largest number of weights in all poses that may be on the stack
_MOST_PLACES = 256  # kernel positions whose indices fit the uint8 numbers of an order table
_LINE_BYTES = 128  # bytes of stack for the rows under a kernel: a row of 28 outputs of 3x3 needs 90


def _reads_single_channel(step: IntegerStep) -> bool:
    _, channels, rows, columns = step.form.shape
    is_single = step.kind is StepKind.CONVOLUTION and channels == 1 and not step.form.is_global
    return is_single and rows * columns <= _MOST_PLACES


def reads_planes(plan: IntegerPlan, step: IntegerStep) -> bool:
    """Return whether a step computes an output channel after the other, each from a single channel.

    A network without a depthwise step computes all steps in blocks, so that it needs no code for planes.
    """
    depthwise = [each for each in plan.steps if _reads_single_channel(each) and plan.maps[each.source].shape[0] > 1]
    return bool(depthwise) and _reads_single_channel(step)


def reads_blocks(plan: IntegerPlan, step: IntegerStep) -> bool:
    """Return whether a step computes its filters in blocks."""
    return step.kind is StepKind.CONVOLUTION and not reads_planes(plan, step)


def _groups(plan: IntegerPlan, step: IntegerStep) -> int:
    return plan.maps[step.source].shape[0] // step.form.shape[1]


def is_expanded(plan: IntegerPlan) -> bool:
    """Return whether a network has poses and few weights, so that each step first writes the weights of all poses.

    Otherwise each window is read in the order of each pose.
    """
    blocks = [step for step in plan.steps if reads_blocks(plan, step)]
    if all(step.form.poses == 1 for step in blocks):
        return False
    if max(math.prod(step.form.shape[2:]) for step in blocks) > _MOST_PLACES:
        return False
    return max(step.form.poses * math.prod(step.form.shape) for step in blocks) <= _EXPANDED_BYTES


def block_filters(plan: IntegerPlan, step: IntegerStep) -> int:
    """Return the number of filters after which a new block begins; 0 if a step has no blocks.

    A block lies within a group of channels. Steps with a tied kernel may have different numbers of groups.
    """
    if not reads_blocks(plan, step):
        return 0
    if is_expanded(plan):
        return step.form.poses * step.form.shape[0] // _groups(plan, step)
    users = [user for user in plan.steps if user.kernel == step.kernel and reads_blocks(plan, user)]
    return math.gcd(*(user.form.shape[0] // _groups(plan, user) for user in users))


def block_sizes(filters: int) -> list[int]:
    """Return the sizes of the blocks of neighbouring filters, at most 4, because more sums need further registers.

    Three filters at once are nearly as fast as four, so 10 filters become 3, 3 and 4.
    """
    sizes = []
    while filters:
        sizes.append(filters if filters < 3 else 3 if filters % 4 else 4)
        filters -= sizes[-1]
    return sizes


def tile_columns(plan: IntegerPlan, step: IntegerStep) -> int:
    """Return the number of output columns of a step in planes that are computed together; 0 for other steps."""
    if step.target is None or not reads_planes(plan, step):
        return 0
    _, _, rows, columns = step.form.shape
    pool_columns = 1 if step.pool is None else step.pool.form.window[1]
    inner_columns = (_LINE_BYTES // rows - columns) // step.form.stride + 1
    return min(max(1, inner_columns // pool_columns), plan.maps[step.target].shape[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class FastBuffers:
    """Sizes of the stack buffers of convolutions, the maximum over all steps for each buffer.

    Attributes:
        window: Number of uint8 values in a window, all channels.
        inputs: Number of uint8 values in a window in the order of a pose; 0 if no step orders a window.
        results: Number of int32 output channels.
        sums: Number of int32 output channels of a group.
        filters: Number of filters, with an int32 start of the sum each: stored filters, or expanded filters.
        kernel: Number of expanded weights, uint8; 0 if weights are not expanded.
        plane_places: Number of kernel positions of planes, with an int32 weight each.
        lines: Number of uint8 values in the rows under the kernel, for a tile of output columns.
        tile: Number of output columns of a tile, with an int32 sum and an int32 result each.
    """

    window: int
    inputs: int
    results: int
    sums: int
    filters: int
    kernel: int
    plane_places: int
    lines: int
    tile: int

    @property
    def size(self) -> int:
        """Total size in bytes; blocks and planes are not on the stack at the same time."""
        blocks = self.window + self.inputs + self.kernel + 4 * (self.results + self.sums + self.filters)
        planes = self.lines + 4 * (self.plane_places + 2 * self.tile)
        return max(blocks, planes)


def fast_buffers(plan: IntegerPlan) -> FastBuffers:
    """Return the stack buffers of the C code that is optimised for speed."""
    blocks = [(1, 0, 1, 1, 1, 0)]
    is_filled = is_expanded(plan)
    planes = [(1, 1, 1)]
    for step in plan.steps:
        filters, channels, rows, columns = step.form.shape
        if step.target is None or step.kind is not StepKind.CONVOLUTION:
            continue
        places = rows * columns
        if reads_planes(plan, step):
            tile = tile_columns(plan, step)
            pool_columns = 1 if step.pool is None else step.pool.form.window[1]
            width = (tile * pool_columns - 1) * step.form.stride + columns
            planes.append((places, rows * width, tile))
        else:
            groups = _groups(plan, step)
            outputs = plan.maps[step.target].shape[0]
            size = places * channels
            ordered = 0 if groups == 1 and (step.form.poses == 1 or is_filled) else size
            kernel = size * outputs if is_filled else 0
            starts = outputs if is_filled else filters
            blocks.append((size * groups, ordered, outputs, outputs // groups, starts, kernel))
    window, inputs, results, sums, starts, kernel = (max(column) for column in zip(*blocks, strict=True))
    plane_places, lines, tile = (max(column) for column in zip(*planes, strict=True))
    return FastBuffers(
        window=window, inputs=inputs, results=results, sums=sums, filters=starts,
        kernel=kernel, plane_places=plane_places, lines=lines, tile=tile,
    )  # fmt: skip
