"""What a flat program for the native engine consists of: maps and instructions.

``instruction.h`` is the same in C++, written from here by ``python -m harness.training.native.instruction``; a test
compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path

_HEADER = Path(__file__).with_suffix(".h")

# The engine takes integers only: a dropout rate and the slope of a leaky activation in these parts.
RATE_PARTS = 65_536
SLOPE_PARTS = 1_000_000_000


class Code(IntEnum):
    """Instructions."""

    CONVOLUTION = 0
    DEPTHWISE = 1
    POINTWISE = 2
    MAX_POOL = 3
    AVERAGE_POOL = 4
    LINEAR = 5
    BRANCH = 6
    SUM = 7
    UNSHUFFLE = 8


class Activation(IntEnum):
    """What a pointwise instruction does to a value before its BN or after it."""

    NONE = 0
    RELU = 1
    LEAKY = 2
    PRELU = 3
    SWISH = 4


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
    """One instruction; -1 stands for what there is not.

    Attributes:
        source: index of the value that is read; ``target`` of the one that is written.
        other: index of the second summand of a sum.
        rows: of a window; 0 for a pool over the whole map.
        row_padding: zeros above and below; ``column_padding`` on the left and on the right.
        groups: of channels, each convolved by itself.
        poses: of each learned kernel, or of each scale and shift.
        shared: so many neighbouring channels have one mean and one variance.
        kernel: its place in the state; so with ``bias``, ``scale``, ``shift``, ``mean`` and ``variance``.
        before: activation before BN, or without one; ``after`` is that after it.
        before_slope: of a leaky one in parts of 1,000,000,000, of a learned one its place; ``after_slope`` likewise.
        dropout: 0 for none, 1 of single values, 2 of whole channels.
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
    before: Activation = Activation.NONE
    after: Activation = Activation.NONE
    before_slope: int = 0
    after_slope: int = 0
    dropout: int = 0
    rate: int = 0


def _header() -> str:
    parts = [
        "// Written by `python -m harness.training.native.instruction`, whose file says what each number means.",
        "#pragma once",
        "#include <cstdint>",
        "",
        "namespace engine {",
        "",
        f"constexpr int32_t RATE_PARTS = {RATE_PARTS}, SLOPE_PARTS = {SLOPE_PARTS};",
        "",
    ]
    for name, words in (("class Code", Code), ("Activation", Activation)):
        parts.extend([f"enum {name} : int32_t {{", *(f"  {word.name} = {word.value}," for word in words), "};", ""])
    for name, kind in (("ValueRow", Value), ("Instruction", Instruction)):
        parts.extend([f"struct {name} {{", *(f"  int32_t {item.name};" for item in fields(kind)), "};", ""])
    return "\n".join([*parts, "}  // namespace engine", ""])


if __name__ == "__main__":
    _HEADER.write_text(_header(), encoding="utf-8")
