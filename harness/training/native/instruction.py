"""What a flat program for the native engine consists of: maps and instructions, as the engine's C++ declares them.

A test compares the fields and numbers here with ``program.h`` and ``pointwise.h``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

# The engine takes integers only: a dropout rate and the slope of a leaky rectifier in these parts.
RATE_PARTS = 65_536
SLOPE_PARTS = 1_000_000_000


class Code(IntEnum):
    """Instructions; the numbers are those of ``program.h``."""

    CONVOLUTION = 0
    DEPTHWISE = 1
    POINTWISE = 2
    MAX_POOL = 3
    AVERAGE_POOL = 4
    LINEAR = 5
    BRANCH = 6
    SUM = 7
    UNSHUFFLE = 8


class Rectifier(IntEnum):
    """What a pointwise instruction does to what is negative; the numbers are those of ``pointwise.h``."""

    NONE = 0
    RELU = 1
    LEAKY = 2
    PRELU = 3


@dataclass(frozen=True, slots=True)
class Value:
    """One map: its shape, and the margins of zeros around it and around its gradient that its readers need."""

    channels: int
    height: int
    width: int
    margin: int = 0
    gradient_margin: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction, its fields in the order of ``program.h``; -1 stands for what there is not.

    Attributes:
        values: ``source`` and ``target`` are indices of values; ``other`` is the second summand of a sum.
        rows: of a window; 0 for a pool over the whole map.
        shared: so many neighbouring channels have one mean and one variance.
        before: rectifier before BN, or without one; ``after`` is that after it.
        before_slope: of a leaky one in parts of 1,000,000,000, of a learned one its place; ``after_slope`` likewise.
        rate: of dropout, in parts of 65,536.
    """

    code: Code
    source: int
    target: int
    other: int = -1
    rows: int = 0
    columns: int = 0
    stride: int = 1
    row_padding: int = 0
    column_padding: int = 0
    groups: int = 1
    poses: int = 1
    shared: int = 1
    kernel: int = -1
    bias: int = -1
    scale: int = -1
    shift: int = -1
    mean: int = -1
    variance: int = -1
    before: Rectifier = Rectifier.NONE
    after: Rectifier = Rectifier.NONE
    before_slope: int = 0
    after_slope: int = 0
    dropout: int = 0
    rate: int = 0
