"""The ops of a network as values, one frozen dataclass each; ``op_specs`` says what each takes, makes and costs."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    """Rectifier that multiplies what is negative by one parameter, the same for all channels."""


@dataclass(frozen=True, slots=True)
class Swish:
    """x * sigmoid(x), also called SiLU (Ramachandran, Zoph and Le, arXiv 1710.05941)."""


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
    | Swish
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


def kernels(ops: tuple[Op, ...]) -> list[Kernel]:
    """Return all convolutions in order of execution, those inside ``res`` included."""
    found: list[Kernel] = []
    for op in ops:
        if isinstance(op, Kernel):
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
