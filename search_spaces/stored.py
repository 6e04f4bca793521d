"""How many numbers a trained network keeps for inference: what it has learned, and the statistics of its BN.

Parameters are what is learned; the running mean and variance of BN are measured, and exempt from them, as in torch's
``parameters()``. Whoever stores the network stores both.
"""

from __future__ import annotations

from search_spaces.architecture import Architecture
from search_spaces.cost import analyse
from search_spaces.ops import BatchNorm, Op, Residual
from search_spaces.shapes import output_shape
from search_spaces.task import Shape, Task


def stored_numbers(architecture: Architecture, task: Task) -> int:
    """Return the learned numbers and two statistics a channel of each BN, each as often as it is stored.

    Channels of a BN that share statistics have two together.
    A tied kernel, and one in several poses, is stored once. BN could be folded into one scale and shift a channel for
    inference; a file of weights does not do that.

    Raises:
        ShapeError: two ops do not fit together.

        >>> from search_spaces.language.notation import parse_network
        >>> from search_spaces.task import MNIST
        >>> network = parse_network("conv3x3(4) bn relu | gap | linear(10)")
        >>> stored_numbers(network, MNIST)  # 94 learned, 4 means and variances
        102
    """
    return analyse(architecture, task).parameters + _statistics(architecture.ops, task.input_shape)


def _statistics(ops: tuple[Op, ...], shape: Shape) -> int:
    found = 0
    for op in ops:
        if isinstance(op, BatchNorm):
            found += 2 * (shape[0] // op.poses if op.shared else shape[0])
        elif isinstance(op, Residual):
            found += _statistics(op.ops, shape)
        shape = output_shape(op, shape)
    return found
