"""Ops that reduce the rows and columns of maps: pooling, unshuffle, global pooling and linear layers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from harness.spaces.ops import op
from harness.spaces.ops.convolutions import POSES, number_or_pair
from harness.spaces.ops.integer_form import KernelForm, PoolingForm, Reduction
from harness.spaces.ops.op import ArgumentKind, LayerCall, Op, Parameter, Role, Shape, Signature, register
from harness.spaces.space_errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

_POOL_SIGNATURE = Signature(Parameter("size", "size", ArgumentKind.COUNT, "window size"))
_UNSHUFFLE_SIGNATURE = Signature(Parameter("size", "size", ArgumentKind.COUNT, "window size", minimum=2))
_FEATURES = Parameter("out_features", "outputs", ArgumentKind.COUNT, "number of outputs")


class Pool(Op):
    """Base class of ops with windows of ``size`` x ``size``, or 1 x ``size`` in a series (a map of a single row)."""

    __slots__ = ()
    size: int

    def window(self, before: Shape = ()) -> tuple[int, int, int]:
        rows = 1 if before[1:2] == (1,) else self.size
        return rows, self.size, self.size  # rows, columns, stride

    def layer_call(self, before: Shape) -> LayerCall | None:
        call = Op.layer_call(self, before)
        if call is None:
            return None
        return call._replace(arguments=(number_or_pair(self.window(before)[:2]), *call.arguments[1:]))

    def shape(self, before: Shape) -> Shape:
        return self.map_of(before)[0], *self.output_size(before)


class _SeparatePool(Pool):
    __slots__ = ()
    reduction: ClassVar[Reduction]

    def integer(self, before: Shape) -> PoolingForm:
        return PoolingForm(self.reduction, self.window(before)[:2])


@register(maxpool=_POOL_SIGNATURE)
@dataclass(frozen=True, slots=True)
class MaxPool(_SeparatePool):
    """Maximum over windows of ``size`` x ``size`` with stride ``size``; incomplete windows are dropped."""

    role: ClassVar[Role] = Role.MAX_POOLING
    layer: ClassVar[str] = "MaxPool2d"
    reduction: ClassVar[Reduction] = Reduction.MAXIMUM
    size: int = 2


@register(avgpool=_POOL_SIGNATURE)
@dataclass(frozen=True, slots=True)
class AvgPool(_SeparatePool):
    """Mean over windows of ``size`` x ``size`` with stride ``size``; incomplete windows are dropped."""

    role: ClassVar[Role] = Role.MEAN_POOLING
    layer: ClassVar[str] = "AvgPool2d"
    reduction: ClassVar[Reduction] = Reduction.MEAN
    size: int = 2


@register(unshuffle=_UNSHUFFLE_SIGNATURE)
@dataclass(frozen=True, slots=True)
class Unshuffle(_SeparatePool):
    """Move the values of each ``size`` x ``size`` window into channels (``torch.nn.PixelUnshuffle``).

    Channel c becomes channels c * size^2 to (c + 1) * size^2 - 1, in row-major order of the window.
    """

    role: ClassVar[Role] = Role.REARRANGEMENT
    layer: ClassVar[str] = "PixelUnshuffle"
    reduction: ClassVar[Reduction] = Reduction.NONE
    size: int = 2

    def shape(self, before: Shape) -> Shape:
        channels, height, width = self.map_of(before)
        if height % self.size or width % self.size:
            raise ShapeError(f"{self} needs a map whose edges are multiples of {self.size}, but gets {height}x{width}")
        return channels * self.size**2, height // self.size, width // self.size


@register(gap=Signature())
@dataclass(frozen=True, slots=True)
class GlobalAvgPool(Op):
    """Mean over the whole map, output shape (channels, 1, 1)."""

    role: ClassVar[Role] = Role.MEAN_POOLING
    is_global: ClassVar[bool] = True

    def shape(self, before: Shape) -> Shape:
        return self.map_of(before)[0], 1, 1

    def layer_call(self, before: Shape) -> LayerCall:
        return LayerCall("nn.AdaptiveAvgPool2d", (1,))

    def integer(self, before: Shape) -> PoolingForm:
        _, rows, columns = before
        return PoolingForm(Reduction.MEAN, (rows, columns), is_global=True)


@register(linear=Signature(_FEATURES, required=True))
@dataclass(frozen=True, slots=True)
class Linear(Op):
    """A fully connected layer with bias; a map is flattened first."""

    out_features: int
    role: ClassVar[Role] = Role.LINEAR
    is_global: ClassVar[bool] = True

    def shape(self, before: Shape) -> Shape:
        return (self.out_features,)

    def cost(self, before: Shape) -> tuple[int, int]:
        features = math.prod(before)
        return (features + 1) * self.out_features, features * self.out_features

    def layer_call(self, before: Shape) -> LayerCall:
        return LayerCall("nn.Linear", (math.prod(before), self.out_features))

    def integer(self, before: Shape) -> KernelForm:
        channels, rows, columns = before  # a vector is (features, 1, 1) here
        return KernelForm((self.out_features, channels, rows, columns), has_bias=True, is_global=True)


@register(poselinear=Signature(_FEATURES, required=True, options={"poses": replace(POSES["poses"], among=(2, 4, 8))}))
@dataclass(frozen=True, slots=True)
class PoseLinear(Op):
    """A linear layer after ``gap`` whose weights are products of a factor per channel and a factor per pose.

    Feature c * poses + p is channel c in pose p, the output order of convolutions with poses. For each output, the
    weight of this feature is a[c] * (1 + b[p]) with learned a and b. Initially b is zero, so all poses have equal
    weights, and the gradient of a is not zero.
    """

    role: ClassVar[Role] = Role.LINEAR
    is_global: ClassVar[bool] = True
    out_features: int
    poses: int = 1  # omitted ``poses=``, which ``shape`` refuses

    def shape(self, before: Shape) -> Shape:
        if self.poses == 1:
            raise ShapeError(f"{self} requires poses=, as in poselinear({self.out_features}, poses=8)")
        if math.prod(before[1:]) != 1:
            raise ShapeError(
                f"{self} needs a value per channel, as after gap, but gets a map of {op.shape_text(before)}"
            )
        self.check_poses(before[0], self.poses)
        return (self.out_features,)

    def cost(self, before: Shape) -> tuple[int, int]:
        weights = before[0] // self.poses + self.poses
        return (weights + 1) * self.out_features, before[0] * self.out_features

    def layer_call(self, before: Shape) -> LayerCall:
        return LayerCall("PosedLinear", (before[0], self.out_features), {"poses": self.poses})

    def integer(self, before: Shape) -> KernelForm:
        shape = (self.out_features, before[0] // self.poses + self.poses, 1, 1)
        return KernelForm(shape, poses=self.poses, has_bias=True, is_global=True, factors=self._factors)

    def _factors(self, module: Any) -> tuple[Tensor, Tensor]:
        weights = module.weight.detach().double()
        return weights[:, : -self.poses], 1 + weights[:, -self.poses :]
