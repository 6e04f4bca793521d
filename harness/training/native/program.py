"""An architecture as a flat program for the native engine: values, instructions and the layout of its state.

The engine keeps all parameters, and behind them all running statistics, in one array: the state. A program says
which values (maps of a batch) there are, which instruction reads and writes which, and where in the state each
finds its kernels. Nothing here needs a compiler, torch or the engine.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from math import prod
from typing import assert_never

from harness.training.native.instruction import RATE_PARTS, SLOPE_PARTS, Code, Instruction, Rectifier, Value
from search_spaces.architecture import (
    Architecture,
    AvgPool,
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    Dropout2d,
    GlobalAvgPool,
    LeakyReLU,
    Linear,
    MaxPool,
    Op,
    PReLU,
    ReLU,
    Residual,
    Unshuffle,
    kernel_shape,
    paddings,
)
from search_spaces.shapes import Shape, output_shape
from search_spaces.task import MNIST

_RECTIFIERS = ReLU | LeakyReLU | PReLU


@dataclass(frozen=True, slots=True)
class Program:
    """A network, flat.

    Attributes:
        parameters: sizes of the parameters in the order of torch's ``parameters()``; decayed ones have True.
        statistics: number of means of each BN, in order: one a channel, or one for all that share it. Each BN has its
            means, then its variances, in the state.
    """

    values: tuple[Value, ...]
    instructions: tuple[Instruction, ...]
    parameters: tuple[tuple[int, bool], ...]
    statistics: tuple[int, ...]

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return sum(size for size, _ in self.parameters)

    @property
    def state_size(self) -> int:
        """Number of parameters and running statistics."""
        return self.parameter_count + 2 * sum(self.statistics)


def program(architecture: Architecture, input_shape: Shape = MNIST.input_shape) -> Program:
    """Return the program of a network.

    Raises:
        ShapeError: the ops do not fit together.
    """
    draft = _Draft([_value(input_shape)])
    _sequence(draft, architecture.ops, input_shape, 0)
    first = sum(size for size, _ in draft.parameters)
    return Program(
        tuple(draft.values),
        tuple(_located(item, first) for item in draft.instructions),
        tuple(draft.parameters),
        tuple(draft.statistics),
    )


class _Draft:
    """A program while it is written."""

    def __init__(self, values: list[Value]) -> None:
        self.values = values
        self.instructions: list[Instruction] = []
        self.parameters: list[tuple[int, bool]] = []
        self.statistics: list[int] = []
        self.tied: dict[str, int] = {}

    def value(self, shape: Shape) -> int:
        self.values.append(_value(shape))
        return len(self.values) - 1

    def widen(self, index: int, *, margin: int = 0, gradient_margin: int = 0) -> None:
        """Give a value at least these margins."""
        value = self.values[index]
        self.values[index] = replace(
            value,
            margin=max(value.margin, margin),
            gradient_margin=max(value.gradient_margin, gradient_margin),
        )

    def parameter(self, size: int, *, decayed: bool) -> int:
        """Return the offset of a new parameter."""
        offset = sum(known for known, _ in self.parameters)
        self.parameters.append((size, decayed))
        return offset

    def kernel(self, size: int, tie: str | None) -> int:
        """Return the offset of a kernel, which a tie may have given one already."""
        if tie is None:
            return self.parameter(size, decayed=True)
        if tie not in self.tied:
            self.tied[tie] = self.parameter(size, decayed=True)
        return self.tied[tie]


def _value(shape: Shape) -> Value:
    return Value(*shape) if len(shape) == 3 else Value(shape[0], 1, 1)


def _located(item: Instruction, first: int) -> Instruction:
    """Move offsets of statistics behind the parameters, whose number is known at the end only."""
    return replace(item, mean=first + item.mean, variance=first + item.variance) if item.shift >= 0 else item


def _sequence(draft: _Draft, ops: tuple[Op, ...], shape: Shape, source: int) -> int:
    """Write the instructions of ops that read ``source``, and return the value that they leave."""
    index = 0
    while index < len(ops):
        count = _pointwise_count(ops[index:])
        if count:
            source = _pointwise(draft, ops[index : index + count], shape, source)
            index += count
            continue
        source = _instruction(draft, ops[index], shape, source)
        shape = output_shape(ops[index], shape)
        index += 1
    return source


def _pointwise_count(ops: tuple[Op, ...]) -> int:
    """Return how many ops from the first one instruction takes.

    They are rectifier, BN, rectifier and dropout in this order, each or none; a second rectifier only after BN.
    """
    count = 0
    for kind in (_RECTIFIERS, BatchNorm, _RECTIFIERS, Dropout | Dropout2d):
        second = kind is _RECTIFIERS and count > 0 and not isinstance(ops[count - 1], BatchNorm)
        if count < len(ops) and isinstance(ops[count], kind) and not second:
            count += 1
    return count


def _pointwise(draft: _Draft, ops: tuple[Op, ...], shape: Shape, source: int) -> int:
    target = draft.value(shape)
    item = Instruction(code=Code.POINTWISE, source=source, target=target)
    normed = False
    for op in ops:
        match op:
            case ReLU() | LeakyReLU() | PReLU():
                kind, slope = _rectifier(draft, op)
                if normed:
                    item = replace(item, after=kind, after_slope=slope)
                else:
                    item = replace(item, before=kind, before_slope=slope)
            case BatchNorm():
                normed = True
                learned = shape[0] // op.poses
                shared = op.poses if op.shared else 1
                means = shape[0] // shared
                scale = -1 if op.unscaled else draft.parameter(learned, decayed=False)
                shift = draft.parameter(learned, decayed=False)
                mean = 2 * sum(draft.statistics)
                draft.statistics.append(means)
                item = replace(item, poses=op.poses, shared=shared, scale=scale, shift=shift)
                item = replace(item, mean=mean, variance=mean + means)
            case Dropout() | Dropout2d():
                unit = 1 if isinstance(op, Dropout) else 2
                item = replace(item, dropout=unit, rate=min(round(op.p * RATE_PARTS), RATE_PARTS - 1))
    draft.instructions.append(item)
    return target


def _rectifier(draft: _Draft, op: ReLU | LeakyReLU | PReLU) -> tuple[Rectifier, int]:
    """Return the kind of a rectifier and what stands for its slope."""
    match op:
        case ReLU():
            return Rectifier.RELU, 0
        case LeakyReLU():
            return Rectifier.LEAKY, round(op.slope * SLOPE_PARTS)
        case PReLU():
            return Rectifier.PRELU, draft.parameter(1, decayed=False)
        case _:
            assert_never(op)


def _instruction(draft: _Draft, op: Op, shape: Shape, source: int) -> int:
    match op:
        case Conv() | DepthwiseConv():
            return _convolution(draft, op, shape, source)
        case MaxPool():
            return _write(draft, op, shape, _window(Code.MAX_POOL, source, op.size))
        case AvgPool():
            return _write(draft, op, shape, _window(Code.AVERAGE_POOL, source, op.size))
        case Unshuffle():
            return _write(draft, op, shape, _window(Code.UNSHUFFLE, source, op.size))
        case GlobalAvgPool():
            return _write(draft, op, shape, _window(Code.AVERAGE_POOL, source, 0))
        case Linear():
            weights = draft.parameter(prod(shape) * op.out_features, decayed=True)
            bias = draft.parameter(op.out_features, decayed=False)
            item = Instruction(code=Code.LINEAR, source=source, target=0, kernel=weights, bias=bias)
            return _write(draft, op, shape, item)
        case Residual():
            return _residual(draft, op, shape, source)
        case ReLU() | LeakyReLU() | PReLU() | BatchNorm() | Dropout() | Dropout2d():
            raise AssertionError("pointwise ops are taken together")
        case _:
            assert_never(op)


def _window(code: Code, source: int, size: int) -> Instruction:
    return Instruction(code=code, source=source, target=0, rows=size, columns=size)


def _write(draft: _Draft, op: Op, shape: Shape, item: Instruction) -> int:
    target = draft.value(output_shape(op, shape))
    draft.instructions.append(replace(item, target=target))
    return target


def _convolution(draft: _Draft, op: Conv | DepthwiseConv, shape: Shape, source: int) -> int:
    rows, columns = kernel_shape(op)
    above, left = paddings(op)
    out, groups = (op.out_channels, op.groups) if isinstance(op, Conv) else (shape[0], shape[0])
    poses = op.poses if isinstance(op, Conv) else 1
    learned = out // poses
    weights = draft.kernel(rows * columns * learned * (shape[0] // groups), op.tie)
    bias = draft.parameter(learned, decayed=False) if op.bias else -1
    draft.widen(source, margin=max(above, left))
    item = Instruction(
        code=Code.CONVOLUTION if isinstance(op, Conv) else Code.DEPTHWISE,
        source=source,
        target=0,
        rows=rows,
        columns=columns,
        stride=op.stride,
        row_padding=above,
        column_padding=left,
        groups=groups,
        poses=poses,
        kernel=weights,
        bias=bias,
    )
    target = _write(draft, op, shape, item)
    draft.widen(target, gradient_margin=max(0, rows - 1 - above, columns - 1 - left))
    return target


def _residual(draft: _Draft, op: Residual, shape: Shape, source: int) -> int:
    branch = draft.value(shape)
    draft.instructions.append(Instruction(code=Code.BRANCH, source=source, target=branch))
    inner = _sequence(draft, op.ops, shape, branch)
    target = draft.value(shape)
    draft.instructions.append(Instruction(code=Code.SUM, source=inner, target=target, other=source))
    return target


def rows(items: tuple[Value, ...] | tuple[Instruction, ...]) -> list[int]:
    """Return values or instructions as the integers that the engine reads, one row after another."""
    return [int(number) for item in items for number in astuple(item)]
