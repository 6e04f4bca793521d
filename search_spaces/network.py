"""Networks as values: ops in order of execution, canonical text and hash, form, shapes and costs. No tensors.

``parameters`` counts every stored scalar that is set by training, data or a random draw. A tied kernel counts once, at
the first op that uses the kernel; a kernel in several poses counts once. The running statistics of BN do not count.
``macs`` counts the multiply-adds of convolutions and linear layers per image, without biases, BN, pooling and
additions.

    >>> from search_spaces.ops import BatchNorm, Conv, Dropout, GlobalAvgPool, Linear, ReLU
    >>> network = Architecture((Conv(3, 8), BatchNorm(), ReLU(), Dropout(0.0), GlobalAvgPool(), Linear(10)))
    >>> print(network, analyse(network, MNIST).parameters)
    conv3x3(8) bn relu gap linear(10) 178
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

from search_spaces.deployment import IntegerPlan, integer_plan
from search_spaces.errors import SearchSpaceError, ShapeError
from search_spaces.ops import BatchNorm, Kernel, Op, Residual, Role, Shape, flat, kernels, ops_text, shape_text


@dataclass(frozen=True, slots=True)
class Task:
    """Classification of images of a fixed shape.

    Attributes:
        input_shape: (channels, rows, columns) of an image.
        classes: Number of classes, and of output values of a network.
    """

    input_shape: tuple[int, int, int]
    classes: int


MNIST = Task((1, 28, 28), 10)  # default task; stored texts and hashes of networks do not name a task


# Forms of networks. A network has the last form in this tuple that applies; ``plain`` always applies.
# - summed: has residual sums.
# - tied: has a tied kernel.
# - squeezed: has a tied kernel larger than 1x1 inside a residual sum, or reused directly after a 1x1 convolution. A
#   1x1 convolution before the first use of the kernel is a transition and does not count.
# - separable: has depthwise or grouped kernels.
# - posed, mirrored: has kernels in several poses; mirrored in all eight.
FORMS = ("plain", "summed", "tied", "squeezed", "separable", "posed", "mirrored", "posed-separable")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network; the constructor converts the ops to canonical form.

    Attributes:
        ops: Ops in order of execution, without ``dropout(0)`` and ties used only once; ties are renamed t1, t2 ...
        bars: Indices of the ops with a preceding ``|``, a visual separator; ignored by equality and ``hash``.
    """

    ops: tuple[Op, ...]
    bars: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        uses = Counter(op.tie for op in flat(self.ops) if op.tie is not None)
        shared = [name for name, count in uses.items() if count > 1]
        ties = {name: f"t{number}" for number, name in enumerate(shared, start=1)}
        ops, bars = _canonical(self.ops, self.bars, ties)
        object.__setattr__(self, "ops", ops)
        object.__setattr__(self, "bars", bars)

    def __str__(self) -> str:
        return ops_text(self.ops, self.bars)

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical ops joined by spaces."""
        return hashlib.sha256(ops_text(self.ops).encode()).hexdigest()[:12]

    @property
    def op_types(self) -> set[type[Op]]:
        """Types of the ops, including ops inside residual sums."""
        return {type(op) for op in flat(self.ops)}

    @property
    def form(self) -> str:
        """Form of the network, a member of ``FORMS``."""
        used = kernels(self.ops)
        poses = max((kernel.poses for kernel in used), default=1)
        if any(kernel.is_grouped for kernel in used):
            return "posed-separable" if poses > 1 else "separable"
        if poses > 1:
            return "mirrored" if poses == 8 else "posed"
        if _is_squeezed(self.ops):
            return "squeezed"
        if any(kernel.tie for kernel in used):
            return "tied"
        return "summed" if any(isinstance(op, Residual) for op in self.ops) else "plain"


def _is_squeezed(ops: tuple[Op, ...]) -> bool:
    def is_wide(kernel: Kernel) -> bool:
        return kernel.edges != (1, 1)

    summed = [inner for op in ops if isinstance(op, Residual) for inner in op.ops]
    if any(kernel.tie and is_wide(kernel) for kernel in kernels(summed)):
        return True
    used = kernels(ops)
    ties = {kernel.tie for kernel in used[:1]}
    for before, kernel in pairwise(used):
        if kernel.tie and is_wide(kernel) and kernel.tie in ties and not is_wide(before):
            return True
        ties.add(kernel.tie)
    return False


def _canonical(
    ops: tuple[Op, ...], bars: tuple[int, ...], ties: dict[str, str]
) -> tuple[tuple[Op, ...], tuple[int, ...]]:
    canonical: list[Op] = []
    positions: set[int] = set()
    for index, op in enumerate(ops):
        if index in bars:
            positions.add(len(canonical))
        if op.role is Role.DROPOUT and op.drop_rate == 0:
            continue
        if op.tie is not None and ties.get(op.tie) != op.tie:
            op = _renamed(op, ties.get(op.tie))
        elif isinstance(op, Residual):
            op = Residual(*_canonical(op.ops, op.bars, ties))
        canonical.append(op)
    return tuple(canonical), tuple(sorted(bar for bar in positions if 0 < bar < len(canonical)))


@lru_cache(maxsize=10_000)
def _renamed(op: Op, tie: str | None) -> Op:
    return replace(cast(Any, op), tie=tie)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A top-level op with shape and costs.

    Attributes:
        op: The op.
        output_shape: (channels, height, width) or (features,).
        parameters: Parameters stored at this op; a tied kernel counts at the first use only.
        macs: Multiply-adds per image.
        receptive_field: Shorter edge of the receptive field after this op in input pixels, not clipped to the image;
            for a series (images with a single row) the columns.
    """

    op: Op
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: int


