"""Plan of the integer form of a network, derived from the ops: steps, sizes of constants and placement of the maps.

A step is a single loop nest on a chip: a convolution or linear layer, fused with the normalisation, sum, rectifier and
pooling that follow directly, or some of these without a layer. Maps hold 8-bit numbers, channels innermost: ``uint8``
after a ReLU, ``int8`` otherwise. The last step computes an int32 logit per class. ``harness/training/integer.py``
computes the numbers of a plan, ``harness/deployment`` writes the plan as C. The metrics ``weight_bytes`` and
``ram_bytes`` are sizes of a plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from search_spaces.errors import NoIntegerFormError
from search_spaces.ops.convolutions import Kernel
from search_spaces.ops.op import Op, Residual, Role, Shape
from search_spaces.ops.pointwise import BatchNorm, LeakyReLU, PReLU, ReLU
from search_spaces.ops.windows import Linear, PoseLinear

NUMBER_BYTES = 2  # size of a multiplier or a bias (int16)
OpPath = tuple[int, ...]  # index in the network, followed by an index inside each residual sum that contains the op
_RECTIFIERS = (ReLU, LeakyReLU, PReLU)
_POOLS = (Role.MAX_POOLING, Role.MEAN_POOLING)


class StepKind(StrEnum):
    """Computation of a step before the multipliers are applied."""

    CONVOLUTION = "convolution"
    SCALING = "scaling"
    POOLING = "pooling"
    UNSHUFFLE = "unshuffle"
    LOGITS = "logits"
    MISSING = "missing"  # placeholder for an op without an integer form


@dataclass(frozen=True, slots=True)
class IntegerMap:
    """A map of 8-bit numbers.

    Attributes:
        shape: (channels, rows, columns).
        signed: Whether the numbers are int8; False for uint8.
        offset: Offset of the first byte in the arena; None for the input image, which the caller owns.
    """

    shape: tuple[int, int, int]
    signed: bool
    offset: int | None = None

    @property
    def size(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape)

    @property
    def largest(self) -> int:
        """Largest magnitude of a number in the map."""
        return 127 if self.signed else 255

    @property
    def end(self) -> int:
        """Offset in the arena of the first byte after the map."""
        return 0 if self.offset is None else self.offset + self.size


@dataclass(frozen=True, slots=True)
class LearnedKernel:
    """Weights (int8) of a step, or of several steps if tied.

    Attributes:
        shape: (filters, channels per group, rows, columns); a filter with several poses is stored once.
        path: Path of the first op that uses the weights.
    """

    shape: tuple[int, int, int, int]
    path: OpPath


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerStep:
    """A single loop nest of an integer network.

    Attributes:
        kind: Computation before the multipliers.
        source: Index of the input map.
        target: Index of the output map; None for the logits.
        op: Convolution, linear layer, pooling or different op of the step; None for a scaling.
        path: Path of ``op``.
        norm: Batch normalisation that is folded into the multipliers and biases.
        norm_path: Path of ``norm``.
        skip: Index of the map that a residual sum adds.
        rectifier: Activation after the sum.
        rectifier_path: Path of ``rectifier``.
        pool: Windowed pooling after a convolution.
        is_global: Whether the logits are computed from the channel means instead of the whole map.
        kernel: Index of the weights.
        multipliers: Number of multipliers; each applies to channels / ``multipliers`` neighbouring channels.
        biases: Number of biases, shared by neighbouring channels in the same way.
        other_bytes: Bytes of constants of an op without an integer form (``Op.constants``).
    """

    kind: StepKind
    source: int
    target: int | None = None
    op: Op | None = None
    path: OpPath = ()
    norm: BatchNorm | None = None
    norm_path: OpPath = ()
    skip: int | None = None
    rectifier: Op | None = None
    rectifier_path: OpPath = ()
    pool: Op | None = None
    is_global: bool = False
    kernel: int | None = None
    multipliers: int = 0
    biases: int = 0
    other_bytes: int = 0

    @property
    def constant_bytes(self) -> int:
        """Bytes of constants without the weights; single numbers, such as a slope, count as code."""
        return NUMBER_BYTES * (self.multipliers + self.biases) + self.other_bytes

    @property
    def overwritable_maps(self) -> tuple[int, ...]:
        """Indices of the maps that the output may overwrite: each byte is read before the write to the same byte."""
        maps = [self.source] if self._works_in_place else []
        # A sum reads ``skip`` at the position that is written. If ``skip`` is also the source, the windows of a
        # convolution would read positions that are already overwritten.
        reads_skip_alone = self._works_in_place or self.skip != self.source
        if self.skip is not None and self.pool is None and reads_skip_alone:
            maps.append(self.skip)
        return tuple(maps)

    @property
    def _works_in_place(self) -> bool:
        match self.kind:
            case StepKind.CONVOLUTION:
                return self.pool is None and _is_1x1(self.op)
            case StepKind.SCALING:
                return True
            case StepKind.POOLING:
                # Windows do not overlap, and a result is never written after the first byte of the window.
                return True
            case StepKind.MISSING:
                return self.op is not None and self.op.works_in_place
            case _:
                return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffers:
    """Sizes of the stack buffers of convolutions.

    Attributes:
        window: Number of uint8 values in a window, all channels.
        inputs: Number of int16 values in a window, channels of a group.
        places: Number of kernel positions, whose order is stored for each pose; 0 if no kernel has poses.
        results: Number of int32 output channels.
    """

    window: int = 1
    inputs: int = 1
    places: int = 0
    results: int = 1

    @property
    def size(self) -> int:
        """Total size in bytes."""
        orders = 8 * (self.places + 8) if self.places else 0
        return self.window + 2 * self.inputs + 4 * self.results + orders


@dataclass(frozen=True, slots=True)
class IntegerPlan:
    """Integer form of a network, without numbers.

    Attributes:
        maps: Maps that the steps read and write; the first is the input image.
        kernels: Weights of the steps.
        steps: Steps in order of execution; the last computes the logits.
    """

    maps: tuple[IntegerMap, ...]
    kernels: tuple[LearnedKernel, ...]
    steps: tuple[IntegerStep, ...]

    @property
    def missing(self) -> tuple[Op, ...]:
        """Ops without an integer form."""
        return tuple(step.op for step in self.steps if step.kind is StepKind.MISSING and step.op is not None)

    @property
    def constant_bytes(self) -> int:
        """Bytes of all constants: 1 per weight, 2 per multiplier and per bias."""
        weights = sum(math.prod(kernel.shape) for kernel in self.kernels)
        return weights + sum(step.constant_bytes for step in self.steps)

    @property
    def buffers(self) -> Buffers:
        """Stack buffers of convolutions, the maximum over all steps for each buffer."""
        buffers = Buffers()
        has_poses = any(isinstance(step.op, Kernel) and step.op.poses > 1 for step in self.steps)
        for step in self.steps:
            if step.kind is StepKind.CONVOLUTION and step.kernel is not None and step.target is not None:
                _, channels, rows, columns = self.kernels[step.kernel].shape
                buffers = Buffers(
                    window=max(buffers.window, rows * columns * self.maps[step.source].shape[0]),
                    inputs=max(buffers.inputs, rows * columns * channels),
                    # If any kernel has poses, the C code computes the orders for plain kernels too.
                    places=max(buffers.places, rows * columns if has_poses else 0),
                    results=max(buffers.results, self.maps[step.target].shape[0]),
                )
        return buffers

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena, the memory for maps that the caller provides; the input image is excluded."""
        return max(each.end for each in self.maps)


