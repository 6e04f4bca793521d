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
    """Classify images of one shape.

    Attributes:
        input_shape: (channels, rows, columns) of an image.
        classes: a network ends in so many values.
    """

    input_shape: tuple[int, int, int]
    classes: int


# The task of whatever does not name another one: texts and hashes of networks are older than the choice.
MNIST = Task((1, 28, 28), 10)


# The forms; the first that holds from below is a network's, so ``plain`` is what none of the others describes.
# ``summed`` has residual sums but no kernel used again within one. ``squeezed`` has a kernel that is used again
# within a sum, or behind a 1x1 convolution: one before its first use alone is a transition and leaves it ``tied``.
# ``separable`` has depthwise or grouped kernels; ``posed`` has kernels in orientations, ``mirrored`` in all eight.
FORMS = ("plain", "summed", "tied", "squeezed", "separable", "posed", "mirrored", "posed-separable")


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
        """First 12 hex digits of the SHA-256 of the canonical ops joined by one space."""
        return hashlib.sha256(ops_text(self.ops).encode()).hexdigest()[:12]

    @property
    def op_types(self) -> set[type[Op]]:
        """Of which kinds its ops are, those within residual sums too."""
        return {type(op) for op in flat(self.ops)}

    @property
    def form(self) -> str:
        """Its form, one of ``FORMS``."""
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
    """One top-level op and what it costs.

    Attributes:
        output_shape: (channels, height, width) or (features,).
        parameters: those stored at this op; a tied kernel counts at its first user only.
        macs: multiply-adds for one image.
        receptive_field: shorter edge in input pixels after this op, not clipped to the image; of a series its columns.
    """

    op: Op
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: int


# The microseconds of an op, of a multiply-add and of a number in a map (benchmarks/results/latency.json).
_OP_US = 0.07612
_MAC_US = 0.0001088
_NUMBER_US = 0.001556


@dataclass(frozen=True, slots=True)
class Analysis:
    """A network's layers and totals for a task; ``receptive_field`` is the one before the first global op."""

    task: Task
    layers: tuple[_Layer, ...]
    parameters: int
    macs: int
    receptive_field: int

    @property
    def plan(self) -> IntegerPlan:
        """Its integer form."""
        return integer_plan((layer.op for layer in self.layers), self.task.input_shape)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the constants of its integer form, as ``harness export --c`` writes them."""
        return self.plan.constant_bytes

    @property
    def ram_bytes(self) -> int:
        """Bytes of the memory for maps that its integer form works in; the image and the stack are not in it."""
        return self.plan.arena_bytes

    @property
    def latency_us(self) -> int:
        """Microseconds of one image on one core, rounded up: the native engine's, by a formula fitted to networks.

        ``benchmarks/latency.py`` measured them on AMD EPYC with AVX-512 and says how far the formula is from others.
        """
        ops = sum(1 for _ in flat([layer.op for layer in self.layers]))
        return math.ceil(_OP_US * ops + _MAC_US * self.macs + _NUMBER_US * self.map_numbers)

    @property
    def _ops(self) -> list[tuple[Op, Shape]]:
        return list(walk([layer.op for layer in self.layers], self.task.input_shape))

    @property
    def stored_numbers(self) -> int:
        """The parameters, and the statistics of each BN: two a channel, or two for all channels that share them.

        A tied kernel, and one in several poses, is stored once. BN could be folded into one scale and shift a channel
        for inference; a file of weights does not do that.
        """
        return self.parameters + sum(op.statistics(before) for op, before in self._ops)

    @property
    def map_numbers(self) -> int:
        """How many numbers all ops write for one image; one within a sum counts as the sum's map, whose size it has."""
        return sum(math.prod(layer.output_shape) * sum(1 for _ in flat([layer.op])) for layer in self.layers)

    @property
    def grouped_macs(self) -> int:
        """The multiply-adds of depthwise and grouped kernels for one image."""
        # Most networks have none; the shapes of their ops are not needed.
        if not any(kernel.is_grouped for kernel in kernels([layer.op for layer in self.layers])):
            return 0
        return sum(op.cost(before)[1] for op, before in self._ops if isinstance(op, Kernel) and op.is_grouped)

    @property
    def pointwise_macs(self) -> int:
        """The multiply-adds of 1x1 kernels for one image."""
        kernels = ((op, before) for op, before in self._ops if isinstance(op, Kernel) and op.edges == (1, 1))
        return sum(op.cost(before)[1] for op, before in kernels)


