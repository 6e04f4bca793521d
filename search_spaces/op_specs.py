"""What the notation, the shapes and the costs know of an op: one row of ``SPECS`` each.

To add an op: its dataclass in ``ops`` and a row here. What trains and exports it hangs on the dataclass too:
``MODULES``, ``INSTRUCTIONS`` and ``NODES`` in ``harness``.

Padded maps and windows follow ``floor((size + 2 * padding - kernel) / stride) + 1`` (Dumoulin and Visin, arXiv
1603.07285, relationship 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache, partial
from typing import Any

from search_spaces import poses
from search_spaces.errors import ShapeError
from search_spaces.ops import (
    AvgPool,
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    Dropout2d,
    GlobalAvgPool,
    Kernel,
    LeakyReLU,
    Linear,
    MaxPool,
    Op,
    PReLU,
    ReLU,
    Residual,
    Swish,
    Unshuffle,
    kernel_shape,
    paddings,
)
from search_spaces.task import Shape, shape_text


class Kind(StrEnum):
    """What an argument may be."""

    COUNT = "a whole number"
    RATE = "a number from 0 to below 1"
    SLOPE = "a number above 0 and below 1"
    FLAG = "a word that stands alone"
    TIE = "a name"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of an op.

    Attributes:
        field: the field of the op that it sets.
        label: its keyword, or what names it in a decision.
        meaning: what it says, for messages.
        among: all numbers that it may be; any from ``minimum`` on where there are none.
    """

    field: str
    label: str
    kind: Kind
    meaning: str
    minimum: int = 1
    among: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """What an op takes: at most one number without a keyword, and options by name, in the order of canonical text."""

    make: Callable[..., Op]
    number: Parameter | None = None
    required: bool = False
    options: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spec:
    """An op; what a row leaves out is that of an activation, which computes each value from the one in its place.

    Attributes:
        op: its dataclass.
        signatures: what it takes, by its names in the notation.
        shape: the shape after it, from the one before; raises ShapeError where the op cannot take that.
        window: rows, columns and stride of what a position of its output reads; None where it reads its own place only.
        is_global: it takes in a whole map at once.
        kernel: shape of its learned kernel, out x in x rows x columns, from the shape before; None without one.
        cost: parameters, and multiply-adds for one image, from the shape before; not for what has a kernel.
    """

    op: type[Op]
    signatures: Mapping[str, Signature]
    shape: Callable[[Any, Shape], Shape] = lambda op, shape: shape
    window: Callable[[Any], tuple[int, int, int]] | None = None
    is_global: bool = False
    kernel: Callable[[Any, Shape], Shape] | None = None
    cost: Callable[[Any, Shape], tuple[int, int]] = lambda op, shape: (0, 0)


def op_text(op: Op, *, bars: bool = True) -> str:
    """Return one op in canonical notation, defaults left out."""
    if isinstance(op, Residual):
        return f"res({ops_text(op.ops, op.bars, show_bars=bars)})"
    return _plain_text(op)


@lru_cache(maxsize=10_000)
def _plain_text(op: Op) -> str:
    name = f"conv{op.kernel_size}x{op.kernel_width}" if isinstance(op, Conv) else _NAMES[type(op)]
    signature, default = SIGNATURES[name], _DEFAULTS[name]
    given = []
    if signature.number is not None:
        value = getattr(op, signature.number.field)
        if signature.required or value != getattr(default, signature.number.field):
            given.append(plain(value))
    for keyword, option in signature.options.items():
        value = getattr(op, option.field)
        if value != getattr(default, option.field):
            given.append(keyword if option.kind is Kind.FLAG else f"{keyword}={value}")
    return f"{name}({', '.join(given)})" if given else name


def ops_text(ops: tuple[Op, ...], bars: tuple[int, ...] = (), *, show_bars: bool = False) -> str:
    """Return ops in canonical notation, with a ``|`` before those whose indices ``bars`` holds where they are shown."""
    words = []
    for index, op in enumerate(ops):
        if show_bars and index in bars:
            words.append("|")
        words.append(op_text(op, bars=show_bars))
    return " ".join(words)


