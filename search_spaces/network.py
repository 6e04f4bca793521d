"""A network as a value: ops in order of execution, their canonical text and hash, form, shapes and costs.

``parameters`` counts every stored scalar that training, data or a random draw has set, a tied kernel once,
at its first user, and a kernel in several poses once; the running statistics of BN are exempt. ``macs`` counts the
multiply-adds of convolutions and linear layers for one image; biases, BN, pooling and additions are left out.
Nothing here builds tensors.

    >>> from search_spaces.ops import BatchNorm, Conv, Dropout, GlobalAvgPool, Linear, ReLU
    >>> network = Architecture((Conv(3, 8), BatchNorm(), ReLU(), Dropout(0.0), GlobalAvgPool(), Linear(10)))
    >>> print(network, analyse(network, MNIST).parameters)
    conv3x3(8) bn relu gap linear(10) 178
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from search_spaces.errors import SearchSpaceError, ShapeError
from search_spaces.ops import (
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    Dropout2d,
    Kernel,
    Linear,
    Op,
    Residual,
    Shape,
    kernels,
    ops_text,
    shape_text,
)


@dataclass(frozen=True, slots=True)
class Task:
    """Classify images of one shape.

    Attributes:
        input_shape: (channels, rows, columns) of an image.
        classes: a network ends in so many values.
    """

    input_shape: tuple[int, int, int]
    classes: int


# The task of whatever does not name another one: texts and hashes of networks are older than the choice.
MNIST = Task((1, 28, 28), 10)


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


@dataclass(frozen=True, slots=True)
class _Layer:
    """One top-level op and what it costs.

    Attributes:
        output_shape: (channels, height, width) or (features,).
        parameters: those stored at this op; a tied kernel counts at its first user only.
        macs: multiply-adds for one image.
        receptive_field: shorter edge in input pixels after this op, not clipped to the image.
    """

    op: Op
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """A network's layers and totals for a task; ``receptive_field`` is the one before the first global op."""

    task: Task
    layers: tuple[_Layer, ...]
    parameters: int
    macs: int
    receptive_field: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of constants that an integer deployment ships.

        An int8 a weight, a shared kernel once; an int32 bias and multiplier for every channel that a convolution or
        linear layer writes, at every use, into which a BN right behind it is folded; as much for each channel of any
        other BN, and an int32 for each parameter of other ops.
        """
        return _constants(tuple(layer.op for layer in self.layers), self.task.input_shape, set())

    @property
    def ram_bytes(self) -> int:
        """Bytes of the int8 maps that are live at once, at most, while one image is computed; the image is one of them.

        What computes each value from the one in its place does so there, unless a residual sum still needs the map; a
        pooling is done while the convolution before it writes. A network is a chain, so there is one order only.
        """
        return _peak(tuple(layer.op for layer in self.layers), self.task.input_shape, 0, False)


def _constants(ops: tuple[Op, ...], shape: Shape, tied: set[str]) -> int:
    found, folds = 0, False
    for op in ops:
        before, shape = shape, op.shape(shape)
        if isinstance(op, Residual):
            found, folds = found + _constants(op.ops, before, tied), False
        elif isinstance(op, Kernel | Linear):
            kernel = op.kernel(before) or (op.shape(before)[0], math.prod(before))
            tie = getattr(op, "tie", None)
            found, folds = found + math.prod(kernel) * (tie not in tied) + 8 * shape[0], True
            tied.update([tie] if tie else [])
        elif isinstance(op, BatchNorm):
            found += 0 if folds else 8 * shape[0]
        elif not isinstance(op, Dropout | Dropout2d):
            found, folds = found + 4 * op.cost(before)[0], False
    return found


def _peak(ops: tuple[Op, ...], shape: Shape, others: int, needed: bool) -> int:
    # Others: bytes of live maps beside the current one; ``needed``: a sum reads the current one later.
    most, place = others + math.prod(shape), 0
    while place < len(ops):
        op, place = ops[place], place + 1
        read, before = math.prod(shape), shape
        shape = op.shape(shape)
        if isinstance(op, Dropout | Dropout2d):
            continue
        if isinstance(op, Residual):
            most = max(most, _peak(op.ops, before, others, True))
        elif not _in_place(op) or needed:
            ahead = place
            while isinstance(op, Kernel) and ahead < len(ops) and _in_place(ops[ahead]):
                ahead += 1
            if isinstance(op, Kernel) and ahead < len(ops) and _pools(ops[ahead]):
                shape, place = ops[ahead].shape(shape), ahead + 1
            most = max(most, others + read + math.prod(shape))
        else:
            continue
        others, needed = others + read * needed, False
    return most


def _in_place(op: Op) -> bool:
    return not (isinstance(op, Kernel | Residual) or op.is_global or op.window() is not None)


def _pools(op: Op) -> bool:
    return not isinstance(op, Kernel | Linear) and (op.is_global or op.window() is not None)


@dataclass(frozen=True, slots=True)
class _Field:
    """What one position of a map sees of the image, in input pixels, not clipped to the image.

    Attributes:
        jump: distance of neighbouring positions.
    """

    height: int = 1
    width: int = 1
    jump: int = 1

    @property
    def size(self) -> int:
        """Its shorter edge: what is seen along both axes."""
        return min(self.height, self.width)


def analyse(architecture: Architecture, task: Task) -> Analysis:
    """Return shapes, parameters, multiply-adds and receptive field of every op, and the totals.

    Raises:
        ShapeError: two ops do not fit together, or the network does not end in one value a class.
    """
    return analyse_ops(architecture.ops, task)


def analyse_ops(ops: tuple[Op, ...], task: Task) -> Analysis:
    """Do as ``analyse`` for ops that need not be canonical, so that errors keep the indices of a text."""
    layers: list[_Layer] = []
    tied: dict[str, Shape] = {}
    shape: Shape = task.input_shape
    field, local = _Field(), 0
    for index, op in enumerate(ops):
        try:
            found, after = _layer(op, shape, field, tied)
        except ShapeError as error:
            raise ShapeError(error.message, path=(index, *error.path)) from None
        if not local and op.is_global and len(shape) == 3:
            local = field.size
        layers.append(found)
        shape, field = found.output_shape, after
    if shape not in ((task.classes,), (task.classes, 1, 1)):
        raise ShapeError(
            f"the network ends in {shape_text(shape)}; it must end in {task.classes} values, one for each class "
            f"(for example 'gap linear({task.classes})' or 'conv1x1({task.classes}) gap')"
        )
    parameters, macs = (sum(getattr(layer, name) for layer in layers) for name in ("parameters", "macs"))
    return Analysis(task, tuple(layers), parameters, macs, local or field.size)


def _layer(op: Op, shape: Shape, field: _Field, tied: dict[str, Shape]) -> tuple[_Layer, _Field]:
    # ``tied`` maps tie names to kernels and is added to.
    if isinstance(op, Residual):
        op.shape(shape)  # first of all its ops fit together
        parameters, macs, inside = 0, 0, shape
        for index, inner in enumerate(op.ops):
            try:
                found, field = _layer(inner, inside, field, tied)
            except ShapeError as error:
                raise ShapeError(error.message, path=(index, *error.path)) from None
            parameters, macs, inside = parameters + found.parameters, macs + found.macs, found.output_shape
        return _Layer(op, inside, parameters, macs, field.size), field
    first, further, after, kernel = _alone(op, shape, field)
    if not isinstance(op, Kernel) or op.tie is None or kernel is None:
        return first, after
    if op.tie not in tied:
        tied[op.tie] = kernel
        return first, after
    known = tied[op.tie]
    if known != kernel:
        raise ShapeError(
            f"tie={op.tie} shares a kernel of {shape_text(known)} with one of {shape_text(kernel)} "
            "(out x in x height x width); tied kernels must have equal shapes"
        )
    return further, after


@lru_cache(maxsize=50_000)
def _alone(op: Op, shape: Shape, field: _Field) -> tuple[_Layer, _Layer, _Field, Shape | None]:
    # Returned: the op as first user of its kernel, and as a further one. A search looks at thousands of networks that
    # are made of the same few ops, shapes and fields, so this is cached.
    after, kernel = op.shape(shape), op.kernel(shape)
    window = op.window()
    if op.is_global and len(shape) == 3:
        # It sees the whole map, as a window of the map's size would.
        window = shape[1], shape[2], 1
    if window is not None:
        rows, columns, stride = window
        height, width = field.height + (rows - 1) * field.jump, field.width + (columns - 1) * field.jump
        field = _Field(height, width, field.jump * stride)
    parameters, macs = op.cost(shape)
    first = _Layer(op, after, parameters, macs, field.size)
    further = replace(first, parameters=parameters - math.prod(kernel)) if kernel else first
    return first, further, field, kernel


def walk(ops: tuple[Op, ...], before: Shape) -> Iterator[tuple[Op, Shape]]:
    """Yield all ops, those within residual sums too and the sums behind theirs, each with the shape before it.

    Raises:
        ShapeError: two ops do not fit together.
    """
    for op in ops:
        if isinstance(op, Residual):
            yield from walk(op.ops, before)
        yield op, before
        before = op.shape(before)


def stored_numbers(architecture: Architecture, task: Task) -> int:
    """Return the parameters and two statistics a channel of each BN, each as often as it is stored.

    Channels of a BN that share statistics have two together.
    A tied kernel, and one in several poses, is stored once. BN could be folded into one scale and shift a channel for
    inference; a file of weights does not do that.

    Raises:
        ShapeError: two ops do not fit together.

        >>> from search_spaces.notation import parse_network
        >>> from search_spaces.network import MNIST
        >>> network = parse_network("conv3x3(4) bn relu | gap | linear(10)")
        >>> stored_numbers(network, MNIST)  # 94 learned, 4 means and variances
        102
    """
    statistics = sum(op.statistics(before) for op, before in walk(architecture.ops, task.input_shape))
    return analyse(architecture, task).parameters + statistics


def map_numbers(analysis: Analysis) -> int:
    """Return how many numbers all ops of a network write for one image, those within residual sums too.

    An op within a sum counts as the sum's own map: all of them have its height and width.
    """
    return sum(math.prod(layer.output_shape) * _maps(layer.op) for layer in analysis.layers)


def _maps(op: Op) -> int:
    return 1 + sum(_maps(inner) for inner in op.ops) if isinstance(op, Residual) else 1


def grouped_macs(analysis: Analysis) -> int:
    """Return the multiply-adds of depthwise and grouped kernels for one image, those within residual sums too."""
    found = 0
    before: Shape = analysis.task.input_shape
    for layer in analysis.layers:
        # Most kernels read all channels; their shapes are not needed.
        if layer.macs and _has_groups(layer.op):
            for op, read in walk((layer.op,), before):
                if isinstance(op, Kernel) and _has_groups(op):
                    channels = 1 if isinstance(op, DepthwiseConv) else read[0] // getattr(op, "groups", 1)
                    found += math.prod(op.shape(read)) * channels * math.prod(op.edges)
        before = layer.output_shape
    return found


def _has_groups(op: Op) -> bool:
    if isinstance(op, Residual):
        return any(map(_has_groups, op.ops))
    return isinstance(op, DepthwiseConv) or (isinstance(op, Conv) and op.groups > 1)


def check_budget(parameters: int, budget: int) -> None:
    """Raise SearchSpaceError when ``parameters`` are more than ``budget``."""
    if parameters > budget:
        raise SearchSpaceError(f"{parameters:,} parameters are {parameters - budget:,} over the budget of {budget:,}")


def normalised_values(ops: tuple[Op, ...], shape: Shape) -> Iterator[int]:
    """Yield, BN by BN, of how many values of one image each mean is: of a channel's, or of all that share it."""
    for op, before in walk(ops, shape):
        if isinstance(op, BatchNorm):
            yield math.prod(before[1:]) * (op.poses if op.shared else 1)
