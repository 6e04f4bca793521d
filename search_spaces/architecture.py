"""A network as a value: ops in order of execution, their canonical text and their hash.

Nothing here knows shapes or costs (``shapes``, ``cost``), and nothing builds tensors.

    >>> print(Architecture((Conv(3, 8), BatchNorm(), ReLU(), Dropout(0.0), GlobalAvgPool(), Linear(10))))
    conv3x3(8) bn relu gap linear(10)
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution over all channels; ``padding`` None keeps the map's size at stride 1.

    Convolutions of one ``tie`` share one kernel, not the bias.

    Attributes:
        kernel_size: rows of the kernel.
        padding: zeros on each side; a kernel of one row or one column is padded along its length only.
        kernel_width: columns of the kernel; None for as many as rows.
        groups: parts of equal size into which input and output channels fall, each convolved by itself.
        poses: so many neighbouring outputs have one learned kernel, turned and mirrored (``poses``).
    """

    kernel_size: int
    out_channels: int
    padding: int | None = None
    stride: int = 1
    bias: bool = False
    tie: str | None = None
    kernel_width: int | None = None
    groups: int = 1
    poses: int = 1

    def __post_init__(self) -> None:
        """Resolve the defaults, so that equal ops compare equal."""
        if self.kernel_width is None:
            object.__setattr__(self, "kernel_width", self.kernel_size)
        if self.padding is None:
            object.__setattr__(self, "padding", max(kernel_shape(self)) // 2)


@dataclass(frozen=True, slots=True)
class DepthwiseConv:
    """A 3x3 convolution of each channel by itself; keeps the number of channels."""

    padding: int = 1
    stride: int = 1
    bias: bool = False
    tie: str | None = None


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalisation with a shift and, unless ``unscaled``, a scale a channel; without one the scale is 1.

    Attributes:
        poses: so many neighbouring channels have one shift and one scale.
        shared: these channels have one mean and one variance too.
    """

    unscaled: bool = False
    poses: int = 1
    shared: bool = False


@dataclass(frozen=True, slots=True)
class ReLU:
    """Rectifier."""


@dataclass(frozen=True, slots=True)
class LeakyReLU:
    """Rectifier that multiplies what is negative by ``slope``, above 0 and below 1."""

    slope: float = 0.1


@dataclass(frozen=True, slots=True)
class PReLU:
    """Rectifier that multiplies what is negative by one learned number, the same for all channels."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """Zeroes single values with probability ``p`` in training."""

    p: float


@dataclass(frozen=True, slots=True)
class Dropout2d:
    """Zeroes whole channels with probability ``p`` in training."""

    p: float


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Maximum over windows of ``size`` x ``size``, stride ``size``, incomplete windows dropped."""

    size: int = 2


@dataclass(frozen=True, slots=True)
class AvgPool:
    """Mean over windows of ``size`` x ``size``, stride ``size``, incomplete windows dropped."""

    size: int = 2


@dataclass(frozen=True, slots=True)
class Unshuffle:
    """Lays the values of each ``size`` x ``size`` window into channels; unlike a pool it loses nothing.

    Channel c becomes channels c * size^2 to (c + 1) * size^2 - 1, the window row by row, as in torch.
    """

    size: int = 2


@dataclass(frozen=True, slots=True)
class GlobalAvgPool:
    """Mean over the whole map: (channels, 1, 1)."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer with bias; flattens what it gets."""

    out_features: int


@dataclass(frozen=True, slots=True)
class Residual:
    """Adds its input to the output of its ops; ``bars`` are for the eye only, as in ``Architecture``."""

    ops: tuple[Op, ...]
    bars: tuple[int, ...] = field(default=(), compare=False)


Op = (
    Conv
    | DepthwiseConv
    | BatchNorm
    | ReLU
    | LeakyReLU
    | PReLU
    | Dropout
    | Dropout2d
    | MaxPool
    | AvgPool
    | Unshuffle
    | GlobalAvgPool
    | Linear
    | Residual
)
Kernel = Conv | DepthwiseConv


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
        """Bring the ops to canonical form."""
        ops, bars = _canonical(self.ops, self.bars, _tie_names(self.ops))
        object.__setattr__(self, "ops", ops)
        object.__setattr__(self, "bars", bars)

    def __str__(self) -> str:
        """Return the canonical text, with its bars."""
        return _text(self.ops, self.bars, show_bars=True)

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical ops joined by one space."""
        return hashlib.sha256(_text(self.ops).encode()).hexdigest()[:12]


def op_text(op: Op, *, bars: bool = True) -> str:  # noqa: C901  (a case an op)
    """Return one op in canonical notation, defaults left out."""
    match op:
        case BatchNorm():
            return _norm_text(op)
        case ReLU():
            return "relu"
        case LeakyReLU():
            return "leaky" if op.slope == 0.1 else f"leaky({plain(op.slope)})"
        case PReLU():
            return "prelu"
        case GlobalAvgPool():
            return "gap"
        case Conv() | DepthwiseConv():
            return _kernel_text(op)
        case Dropout() | Dropout2d():
            return f"{'dropout' if isinstance(op, Dropout) else 'dropout2d'}({plain(op.p)})"
        case MaxPool() | AvgPool() | Unshuffle():
            name = {MaxPool: "maxpool", AvgPool: "avgpool", Unshuffle: "unshuffle"}[type(op)]
            return name if op.size == 2 else f"{name}({op.size})"
        case Linear():
            return f"linear({op.out_features})"
        case Residual():
            return f"res({_text(op.ops, op.bars, show_bars=bars)})"


def plain(number: float) -> str:
    """Return the shortest plain decimal that reads back as ``number``: 0.00001, never 1e-05."""
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def kernels(ops: tuple[Op, ...]) -> list[Kernel]:
    """Return all convolutions in order of execution, those inside ``res`` included."""
    found: list[Kernel] = []
    for op in ops:
        if isinstance(op, Conv | DepthwiseConv):
            found.append(op)
        elif isinstance(op, Residual):
            found.extend(kernels(op.ops))
    return found


def kernel_shape(op: Kernel) -> tuple[int, int]:
    """Return rows and columns of a convolution's kernel."""
    return (op.kernel_size, op.kernel_width or op.kernel_size) if isinstance(op, Conv) else (3, 3)


def paddings(op: Kernel) -> tuple[int, int]:
    """Return how many rows of zeros stand above and below, and how many columns on the left and on the right."""
    rows, columns = kernel_shape(op)
    padding = op.padding or 0
    return padding if rows >= columns else 0, padding if columns >= rows else 0


def _kernel_text(op: Kernel) -> str:
    given = []
    rows, columns = kernel_shape(op)
    name = f"conv{rows}x{columns}" if isinstance(op, Conv) else "dwconv3x3"
    if isinstance(op, Conv):
        given.append(str(op.out_channels))
    if op.padding != max(rows, columns) // 2:
        given.append(f"pad={op.padding}")
    if op.stride != 1:
        given.append(f"stride={op.stride}")
    if isinstance(op, Conv) and op.groups != 1:
        given.append(f"groups={op.groups}")
    if isinstance(op, Conv) and op.poses != 1:
        given.append(f"poses={op.poses}")
    if op.bias:
        given.append("bias")
    if op.tie is not None:
        given.append(f"tie={op.tie}")
    return f"{name}({', '.join(given)})" if given else name


def _norm_text(op: BatchNorm) -> str:
    given = ["unscaled"] if op.unscaled else []
    if op.poses != 1:
        given.append(f"poses={op.poses}")
    if op.shared:
        given.append("shared")
    return f"bn({', '.join(given)})" if given else "bn"


def _text(ops: tuple[Op, ...], bars: tuple[int, ...] = (), *, show_bars: bool = False) -> str:
    words = []
    for index, op in enumerate(ops):
        if show_bars and index in bars:
            words.append("|")
        words.append(op_text(op, bars=show_bars))
    return " ".join(words)


def _tie_names(ops: tuple[Op, ...]) -> dict[str, str]:
    uses = Counter(op.tie for op in kernels(ops) if op.tie is not None)
    shared = [name for name, count in uses.items() if count > 1]
    return {name: f"t{number}" for number, name in enumerate(shared, start=1)}


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
        if isinstance(op, Conv | DepthwiseConv) and op.tie is not None:
            name = ties.get(op.tie)
            op = op if name == op.tie else replace(op, tie=name)
        elif isinstance(op, Residual):
            inner, inner_bars = _canonical(op.ops, op.bars, ties)
            op = Residual(inner, inner_bars)
        kept.append(op)
    inside = sorted({bar for bar in moved if 0 < bar < len(kept)})
    return tuple(kept), tuple(inside)
