"""Where the maps of a flat program lie in the one block of memory that a persistent engine gives its network.

All sizes count numbers, not bytes. Nothing here needs torch, a compiler or a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.engine.instruction import Code, Instruction, Value
from harness.engine.program import Program
from harness.errors import ContentError

# Maps begin on a line of a GPU's cache, 128 bytes of fp32.
ALIGNMENT = 32
# The kernel counts the numbers of a map, and partial sums, in 32 bits.
LARGEST = 2**31 - 1
# Rows that one thread walks through for the gradient of a kernel (CHUNK of engine/persistent/convolution.h).
CHUNK = 7
# Output channels are computed in blocks of this many at most (block_of there).
BLOCK = 8

_CONVOLUTIONS = (Code.CONVOLUTION, Code.DEPTHWISE)


@dataclass(frozen=True, slots=True)
class MapRow:
    """One map, its fields in the order of ``engine/persistent/program.h``; ``at`` is where its margin begins."""

    at: int
    channels: int
    height: int
    width: int
    margin: int


@dataclass(frozen=True, slots=True)
class Arena:
    """The memory of one network for one batch.

    Attributes:
        maps: one a value.
        gradients: one a value; values that a pointwise instruction links share one.
        spreads: one an instruction: the gradient with zeros between its positions, for strides above 1, else empty.
        size: of all maps together.
        scratch: room for partial sums.
        packed: room for one kernel in the order of use.
    """

    maps: tuple[MapRow, ...]
    gradients: tuple[MapRow, ...]
    spreads: tuple[MapRow, ...]
    size: int
    scratch: int
    packed: int


def arena(program: Program, batch: int) -> Arena:
    """Return the memory of a program that trains on so many images a step.

    Raises:
        ContentError: a map, or the partial sums of an instruction, are too large for the kernel to count.
    """
    end = 0

    def placed(value: Value, margin: int) -> MapRow:
        nonlocal end
        row = MapRow(end, value.channels, value.height, value.width, margin)
        size = value.channels * (value.height + 2 * margin) * (value.width + 2 * margin) * batch
        _check(size, batch)
        end += _rounded(size, ALIGNMENT)
        return row

    maps = tuple(placed(value, value.margin) for value in program.values)
    homes = _homes(program)
    margins = [0] * len(homes)
    for value, home in zip(program.values, homes, strict=True):
        margins[home] = max(margins[home], value.gradient_margin)
    own: dict[int, MapRow] = {}
    for home, value in enumerate(program.values):
        if homes[home] == home:
            own[home] = placed(value, margins[home])
    spreads = tuple(placed(*_spread(program, item)) for item in program.instructions)
    scratch = max([batch, *(_scratch(program, item, batch) for item in program.instructions)])
    _check(scratch, batch)
    packed = max([0, *(_packed(program, item) for item in program.instructions)])
    return Arena(maps, tuple(own[home] for home in homes), spreads, end, scratch, packed)


def _homes(program: Program) -> list[int]:
    """Return the value whose gradient each value's gradient takes the place of.

    What happens to each value by itself turns the gradient after it into the one before it in place.
    """
    homes = list(range(len(program.values)))
    for item in program.instructions:
        if item.code is Code.POINTWISE:
            homes[item.target] = homes[item.source]
    return homes


def _spread(program: Program, item: Instruction) -> tuple[Value, int]:
    """Return the shape and the margin of a gradient with zeros between its positions; nothing where none are."""
    if item.code not in _CONVOLUTIONS or item.stride == 1:
        return Value(0, 0, 0), 0
    x = program.values[item.source]
    # Where the last stride leaves rows over, the window never saw them: zeros stand there for their gradient.
    height = x.height + 2 * item.row_padding - item.rows + 1
    width = x.width + 2 * item.column_padding - item.columns + 1
    margin = max(0, item.rows - 1 - item.row_padding, item.columns - 1 - item.column_padding)
    return Value(program.values[item.target].channels, height, width), margin


def _scratch(program: Program, item: Instruction, batch: int) -> int:
    x, y = program.values[item.source], program.values[item.target]
    if item.code in _CONVOLUTIONS:
        weights = y.channels * (x.channels // item.groups) * item.rows * item.columns
        return max(weights * -(-y.height // CHUNK), y.channels * y.height) * batch
    # Sums of the gradient, of its products with the values, and of the shares of both slopes.
    return 4 * x.channels * x.height * batch if item.code is Code.POINTWISE else 0


def _packed(program: Program, item: Instruction) -> int:
    if item.code not in _CONVOLUTIONS:
        return 0
    x, y = program.values[item.source], program.values[item.target]
    forth = x.channels * _rounded(y.channels // item.groups, BLOCK)
    # Nothing needs the gradient of the images.
    back = y.channels * _rounded(x.channels // item.groups, BLOCK) if item.source else 0
    return max(forth, back) * item.rows * item.columns


def _rounded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _check(size: int, batch: int) -> None:
    if size > LARGEST:
        raise ContentError(
            f"recipe: with batch_size {batch} an instruction of the network takes {size:,} numbers, "
            f"but the persistent engine counts to {LARGEST:,}"
        )
