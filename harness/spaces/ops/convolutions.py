"""Convolutions, optionally with tied kernels, groups of channels and poses (rotated and mirrored kernels)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, cast

from harness.spaces.ops.integer_form import KernelForm
from harness.spaces.ops.op import ArgumentKind, LayerCall, Op, Parameter, Role, Shape, Signature, flat, register
from harness.spaces.space_errors import ShapeError

# Options of signatures, by keyword.
POSES = {"poses": Parameter("poses", "poses", ArgumentKind.COUNT, "number of poses", among=(1, 2, 4, 8))}
_WINDOW = {
    "pad": Parameter("padding", "pad", ArgumentKind.COUNT, "padding", minimum=0),
    "stride": Parameter("stride", "stride", ArgumentKind.COUNT, "stride"),
}
TIE = {"tie": Parameter("tie", "tie", ArgumentKind.TIE, "tie")}
_BIAS_AND_TIE = {"bias": Parameter("bias", "bias", ArgumentKind.FLAG, "bias"), **TIE}
_GROUPS = {"groups": Parameter("groups", "groups", ArgumentKind.COUNT, "number of groups")}
_CHANNELS = Parameter("out_channels", "channels", ArgumentKind.COUNT, "number of output channels")


class Kernel(Op):
    """Base class of convolutions; convolutions with the same ``tie`` share the kernel, but not the bias.

    Attributes:
        bias: Whether the outputs have a learned bias, one for all poses of a kernel.
        poses: Rotated and mirrored copies of each learned kernel (``harness.spaces.posed``).
        paddings: Zeros on each side, (above and below, left and right).
    """

    __slots__ = ()
    role: ClassVar[Role] = Role.CONVOLUTION
    stride: int
    bias: bool
    tie: str | None
    poses: int

    @property
    def edges(self) -> tuple[int, int]:
        return 3, 3

    @property
    def paddings(self) -> tuple[int, int]:
        raise NotImplementedError

    def window(self, before: Shape = ()) -> tuple[int, int, int]:
        return *self.edges, self.stride

    def tied_shape(self, before: Shape) -> tuple[int, int, int, int]:
        raise NotImplementedError

    def cost(self, before: Shape) -> tuple[int, int]:
        _, height, width = self.shape(before)
        shape = self.tied_shape(before)
        weights = math.prod(shape)
        biases = shape[0] if self.bias else 0
        return weights + biases, self.poses * weights * height * width

    def _call(self, layer: str, *arguments: object, groups: int = 1) -> LayerCall:
        padding = number_or_pair(self.paddings)
        options = {"poses": self.poses, "stride": self.stride, "padding": padding, "groups": groups, "bias": self.bias}
        defaults = {"poses": 1, "stride": 1, "padding": 0, "groups": 1, "bias": True}
        return LayerCall(layer, arguments, {name: options[name] for name in options if options[name] != defaults[name]})

    def integer(self, before: Shape) -> KernelForm:
        shape = self.tied_shape(before)
        return KernelForm(shape, self.stride, self.paddings, poses=self.poses, has_bias=self.bias)


def number_or_pair(pair: tuple[int, int]) -> int | tuple[int, int]:
    """Return the argument of a torch layer for rows and columns: a number if both are equal."""
    return pair[0] if pair[0] == pair[1] else pair


def kernel_signature(rows: int, columns: int) -> Signature:
    """Return the arguments of a convolution with a window of ``rows`` x ``columns``."""
    # A quarter turn of a kernel that is not square has another shape.
    poses = POSES if rows == columns else {}
    options = {**_WINDOW, **_GROUPS, **poses, **_BIAS_AND_TIE}
    fixed = {"kernel_size": rows, "kernel_width": columns}
    return Signature(_CHANNELS, required=True, options=options, fixed=fixed)


# Rows and columns of kernels.
_WINDOWS = ((1, 1), (3, 3), (5, 5), (3, 1), (1, 3), (1, 5), (1, 7), (1, 9))


@register(**{f"conv{rows}x{columns}": kernel_signature(rows, columns) for rows, columns in _WINDOWS})
@dataclass(frozen=True, slots=True)
class Conv(Kernel):
    """A convolution over all channels, or over groups of channels.

    Attributes:
        padding: Zeros on each side; None keeps the size of the map at stride 1. A kernel with a single row or column is
            padded along its length only.
        kernel_width: Columns of the kernel; None means ``kernel_size``.
        groups: Groups of channels, each convolved separately.
        poses: Neighbouring outputs of a learned kernel in different poses.
    """

    kernel_size: int
    out_channels: int
    padding: int | None = None
    stride: int = 1
    bias: bool = False
    tie: str | None = None
    kernel_width: int | None = None
    groups: int = 1
    poses: int = 1

    @property
    def is_grouped(self) -> bool:
        return self.groups > 1

    def __post_init__(self) -> None:
        """Replace None by the actual numbers, so that equal ops compare equal."""
        if self.kernel_width is None:
            object.__setattr__(self, "kernel_width", self.kernel_size)
        if self.padding is None:
            object.__setattr__(self, "padding", (max(self.edges) - 1) // 2)

    @property
    def edges(self) -> tuple[int, int]:
        return self.kernel_size, cast(int, self.kernel_width)

    @property
    def paddings(self) -> tuple[int, int]:
        rows, columns = self.edges
        padding = cast(int, self.padding)
        if rows == columns:
            return padding, padding
        return (padding, 0) if rows > columns else (0, padding)

    def shape(self, before: Shape) -> Shape:
        channels = self.map_of(before)[0]
        out = self.out_channels
        if channels % self.groups or out % self.groups:
            raise ShapeError(
                f"{self} divides {channels} input and {out} output channels into {self.groups} groups; "
                "both numbers must be multiples of the number of groups"
            )
        inputs = channels // self.groups
        outputs = out // self.groups
        # A pose permutes the input channels (``harness.spaces.posed``); a single channel stays as it is.
        if outputs % self.poses or (inputs > 1 and inputs % self.poses):
            unit = "channels" if self.groups == 1 else "channels per group"
            raise ShapeError(
                f"{self} has {inputs} input and {outputs} output {unit}; with {self.poses} poses, the outputs must be "
                f"a multiple of {self.poses}, and the inputs 1 or a multiple of {self.poses}"
            )
        return out, *self.output_size(before, self.paddings)

    def tied_shape(self, before: Shape) -> tuple[int, int, int, int]:
        return self.out_channels // self.poses, before[0] // self.groups, *self.edges

    def layer_call(self, before: Shape) -> LayerCall:
        layer = "nn.Conv2d" if self.poses == 1 else "PosedConv2d"
        return self._call(layer, before[0], self.out_channels, number_or_pair(self.edges), groups=self.groups)


@register(dwconv3x3=Signature(options={**_WINDOW, **POSES, **_BIAS_AND_TIE}))
@dataclass(frozen=True, slots=True)
class DepthwiseConv(Kernel):
    """A depthwise 3x3 convolution; the number of channels stays the same.

    Attributes:
        poses: Neighbouring channels of a learned kernel in different poses (Lengyel and van Gemert, arXiv 2106.04914).
    """

    padding: int = 1
    stride: int = 1
    bias: bool = False
    tie: str | None = None
    poses: int = 1

    @property
    def is_grouped(self) -> bool:
        return True

    @property
    def paddings(self) -> tuple[int, int]:
        return self.padding, self.padding

    def shape(self, before: Shape) -> Shape:
        channels = self.map_of(before)[0]
        self.check_poses(channels, self.poses)
        return channels, *self.output_size(before, self.paddings)

    def tied_shape(self, before: Shape) -> tuple[int, int, int, int]:
        return before[0] // self.poses, 1, *self.edges

    def layer_call(self, before: Shape) -> LayerCall:
        channels = before[0]
        if self.poses == 1:
            return self._call("nn.Conv2d", channels, channels, 3, groups=channels)
        return self._call("PosedDepthwiseConv2d", channels, 3)


def kernels(ops: Iterable[Op]) -> list[Kernel]:
    """Return all convolutions in order of execution, also inside ``res``."""
    return [op for op in flat(ops) if isinstance(op, Kernel)]
