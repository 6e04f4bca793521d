"""Parameters and multiply-adds of a network, op by op, in closed form.

``parameters`` counts every stored scalar that training, data or a random draw has set, a tied kernel once,
at its first user, and a kernel in several poses once; the running statistics of BN are exempt. ``macs`` counts the
multiply-adds of convolutions and linear layers for one image; biases, BN, pooling and additions are left out.

    >>> from search_spaces.architecture import Architecture
    >>> from search_spaces.ops import Conv, GlobalAvgPool, Linear
    >>> from search_spaces.task import MNIST
    >>> analyse(Architecture((Conv(3, 8), GlobalAvgPool(), Linear(10))), MNIST).parameters
    162
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces.architecture import Architecture
from search_spaces.errors import BudgetExceededError, ShapeError
from search_spaces.op_specs import SPECS
from search_spaces.ops import BatchNorm, Conv, DepthwiseConv, Kernel, Op, Residual, kernel_shape
from search_spaces.shapes import Field, check_output, field_after, is_global, output_shape
from search_spaces.task import Shape, Task, shape_text


@dataclass(frozen=True, slots=True)
class Layer:
    """One top-level op and what it costs.

    Attributes:
        output_shape: (channels, height, width) or (features,).
        parameters: those stored at this op; a tied kernel counts at its first user only.
        macs: multiply-adds for one image.
        receptive_field: shorter edge in input pixels after this op, not clipped to the image.
    """

    op: Op
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """A network's layers and totals for a task; ``receptive_field`` is the one before the first global op."""

    task: Task
    layers: tuple[Layer, ...]
    parameters: int
    macs: int
    receptive_field: int


def analyse(architecture: Architecture, task: Task) -> Analysis:
    """Return shapes, parameters, multiply-adds and receptive field of every op, and the totals.

    Raises:
        ShapeError: two ops do not fit together, or the network does not end in one value a class.
    """
    return analyse_ops(architecture.ops, task)


def analyse_ops(ops: tuple[Op, ...], task: Task) -> Analysis:
    """Do as ``analyse`` for ops that need not be canonical, so that errors keep the indices of a text."""
    layers: list[Layer] = []
    tied: dict[str, Shape] = {}
    shape: Shape = task.input_shape
    field, local = Field(), 0
    for index, op in enumerate(ops):
        try:
            after = output_shape(op, shape)
            parameters, macs = _cost(op, shape, after, tied)
        except ShapeError as error:
            raise ShapeError(error.message, path=(index, *error.path)) from None
        if not local and is_global(op, shape):
            local = field.size
        field = field_after(op, shape, field)
        layers.append(Layer(op, after, parameters, macs, field.size))
        shape = after
    check_output(shape, task.classes)
    return Analysis(
        task,
        tuple(layers),
        sum(layer.parameters for layer in layers),
        sum(layer.macs for layer in layers),
        local or field.size,
    )


def stored_numbers(architecture: Architecture, task: Task) -> int:
    """Return the learned numbers and two statistics a channel of each BN, each as often as it is stored.

    Channels of a BN that share statistics have two together.
    A tied kernel, and one in several poses, is stored once. BN could be folded into one scale and shift a channel for
    inference; a file of weights does not do that.

    Raises:
        ShapeError: two ops do not fit together.

        >>> from search_spaces.language.notation import parse_network
        >>> from search_spaces.task import MNIST
        >>> network = parse_network("conv3x3(4) bn relu | gap | linear(10)")
        >>> stored_numbers(network, MNIST)  # 94 learned, 4 means and variances
        102
    """
    return analyse(architecture, task).parameters + _statistics(architecture.ops, task.input_shape)


