"""Networks as values: ops in order of execution, canonical text and hash, family, shapes and costs. No tensors.

``parameters`` counts the learned scalars. A tied kernel counts once, at the first op that uses the kernel; a kernel in
several poses counts once. The running statistics of batch normalisation (BN) do not count.
``macs`` counts the multiply-adds of convolutions and linear layers per image, without biases, BN, pooling and
additions.

    >>> from harness.spaces.ops import BatchNorm, Conv, Dropout, GlobalAvgPool, Linear, ReLU
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
from itertools import takewhile
from typing import NamedTuple

from harness.spaces.cores import CORES
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.integer_plan import WIDE_BITS, IntegerPlan, integer_plan
from harness.spaces.ops import Op, Residual, Role, Shape, UserModule, flat, kernels, shape_text
from harness.spaces.ops.op import ops_text
from harness.spaces.space_errors import SearchSpaceError, ShapeError


@dataclass(frozen=True, slots=True)
class Task:
    """Classification of images of a fixed shape, (channels, rows, columns)."""

    input_shape: tuple[int, int, int]
    classes: int


MNIST = Task((1, 28, 28), 10)  # default task, which stored texts and hashes do not name


# Families of networks. A network has the last family in this tuple that applies; ``plain`` always applies.
# - summed: has residual sums.
# - tied: has a tied kernel.
# - squeezed: has a tied kernel larger than 1x1 inside a residual sum, or one whose second or later use is the next
#   convolution after a 1x1 convolution, as in "conv3x3(8, tie=a) conv1x1(8) conv3x3(8, tie=a)".
# - separable: has depthwise or grouped kernels.
# - posed, mirrored: has kernels in several poses; mirrored in all eight.
# - posed-separable: has depthwise or grouped kernels, and kernels in several poses.
# - module: is a PyTorch module of the user.
FAMILIES = ("plain", "summed", "tied", "squeezed", "separable", "posed", "mirrored", "posed-separable", "module")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network; the constructor converts the ops to canonical form.

    Attributes:
        ops: Without ``dropout(0)`` and ties that a single op uses; further ties are renamed t1, t2 ... in order of
            first use.
        bars: Indices of the ops with a preceding ``|``, a visual separator; no part of equality and ``hash``.
    """

    ops: tuple[Op, ...]
    bars: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        uses = Counter(op.tie for op in flat(self.ops) if op.tie is not None)
        shared_names = [name for name, count in uses.items() if count > 1]
        ties = {name: f"t{number}" for number, name in enumerate(shared_names, start=1)}
        ops, bars = _canonical(self.ops, self.bars, ties)
        object.__setattr__(self, "ops", ops)
        object.__setattr__(self, "bars", bars)

    def __str__(self) -> str:
        return ops_text(self.ops, self.bars)

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the ``identity`` of all ops, joined by spaces."""
        return hashlib.sha256(" ".join(op.identity for op in self.ops).encode()).hexdigest()[:12]

    @property
    def op_types(self) -> set[type[Op]]:
        """Types of the ops, including ops inside residual sums."""
        return {type(op) for op in flat(self.ops)}

    @property
    def user_module(self) -> UserModule | None:
        """The PyTorch module of which the network consists; None for a network of layers."""
        return next((op for op in self.ops if isinstance(op, UserModule)), None)

    @property
    def family(self) -> str:
        """Family of the network, a member of ``FAMILIES``."""
        if self.user_module is not None:
            return "module"
        convolutions = kernels(self.ops)
        poses = max((kernel.poses for kernel in convolutions), default=1)
        if any(kernel.is_grouped for kernel in convolutions):
            return "posed-separable" if poses > 1 else "separable"
        if poses > 1:
            return "mirrored" if poses == 8 else "posed"
        if _is_squeezed(self.ops):
            return "squeezed"
        if any(kernel.tie for kernel in convolutions):
            return "tied"
        return "summed" if any(op.role is Role.SUM for op in self.ops) else "plain"


def _is_squeezed(ops: tuple[Op, ...]) -> bool:
    inner_ops = [inner for op in ops for inner in op.ops]
    if any(kernel.tie and kernel.edges != (1, 1) for kernel in kernels(inner_ops)):
        return True
    earlier_ties: set[str] = set()
    follows_1x1 = False
    for kernel in kernels(ops):
        is_1x1 = kernel.edges == (1, 1)
        if kernel.tie is not None:
            if follows_1x1 and not is_1x1 and kernel.tie in earlier_ties:
                return True
            earlier_ties.add(kernel.tie)
        follows_1x1 = is_1x1
    return False


def _canonical(
    ops: tuple[Op, ...], bars: tuple[int, ...], ties: dict[str, str]
) -> tuple[tuple[Op, ...], tuple[int, ...]]:
    """Without bars at the ends and repeated bars."""
    canonical: list[Op] = []
    canonical_bars: set[int] = set()
    for index, op in enumerate(ops):
        if index in bars:
            canonical_bars.add(len(canonical))
        if op.role is Role.DROPOUT and op.drop_rate == 0:
            continue
        tie = None if op.tie is None else ties.get(op.tie)
        if tie != op.tie:
            op = _with_tie(op, tie)
        elif op.ops:
            op = Residual(*_canonical(op.ops, op.bars, ties))
        canonical.append(op)
    return tuple(canonical), tuple(sorted(bar for bar in canonical_bars if 0 < bar < len(canonical)))


@lru_cache(maxsize=10_000)
def _with_tie(op: Op, tie: str | None) -> Op:
    return op.with_tie(tie)


@dataclass(frozen=True, slots=True)
class CostedOp:
    """A top-level op with shape and costs.

    Attributes:
        output_shape: (channels, height, width) or (features,).
        parameters: A tied kernel counts at the first use only.
        receptive_field: Shorter edge of the receptive field in input pixels, not clipped to the image; for a series
            (images with a single row) the columns.
    """

    op: Op
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: int


_OP_US = 0.07612  # microseconds per op (measurements/results/latency.json)
_MAC_US = 0.0001088  # microseconds per multiply-add (same file)
_NUMBER_US = 0.001556  # per number in ``Analysis.map_numbers`` (same file)


_plan = lru_cache(maxsize=16)(integer_plan)  # several metrics need the plan of a network


@dataclass(frozen=True, slots=True)
class Analysis:
    """Shapes and costs of a network for a task.

    Attributes:
        costed_ops: Top-level ops, a residual sum as one op.
        receptive_field: Receptive field before the first global op, in input pixels (see ``CostedOp``).
        weight_bits: Bits of a weight in the integer form (``Recipe.weight_bits``).
    """

    task: Task
    costed_ops: tuple[CostedOp, ...]
    parameters: int
    macs: int
    receptive_field: int
    weight_bits: int = WIDE_BITS

    @property
    def plan(self) -> IntegerPlan:
        """Integer form of the network."""
        return _plan(tuple(each.op for each in self.costed_ops), self.task.input_shape, self.weight_bits)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the constants of the integer form, as ``harness export --c`` writes for size."""
        return self.plan.constant_bytes

    @property
    def ram_bytes(self) -> int:
        """Bytes of the maps of the integer form, without the image and the stack."""
        return self.plan.arena_bytes

    @property
    def latency_us(self) -> int:
        """Estimated time per image of the native engine on a single core, rounded up.

        ``measurements/latency.py`` fitted the linear formula on AMD EPYC with AVX-512, and reports its error.
        """
        op_count = len(list(flat([each.op for each in self.costed_ops])))
        return math.ceil(_OP_US * op_count + _MAC_US * self.macs + _NUMBER_US * self.map_numbers)

    @property
    def instructions_m0(self) -> int:
        """Estimated instructions per image of C for speed on a Cortex-M0 (``cores.py``)."""
        return self._instructions("cortex-m0")

    @property
    def instructions_rv32(self) -> int:
        """Estimated instructions per image of C for speed on RV32IMC (``cores.py``)."""
        return self._instructions("rv32imc")

    @property
    def instructions_m4(self) -> int:
        """Estimated instructions per image of C for speed on a Cortex-M4, about the same on a Cortex-M7 or M33."""
        return self._instructions("cortex-m4")

    @property
    def instructions_m55(self) -> int:
        """Estimated instructions per image of C for speed on a Cortex-M55 or M85, with vector instructions."""
        return self._instructions("cortex-m55")

    def _instructions(self, core: str) -> int:
        return round(CORES[core].cycles_per_image(self.plan, self.macs, Optimisation.SPEED))

    @property
    def stored_numbers(self) -> int:
        """Number of parameters and running statistics."""
        statistics: dict[str | int | None, int] = {}
        ops = walk([each.op for each in self.costed_ops], self.task.input_shape)
        for index, (op, before) in enumerate(ops):
            layer = op.tie if op.is_joint else index  # all uses of a joint tie
            statistics[layer] = op.statistics(before)
        return self.parameters + sum(statistics.values())

    @property
    def map_numbers(self) -> int:
        """Output numbers of all ops per image; inner ops count with the size of their residual sum."""
        return sum(math.prod(each.output_shape) * (1 + len(list(flat(each.op.ops)))) for each in self.costed_ops)

    @property
    def grouped_macs(self) -> int:
        """Multiply-adds of depthwise and grouped kernels per image."""
        return sum(grouped for grouped, _ in self._special_macs)

    @property
    def pointwise_macs(self) -> int:
        """Multiply-adds of 1x1 kernels per image."""
        return sum(pointwise for _, pointwise in self._special_macs)

    @property
    def _special_macs(self) -> list[tuple[int, int]]:
        shapes = [self.task.input_shape, *(each.output_shape for each in self.costed_ops)]
        return [_special_macs(each.op, before) for each, before in zip(self.costed_ops, shapes, strict=False)]


