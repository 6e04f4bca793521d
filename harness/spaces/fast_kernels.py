"""Sizes of loops and buffers in the exported C that is optimised for speed.

A convolution is computed in one of two ways:

- in *blocks*: up to four filters together (six with weights of few bits), so that a number of the window is loaded
  once for all filters of the block;
- in *planes*, if the filters read a single channel: one output channel after another.

In both, the rows of the input under the kernel are copied to a buffer first, the *lines*, column by column and for a
*tile* of neighbouring output columns, so that the numbers of a window follow one another. Weights of fewer than 8 bits
are unpacked to the stack.

``harness/exports/templates/convolve_speed.c.jinja`` contains the C code.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from enum import StrEnum

from harness.spaces.integer_plan import WIDE_BITS, IntegerPlan, IntegerStep, StepKind


class Optimisation(StrEnum):
    """Optimisation of the exported C."""

    SIZE = "size"
    SPEED = "speed"


_EXPANDED_BYTES = 640  # largest number of weights of a kernel in all poses that may be on the stack, a byte each
_MAX_PLACES = 256  # kernel positions whose indices fit into the uint8 numbers of an order table
_LINE_BYTES = 128  # of stack for the lines of a tile of planes: 28 output columns of a 3x3 kernel need 90
_TILE_BYTES = (384, 1_536)  # of stack for a tile of blocks with several output columns: least and largest limit
_WIDE_WEIGHTS = 320  # weights of a block, with 2 bytes each on the stack: 4 filters of 80 weights
_SCALED_SUMS = 64  # most numbers, with 4 bytes each on the stack, that are scaled at once in several places
FEW_POSITIONS = 2  # of a tile, for which weights are not converted to 16 bits
PAIR_BITS = 6  # most bits of a weight so that sums of four products of a weight and a byte fit into 16 bits


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

    This applies to a network with poses and few weights. Otherwise the lines are copied once per pose.
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


def block_sizes(filters: int, weight_bits: int) -> list[int]:
    """Return the sizes of the blocks of neighbouring filters, as ``next_block`` in the C code.

    A block has at most 4 filters, because more sums need further registers. Three filters at once are nearly as fast as
    four, so 10 filters become 3, 3 and 4. If two filters are multiplied at once, a block has at most 6 filters, and 10
    become 6 and 4.
    """
    sizes = []
    while filters:
        if weight_bits <= PAIR_BITS:
            size = 4 if 6 < filters <= 8 else 6
        else:
            size = 3 if filters % 4 else 4
        sizes.append(min(size, filters))
        filters -= sizes[-1]
    return sizes


def tile_columns(plan: IntegerPlan, step: IntegerStep) -> int:
    """Return the number of output columns in a tile, after pooling, or of the places that are scaled at once.

    0 for other steps.
    """
    if step.kind is StepKind.SCALING:
        return max(1, _SCALED_SUMS // plan.output(step).shape[0])
    if step.target is None or step.kind is not StepKind.CONVOLUTION:
        return 0
    _, _, rows, columns = step.form.shape
    _, _, output_columns = plan.output(step).shape
    if reads_planes(plan, step):
        inner_columns = (_LINE_BYTES // rows - columns) // step.form.stride + 1
        return min(max(1, inner_columns // step.pool_window[1]), output_columns)
    least, largest = _TILE_BYTES
    limit = min(max(least, plan.arena_bytes), largest)  # the stack grows with the arena
    target = plan.output(step).shape[0]
    if step.form.is_pointwise and _groups(plan, step) > 1 and target < plan.maps[step.source].shape[0]:
        return 1  # the output may overwrite the source, which the next group of channels still reads
    tile = next((tile for tile in range(output_columns, 1, -1) if _tile(plan, step, tile).size <= limit), 1)
    tiles = math.ceil(output_columns / tile)
    return math.ceil(output_columns / tiles)


def _tile(plan: IntegerPlan, step: IntegerStep, tile: int) -> FastBuffers:
    """Return the buffers that grow with the output columns of a tile of blocks."""
    _, channels, rows, columns = step.form.shape
    width = (tile * step.pool_window[1] - 1) * step.form.stride + columns
    lines = rows * width * channels
    poses = 1 if is_expanded(plan) else step.form.poses
    inputs = lines if poses > 1 else 0
    if poses > 2 and channels == 1:  # windows of which rows become columns are written out
        inputs = max(lines, tile * step.pool_window[1] * rows * columns)
    results = tile * plan.output(step).shape[0] if math.prod(step.pool_window) > 1 else 1
    sums = tile * step.pool_window[1] * (plan.output(step).shape[0] // poses // _groups(plan, step))
    return FastBuffers(block_lines=lines, inputs=inputs, columns=width, results=results, sums=sums)


def is_wide(plan: IntegerPlan, step: IntegerStep) -> bool:
    """Return whether cores that multiply pairs of numbers convert the weights of a block to 16 bits first.

    The conversion takes time for each tile, so a tile must have several positions; see ``WIDE_WEIGHTS`` in the C code.
    """
    size = max(block_sizes(block_filters(plan, step), plan.weight_bits))
    positions = tile_columns(plan, step) * step.pool_window[1]
    return positions > FEW_POSITIONS and math.prod(step.form.shape[1:]) * size <= _WIDE_WEIGHTS


@dataclass(frozen=True, slots=True)
class FastBuffers:
    """Sizes of the stack buffers of convolutions; by default the least sizes, because C has no empty arrays.

    Attributes:
        block_lines: uint8 values in the rows under the kernel for a tile of blocks, of a group of channels.
        inputs: The same in the order of a pose; 0 without poses.
        columns: Input columns under a tile of blocks, with an int32 sum each.
        results: int32 outputs of a tile of blocks with pooling.
        sums: int32 sums of a tile of blocks, in a pose, or of a tile of a step that only scales.
        filters: Stored filters, with an int32 start of the sum each.
        kernel: Unpacked or expanded weights of blocks, uint8; 0 if ``dot`` reads the stored weights.
        pairs: Unpacked pairs of weights, int32, in place of these bytes on cores that multiply pairs.
        wide: Weights of a block that are converted to int16 on cores that multiply pairs of numbers.
        plane_places: Kernel positions of planes, with an int32 weight each.
        lines: uint8 values in the rows under the kernel, for a tile of planes.
        plane_positions: Output columns of a tile of planes before pooling, with an int32 sum each.
        tile: Output columns of a tile of planes, with an int32 result each.
    """

    block_lines: int = 1
    inputs: int = 0
    columns: int = 1
    results: int = 1
    sums: int = 1
    filters: int = 1
    kernel: int = 0
    pairs: int = 0
    wide: int = 4
    plane_places: int = 1
    lines: int = 1
    plane_positions: int = 1
    tile: int = 1

    @property
    def size(self) -> int:
        """In bytes without ``wide``; blocks and planes are not on the stack at the same time."""
        bytes_of_blocks = self.block_lines + self.inputs + max(self.kernel, 4 * self.pairs)
        blocks = bytes_of_blocks + 4 * (self.columns + self.results + self.sums + self.filters)
        planes = self.lines + 4 * (self.plane_places + self.plane_positions + self.tile)
        return max(blocks, planes)


def fast_buffers(plan: IntegerPlan) -> FastBuffers:
    """Return the stack buffers of C code for speed, each as large as the largest step needs."""
    has_expanded_kernels = is_expanded(plan)
    sizes = [FastBuffers()]
    for step in plan.steps:
        filters, channels, rows, columns = step.form.shape
        if step.kind is StepKind.SCALING:
            sizes.append(FastBuffers(sums=tile_columns(plan, step) * plan.output(step).shape[0]))
        if step.target is None or step.kind is not StepKind.CONVOLUTION:
            continue
        tile = tile_columns(plan, step)
        if reads_planes(plan, step):
            positions = tile * step.pool_window[1]
            lines = rows * ((positions - 1) * step.form.stride + columns)
            sizes.append(FastBuffers(plane_places=rows * columns, lines=lines, plane_positions=positions, tile=tile))
            continue
        if has_expanded_kernels:
            filters *= step.form.poses
        sizes += [_tile(plan, step, tile), FastBuffers(filters=filters)]
        weights = rows * columns * channels  # of a filter
        if is_wide(plan, step):
            sizes.append(FastBuffers(wide=weights * max(block_sizes(block_filters(plan, step), plan.weight_bits))))
        if plan.weight_bits < WIDE_BITS or has_expanded_kernels:
            sizes.append(FastBuffers(kernel=weights * filters))
        if plan.weight_bits <= PAIR_BITS:
            period = block_filters(plan, step)
            pairs = sum((size + 1) // 2 for size in block_sizes(period, plan.weight_bits)) * (filters // period)
            sizes.append(FastBuffers(pairs=weights * pairs))
    return FastBuffers(*map(max, zip(*map(astuple, sizes), strict=True)))