def _statistics(ops: tuple[Op, ...], shape: Shape) -> int:
    found = 0
    for op in ops:
        if isinstance(op, BatchNorm):
            found += 2 * (shape[0] // op.poses if op.shared else shape[0])
        elif isinstance(op, Residual):
            found += _statistics(op.ops, shape)
        shape = output_shape(op, shape)
    return found


def map_numbers(analysis: Analysis) -> int:
    """Return how many numbers all ops of a network write for one image, those within residual sums too.

    An op within a sum counts as the sum's own map: all of them have its height and width.
    """
    return sum(math.prod(layer.output_shape) * _maps(layer.op) for layer in analysis.layers)


def _maps(op: Op) -> int:
    return 1 + sum(_maps(inner) for inner in op.ops) if isinstance(op, Residual) else 1


def grouped_macs(analysis: Analysis) -> int:
    """Return the multiply-adds of depthwise and grouped kernels for one image, those within residual sums too."""
    found = 0
    before: Shape = analysis.task.input_shape
    for layer in analysis.layers:
        # Most kernels read all channels; their shapes are not needed.
        if layer.macs and _has_groups(layer.op):
            for op, read, written in _walk(layer.op, before):
                if isinstance(op, Conv | DepthwiseConv) and _has_groups(op):
                    channels = 1 if isinstance(op, DepthwiseConv) else read[0] // op.groups
                    found += math.prod(written) * channels * math.prod(kernel_shape(op))
        before = layer.output_shape
    return found


def _has_groups(op: Op) -> bool:
    if isinstance(op, Residual):
        return any(map(_has_groups, op.ops))
    return isinstance(op, DepthwiseConv) or (isinstance(op, Conv) and op.groups > 1)


def _walk(op: Op, before: Shape) -> Iterator[tuple[Op, Shape, Shape]]:
    """Yield an op with the shapes that it reads and writes, or those of a residual branch one after the other."""
    if isinstance(op, Residual):
        for inner in op.ops:
            yield from _walk(inner, before)
            before = output_shape(inner, before)
    else:
        yield op, before, output_shape(op, before)


def check_budget(parameters: int, budget: int) -> None:
    """Raise BudgetExceededError when ``parameters`` are more than ``budget``."""
    if parameters > budget:
        raise BudgetExceededError(parameters, budget)


def _cost(op: Op, before: Shape, after: Shape, tied: dict[str, Shape]) -> tuple[int, int]:
    """Return (parameters, macs) of one op; ``tied`` maps tie names to kernel shapes and is added to."""
    if isinstance(op, Residual):
        return _residual_cost(op, before, tied)
    spec = SPECS[type(op)]
    if isinstance(op, Conv | DepthwiseConv):
        assert spec.kernel is not None, "a convolution has a kernel"
        return _kernel_cost(op, spec.kernel(op, before), after, tied)
    return spec.cost(op, before)


def _kernel_cost(op: Kernel, kernel: Shape, after: Shape, tied: dict[str, Shape]) -> tuple[int, int]:
    weights = kernel[0] * kernel[1] * kernel[2] * kernel[3]
    poses = op.poses if isinstance(op, Conv) else 1
    macs = poses * weights * after[1] * after[2]
    stored = weights
    if op.tie is not None:
        first = tied.setdefault(op.tie, kernel)
        if first != kernel:
            raise ShapeError(
                f"tie={op.tie} shares a kernel of {shape_text(first)} with one of {shape_text(kernel)} "
                "(out x in x height x width); tied kernels must have equal shapes"
            )
        # The first use put its own tuple object in; later uses find it there.
        stored = weights if first is kernel else 0
    return stored + (kernel[0] if op.bias else 0), macs


def _residual_cost(op: Residual, shape: Shape, tied: dict[str, Shape]) -> tuple[int, int]:
    parameters = macs = 0
    for index, inner in enumerate(op.ops):
        after = output_shape(inner, shape)
        try:
            inner_parameters, inner_macs = _cost(inner, shape, after, tied)
        except ShapeError as error:
            raise ShapeError(error.message, path=(index, *error.path)) from None
        parameters += inner_parameters
        macs += inner_macs
        shape = after
    return parameters, macs