def plain(number: float) -> str:
    """Return the shortest plain decimal that reads back as ``number``: 0.00001, never 1e-05."""
    if isinstance(number, int):
        return str(number)
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _map(op: Op, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ShapeError(f"{op_text(op)} needs a map (channels x height x width), but gets a vector of {shape[0]}")
    return shape[0], shape[1], shape[2]


def _convolved(op: Kernel, shape: Shape) -> Shape:
    channels, height, width = _map(op, shape)
    out = _out_channels(op, channels) if isinstance(op, Conv) else channels
    return (out, *_windows(op, (height, width), kernel_shape(op), op.stride, paddings(op)))


def _out_channels(op: Conv, channels: int) -> int:
    if channels % op.groups or op.out_channels % op.groups:
        raise ShapeError(
            f"{op_text(op)} parts {channels} channels and {op.out_channels} outputs into {op.groups} groups; "
            "both must be multiples of the number of groups"
        )
    into, out = channels // op.groups, op.out_channels // op.groups
    if out % op.poses or (into > 1 and into % op.poses):
        each = "" if op.groups == 1 else " a group"
        raise ShapeError(
            f"{op_text(op)} reads {into} and writes {out} channels{each}; a kernel in {op.poses} poses "
            f"writes a multiple of {op.poses}, and reads one channel or a multiple of {op.poses}"
        )
    return op.out_channels


def _windows(
    op: Op, size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: tuple[int, int]
) -> tuple[int, int]:
    height, width = ((size[axis] + 2 * padding[axis] - kernel[axis]) // stride + 1 for axis in (0, 1))
    if height < 1 or width < 1:
        raise ShapeError(
            f"{op_text(op)} leaves nothing of a map of {shape_text(size)}: "
            f"its window of {shape_text(kernel)} does not fit in"
        )
    return height, width


def _normed(op: BatchNorm, shape: Shape) -> Shape:
    if op.shared and op.poses == 1:
        raise ShapeError(
            f"{op_text(op)} has no poses to share statistics; it needs 2, 4 or 8, as in bn(poses=4, shared)"
        )
    if shape[0] % op.poses:
        raise ShapeError(f"{op_text(op)} gets {shape[0]} channels; they must be a multiple of the number of poses")
    return shape


def _pooled(op: MaxPool | AvgPool, shape: Shape) -> Shape:
    channels, height, width = _map(op, shape)
    return (channels, *_windows(op, (height, width), (op.size, op.size), op.size, (0, 0)))


def _unshuffled(op: Unshuffle, shape: Shape) -> Shape:
    channels, height, width = _map(op, shape)
    if height % op.size or width % op.size:
        raise ShapeError(
            f"{op_text(op)} needs a map whose edges are multiples of {op.size}, but gets one of {height}x{width}"
        )
    return channels * op.size**2, height // op.size, width // op.size


def _linear_cost(op: Linear, shape: Shape) -> tuple[int, int]:
    features = math.prod(shape)
    return (features + 1) * op.out_features, features * op.out_features


_KERNEL = {
    "pad": Parameter("padding", "pad", Kind.COUNT, "padding", minimum=0),
    "stride": Parameter("stride", "stride", Kind.COUNT, "stride"),
    "bias": Parameter("bias", "bias", Kind.FLAG, "bias"),
    "tie": Parameter("tie", "tie", Kind.TIE, "tie"),
}
_POSES = {"poses": Parameter("poses", "poses", Kind.COUNT, "number of poses", among=poses.NUMBERS)}
_GROUPS = {"groups": Parameter("groups", "groups", Kind.COUNT, "number of groups")}
_ENDS = {name: _KERNEL[name] for name in ("bias", "tie")}
_SQUARE = {"pad": _KERNEL["pad"], "stride": _KERNEL["stride"], **_GROUPS, **_POSES, **_ENDS}
# A quarter turn of a kernel of one row is no kernel of one row: these take no poses.
_STRIP = {name: option for name, option in _SQUARE.items() if name != "poses"}
_NORM = {
    "unscaled": Parameter("unscaled", "unscaled", Kind.FLAG, "fixed scale"),
    **_POSES,
    "shared": Parameter("shared", "shared", Kind.FLAG, "shared statistics"),
}
_CHANNELS = Parameter("out_channels", "channels", Kind.COUNT, "number of output channels")
_RATE = Parameter("p", "rate", Kind.RATE, "rate")
_SLOPE = Parameter("slope", "slope", Kind.SLOPE, "slope")
_SIZE = Parameter("size", "size", Kind.COUNT, "window size")
_WINDOW = Parameter("size", "size", Kind.COUNT, "window size", minimum=2)
_FEATURES = Parameter("out_features", "outputs", Kind.COUNT, "number of outputs")

_ROWS = (
    Spec(
        Conv,
        {
            "conv1x1": Signature(partial(Conv, 1), _CHANNELS, True, _SQUARE),
            "conv3x3": Signature(partial(Conv, 3), _CHANNELS, True, _SQUARE),
            "conv5x5": Signature(partial(Conv, 5), _CHANNELS, True, _SQUARE),
            "conv3x1": Signature(partial(Conv, 3, kernel_width=1), _CHANNELS, True, _STRIP),
            "conv1x3": Signature(partial(Conv, 1, kernel_width=3), _CHANNELS, True, _STRIP),
        },
        shape=_convolved,
        window=lambda op: (*kernel_shape(op), op.stride),
        kernel=lambda op, shape: (op.out_channels // op.poses, shape[0] // op.groups, *kernel_shape(op)),
    ),
    Spec(
        DepthwiseConv,
        {"dwconv3x3": Signature(DepthwiseConv, options=_KERNEL)},
        shape=_convolved,
        window=lambda op: (*kernel_shape(op), op.stride),
        kernel=lambda op, shape: (shape[0], 1, *kernel_shape(op)),
    ),
    Spec(
        BatchNorm,
        {"bn": Signature(BatchNorm, options=_NORM)},
        shape=_normed,
        cost=lambda op, shape: ((1 if op.unscaled else 2) * (shape[0] // op.poses), 0),
    ),
    Spec(ReLU, {"relu": Signature(ReLU)}),
    Spec(LeakyReLU, {"leaky": Signature(LeakyReLU, _SLOPE)}),
    Spec(PReLU, {"prelu": Signature(PReLU)}, cost=lambda op, shape: (1, 0)),
    Spec(Swish, {"swish": Signature(Swish)}),
    Spec(Dropout, {"dropout": Signature(Dropout, _RATE, True)}),
    Spec(Dropout2d, {"dropout2d": Signature(Dropout2d, _RATE, True)}, shape=_map),
    Spec(MaxPool, {"maxpool": Signature(MaxPool, _SIZE)}, shape=_pooled, window=lambda op: (op.size, op.size, op.size)),
    Spec(AvgPool, {"avgpool": Signature(AvgPool, _SIZE)}, shape=_pooled, window=lambda op: (op.size, op.size, op.size)),
    Spec(
        Unshuffle,
        {"unshuffle": Signature(Unshuffle, _WINDOW)},
        shape=_unshuffled,
        window=lambda op: (op.size, op.size, op.size),
    ),
    Spec(
        GlobalAvgPool,
        {"gap": Signature(GlobalAvgPool)},
        shape=lambda op, shape: (_map(op, shape)[0], 1, 1),
        is_global=True,
    ),
    Spec(
        Linear,
        {"linear": Signature(Linear, _FEATURES, True)},
        shape=lambda op, shape: (op.out_features,),
        is_global=True,
        cost=_linear_cost,
    ),
)
# ``res`` is not here: it takes ops, not numbers, and whoever walks through ops goes into it.
SPECS: Mapping[type[Op], Spec] = {spec.op: spec for spec in _ROWS}
SIGNATURES = {name: signature for spec in _ROWS for name, signature in spec.signatures.items()}
OP_NAMES = (*SIGNATURES, "res")
_NAMES = {spec.op: name for spec in _ROWS for name in spec.signatures}
_DEFAULTS = {
    name: item.make(**({item.number.field: 1} if item.required and item.number else {}))
    for name, item in SIGNATURES.items()
}
