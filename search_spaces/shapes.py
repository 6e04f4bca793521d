"""The shape and the receptive field after each op, in closed form.

What a single op makes of a shape is in ``op_specs``. The receptive field grows by ``(kernel - 1) * jump`` and the jump
multiplies by the stride (Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks",
Distill 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces.errors import ShapeError
from search_spaces.op_specs import SPECS
from search_spaces.ops import BatchNorm, Op, Residual
from search_spaces.task import Shape, shape_text


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
    return _residual_shape(op, shape) if isinstance(op, Residual) else SPECS[type(op)].shape(op, shape)


def field_after(op: Op, shape: Shape, field: Field) -> Field:
    """Return the receptive field after ``op``, which is no ``res``, given the shape and the field before it."""
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


def check_output(shape: Shape, classes: int) -> None:
    """Raise ShapeError unless ``shape`` is one value a class, as a vector or as a 1x1 map."""
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


def _grown(field: Field, rows: int, columns: int, stride: int) -> Field:
    height, width = field.height + (rows - 1) * field.jump, field.width + (columns - 1) * field.jump
    return Field(height, width, field.jump * stride)
