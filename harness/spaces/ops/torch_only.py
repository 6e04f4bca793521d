"""Ops, and options of ops, that the native engine has no kernel for; networks with these ops train on torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from harness.spaces.ops import op
from harness.spaces.ops.convolutions import Conv, kernel_signature
from harness.spaces.ops.integer_form import KernelForm
from harness.spaces.ops.op import ArgumentKind, LayerCall, Op, Parameter, Role, Shape, Signature, register
from harness.spaces.ops.pointwise import BatchNorm
from harness.spaces.ops.windows import Linear, Pool
from harness.spaces.space_errors import ShapeError

_BARE = "no learned scale and shift"


@op.register_variant("bn", "bare", _BARE)
@dataclass(frozen=True, slots=True)
class BareBatchNorm(BatchNorm):
    """Batch normalisation without learned numbers (``affine=False``)."""

    def shape(self, before: Shape) -> Shape:
        if self != BareBatchNorm():  # a field differs from the default
            raise ShapeError(f"{self} has neither scale nor shift; bare excludes the other options of bn")
        return before

    def cost(self, before: Shape) -> tuple[int, int]:
        return 0, 0

    def layer_call(self, before: Shape) -> LayerCall:
        return BatchNorm.layer_call(self, before)._replace(options={"affine": False})


@op.register_variant("bn", "joint", "shared layer")
@dataclass(frozen=True, slots=True)
class JointBatchNorm(BatchNorm):
    """Batch normalisation whose statistics are shared by all uses of the tie, too.

    A module that PyTorch calls several times: each call normalises by the batch in training, and updates the same
    running statistics.
    """

    is_joint: ClassVar[bool] = True

    def shape(self, before: Shape) -> Shape:
        if self.tie is None or self.poses > 1:
            raise ShapeError(f"{self} requires tie= and takes no poses, as in bn(tie=a, joint)")
        return before

    def tied_shape(self, before: Shape) -> Shape:
        # The number of dimensions, as a layer of torch takes either maps or vectors.
        return (*BatchNorm.tied_shape(self, before), *[1] * len(before))

    def with_tie(self, tie: str | None) -> Op:
        if tie is None:  # a layer that is called once
            return BatchNorm(unscaled=self.unscaled)
        return BatchNorm.with_tie(self, tie)


@op.register_variant("bn", "eps", "number that is added to the variance", ArgumentKind.SLOPE)
@dataclass(frozen=True, slots=True)
class EpsBatchNorm(BatchNorm):
    """Batch normalisation that adds a number other than 0.00001 to the variance."""

    eps: float = 1e-5

    def shape(self, before: Shape) -> Shape:
        if self.poses > 1 or self.eps == EpsBatchNorm().eps:
            raise ShapeError(f"{self} takes no poses, and no eps of 0.00001, which is the default")
        return before

    def layer_call(self, before: Shape) -> LayerCall:
        return BatchNorm.layer_call(self, before)._replace(options={"eps": self.eps})


@dataclass(frozen=True, slots=True)
class _Overlapping(Pool):
    """Pooling with a stride other than the window, or with ``pad`` further positions on each side.

    Attributes:
        size: Edge of the window. A window has a single row in a series, unless positions are added on each side.
        stride: Stride in rows and columns; None means ``size``.
        pad: Positions on each side, without a value for a maximum, and with the value 0 for a mean.
    """

    size: int = 2
    stride: int | None = None
    pad: int = 0

    def __post_init__(self) -> None:
        """Replace a stride of the size of the window by None, so that equal ops compare equal."""
        if self.stride == self.size:
            object.__setattr__(self, "stride", None)

    def window(self, before: Shape = ()) -> tuple[int, int, int]:
        rows, columns, size = Pool.window(self, () if self.pad else before)
        return rows, columns, self.stride or size

    def shape(self, before: Shape) -> Shape:
        if self.pad > self.size // 2 or not (self.stride or self.pad):
            raise ShapeError(f"{self} needs a stride other than the window, or a pad of at most half of the window")
        return self.map_of(before)[0], *self.output_size(before, (self.pad, self.pad))


@op.register_variant("maxpool", "pad", "padding", ArgumentKind.COUNT, minimum=0)
@op.register_variant("maxpool", "stride", "stride", ArgumentKind.COUNT)
@dataclass(frozen=True, slots=True)
class OverlappingMaxPool(_Overlapping):
    """Maximum over windows that may overlap."""

    role: ClassVar[Role] = Role.MAX_POOLING
    layer: ClassVar[str] = "MaxPool2d"


@op.register_variant("avgpool", "pad", "padding", ArgumentKind.COUNT, minimum=0)
@op.register_variant("avgpool", "stride", "stride", ArgumentKind.COUNT)
@dataclass(frozen=True, slots=True)
class OverlappingAvgPool(_Overlapping):
    """Mean over windows that may overlap."""

    role: ClassVar[Role] = Role.MEAN_POOLING
    layer: ClassVar[str] = "AvgPool2d"


@op.register_variant("linear", "unbiased", "no bias")
@dataclass(frozen=True, slots=True)
class UnbiasedLinear(Linear):
    """A fully connected layer without bias; a map is flattened first."""

    def cost(self, before: Shape) -> tuple[int, int]:
        weights = math.prod(before) * self.out_features
        return weights, weights

    def layer_call(self, before: Shape) -> LayerCall:
        return Linear.layer_call(self, before)._replace(options={"bias": False})

    def integer(self, before: Shape) -> KernelForm:
        return replace(Linear.integer(self, before), has_bias=False)


@op.register_variant("prelu", "channelwise", "a slope per channel")
@dataclass(frozen=True, slots=True)
class ChannelPReLU(Op):
    """Rectifier that multiplies negative values by a learned parameter of the channel, initially 0.25."""

    def cost(self, before: Shape) -> tuple[int, int]:
        return before[0], 0

    def layer_call(self, before: Shape) -> LayerCall:
        return LayerCall("nn.PReLU", (before[0],))


@register(
    groupnorm=Signature(
        Parameter("groups", "groups", ArgumentKind.COUNT, "number of groups"),
        required=True,
        options={"bare": Parameter("bare", "bare", ArgumentKind.FLAG, _BARE)},
    )
)
@dataclass(frozen=True, slots=True)
class GroupNorm(Op):
    """Normalisation of each image over groups of channels (Wu and He, arXiv 1803.08494).

    Attributes:
        bare: Whether the learned scale and shift of each channel are missing.
    """

    role: ClassVar[Role] = Role.NORMALISATION
    groups: int
    bare: bool = False

    def shape(self, before: Shape) -> Shape:
        if before[0] % self.groups:
            raise ShapeError(f"{self} needs a multiple of {self.groups} channels, but gets {before[0]}")
        return before

    def cost(self, before: Shape) -> tuple[int, int]:
        return 0 if self.bare else 2 * before[0], 0

    def layer_call(self, before: Shape) -> LayerCall:
        return LayerCall("nn.GroupNorm", (self.groups, before[0]), {"affine": False} if self.bare else {})


@register(**{f"conv{edge}x{edge}": kernel_signature(edge, edge) for edge in (2, 4, 6, 7)})
@dataclass(frozen=True, slots=True)
class WideConv(Conv):
    """A convolution with a window of 2x2, 4x4, 6x6 or 7x7; see ``Conv``.

    By default, 7x7 keeps the size of the map at stride 1, and a window of even size makes the map smaller by 1.
    """
