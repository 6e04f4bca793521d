"""Ops that keep the shape: batch normalisation, activations and dropout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harness.spaces.ops.convolutions import POSES, TIE
from harness.spaces.ops.integer_form import RectifierForm, RescalingForm
from harness.spaces.ops.op import ArgumentKind, LayerCall, Op, Parameter, Role, Shape, Signature, register
from harness.spaces.space_errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor, nn

_NORM_OPTIONS = {
    "unscaled": Parameter("unscaled", "unscaled", ArgumentKind.FLAG, "fixed scale"),
    **POSES,
    "shared": Parameter("shared", "shared", ArgumentKind.FLAG, "shared statistics"),
    **TIE,
}
_DROPOUT_SIGNATURE = Signature(Parameter("p", "rate", ArgumentKind.RATE, "rate"), required=True)


@register(bn=Signature(options=_NORM_OPTIONS))
@dataclass(frozen=True, slots=True)
class BatchNorm(Op):
    """Batch normalisation with a learned shift and, unless ``unscaled``, a learned scale.

    Attributes:
        poses: Neighbouring channels that share a shift and a scale.
        shared: Whether these channels also share a mean and a variance.
    """

    role: ClassVar[Role] = Role.NORMALISATION
    unscaled: bool = False
    poses: int = 1
    shared: bool = False
    tie: str | None = None

    def shape(self, before: Shape) -> Shape:
        if self.shared and self.poses == 1:
            raise ShapeError(f"{self} shares the statistics of poses and requires poses=, as in bn(poses=4, shared)")
        self.check_poses(before[0], self.poses)
        return before

    def tied_shape(self, before: Shape) -> Shape:
        tensors = 1 if self.unscaled else 2  # shifts, and scales
        return tensors, before[0] // self.poses

    def cost(self, before: Shape) -> tuple[int, int]:
        return math.prod(self.tied_shape(before)), 0

    def statistics(self, before: Shape) -> int:
        return 2 * (before[0] // self.poses if self.shared else before[0])

    def layer_call(self, before: Shape) -> LayerCall:
        layer = "nn.BatchNorm2d" if len(before) == 3 else "nn.BatchNorm1d"
        if self.poses == 1:
            return LayerCall(layer, (before[0],))
        layer = "SharedBatchNorm" if self.shared else "PosedBatchNorm"
        return LayerCall(layer, (before[0],), {"poses": self.poses})

    def module(self, before: Shape) -> nn.Module:
        norm = Op.module(self, before)
        if self.unscaled:
            norm.register_parameter("weight", None)
        return norm

    def source(self, before: Shape) -> str:
        call = Op.source(self, before)
        return f"unscaled({call})" if self.unscaled else call

    def integer(self, before: Shape) -> RescalingForm:
        # Without ``shared``, factors differ between the poses of a kernel.
        return RescalingForm(_factors_and_offsets, repeat=self.poses if self.shared else 1)


def _factors_and_offsets(norm: Any) -> tuple[Tensor, Tensor]:
    count = len(norm.running_var)

    def spread(values: Tensor) -> Tensor:
        return values.detach().cpu().double().repeat_interleave(count // len(values))

    deviations = (spread(norm.running_var) + norm.eps).sqrt()
    factors = 1 / deviations if norm.weight is None else spread(norm.weight) / deviations
    shifts = 0 if norm.bias is None else spread(norm.bias)
    return factors, shifts - factors * spread(norm.running_mean)


@register(relu=Signature())
@dataclass(frozen=True, slots=True)
class ReLU(Op):
    """Rectifier, max(x, 0)."""

    layer: ClassVar[str] = "ReLU"

    def integer(self, before: Shape) -> RectifierForm:
        return RectifierForm()


@register(leaky=Signature(Parameter("slope", "slope", ArgumentKind.SLOPE, "slope")))
@dataclass(frozen=True, slots=True)
class LeakyReLU(Op):
    """Rectifier that multiplies negative values by ``slope``, a fixed number between 0 and 1."""

    layer: ClassVar[str] = "LeakyReLU"
    slope: float = 0.1

    def integer(self, before: Shape) -> RectifierForm:
        return RectifierForm(slope_attribute="negative_slope")


@register(prelu=Signature())
@dataclass(frozen=True, slots=True)
class PReLU(Op):
    """Rectifier that multiplies negative values by a single learned parameter, initially 0.25, for all channels."""

    layer: ClassVar[str] = "PReLU"

    def cost(self, before: Shape) -> tuple[int, int]:
        return 1, 0

    def integer(self, before: Shape) -> RectifierForm:
        return RectifierForm(slope_attribute="weight")


@register(swish=Signature())
@dataclass(frozen=True, slots=True)
class Swish(Op):
    """x * sigmoid(x), also called SiLU (Ramachandran, Zoph and Le, arXiv 1710.05941)."""

    layer: ClassVar[str] = "SiLU"


@register(dropout=_DROPOUT_SIGNATURE)
@dataclass(frozen=True, slots=True)
class Dropout(Op):
    """Dropout: in training, set single values to zero with probability ``p``."""

    role: ClassVar[Role] = Role.DROPOUT
    layer: ClassVar[str] = "Dropout"
    p: float

    @property
    def drop_rate(self) -> float:
        return self.p


@register(dropout2d=_DROPOUT_SIGNATURE)
@dataclass(frozen=True, slots=True)
class Dropout2d(Dropout):
    """Dropout of channels: in training, set whole channels to zero with probability ``p``."""

    layer: ClassVar[str] = "Dropout2d"

    def shape(self, before: Shape) -> Shape:
        return self.map_of(before)
