"""An architecture as a flat program for the native engine: values, instructions and the layout of its state.

The engine keeps all parameters, and behind them all running statistics, in one array: the state. A program says
which values (maps of a batch) there are, which instruction reads and writes which, and where in the state each
finds its kernels. Nothing here needs a compiler, torch or the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from functools import partial
from math import prod
from typing import Any

from harness.training.native.instruction import RATE_PARTS, SLOPE_PARTS, Activation, Code, Instruction, Value
from search_spaces import ops as spec
from search_spaces.network import Architecture
from search_spaces.ops import Shape


@dataclass(frozen=True, slots=True)
class Program:
    """A network, flat.

    Attributes:
        parameters: sizes of the parameters in the order of torch's ``parameters()``; kernels and matrices have True.
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


def program(architecture: Architecture, input_shape: Shape) -> Program:
    """Return the program of a network. Raises ShapeError: the ops do not fit together."""
    draft = _Draft([_value(input_shape)])
    _sequence(draft, architecture.ops, input_shape, 0)
    first = sum(size for size, _ in draft.parameters)
    return Program(
        tuple(draft.values),
        # Statistics lie behind the parameters, whose number is known at the end only.
        tuple(
            replace(item, mean=first + item.mean, variance=first + item.variance) if item.shift >= 0 else item
            for item in draft.instructions
        ),
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
        value = self.values[index]
        widest = max(value.margin, margin), max(value.gradient_margin, gradient_margin)
        self.values[index] = replace(value, margin=widest[0], gradient_margin=widest[1])

    def parameter(self, size: int, *, kernel: bool) -> int:
        offset = sum(known for known, _ in self.parameters)
        self.parameters.append((size, kernel))
        return offset

    def kernel(self, size: int, tie: str | None) -> int:
        if tie is None or tie not in self.tied:
            offset = self.parameter(size, kernel=True)
            return offset if tie is None else self.tied.setdefault(tie, offset)
        return self.tied[tie]


def _value(shape: Shape) -> Value:
    return Value(*shape) if len(shape) == 3 else Value(shape[0], 1, 1)


def _sequence(draft: _Draft, ops: tuple[spec.Op, ...], shape: Shape, source: int) -> int:
    """Write the instructions of ops that read ``source``, and return the value that they leave."""
    index = 0
    while index < len(ops):
        count = _pointwise_count(ops[index:])
        if count:
            source = _pointwise(draft, ops[index : index + count], shape, source)
            index += count
            continue
        source = _INSTRUCTIONS[type(ops[index])](draft, ops[index], shape, source)
        shape = ops[index].shape(shape)
        index += 1
    return source


def _pointwise_count(ops: tuple[spec.Op, ...]) -> int:
    # Activation, BN, activation and dropout in this order, each or none; a second activation only after BN.
    count = 0
    for kinds in (_ACTIVATIONS, {spec.BatchNorm}, _ACTIVATIONS, _DROPOUTS):
        second = kinds is _ACTIVATIONS and count > 0 and not isinstance(ops[count - 1], spec.BatchNorm)
        if count < len(ops) and type(ops[count]) in kinds and not second:
            count += 1
    return count


def _pointwise(draft: _Draft, ops: tuple[spec.Op, ...], shape: Shape, source: int) -> int:
    target = draft.value(shape)
    item = Instruction(code=Code.POINTWISE, source=source, target=target)
    for op in ops:
        if isinstance(op, spec.BatchNorm):
            item = _normed(draft, op, shape, item)
        elif isinstance(op, spec.Dropout | spec.Dropout2d):
            rate = min(round(op.p * RATE_PARTS), RATE_PARTS - 1)
            item = replace(item, dropout=_DROPOUTS[type(op)], rate=rate)
        else:
            kind, slope = _ACTIVATIONS[type(op)], _slope(draft, op)
            # Only a norm has a shift.
            if item.shift < 0:
                item = replace(item, before=kind, before_slope=slope)
            else:
                item = replace(item, after=kind, after_slope=slope)
    draft.instructions.append(item)
    return target


def _normed(draft: _Draft, op: spec.BatchNorm, shape: Shape, item: Instruction) -> Instruction:
    learned = shape[0] // op.poses
    shared = op.poses if op.shared else 1
    means = shape[0] // shared
    scale = -1 if op.unscaled else draft.parameter(learned, kernel=False)
    shift = draft.parameter(learned, kernel=False)
    mean = 2 * sum(draft.statistics)
    draft.statistics.append(means)
    return replace(item, poses=op.poses, shared=shared, scale=scale, shift=shift, mean=mean, variance=mean + means)


def _slope(draft: _Draft, op: spec.Op) -> int:
    """Return what stands for the slope of an activation: parts where it is given, a place where it is learned."""
    if isinstance(op, spec.PReLU):
        return draft.parameter(1, kernel=False)
    return round(op.slope * SLOPE_PARTS) if isinstance(op, spec.LeakyReLU) else 0


def _window(code: Code, draft: _Draft, op: Any, shape: Shape, source: int) -> int:
    # The window of what has no size is the whole map.
    size = getattr(op, "size", 0)
    return _write(draft, op, shape, Instruction(code=code, source=source, target=0, rows=size, columns=size))


def _linear(draft: _Draft, op: spec.Linear, shape: Shape, source: int) -> int:
    weights = draft.parameter(prod(shape) * op.out_features, kernel=True)
    bias = draft.parameter(op.out_features, kernel=False)
    return _write(draft, op, shape, Instruction(code=Code.LINEAR, source=source, target=0, kernel=weights, bias=bias))


def _write(draft: _Draft, op: spec.Op, shape: Shape, item: Instruction) -> int:
    target = draft.value(op.shape(shape))
    draft.instructions.append(replace(item, target=target))
    return target


def _convolution(draft: _Draft, op: spec.Conv | spec.DepthwiseConv, shape: Shape, source: int) -> int:
    rows, columns = op.edges
    above, left = op.paddings
    out, groups = (op.out_channels, op.groups) if isinstance(op, spec.Conv) else (shape[0], shape[0])
    poses = op.poses if isinstance(op, spec.Conv) else 1
    learned = out // poses
    weights = draft.kernel(rows * columns * learned * (shape[0] // groups), op.tie)
    bias = draft.parameter(learned, kernel=False) if op.bias else -1
    draft.widen(source, margin=max(above, left))
    code = Code.CONVOLUTION if isinstance(op, spec.Conv) else Code.DEPTHWISE
    window: dict[str, Any] = {
        "rows": rows,
        "columns": columns,
        "stride": op.stride,
        "row_padding": above,
        "column_padding": left,
    }
    parts: dict[str, Any] = {"groups": groups, "poses": poses, "kernel": weights, "bias": bias}
    target = _write(draft, op, shape, Instruction(code=code, source=source, target=0, **window, **parts))
    draft.widen(target, gradient_margin=max(0, rows - 1 - above, columns - 1 - left))
    return target


def _residual(draft: _Draft, op: spec.Residual, shape: Shape, source: int) -> int:
    branch = draft.value(shape)
    draft.instructions.append(Instruction(code=Code.BRANCH, source=source, target=branch))
    inner = _sequence(draft, op.ops, shape, branch)
    target = draft.value(shape)
    draft.instructions.append(Instruction(code=Code.SUM, source=inner, target=target, other=source))
    return target


_Writer = Callable[[_Draft, Any, Shape, int], int]
# Ops that one pointwise instruction takes together with BN, and what they are in it.
_ACTIVATIONS: Mapping[type[spec.Op], Activation] = {
    spec.ReLU: Activation.RELU,
    spec.LeakyReLU: Activation.LEAKY,
    spec.PReLU: Activation.PRELU,
    spec.Swish: Activation.SWISH,
}
_DROPOUTS: Mapping[type[spec.Op], int] = {spec.Dropout: 1, spec.Dropout2d: 2}
# Ops with instructions of their own: they write what reads one value, and return the value that it leaves.
_INSTRUCTIONS: Mapping[type[spec.Op], _Writer] = {
    spec.Conv: _convolution,
    spec.DepthwiseConv: _convolution,
    spec.MaxPool: partial(_window, Code.MAX_POOL),
    spec.AvgPool: partial(_window, Code.AVERAGE_POOL),
    spec.GlobalAvgPool: partial(_window, Code.AVERAGE_POOL),
    spec.Unshuffle: partial(_window, Code.UNSHUFFLE),
    spec.Linear: _linear,
    spec.Residual: _residual,
}
# Ops that the engine has a kernel for. A network with any other trains on torch.
KERNELS = frozenset({*_ACTIVATIONS, *_DROPOUTS, spec.BatchNorm, *_INSTRUCTIONS})


def rows(items: tuple[Value, ...] | tuple[Instruction, ...]) -> list[int]:
    """Return values or instructions as the integers that the engine reads, one row after another."""
    return [int(number) for item in items for number in astuple(item)]
