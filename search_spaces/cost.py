"""Parameters and multiply-adds of a network, op by op, in closed form.

``parameters`` counts every stored scalar that training, data or a random draw has set, a tied kernel once,
at its first user, and a kernel in several poses once; the running statistics of BN are exempt. ``macs`` counts the
multiply-adds of convolutions and linear layers for one image; biases, BN, pooling and additions are left out.

    >>> from search_spaces.network import Architecture
    >>> from search_spaces.ops import Conv, GlobalAvgPool, Linear
    >>> from search_spaces.task import MNIST
    >>> analyse(Architecture((Conv(3, 8), GlobalAvgPool(), Linear(10))), MNIST).parameters
    162
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from search_spaces.errors import SearchSpaceError, ShapeError
from search_spaces.network import Architecture
from search_spaces.op_specs import SPECS
from search_spaces.ops import BatchNorm, Conv, DepthwiseConv, Kernel, Op, Residual, kernel_shape
from search_spaces.task import Shape, Task, shape_text


@dataclass(frozen=True, slots=True)
class _Layer:
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
    layers: tuple[_Layer, ...]
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
    layers: list[_Layer] = []
    tied: dict[str, Shape] = {}
    shape: Shape = task.input_shape
    field, local = _Field(), 0
    for index, op in enumerate(ops):
        try:
            found, after = _layer(op, shape, field, tied)
        except ShapeError as error:
            raise ShapeError(error.message, path=(index, *error.path)) from None
        if not local and is_global(op, shape):
            local = field.size
        layers.append(found)
        shape, field = found.output_shape, after
    _check_output(shape, task.classes)
    return Analysis(
        task,
        tuple(layers),
        sum(layer.parameters for layer in layers),
        sum(layer.macs for layer in layers),
        local or field.size,
    )


def stored_numbers(architecture: Architecture, task: Task) -> int:
    """Return the parameters and two statistics a channel of each BN, each as often as it is stored.

    Channels of a BN that share statistics have two together.
    A tied kernel, and one in several poses, is stored once. BN could be folded into one scale and shift a channel for
    inference; a file of weights does not do that.

    Raises:
        ShapeError: two ops do not fit together.

        >>> from search_spaces.notation import parse_network
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
                if isinstance(op, Kernel) and _has_groups(op):
                    channels = 1 if isinstance(op, DepthwiseConv) else read[0] // op.groups
                    found += math.prod(written) * channels * math.prod(kernel_shape(op))
        before = layer.output_shape
    return found


def _has_groups(op: Op) -> bool:
    if isinstance(op, Residual):
        return any(map(_has_groups, op.ops))
    return isinstance(op, DepthwiseConv) or (isinstance(op, Conv) and op.groups > 1)


def _walk(op: Op, before: Shape) -> Iterator[tuple[Op, Shape, Shape]]:
    if isinstance(op, Residual):
        for inner in op.ops:
            yield from _walk(inner, before)
            before = output_shape(inner, before)
    else:
        yield op, before, output_shape(op, before)


def check_budget(parameters: int, budget: int) -> None:
    """Raise SearchSpaceError when ``parameters`` are more than ``budget``."""
    if parameters > budget:
        raise SearchSpaceError(f"{parameters:,} parameters are {parameters - budget:,} over the budget of {budget:,}")


def _layer(op: Op, shape: Shape, field: _Field, tied: dict[str, Shape]) -> tuple[_Layer, _Field]:
    # ``tied`` maps tie names to kernels and is added to.
    if isinstance(op, Residual):
        return _residual_layer(op, shape, field, tied)
    alone, further, after, kernel = _alone(op, shape, field)
    if not isinstance(op, Kernel) or op.tie is None or kernel is None:
        return alone, after
    first = tied.get(op.tie)
    if first is None:
        tied[op.tie] = kernel
        return alone, after
    if first != kernel:
        raise ShapeError(
            f"tie={op.tie} shares a kernel of {shape_text(first)} with one of {shape_text(kernel)} "
            "(out x in x height x width); tied kernels must have equal shapes"
        )
    return further, after


