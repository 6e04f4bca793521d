"""Programs of the native engine: an architecture as a flat list of values and instructions.

The state of a program is an array of all parameters, followed by all running statistics. Instructions have the indices
of the values (the maps of a batch) that they read and write, and offsets into the state. ``python -m
harness.training.native.instruction`` writes the fields of `_Value` and `_Instruction` as C++ structures to
``instruction.h``; a test compares both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from harness.spaces import ops as spec
from harness.spaces.network import Architecture
from harness.spaces.ops import Shape

_HEADER = Path(__file__).with_suffix(".h")

_RATE_PARTS = 65_536  # a dropout rate is stored as a multiple of 1 / _RATE_PARTS
_SLOPE_PARTS = 1_000_000_000  # a leaky slope is stored as a multiple of 1 / _SLOPE_PARTS


class _Code(IntEnum):
    CONVOLUTION = 0
    DEPTHWISE = 1
    POINTWISE = 2  # activation, BN, activation and dropout, each optional
    MAX_POOL = 3
    AVERAGE_POOL = 4
    LINEAR = 5
    BRANCH = 6  # begin of a residual sum: the input map with a gradient of its own
    SUM = 7  # end of a residual sum
    UNSHUFFLE = 8


class _Activation(IntEnum):
    NONE = 0
    RELU = 1
    LEAKY = 2
    PRELU = 3
    SWISH = 4


@dataclass(frozen=True, slots=True)
class _Value:
    """Shape of a map, and the widths of the margins of zeros that readers of the map and of its gradient need."""

    channels: int
    height: int
    width: int
    margin: int = 0
    gradient_margin: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instruction:
    """An instruction; an index or offset of -1 means that the operand is absent."""

    code: _Code
    source: int
    target: int = -1
    summand: int = -1  # second summand of a sum
    rows: int = 0  # of a window; 0 to pool over the whole map
    columns: int = 0  # of a window
    stride: int = 1
    row_padding: int = 0  # zeros above and below
    column_padding: int = 0  # zeros on the left and on the right
    groups: int = 1  # groups of channels that are convolved separately
    poses: int = 1  # of each learned kernel, or of each scale and shift
    shared: int = 1  # neighbouring channels with a common mean and variance
    kernel: int = -1  # offset in the state, as the five fields below
    bias: int = -1
    scale: int = -1
    shift: int = -1
    mean: int = -1
    variance: int = -1
    before: _Activation = _Activation.NONE  # before or without BN
    after: _Activation = _Activation.NONE
    before_slope: int = 0  # in 1 / _SLOPE_PARTS if leaky, offset in the state if learned
    after_slope: int = 0  # as ``before_slope``
    dropout: int = 0  # 1: of single values, 2: of whole channels
    rate: int = 0  # in 1 / _RATE_PARTS


@dataclass(slots=True)
class EngineProgram:
    """A network as values and instructions, with the layout of the state."""

    values: list[_Value] = field(default_factory=list)
    instructions: list[_Instruction] = field(default_factory=list)
    # In torch's order, and whether a kernel or a matrix (``Recipe.decay``).
    parameters: list[tuple[int, bool]] = field(default_factory=list)
    statistics: int = 0  # for each BN the means, then the variances
    tied: dict[str, int] = field(default_factory=dict)  # offsets by name of the tie

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return sum(size for size, _ in self.parameters)

    @property
    def state_size(self) -> int:
        """Number of parameters and running statistics."""
        return self.parameter_count + self.statistics

    def _value(self, shape: Shape) -> int:
        self.values.append(_Value(*shape) if len(shape) == 3 else _Value(shape[0], 1, 1))
        return len(self.values) - 1

    def _write(self, shape: Shape, item: _Instruction) -> int:
        target = self._value(shape)
        self.instructions.append(replace(item, target=target))
        return target

    def _parameter(self, size: int, *, kernel: bool, tie: str | None = None) -> int:
        if tie in self.tied:
            return self.tied[tie]
        offset = self.parameter_count
        self.parameters.append((size, kernel))
        if tie is not None:
            self.tied[tie] = offset
        return offset


def program(architecture: Architecture, input_shape: Shape) -> EngineProgram:
    """Return the program of a network, whose ops must all be in ``KERNELS``.

    Args:
        input_shape: (channels, rows, columns) of an image.

    Raises:
        ShapeError: The ops do not fit together.
    """
    flat = EngineProgram()
    _sequence(flat, architecture.ops, input_shape, flat._value(input_shape))
    # Statistics follow the parameters, whose number is known only now. Not each BN has a scale.
    count = flat.parameter_count
    for index, item in enumerate(flat.instructions):
        if item.shift >= 0:
            flat.instructions[index] = replace(item, mean=count + item.mean, variance=count + item.variance)
    return flat


def _sequence(flat: EngineProgram, ops: tuple[spec.Op, ...], shape: Shape, source: int) -> int:
    while ops:
        count, item = _pointwise(flat, ops, shape, source)
        if count:
            source = flat._write(shape, item)
        else:
            op, *_ = ops
            source = _INSTRUCTIONS[type(op)](flat, op, shape, source)
            shape = op.shape(shape)
        ops = ops[max(1, count) :]
    return source


def _pointwise(flat: EngineProgram, ops: tuple[spec.Op, ...], shape: Shape, source: int) -> tuple[int, _Instruction]:
    """Return the number of leading ops that fit into a single pointwise instruction, and the instruction.

    The ops are activation, BN, activation and dropout in this order. Each is optional; the second activation needs BN.
    """
    item = _Instruction(code=_Code.POINTWISE, source=source)
    count = 0
    for stage in range(4):  # activation, BN, activation, dropout
        op = ops[count] if count < len(ops) else None
        if stage == 0 and type(op) in _ACTIVATIONS:
            item = replace(item, before=_ACTIVATIONS[type(op)], before_slope=_slope(flat, op))
        elif stage == 2 and type(op) in _ACTIVATIONS and item.shift >= 0:
            item = replace(item, after=_ACTIVATIONS[type(op)], after_slope=_slope(flat, op))
        elif isinstance(op, spec.BatchNorm) and stage == 1:
            item = _with_norm(flat, item, op, shape[0])
        elif isinstance(op, spec.Dropout) and stage == 3:
            rate = min(round(op.p * _RATE_PARTS), _RATE_PARTS - 1)  # below 1, as values are divided by 1 - rate
            item = replace(item, dropout=_DROPOUTS[type(op)], rate=rate)
        else:
            continue
        count += 1
    return count, item


def _slope(flat: EngineProgram, activation: spec.Op | None) -> int:
    if isinstance(activation, spec.PReLU):
        return flat._parameter(1, kernel=False)
    if isinstance(activation, spec.LeakyReLU):
        return round(activation.slope * _SLOPE_PARTS)
    return 0


def _with_norm(flat: EngineProgram, item: _Instruction, norm: spec.BatchNorm, channels: int) -> _Instruction:
    shared_poses = norm.poses if norm.shared else 1
    count = channels // norm.poses  # poses share scale and shift
    scale = -1
    if not norm.unscaled:
        # The shift has the name of the tie.
        tie = None if norm.tie is None else f"{norm.tie} scale"
        scale = flat._parameter(count, kernel=False, tie=tie)
    shift = flat._parameter(count, kernel=False, tie=norm.tie)
    mean = flat.statistics
    variance = mean + channels // shared_poses
    flat.statistics = variance + channels // shared_poses
    return replace(item, poses=norm.poses, shared=shared_poses, scale=scale, shift=shift, mean=mean, variance=variance)


def _window(code: _Code, flat: EngineProgram, op: Any, shape: Shape, source: int) -> int:
    rows, columns, _ = op.window(shape) or (0, 0, 0)
    return flat._write(op.shape(shape), _Instruction(code=code, source=source, rows=rows, columns=columns))


def _linear(flat: EngineProgram, op: spec.Linear | spec.PoseLinear, shape: Shape, source: int) -> int:
    # With poses, a factor per channel and a factor per pose for each output (``KernelForm.factors``).
    weights = flat._parameter(op.cost(shape)[0] - op.out_features, kernel=True)
    bias = flat._parameter(op.out_features, kernel=False)
    poses = op.poses if isinstance(op, spec.PoseLinear) else 1
    item = _Instruction(code=_Code.LINEAR, source=source, poses=poses, kernel=weights, bias=bias)
    return flat._write(op.shape(shape), item)


def _convolution(flat: EngineProgram, op: spec.Conv | spec.DepthwiseConv, shape: Shape, source: int) -> int:
    rows, columns = op.edges
    above, left = op.paddings
    weights = op.tied_shape(shape)  # (filters, channels of a group, rows, columns)
    value = flat.values[source]
    flat.values[source] = replace(value, margin=max(value.margin, above, left))
    item = _Instruction(
        code=_Code.CONVOLUTION if isinstance(op, spec.Conv) else _Code.DEPTHWISE,
        source=source,
        rows=rows,
        columns=columns,
        stride=op.stride,
        row_padding=above,
        column_padding=left,
        groups=shape[0] // weights[1],
        poses=op.poses,
        kernel=flat._parameter(prod(weights), kernel=True, tie=op.tie),
        bias=flat._parameter(weights[0], kernel=False) if op.bias else -1,
    )
    target = flat._write(op.shape(shape), item)
    # The gradient of the input is a convolution with the padding rows - 1 - above.
    margin = max(0, rows - 1 - above, columns - 1 - left)
    flat.values[target] = replace(flat.values[target], gradient_margin=margin)
    return target


def _residual(flat: EngineProgram, op: spec.Residual, shape: Shape, source: int) -> int:
    branch = flat._write(shape, _Instruction(code=_Code.BRANCH, source=source))
    inner = _sequence(flat, op.ops, shape, branch)
    return flat._write(shape, _Instruction(code=_Code.SUM, source=inner, summand=source))


# These can be combined with BN.
_ACTIVATIONS: Mapping[type[Any], _Activation] = {
    spec.ReLU: _Activation.RELU,
    spec.LeakyReLU: _Activation.LEAKY,
    spec.PReLU: _Activation.PRELU,
    spec.Swish: _Activation.SWISH,
}
_DROPOUTS: Mapping[type[spec.Op], int] = {spec.Dropout: 1, spec.Dropout2d: 2}
# Append the instruction of an op with input value ``source`` and return the index of the output.
_INSTRUCTIONS: Mapping[type[spec.Op], Callable[[EngineProgram, Any, Shape, int], int]] = {
    spec.Conv: _convolution,
    spec.DepthwiseConv: _convolution,
    spec.MaxPool: partial(_window, _Code.MAX_POOL),
    spec.AvgPool: partial(_window, _Code.AVERAGE_POOL),
    spec.GlobalAvgPool: partial(_window, _Code.AVERAGE_POOL),
    spec.Unshuffle: partial(_window, _Code.UNSHUFFLE),
    spec.Linear: _linear,
    spec.PoseLinear: _linear,
    spec.Residual: _residual,
}
# Networks with other ops train on torch.
KERNELS = frozenset({*_ACTIVATIONS, *_DROPOUTS, spec.BatchNorm, *_INSTRUCTIONS})


def _header() -> str:
    parts = [
        "// Generated by `python -m harness.training.native.instruction`; instruction.py documents the fields.",
        "#pragma once",
        "#include <cstdint>",
        "",
        "namespace engine {",
        "",
        f"constexpr int32_t RATE_PARTS = {_RATE_PARTS}, SLOPE_PARTS = {_SLOPE_PARTS};",
        "",
    ]
    for name, words in (("class Code", _Code), ("Activation", _Activation)):
        parts.extend([f"enum {name} : int32_t {{", *(f"  {word.name} = {word.value}," for word in words), "};", ""])
    for name, kind in (("ValueRow", _Value), ("Instruction", _Instruction)):
        parts.extend([f"struct {name} {{", *(f"  int32_t {item.name};" for item in fields(kind)), "};", ""])
    return "\n".join([*parts, "}  // namespace engine", ""])


if __name__ == "__main__":
    _HEADER.write_text(_header(), encoding="utf-8")