def analyse(network: Architecture | tuple[Op, ...], task: Task, budget: int | None = None) -> Analysis:
    """Return shapes, parameters, multiply-adds and receptive field of every op, and the totals.

    Ops need not be canonical, so that errors keep the indices of a text.

    Raises:
        ShapeError: two ops do not fit together, or the network does not end in one value a class.
        SearchSpaceError: the parameters are more than the budget.
    """
    layers, _ = _layers(network.ops if isinstance(network, Architecture) else network, task.input_shape, (1, 1, 1), {})
    shapes = [task.input_shape, *(layer.output_shape for layer in layers)]
    if shapes[-1] not in ((task.classes,), (task.classes, 1, 1)):
        raise ShapeError(
            f"the network ends in {shape_text(shapes[-1])}; it must end in {task.classes} values, one for each class "
            f"(for example 'gap linear({task.classes})' or 'conv1x1({task.classes}) gap')"
        )
    seen = [index for index, layer in enumerate(layers) if layer.op.is_global and len(shapes[index]) == 3]
    local = min([*seen, len(layers)])
    parameters, macs = sum(layer.parameters for layer in layers), sum(layer.macs for layer in layers)
    if budget is not None and parameters > budget:
        raise SearchSpaceError(f"{parameters:,} parameters are {parameters - budget:,} over the budget of {budget:,}")
    return Analysis(task, tuple(layers), parameters, macs, layers[local - 1].receptive_field if local else 1)


# What one position of a map sees of the image, in input pixels, not clipped to the image: rows, columns; and the
# distance of neighbouring positions.
_Field = tuple[int, int, int]


def _layers(ops: tuple[Op, ...], shape: Shape, field: _Field, tied: dict[str, Shape]) -> tuple[list[_Layer], _Field]:
    # ``tied`` maps tie names to kernels and is added to.
    layers: list[_Layer] = []
    for index, op in enumerate(ops):
        try:
            if isinstance(op, Residual):
                shape = op.shape(shape)  # first of all its ops fit together
                inner, field = _layers(op.ops, shape, field, tied)
                parameters, macs = sum(layer.parameters for layer in inner), sum(layer.macs for layer in inner)
                layers.append(_Layer(op, shape, parameters, macs, _shorter_edge(field, shape)))
                continue
            layer, further, field, kernel = _alone(op, shape, field)
            if op.tie is not None and kernel is not None:
                layer = further if op.tie in tied else layer
                if tied.setdefault(op.tie, kernel) != kernel:
                    raise ShapeError(
                        f"tie={op.tie} shares weights of {shape_text(tied[op.tie])} with some of {shape_text(kernel)} "
                        "(out x in x height x width, or of bn scale and shift x channels); they must be equal"
                    )
            layers.append(layer)
            shape = layer.output_shape
        except ShapeError as error:
            raise ShapeError(error.message, path=(index, *error.path)) from None
    return layers, field


@lru_cache(maxsize=50_000)
def _alone(op: Op, shape: Shape, field: _Field) -> tuple[_Layer, _Layer, _Field, Shape | None]:
    # It returns the op as first user of its kernel, and as a further one. It is cached, because a search looks at
    # thousands of networks that are made of the same few ops, shapes and fields.
    after = op.shape(shape)
    kernel = op.kernel(shape)
    window = op.window()
    if op.is_global and len(shape) == 3:
        # It sees the whole map, as a window of the map's size would.
        window = shape[1], shape[2], 1
    if window is not None:
        rows, columns, stride = window
        height, width, jump = field
        field = height + (rows - 1) * jump, width + (columns - 1) * jump, jump * stride
    first = _Layer(op, after, *op.cost(shape), _shorter_edge(field, shape))
    further = replace(first, parameters=first.parameters - math.prod(kernel)) if kernel else first
    return first, further, field, kernel


def _shorter_edge(field: _Field, shape: Shape) -> int:
    """Return the shorter edge of what is seen; a series, which has one row, is seen along its columns."""
    rows, columns, _ = field
    is_series = rows == 1 and (len(shape) == 1 or shape[1] == 1)
    return columns if is_series else min(rows, columns)


def walk(ops: Iterable[Op], before: Shape) -> Iterator[tuple[Op, Shape]]:
    """Yield all ops, those within residual sums too and the sums behind theirs, each with the shape before it.

    Raises:
        ShapeError: two ops do not fit together.
    """
    for op in ops:
        if isinstance(op, Residual):
            yield from walk(op.ops, before)
        yield op, before
        before = op.shape(before)


def normalised_values(ops: tuple[Op, ...], shape: Shape) -> Iterator[int]:
    """Yield, BN by BN, of how many values of one image each mean is: of a channel's, or of all that share it."""
    for op, before in walk(ops, shape):
        if isinstance(op, BatchNorm):
            yield math.prod(before[1:]) * (op.poses if op.shared else 1)