@lru_cache(maxsize=50_000)  # see ``_use_of``
def _special_macs(op: Op, before: Shape) -> tuple[int, int]:
    """Return the multiply-adds of grouped and of 1x1 kernels, which have a pace of their own."""
    grouped_macs = 0
    pointwise = 0
    for inner, shape in walk((op,), before):
        if inner.is_grouped:
            grouped_macs += inner.cost(shape)[1]
        window = inner.window(shape)
        if window is not None and window[:2] == (1, 1):
            pointwise += inner.cost(shape)[1]
    return grouped_macs, pointwise


def analyse(
    network: Architecture | tuple[Op, ...], task: Task, budget: int | None = None, weight_bits: int = WIDE_BITS
) -> Analysis:
    """Return shapes, parameters, multiply-adds and receptive field of every op, and the totals.

    Args:
        network: Ops need not be canonical, so that paths of errors match the text.
        budget: Largest allowed number of parameters; None for no limit.

    Raises:
        ShapeError: Two ops do not fit together, or the output is not a value per class.
        SearchSpaceError: The network has more than ``budget`` parameters.
    """
    ops = network.ops if isinstance(network, Architecture) else network
    analyser = _Analyser(task.input_shape, _Field(rows=1, columns=1, distance=1))
    costed_ops = analyser.costed_ops(ops)
    if analyser.shape not in ((task.classes,), (task.classes, 1, 1)):
        raise ShapeError(
            f"the network has the output shape {shape_text(analyser.shape)}; expected {task.classes} values, one per "
            f"class (for example 'gap linear({task.classes})' or 'conv1x1({task.classes}) gap')"
        )
    parameters = sum(each.parameters for each in costed_ops)
    macs = sum(each.macs for each in costed_ops)
    if budget is not None and parameters > budget:
        raise SearchSpaceError(f"{parameters:,} parameters exceed the budget of {budget:,} by {parameters - budget:,}")
    before_global = list(takewhile(lambda each: not each.op.is_global, costed_ops))
    receptive_field = before_global[-1].receptive_field if before_global else 1
    return Analysis(task, tuple(costed_ops), parameters, macs, receptive_field, weight_bits)