def _residual_layer(op: Residual, shape: Shape, field: _Field, tied: dict[str, Shape]) -> tuple[_Layer, _Field]:
    output_shape(op, shape)  # first of all its ops fit together
    parameters, macs, inside = 0, 0, shape
    for index, inner in enumerate(op.ops):
        try:
            found, field = _layer(inner, inside, field, tied)
        except ShapeError as error:
            raise ShapeError(error.message, path=(index, *error.path)) from None
        parameters, macs, inside = parameters + found.parameters, macs + found.macs, found.output_shape
    return _Layer(op, inside, parameters, macs, field.size), field


@lru_cache(maxsize=50_000)
def _alone(op: Op, shape: Shape, field: _Field) -> tuple[_Layer, _Layer, _Field, Shape | None]:
    # Returned: the op as first user of its kernel, and as a further one. A search looks at thousands of networks that
    # are made of the same few ops, shapes and fields, so this is cached.
    spec, after = SPECS[type(op)], output_shape(op, shape)
    grown = _field_after(op, shape, field)
    if not isinstance(op, Kernel):
        found = _Layer(op, after, *spec.cost(op, shape), grown.size)
        return found, found, grown, None
    assert spec.kernel is not None, "a convolution has a kernel"
    kernel = spec.kernel(op, shape)
    weights, biases = math.prod(kernel), kernel[0] if op.bias else 0
    poses = op.poses if isinstance(op, Conv) else 1
    macs = poses * weights * after[1] * after[2]
    first, further = (_Layer(op, after, stored + biases, macs, grown.size) for stored in (weights, 0))
    return first, further, grown, kernel


@dataclass(frozen=True, slots=True)
class _Field:
    """What one position of a map sees of the image, in input pixels, not clipped to the image.

    Attributes:
        jump: distance of neighbouring positions.
    """

    height: int = 1
    width: int = 1
    jump: int = 1

    @property
    def size(self) -> int:
        """Its shorter edge: what is seen along both axes."""
        return min(self.height, self.width)


def output_shape(op: Op, shape: Shape) -> Shape:
    """Return the shape after ``op``, given the shape before it.

    Raises:
        ShapeError: the op cannot take this shape; ``path`` points below ``res`` where that is the cause.
    """
    return _residual_shape(op, shape) if isinstance(op, Residual) else SPECS[type(op)].shape(op, shape)


def _field_after(op: Op, shape: Shape, field: _Field) -> _Field:
    if is_global(op, shape):
        # It sees the whole map, as a window of the map's size would.
        return _grown(field, shape[1], shape[2], 1)
    window = SPECS[type(op)].window
    return field if window is None else _grown(field, *window(op))


def is_global(op: Op, shape: Shape) -> bool:
    """Return whether the op takes in a whole map at once."""
    return not isinstance(op, Residual) and SPECS[type(op)].is_global and len(shape) == 3


def is_pointwise(op: Op) -> bool:
    """Return whether the op computes each value from the one in its place, as activations do."""
    return not isinstance(op, Residual) and SPECS[type(op)].window is None and not SPECS[type(op)].is_global


def normalised_values(ops: tuple[Op, ...], shape: Shape) -> Iterator[int]:
    """Yield, BN by BN, of how many values of one image each mean is: of a channel's, or of all that share it."""
    for op in ops:
        if isinstance(op, BatchNorm):
            yield math.prod(shape[1:]) * (op.poses if op.shared else 1)
        elif isinstance(op, Residual):
            yield from normalised_values(op.ops, shape)
        shape = output_shape(op, shape)


def _check_output(shape: Shape, classes: int) -> None:
    if shape not in ((classes,), (classes, 1, 1)):
        raise ShapeError(
            f"the network ends in {shape_text(shape)}; it must end in {classes} values, one for each class "
            f"(for example 'gap linear({classes})' or 'conv1x1({classes}) gap')"
        )


def _residual_shape(op: Residual, shape: Shape) -> Shape:
    if not op.ops:
        raise ShapeError("res() is empty: it needs at least one op to add its input to")
    after = shape
    for index, inner in enumerate(op.ops):
        try:
            after = output_shape(inner, after)
        except ShapeError as error:
            raise ShapeError(error.message, path=(index, *error.path)) from None
    if after != shape:
        raise ShapeError(
            f"res(...) turns {shape_text(shape)} into {shape_text(after)}; "
            "it can add its input only to an output of equal shape"
        )
    return shape


def _grown(field: _Field, rows: int, columns: int, stride: int) -> _Field:
    height, width = field.height + (rows - 1) * field.jump, field.width + (columns - 1) * field.jump
    return _Field(height, width, field.jump * stride)