def integer_plan(ops: Iterable[Op], input_shape: tuple[int, int, int]) -> IntegerPlan:
    """Return the integer form of a network; ``input_shape`` is (channels, rows, columns) of an image."""
    planner = _Planner(list(_marked(ops, ())))
    planner.plan(input_shape)
    return IntegerPlan(_placed(planner.maps, planner.steps), tuple(planner.kernels), tuple(planner.steps))


class _Mark(StrEnum):
    BEGIN = "begin"
    END = "end"
    OP = "op"


@dataclass(frozen=True, slots=True)
class _Item:
    # An op, or the begin or end of a residual sum.
    mark: _Mark
    op: Op
    path: OpPath


def _marked(ops: Iterable[Op], parent: OpPath) -> Iterator[_Item]:
    for index, op in enumerate(ops):
        path = (*parent, index)
        if isinstance(op, Residual):
            yield _Item(_Mark.BEGIN, op, path)
            yield from _marked(op.ops, path)
            yield _Item(_Mark.END, op, path)
        elif op.role is not Role.DROPOUT:
            yield _Item(_Mark.OP, op, path)


@dataclass(slots=True)
class _Planner:
    # Reads the items in order and collects maps, kernels and steps.
    items: list[_Item]
    position: int = 0
    maps: list[IntegerMap] = field(default_factory=list)
    kernels: list[LearnedKernel] = field(default_factory=list)
    steps: list[IntegerStep] = field(default_factory=list)
    ties: dict[str, int] = field(default_factory=dict)
    skips: list[int] = field(default_factory=list)

    @property
    def next_item(self) -> _Item | None:
        return self.items[self.position] if self.position < len(self.items) else None

    @property
    def next_op(self) -> Op | None:
        item = self.next_item
        return item.op if item is not None and item.mark is _Mark.OP else None

    def take(self) -> _Item:
        item = self.items[self.position]
        self.position += 1
        return item

    def plan(self, input_shape: tuple[int, int, int]) -> None:
        source = self.add_map(input_shape, signed=False)
        first = self.next_op
        # For a single channel, the weights of the first op absorb mean and scale of the image. Several channels may
        # have different scales, and an op without weights absorbs nothing: both need a scaling step first.
        if input_shape[0] > 1 or first is None or not _is_weighted_step(first):
            channels = input_shape[0]
            step = IntegerStep(kind=StepKind.SCALING, source=source, multipliers=channels, biases=channels)
            source = self.add(step, input_shape, signed=True)
        while (head := self.head()) is None:
            item = self.items[self.position]
            if item.mark is _Mark.BEGIN:
                self.take()
                self.skips.append(source)
            else:
                source = self.add_step(item, source)
        self.add_logits(source, *head)

    def head(self) -> tuple[bool, _Item | None] | None:
        """Return whether the remaining items begin with a global mean, and the linear layer; None if more is left."""
        items = self.items[self.position :]
        if any(item.mark is not _Mark.OP for item in items):
            return None
        is_global = bool(items) and _is_global_mean(items[0].op)
        rest = items[1:] if is_global else items
        if not rest:
            return True, None
        is_linear = len(rest) == 1 and rest[0].op.role is Role.LINEAR
        return (is_global, rest[0]) if is_linear else None

    def add_step(self, item: _Item, source: int) -> int:
        """Add the step that begins with ``item``; return the index of the output map."""
        before = self.maps[source].shape
        op = item.op
        if item.mark is _Mark.OP and _is_weighted_step(op):
            return self.convolution(source)
        is_scaling = item.mark is _Mark.END or isinstance(op, (BatchNorm, *_RECTIFIERS))
        if is_scaling:
            return self.with_tail(IntegerStep(kind=StepKind.SCALING, source=source, multipliers=1), before)
        self.take()
        kind = StepKind.MISSING
        if op.role in _POOLS:
            kind = StepKind.POOLING
        elif op.role is Role.REARRANGEMENT:
            kind = StepKind.UNSHUFFLE
        step = IntegerStep(kind=kind, source=source, op=op, path=item.path)
        if kind is StepKind.MISSING:
            step = replace(step, other_bytes=op.constants(before))
        return self.add(step, op.shape(before), signed=self.maps[source].signed or kind is StepKind.MISSING)

    def convolution(self, source: int) -> int:
        item = self.take()
        op = item.op
        before = self.maps[source].shape
        kernel = self.kernel_of(item, before)
        has_bias = isinstance(op, Linear) or (isinstance(op, Kernel) and op.bias)
        biases = self.kernels[kernel].shape[0] if has_bias else 0
        step = IntegerStep(
            kind=StepKind.CONVOLUTION,
            source=source,
            op=op,
            path=item.path,
            kernel=kernel,
            multipliers=1,
            biases=biases,
        )
        return self.with_tail(step, op.shape(before))

    def kernel_of(self, item: _Item, before: tuple[int, int, int]) -> int:
        """Return the index of the weights of an op; tied ops share the weights of the first use."""
        op = item.op
        tie = op.tie if isinstance(op, Kernel) else None
        if tie is not None and tie in self.ties:
            return self.ties[tie]
        self.kernels.append(LearnedKernel(_weight_shape(op, before), item.path))
        index = len(self.kernels) - 1
        if tie is not None:
            self.ties[tie] = index
        return index

    def with_tail(self, step: IntegerStep, shape: Shape) -> int:
        """Add a step fused with the normalisation, sum, rectifier and pooling that follow; return the output map."""
        if isinstance(norm := self.next_op, BatchNorm):
            path = self.take().path
            pairs = _pairs(norm, shape[0], step)
            step = replace(step, norm=norm, norm_path=path, multipliers=pairs, biases=pairs)
        item = self.next_item
        if item is not None and item.mark is _Mark.END:
            self.take()
            step = replace(step, skip=self.skips.pop())
        signed = True
        if isinstance(rectifier := self.next_op, _RECTIFIERS):
            signed = not isinstance(rectifier, ReLU)
            step = replace(step, rectifier=rectifier, rectifier_path=self.take().path)
        pool = self.next_op
        if step.kind is StepKind.CONVOLUTION and pool is not None and pool.role in _POOLS and not pool.is_global:
            self.take()
            step = replace(step, pool=pool)
            shape = pool.shape(shape)
        return self.add(step, shape, signed=signed)

    def add(self, step: IntegerStep, shape: Shape, *, signed: bool) -> int:
        target = self.add_map(shape, signed=signed)
        self.steps.append(replace(step, target=target))
        return target

    def add_map(self, shape: Shape, *, signed: bool) -> int:
        channels, rows, columns = (*shape, 1, 1)[:3]
        self.maps.append(IntegerMap((channels, rows, columns), signed))
        return len(self.maps) - 1

    def add_logits(self, source: int, is_global: bool, item: _Item | None) -> None:
        """Add the last step: a linear layer of a map or of the channel means, or the channel means alone."""
        step = IntegerStep(kind=StepKind.LOGITS, source=source, is_global=is_global)
        if item is not None:
            shape = self.maps[source].shape
            kernel = self.kernel_of(item, (shape[0], 1, 1) if is_global else shape)
            classes = self.kernels[kernel].shape[0]
            step = replace(step, op=item.op, path=item.path, kernel=kernel, biases=classes)
        self.steps.append(step)


