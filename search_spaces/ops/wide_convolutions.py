"""Convolutions with windows that the native engine has no kernel for; networks with these ops train on torch."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.ops.convolutions import Conv, kernel_signature
from search_spaces.ops.op import register


@register(**{f"conv{edge}x{edge}": kernel_signature(edge, edge) for edge in (2, 4, 6, 7)})
@dataclass(frozen=True, slots=True)
class WideConv(Conv):
    """A convolution with a window of 2x2, 4x4, 6x6 or 7x7; see ``Conv``.

    By default, 7x7 keeps the size of the map at stride 1, and a window of even size makes the map smaller by 1.
    """