class _Field(NamedTuple):
    """Receptive field of a position of a map, in input pixels; neighbouring fields have this ``distance``."""

    rows: int
    columns: int
    distance: int


@dataclass(slots=True)
class _Analyser:
    """Computes shapes and costs of the ops of a network, one op after another.

    Attributes:
        shape: Shape of the map after the latest op; ``receptive_field`` is the field of a position of this map.
        tied_shapes: ``tied_shape`` of the ops with a tie so far, by name of the tie.
    """

    shape: Shape
    receptive_field: _Field
    tied_shapes: dict[str, Shape] = field(default_factory=dict)

    def costed_ops(self, ops: tuple[Op, ...]) -> list[CostedOp]:
        costed_ops = []
        for index, op in enumerate(ops):
            try:
                costed_ops.append(self.sum_of(op) if op.ops else self.single(op))
            except ShapeError as error:
                raise ShapeError(error.message, path=(index, *error.path)) from None
        return costed_ops

    def sum_of(self, op: Op) -> CostedOp:
        op.shape(self.shape)  # the inner ops must fit together
        inner = self.costed_ops(op.ops)
        parameters = sum(each.parameters for each in inner)
        macs = sum(each.macs for each in inner)
        return CostedOp(op, self.shape, parameters, macs, _shorter_edge(self.receptive_field, self.shape))

    def single(self, op: Op) -> CostedOp:
        use = _use_of(op, self.shape, self.receptive_field)
        costed_op = use.costed_op
        if op.tie is not None and use.tied_shape is not None:
            if op.tie in self.tied_shapes:
                costed_op = use.without_tied_weights
            first_shape = self.tied_shapes.setdefault(op.tie, use.tied_shape)
            if first_shape != use.tied_shape:
                raise ShapeError(
                    f"tie={op.tie} joins weights of shapes {shape_text(first_shape)} and {shape_text(use.tied_shape)} "
                    "(out x in x height x width; bn: scale and shift x channels); the shapes must be equal"
                )
        self.shape = costed_op.output_shape
        self.receptive_field = use.receptive_field
        return costed_op


