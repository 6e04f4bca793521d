"""Integer forms of ops, which ``Op.integer`` returns: the parts from which the steps of an integer network are made.

``search_spaces/deployment.py`` combines the forms into steps, ``harness/training/integer.py`` reads the numbers of the
forms from trained torch modules, and ``harness/deployment`` writes the forms as C and as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class KernelForm:
    """Sums of int8 weights times the numbers of a window.

    The weights are ``weight`` of the torch module, the biases ``bias``.

    Attributes:
        shape: Shape of the stored weights, (filters, channels of a group, rows, columns); a filter in several poses is
            stored once.
        stride: Stride in rows and columns.
        paddings: Zeros above and below the map, and on the left and right.
        poses: Number of poses of each filter (``search_spaces.modules``).
        has_bias: Whether each filter has a bias.
        is_global: Whether the window is the whole input, as in a linear layer.
        factors: For weights that are products of a factor per channel and a factor per pose: a function from the torch
            module to both, float64 (filters, channels / poses) and (filters, poses), which are stored in place of the
            products. Such a kernel can compute logits only. None for weights that are stored directly.
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
        window = (*self.shape[2:], self.stride, *self.paddings)
        return window == (1, 1, 1, 0, 0) and not self.is_global


@dataclass(frozen=True, slots=True)
class RescalingForm:
    """A factor and an offset for each channel, such as a batch normalisation after training.

    Attributes:
        repeat: Number of neighbouring channels that share a factor and an offset.
        numbers: Function from the torch module to factors and offsets, both float64 (count,), where ``count`` divides
            the number of channels.
    """

    numbers: Callable[[Any], tuple[Tensor, Tensor]]
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class RectifierForm:
    """A rectifier.

    Attributes:
        slope_attribute: Name of the attribute of the torch module with the factor of negative numbers; None if
            negative numbers become 0, so that the map is unsigned.
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
        reduction: Treatment of the numbers of a window.
        window: Rows and columns of a window.
        is_global: Whether the window is the whole map by definition; such a pooling may be a part of the logits.
    """

    reduction: Reduction
    window: tuple[int, int]
    is_global: bool = False


IntegerForm = KernelForm | RescalingForm | RectifierForm | PoolingForm
