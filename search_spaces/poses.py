"""The poses of a kernel: the quarter turns of the square and their mirror images, as permutations.

A convolution with ``poses=4`` learns one kernel for each four outputs, which use it in its four quarter turns; with 8
these and their mirror images, with 2 as it is and upside down. Where its input comes in poses too, the input channels
of a kernel change places with its turns, so that a turned image leaves turned maps whose channels have changed places:
a group convolution over p4, p4m or p2 (Cohen and Welling, "Group equivariant convolutional networks", ICML 2016).

Pose ``k`` of eight is ``k % 4`` quarter turns against the clock, after a mirroring of left and right where ``k >= 4``.
"""

from __future__ import annotations

from functools import cache

NUMBERS = (1, 2, 4, 8)


def turns(pose: int, poses: int) -> int:
    """Return how many quarter turns against the clock a pose is."""
    return pose * (2 if poses == 2 else 1) % 4


def mirrored(pose: int) -> bool:
    """Return whether left and right are changed before the turns."""
    return pose >= 4


def _composed(second: int, first: int, poses: int) -> int:
    """Return the pose that is ``first``, then ``second``."""
    if poses == 8:
        turned = second % 4 + (-(first % 4) if mirrored(second) else first % 4)
        return turned % 4 + 4 * (mirrored(first) != mirrored(second))
    return (first + second) % poses


@cache
def channel_order(pose: int, poses: int, channels: int) -> tuple[int, ...]:
    """Return which input channel of the learned kernel each input channel of the kernel in ``pose`` is.

    Args:
        channels: of the kernel's input, one or a multiple of ``poses``.
    """
    if channels == 1:
        return (0,)
    inverse = {_composed(pose, first, poses): first for first in range(poses)}
    return tuple(channel // poses * poses + inverse[channel % poses] for channel in range(channels))