class _Use(NamedTuple):
    """An op for an input shape; ``without_tied_weights`` is for the second and later uses of a tie."""

    costed_op: CostedOp
    without_tied_weights: CostedOp
    receptive_field: _Field
    tied_shape: Shape | None


# The networks of a search consist of the same few ops, shapes and receptive fields.
@lru_cache(maxsize=50_000)
def _use_of(op: Op, shape: Shape, before: _Field) -> _Use:
    after = op.shape(shape)
    parameters, macs = op.cost(shape)
    tied_shape = op.tied_shape(shape)
    receptive_field = before
    window = op.window(shape)
    if op.is_global and len(shape) == 3:
        # A global op is equivalent to a window of the size of the map.
        window = shape[1], shape[2], 1
    if window is not None:
        rows, columns, stride = window
        height = before.rows + (rows - 1) * before.distance
        width = before.columns + (columns - 1) * before.distance
        receptive_field = _Field(height, width, before.distance * stride)
    costed_op = CostedOp(op, after, parameters, macs, _shorter_edge(receptive_field, shape))
    shared_count = 0 if op.tie is None or tied_shape is None else math.prod(tied_shape)
    without_tied_weights = replace(costed_op, parameters=parameters - shared_count) if shared_count else costed_op
    return _Use(costed_op, without_tied_weights, receptive_field, tied_shape)


def _shorter_edge(field: _Field, shape: Shape) -> int:
    """Return the shorter edge of ``field`` after an op with the input shape ``shape``; the columns of a series."""
    is_series = field.rows == 1 and (len(shape) == 1 or shape[1] == 1)
    return field.columns if is_series else min(field.rows, field.columns)


def walk(ops: Iterable[Op], before: Shape) -> Iterator[tuple[Op, Shape]]:
    """Yield all ops with input shapes, in order of execution: the ops of a residual sum first, then the sum.

    Raises:
        ShapeError: Two ops do not fit together.
    """
    for op in ops:
        yield from walk(op.ops, before)
        yield op, before
        before = op.shape(before)