def _is_global_mean(op: Op) -> bool:
    return op.is_global and op.role is Role.MEAN_POOLING


def _is_weighted_step(op: Op) -> bool:
    """Return whether an op starts a step with weights; a ``PoseLinear`` has an integer form only as the last op."""
    return op.has_weights and not isinstance(op, PoseLinear)


def _weight_shape(op: Op, before: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Return the shape of the stored weights, (filters, channels, rows, columns); ``PoseLinear``: channels, poses."""
    if isinstance(op, PoseLinear):
        return op.out_features, before[0] // op.poses + op.poses, 1, 1
    filters, channels, rows, columns = op.kernel(before) or (op.shape(before)[0], *before)
    return filters, channels, rows, columns


def _is_1x1(op: Op | None) -> bool:
    """Return whether an output position depends on the same input position only; ``_overwritten`` compares sizes."""
    if not isinstance(op, Kernel):
        return False
    return op.window() == (1, 1, 1) and op.paddings == (0, 0)


def _pairs(norm: BatchNorm, channels: int, step: IntegerStep) -> int:
    """Return the number of (multiplier, bias) pairs of a normalisation: a single pair for channels that share all."""
    repeat = norm.poses if norm.shared else 1
    # The bias of a preceding convolution belongs to a filter, so channels can share a pair only if these are poses of
    # the same filter. Example: after conv3x3(8, poses=2, bias), bn(poses=4, shared) needs a pair per channel.
    if step.biases and (channels // step.biases) % repeat:
        repeat = 1
    return channels // repeat


def _last_uses(maps: list[IntegerMap], steps: list[IntegerStep]) -> list[int]:
    """Return, for each map, the index of the last step that reads the map."""
    uses = [0] * len(maps)
    for index, step in enumerate(steps):
        for used in (step.source, step.skip):
            if used is not None:
                uses[used] = index
    return uses


def _placed(maps: list[IntegerMap], steps: list[IntegerStep]) -> tuple[IntegerMap, ...]:
    """Return the maps with offsets in the arena.

    A network is a chain, so few maps are live at once. If possible, a map overwrites an input of the step. Otherwise
    the map is placed at the bottom of the arena, at the top, or after a live map; after the last live map there is
    always enough space.
    """
    placed = list(maps)
    last_uses = _last_uses(maps, steps)
    top = 0
    for index, step in enumerate(steps):
        if step.target is None:
            continue
        size = maps[step.target].size
        live = [
            placed[other]
            for other in range(1, step.target)
            if last_uses[other] >= index and placed[other].offset is not None
        ]
        offset = _overwritten(step, index, placed, last_uses)
        if offset is None:
            # The arena must hold the live maps and the target at once. For two maps this size is sufficient.
            top = max(top, sum(each.size for each in live) + size)
            starts = [0, top - size, *(each.end for each in live)]
            offset = next(start for start in starts if _is_free(start, size, live))
        placed[step.target] = replace(maps[step.target], offset=offset)
    return tuple(placed)


def _overwritten(step: IntegerStep, index: int, placed: list[IntegerMap], last_uses: list[int]) -> int | None:
    """Return the offset of a map that the step may overwrite and that no later step reads, or None."""
    assert step.target is not None, "the logits are not stored in a map"
    for other in step.overwritable_maps:
        fits = placed[other].size >= placed[step.target].size
        if fits and last_uses[other] == index and placed[other].offset is not None:
            return placed[other].offset
    return None


def _is_free(start: int, size: int, live: list[IntegerMap]) -> bool:
    def is_apart(other: IntegerMap) -> bool:
        return start + size <= (other.offset or 0) or other.end <= start

    return start >= 0 and all(map(is_apart, live))


def without_integer_form(op_types: Iterable[type[Op]]) -> list[str]:
    """Return the class names, in lower case, of the op types without an integer form."""
    roles = (Role.CONVOLUTION, Role.LINEAR, Role.DROPOUT, Role.REARRANGEMENT, Role.SUM, *_POOLS)
    kinds = (BatchNorm, *_RECTIFIERS)
    return sorted(kind.__name__.lower() for kind in op_types if kind.role not in roles and not issubclass(kind, kinds))


def check_integer_form(plan: IntegerPlan) -> None:
    """Raise NoIntegerFormError if the network has an op without an integer form."""
    if plan.missing:
        missing = plan.missing[0]
        hint = "relu, leaky and prelu have an integer form" if missing.role is Role.ACTIVATION else None
        raise NoIntegerFormError(f"{missing} has no integer form", hint=hint)
