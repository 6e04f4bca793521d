"""The shape and the receptive field after each op, in closed form.

A map's shape is (channels, height, width), a vector's (features,). Padded maps and windows follow
``floor((size + 2 * padding - kernel) / stride) + 1`` (Dumoulin and Visin, arXiv 1603.07285, relationship 6);
the receptive field grows by ``(kernel - 1) * jump`` and the jump multiplies by the stride
(Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from search_spaces.architecture import (
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
    op_text,
    paddings,
)
from search_spaces.errors import ShapeError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Field:
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
    match op:
        case Conv() | DepthwiseConv():
            channels, height, width = _map(op, shape)
            out = _out_channels(op, channels) if isinstance(op, Conv) else channels
            return (out, *_windows(op, (height, width), kernel_shape(op), op.stride, paddings(op)))
        case MaxPool() | AvgPool():
            channels, height, width = _map(op, shape)
            return (channels, *_windows(op, (height, width), (op.size, op.size), op.size, (0, 0)))
        case Unshuffle():
            return _unshuffled(op, _map(op, shape))
        case GlobalAvgPool():
            return (_map(op, shape)[0], 1, 1)
        case Dropout2d():
            _map(op, shape)
            return shape
        case BatchNorm():
            return _normed(op, shape)
        case ReLU() | LeakyReLU() | PReLU() | Dropout():
            return shape
        case Linear():
            return (op.out_features,)
        case Residual():
            return _residual_shape(op, shape)
        case _:
            assert_never(op)


def field_after(op: Op, shape: Shape, field: Field) -> Field:
    """Return the receptive field after ``op``, given the shape and the field before it."""
    match op:
        case Conv() | DepthwiseConv():
            return _grown(field, kernel_shape(op), op.stride)
        case MaxPool() | AvgPool() | Unshuffle():
            return _grown(field, (op.size, op.size), op.size)
        case GlobalAvgPool() | Linear():
            # Both see the whole map, as a window of the map's size would.
            return field if len(shape) == 1 else _grown(field, (shape[1], shape[2]), 1)
        case Residual():
            for inner in op.ops:
                field = field_after(inner, shape, field)
                shape = output_shape(inner, shape)
            return field
        case BatchNorm() | ReLU() | LeakyReLU() | PReLU() | Dropout() | Dropout2d():
            return field
        case _:
            assert_never(op)


def is_global(op: Op, shape: Shape) -> bool:
    """Return whether the op takes in a whole map at once."""
    return isinstance(op, GlobalAvgPool | Linear) and len(shape) == 3


def normalised_values(ops: tuple[Op, ...], shape: Shape) -> Iterator[int]:
    """Yield, BN by BN, of how many values of one image each mean is: of a channel's, or of all that share it."""
    for op in ops:
        if isinstance(op, BatchNorm):
            yield math.prod(shape[1:]) * (op.poses if op.shared else 1)
        elif isinstance(op, Residual):
            yield from normalised_values(op.ops, shape)
        shape = output_shape(op, shape)


def check_output(shape: Shape, classes: int) -> None:
    """Raise ShapeError unless ``shape`` is one value a class, as a vector or as a 1x1 map."""
    if shape not in ((classes,), (classes, 1, 1)):
        raise ShapeError(
            f"the network ends in {shape_text(shape)}; it must end in {classes} values, one a class "
            f"(for example 'gap linear({classes})' or 'conv1x1({classes}) gap')"
        )


def shape_text(shape: Shape) -> str:
    """Return a shape as people write it: 16x12x12, or 10."""
    return "x".join(map(str, shape))


def _map(op: Op, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ShapeError(f"{op_text(op)} needs a map (channels x height x width), but gets a vector of {shape[0]}")
    return shape[0], shape[1], shape[2]


def _out_channels(op: Conv, channels: int) -> int:
    if channels % op.groups or op.out_channels % op.groups:
        raise ShapeError(
            f"{op_text(op)} parts {channels} channels and {op.out_channels} outputs into {op.groups} groups; "
            "both must be multiples of the number of groups"
        )
    into, out = channels // op.groups, op.out_channels // op.groups
    if out % op.poses or (into > 1 and into % op.poses):
        each = "" if op.groups == 1 else " a group"
        raise ShapeError(
            f"{op_text(op)} reads {into} and writes {out} channels{each}; a kernel in {op.poses} poses "
            f"writes a multiple of {op.poses}, and reads one channel or a multiple of {op.poses}"
        )
    return op.out_channels


def _normed(op: BatchNorm, shape: Shape) -> Shape:
    if op.shared and op.poses == 1:
        raise ShapeError(
            f"{op_text(op)} has no poses to share statistics; it needs 2, 4 or 8, as in bn(poses=4, shared)"
        )
    if shape[0] % op.poses:
        raise ShapeError(f"{op_text(op)} gets {shape[0]} channels; they must be a multiple of the number of poses")
    return shape


def _windows(
    op: Op, size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: tuple[int, int]
) -> tuple[int, int]:
    """Return how many windows fit in, along rows and along columns."""
    height, width = ((size[axis] + 2 * padding[axis] - kernel[axis]) // stride + 1 for axis in (0, 1))
    if height < 1 or width < 1:
        raise ShapeError(
            f"{op_text(op)} leaves nothing of a map of {shape_text(size)}: "
            f"its window of {shape_text(kernel)} does not fit in"
        )
    return height, width


def _unshuffled(op: Unshuffle, shape: tuple[int, int, int]) -> Shape:
    channels, height, width = shape
    if height % op.size or width % op.size:
        raise ShapeError(
            f"{op_text(op)} needs a map whose edges are multiples of {op.size}, but gets one of {height}x{width}"
        )
    return channels * op.size**2, height // op.size, width // op.size


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


def _grown(field: Field, kernel: tuple[int, int], stride: int) -> Field:
    height, width = field.height + (kernel[0] - 1) * field.jump, field.width + (kernel[1] - 1) * field.jump
    return Field(height, width, field.jump * stride)
