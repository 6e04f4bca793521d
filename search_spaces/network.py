"""A network as a value: ops in order of execution, their canonical text and their hash; and its form, in one word.

Nothing here knows shapes or costs (``cost``), and nothing builds tensors.

    >>> from search_spaces.ops import BatchNorm, Conv, Dropout, GlobalAvgPool, Linear, ReLU
    >>> print(Architecture((Conv(3, 8), BatchNorm(), ReLU(), Dropout(0.0), GlobalAvgPool(), Linear(10))))
    conv3x3(8) bn relu gap linear(10)
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from search_spaces.ops import Conv, DepthwiseConv, Dropout, Dropout2d, Op, Residual, kernels, ops_text

_Kernel = Conv | DepthwiseConv


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network in canonical form, whatever form its ops are given in.

    Attributes:
        ops: ops in order of execution; ``dropout(0)`` and ties used once are removed, ties renamed t1, t2 ...
        bars: indices of the ops that a ``|`` stands before; no part of equality or hash.
    """

    ops: tuple[Op, ...]
    bars: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        uses = Counter(op.tie for op in kernels(self.ops) if op.tie is not None)
        shared = [name for name, count in uses.items() if count > 1]
        ties = {name: f"t{number}" for number, name in enumerate(shared, start=1)}
        ops, bars = _canonical(self.ops, self.bars, ties)
        object.__setattr__(self, "ops", ops)
        object.__setattr__(self, "bars", bars)

    def __str__(self) -> str:
        return ops_text(self.ops, self.bars, show_bars=True)

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical ops joined by one space."""
        return hashlib.sha256(ops_text(self.ops).encode()).hexdigest()[:12]


def _canonical(
    ops: tuple[Op, ...], bars: tuple[int, ...], ties: dict[str, str]
) -> tuple[tuple[Op, ...], tuple[int, ...]]:
    kept: list[Op] = []
    moved: list[int] = []
    for index, op in enumerate(ops):
        if index in bars:
            moved.append(len(kept))
        if isinstance(op, Dropout | Dropout2d) and op.p == 0:
            continue
        if isinstance(op, _Kernel) and op.tie is not None:
            name = ties.get(op.tie)
            op = op if name == op.tie else _renamed(op, name)
        elif isinstance(op, Residual):
            inner, inner_bars = _canonical(op.ops, op.bars, ties)
            op = Residual(inner, inner_bars)
        kept.append(op)
    inside = sorted({bar for bar in moved if 0 < bar < len(kept)})
    return tuple(kept), tuple(inside)


@lru_cache(maxsize=10_000)
def _renamed(op: _Kernel, tie: str | None) -> Op:
    return replace(op, tie=tie)


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
    sums = [op for op in network.ops if isinstance(op, Residual)]
    if any(map(_reads_neighbours, kernels([op for each in sums for op in each.ops]))) or _squeezes_a_later_use(used):
        return Form.SQUEEZED
    if any(kernel.tie for kernel in used):
        return Form.TIED
    return Form.SUMMED if sums else Form.PLAIN


def _squeezes_a_later_use(used: list[_Kernel]) -> bool:
    seen = {used[0].tie} if used else set()
    for before, kernel in pairwise(used):
        if _reads_neighbours(kernel) and kernel.tie in seen and before.edges == (1, 1):
            return True
        seen.add(kernel.tie)
    return False


def _reads_neighbours(kernel: _Kernel) -> bool:
    return kernel.tie is not None and kernel.edges != (1, 1)