_OP_US = 0.07612  # microseconds per op (benchmarks/results/latency.json)
_MAC_US = 0.0001088  # microseconds per multiply-add (same file)
_NUMBER_US = 0.001556  # microseconds per number in a map (same file)


@dataclass(frozen=True, slots=True)
class Analysis:
    """Shapes and costs of a network for a task.

    Attributes:
        task: Input shape and number of classes.
        layers: Top-level ops with shapes and costs.
        parameters: Total number of parameters.
        macs: Total number of multiply-adds per image.
        receptive_field: Receptive field before the first global op, in input pixels (see ``_Layer``).
    """

    task: Task
    layers: tuple[_Layer, ...]
    parameters: int
    macs: int
    receptive_field: int

    @property
    def plan(self) -> IntegerPlan:
        """Integer form of the network."""
        return integer_plan((layer.op for layer in self.layers), self.task.input_shape)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the constants of the integer form, as written by ``harness export --c``."""
        return self.plan.constant_bytes

    @property
    def ram_bytes(self) -> int:
        """Bytes of memory for the maps of the integer form, without the image and the stack."""
        return self.plan.arena_bytes

    @property
    def latency_us(self) -> int:
        """Estimated microseconds per image of the native engine on a single core, rounded up.

        The linear formula was fitted by ``benchmarks/latency.py`` on AMD EPYC with AVX-512, which also reports the
        error for networks held out from the fit.
        """
        ops = sum(1 for _ in flat([layer.op for layer in self.layers]))
        return math.ceil(_OP_US * ops + _MAC_US * self.macs + _NUMBER_US * self.map_numbers)

    @property
    def _ops(self) -> list[tuple[Op, Shape]]:
        return list(walk([layer.op for layer in self.layers], self.task.input_shape))

    @property
    def stored_numbers(self) -> int:
        """Number of parameters and running statistics: two per BN channel, or per group of channels that share these.

        A tied kernel and a kernel in several poses are stored once. Files of weights do not fold BN into a scale and a
        shift per channel.
        """
        return self.parameters + sum(op.statistics(before) for op, before in self._ops)

    @property
    def map_numbers(self) -> int:
        """Output numbers of all ops per image; an op inside a residual sum is assumed to have the size of the sum."""
        return sum(math.prod(layer.output_shape) * sum(1 for _ in flat([layer.op])) for layer in self.layers)

    @property
    def grouped_macs(self) -> int:
        """Multiply-adds of depthwise and grouped kernels per image."""
        # Avoid computing shapes for the majority of networks, which have no grouped kernels.
        if not any(kernel.is_grouped for kernel in kernels([layer.op for layer in self.layers])):
            return 0
        return sum(op.cost(before)[1] for op, before in self._ops if isinstance(op, Kernel) and op.is_grouped)

    @property
    def pointwise_macs(self) -> int:
        """Multiply-adds of 1x1 kernels per image."""
        kernels = ((op, before) for op, before in self._ops if isinstance(op, Kernel) and op.edges == (1, 1))
        return sum(op.cost(before)[1] for op, before in kernels)


def analyse(network: Architecture | tuple[Op, ...], task: Task, budget: int | None = None) -> Analysis:
    """Return shapes, parameters, multiply-adds and receptive field of every op, and the totals.

    Args:
        network: A network, or ops that need not be canonical, so that paths of errors match the text.
        task: Input shape and number of classes.
        budget: Largest allowed number of parameters.

    Raises:
        ShapeError: Two ops do not fit together, or the output is not a value per class.
        SearchSpaceError: The network has more than ``budget`` parameters.
    """
    layers, _ = _layers(network.ops if isinstance(network, Architecture) else network, task.input_shape, (1, 1, 1), {})
    shapes = [task.input_shape, *(layer.output_shape for layer in layers)]
    if shapes[-1] not in ((task.classes,), (task.classes, 1, 1)):
        raise ShapeError(
            f"the network has the output shape {shape_text(shapes[-1])}; expected {task.classes} values, one per class "
            f"(for example 'gap linear({task.classes})' or 'conv1x1({task.classes}) gap')"
        )
    seen = [index for index, layer in enumerate(layers) if layer.op.is_global and len(shapes[index]) == 3]
    local = min([*seen, len(layers)])
    parameters, macs = sum(layer.parameters for layer in layers), sum(layer.macs for layer in layers)
    if budget is not None and parameters > budget:
        raise SearchSpaceError(f"{parameters:,} parameters exceed the budget of {budget:,} by {parameters - budget:,}")
    return Analysis(task, tuple(layers), parameters, macs, layers[local - 1].receptive_field if local else 1)


# Receptive field of a map position: rows, columns and distance of neighbouring positions, all in input pixels and not
# clipped to the image.
_Field = tuple[int, int, int]


def _layers(ops: tuple[Op, ...], shape: Shape, field: _Field, tied: dict[str, Shape]) -> tuple[list[_Layer], _Field]:
    # ``tied`` maps tie names to kernel shapes and is updated in place.
    layers: list[_Layer] = []
    for index, op in enumerate(ops):
        try:
            if isinstance(op, Residual):
                shape = op.shape(shape)  # checks that the inner ops fit together
                inner, field = _layers(op.ops, shape, field, tied)
                parameters, macs = sum(layer.parameters for layer in inner), sum(layer.macs for layer in inner)
                layers.append(_Layer(op, shape, parameters, macs, _shorter_edge(field, shape)))
                continue
            layer, further, field, kernel = _alone(op, shape, field)
            if op.tie is not None and kernel is not None:
                layer = further if op.tie in tied else layer
                if tied.setdefault(op.tie, kernel) != kernel:
                    raise ShapeError(
                        f"tie={op.tie} joins weights of shapes {shape_text(tied[op.tie])} and {shape_text(kernel)} "
                        "(out x in x height x width; bn: scale and shift x channels); the shapes must be equal"
                    )
            layers.append(layer)
            shape = layer.output_shape
        except ShapeError as error:
            raise ShapeError(error.message, path=(index, *error.path)) from None
    return layers, field


@lru_cache(maxsize=50_000)
def _alone(op: Op, shape: Shape, field: _Field) -> tuple[_Layer, _Layer, _Field, Shape | None]:
    # Return the layer for the first use of the kernel, the layer for a repeated use, the receptive field and the kernel
    # shape. Cached, because the thousands of networks in a search consist of the same few ops, shapes and fields.
    after = op.shape(shape)
    kernel = op.kernel(shape)
    window = op.window()
    if op.is_global and len(shape) == 3:
        # A global op is equivalent to a window of the size of the map.
        window = shape[1], shape[2], 1
    if window is not None:
        rows, columns, stride = window
        height, width, jump = field
        field = height + (rows - 1) * jump, width + (columns - 1) * jump, jump * stride
    first = _Layer(op, after, *op.cost(shape), _shorter_edge(field, shape))
    further = replace(first, parameters=first.parameters - math.prod(kernel)) if kernel else first
    return first, further, field, kernel


def _shorter_edge(field: _Field, shape: Shape) -> int:
    """Return the shorter edge of the receptive field; for a series (a single row) the columns."""
    rows, columns, _ = field
    is_series = rows == 1 and (len(shape) == 1 or shape[1] == 1)
    return columns if is_series else min(rows, columns)


def walk(ops: Iterable[Op], before: Shape) -> Iterator[tuple[Op, Shape]]:
    """Yield all ops with input shapes, in order of execution: the ops of a residual sum first, then the sum.

    Raises:
        ShapeError: Two ops do not fit together.
    """
    for op in ops:
        if isinstance(op, Residual):
            yield from walk(op.ops, before)
        yield op, before
        before = op.shape(before)


def normalised_values(ops: tuple[Op, ...], shape: Shape) -> Iterator[int]:
    """Yield, for each BN, the number of values per image that enter a mean: those in all channels sharing the mean."""
    for op, before in walk(ops, shape):
        if isinstance(op, BatchNorm):
            yield math.prod(before[1:]) * (op.poses if op.shared else 1)
