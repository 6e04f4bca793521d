"""Integer forms: the computation of an op, as far as needed to compute it with integers (``Op.integer``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class KernelForm:
    """Sums of int8 weights times the numbers of a window; ``weight`` and ``bias`` are tensors of the torch module.

    Attributes:
        shape: Shape of the stored weights, (filters, channels of a group, rows, columns), with filters * poses output
            channels. With ``factors``: (filters, channels / poses + poses, 1, 1), with an output per filter.
        paddings: Rows of zeros both above and below the map; columns of zeros both left and right.
        poses: Number of poses of each filter; with ``factors``, of each input channel.
        is_global: Whether the window is the whole input, as in a linear layer.
        factors: None if the weights are stored directly. Otherwise weight [c * poses + p] of a filter is the product of
            factor c and factor p, and only the factors are stored: a function from the torch module to factors
            (filters, channels / poses) and (filters, poses), float64. Allowed only in the layer of the logits.
    """

    shape: tuple[int, int, int, int]
    stride: int = 1
    paddings: tuple[int, int] = (0, 0)
    poses: int = 1
    has_bias: bool = False
    is_global: bool = False
    factors: Callable[[Any], tuple[Tensor, Tensor]] | None = None

    @property
    def is_pointwise(self) -> bool:
        """Whether each output reads the input at the same position only."""
        is_single = self.shape[2:] == (1, 1) and self.stride == 1
        return is_single and self.paddings == (0, 0) and not self.is_global


@dataclass(frozen=True, slots=True)
class RescalingForm:
    """A factor and an offset for each channel, such as a batch normalisation after training.

    Attributes:
        repeat: Neighbouring channels that share a factor and an offset.
        numbers: Function from the torch module to factors and offsets, both float64 (channels / repeat,).
    """

    numbers: Callable[[Any], tuple[Tensor, Tensor]]
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class RectifierForm:
    """A rectifier.

    Attributes:
        slope_attribute: Attribute of the torch module with the factor of negative numbers; None if these become 0, so
            that the map is unsigned.
    """

    slope_attribute: str | None = None


class Reduction(StrEnum):
    """Treatment of the numbers of a window, channel by channel."""

    MAXIMUM = "maximum"
    MEAN = "mean"
    NONE = "none"  # each number becomes a channel of the output


@dataclass(frozen=True, slots=True)
class PoolingForm:
    """Windows that do not overlap.

    Attributes:
        is_global: Whether the op pools maps of every size, which the last step may compute together with the linear
            layer. Means of a window that happens to cover the map are rounded instead.
    """

    reduction: Reduction
    window: tuple[int, int]
    is_global: bool = False


IntegerForm = KernelForm | RescalingForm | RectifierForm | PoolingForm
