"""The form of a network: one short word for how its kernels are used, derived from its structure alone.

Whole forms are held out where a model of errors is tested: it is to judge forms that it has not seen.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

from search_spaces.architecture import Architecture
from search_spaces.ops import Conv, DepthwiseConv, Kernel, Op, Residual, kernel_shape, kernels


class Form(StrEnum):
    """The forms; the first that holds from below is a network's, so ``plain`` is what none of the others describes.

    ``summed`` has residual sums but no kernel used again within one. ``squeezed`` has a kernel that is used again
    within a sum, or behind a 1x1 convolution: one before its first use alone is a transition and leaves it ``tied``.
    ``separable`` has depthwise or grouped kernels; ``posed`` has kernels in orientations, ``mirrored`` in all eight.
    """

    PLAIN = "plain"
    SUMMED = "summed"
    TIED = "tied"
    SQUEEZED = "squeezed"
    SEPARABLE = "separable"
    POSED = "posed"
    MIRRORED = "mirrored"
    POSED_SEPARABLE = "posed-separable"


def form(network: Architecture) -> Form:
    """Return the form of a network."""
    used = kernels(network.ops)
    poses = max((kernel.poses for kernel in used if isinstance(kernel, Conv)), default=1)
    separable = any(isinstance(kernel, DepthwiseConv) or kernel.groups > 1 for kernel in used)
    if poses > 1:
        return Form.POSED_SEPARABLE if separable else Form.MIRRORED if poses == 8 else Form.POSED
    if separable:
        return Form.SEPARABLE
    if _ties_within_sums(network.ops) or _squeezes_a_later_use(used):
        return Form.SQUEEZED
    if any(kernel.tie for kernel in used):
        return Form.TIED
    return Form.SUMMED if any(isinstance(op, Residual) for op in network.ops) else Form.PLAIN


def _ties_within_sums(ops: tuple[Op, ...]) -> bool:
    return any(_reads_neighbours(kernel) for op in ops if isinstance(op, Residual) for kernel in kernels(op.ops))


def _squeezes_a_later_use(used: list[Kernel]) -> bool:
    """Whether a 1x1 convolution stands before a use of a tied kernel that is not the kernel's first."""
    seen = {used[0].tie} if used else set()
    for before, kernel in pairwise(used):
        if _reads_neighbours(kernel) and kernel.tie in seen and kernel_shape(before) == (1, 1):
            return True
        seen.add(kernel.tie)
    return False


def _reads_neighbours(kernel: Kernel) -> bool:
    """Whether a kernel is used more than once and is larger than 1x1."""
    return kernel.tie is not None and kernel_shape(kernel) != (1, 1)
