"""Plan of the integer form of a network: steps, sizes of constants and placement of the maps.

A step is a single loop nest on a chip: a convolution or linear layer, fused with the normalisation, sum, rectifier and
pooling that follow directly, or some of these without a layer. Maps hold 8-bit numbers, channels innermost: ``uint8``
for images and after a ReLU, ``int8`` otherwise. The last step computes an int32 logit per class. The maps are stored in
a common memory, the arena.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, field, replace
from enum import StrEnum
from typing import Generic, Literal, NamedTuple, TypeVar

from harness.spaces.ops.integer_form import KernelForm, PoolingForm, RectifierForm, Reduction, RescalingForm
from harness.spaces.ops.op import Op, Role, Shape
from harness.spaces.space_errors import NoIntegerFormError

WIDE_BITS = 8  # of a weight by default, and of a factor (``KernelForm.factors``)
_NUMBER_BYTES = 2  # of a multiplier or a bias (int16)
_PARAMETER_BYTES = 4  # assumed bytes of constants per parameter of an op without an integer form
OpPath = tuple[int, ...]  # index in the network, then inside each residual sum that contains the op
_WITHOUT_STEP = (Role.DROPOUT, Role.SUM)  # dropout is left out, a sum is part of a step
_Form = TypeVar("_Form", KernelForm, RescalingForm, RectifierForm, PoolingForm)


class StepKind(StrEnum):
    """Computation of a step before the multipliers are applied."""

    CONVOLUTION = "convolution"  # also a linear layer before the last step
    SCALING = "scaling"  # no computation before the multipliers
    POOLING = "pooling"
    UNSHUFFLE = "unshuffle"
    LOGITS = "logits"
    MISSING = "missing"  # placeholder for an op without an integer form


@dataclass(frozen=True, slots=True)
class IntegerMap:
    """A map of 8-bit numbers, int8 if signed, else uint8.

    Attributes:
        shape: (channels, rows, columns).
        offset: In the arena; None for the input image, which the caller owns.
        held: Rows that the arena holds at once, row y at place y % ``held`` (``streaming.py``); None for all.
    """

    shape: tuple[int, int, int]
    is_signed: bool
    offset: int | None = None
    held: int | None = None

    @property
    def size(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape)

    @property
    def largest(self) -> int:
        """Largest magnitude of a number in the map."""
        return 127 if self.is_signed else 255

    @property
    def row_bytes(self) -> int:
        """Size of a row in bytes."""
        return self.shape[0] * self.shape[2]

    @property
    def end(self) -> int:
        """Offset in the arena of the first byte after the map."""
        rows = self.shape[1] if self.held is None else self.held
        return 0 if self.offset is None else self.offset + rows * self.row_bytes


@dataclass(frozen=True, slots=True)
class PlannedOp(Generic[_Form]):
    """An op of a step, with its integer form."""

    op: Op
    path: OpPath
    form: _Form


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerStep:
    """A single loop nest of an integer network.

    Attributes:
        target: Index of the output map; None for the logits.
        kernel: Index of the weights of ``sums`` in ``IntegerPlan.kernels``.
        norm: Folded into the multipliers and biases.
        skip: Index of the map that a residual sum adds.
        pool: Pooling after a convolution, or pooling or unshuffle without further ops.
        is_global: Whether the logits are computed from the channel means instead of the whole map.
        multipliers: Number of multipliers, each of channels / ``multipliers`` neighbouring channels, as ``biases``.
        other_bytes: Assumed bytes of constants of ``missing``.
    """

    kind: StepKind
    source: int
    target: int | None = None
    sums: PlannedOp[KernelForm] | None = None
    kernel: int | None = None
    norm: PlannedOp[RescalingForm] | None = None
    skip: int | None = None
    rectifier: PlannedOp[RectifierForm] | None = None
    pool: PlannedOp[PoolingForm] | None = None
    is_global: bool = False
    missing: Op | None = None
    multipliers: int = 0
    biases: int = 0
    other_bytes: int = 0

    @property
    def form(self) -> KernelForm:
        """Form of ``sums``; without sums, of a 1x1 kernel with one filter and one channel."""
        return KernelForm((1, 1, 1, 1)) if self.sums is None else self.sums.form

    @property
    def pool_window(self) -> tuple[int, int]:
        """Rows and columns of a pooling window; 1 and 1 without pooling."""
        return (1, 1) if self.pool is None else self.pool.form.window

    @property
    def constant_bytes(self) -> int:
        """Without the weights; single numbers, such as a slope, count as code."""
        return _NUMBER_BYTES * (self.multipliers + self.biases) + self.other_bytes

    @property
    def overwritable_maps(self) -> tuple[int, ...]:
        """Maps that the output may overwrite: each byte is read before the write to the same byte."""
        maps = [self.source] if self._works_in_place else []
        # If ``skip`` is also the source, the windows of a convolution would read positions that are already
        # overwritten.
        is_read_in_place = self._works_in_place or self.skip != self.source
        if self.skip is not None and self.pool is None and is_read_in_place:
            maps.append(self.skip)
        return tuple(maps)

    @property
    def _works_in_place(self) -> bool:
        if self.kind is StepKind.CONVOLUTION:
            return self.pool is None and self.form.is_pointwise
        if self.missing is not None:
            return self.missing.works_in_place
        # Windows do not overlap, and a result is never written after the first byte of the window.
        return self.kind in (StepKind.SCALING, StepKind.POOLING)


@dataclass(frozen=True, slots=True)
class Buffers:
    """Sizes of the stack buffers of convolutions in C for size; by default the least sizes of an array.

    Attributes:
        window: uint8 values in a window, all channels.
        inputs: int16 values in a window, channels of a group.
        places: Kernel positions, whose order is stored for each pose; 0 if no kernel has poses.
        results: int32 output channels.
    """

    window: int = 1
    inputs: int = 1
    places: int = 0
    results: int = 1

    @property
    def size(self) -> int:
        """Total size in bytes."""
        # The C structure ``orders``: 8 poses, each with all positions and 8 channels, a byte each.
        orders = 8 * (self.places + 8) if self.places else 0
        return self.window + 2 * self.inputs + 4 * self.results + orders


@dataclass(frozen=True, slots=True)
class IntegerPlan:
    """Integer form of a network, without numbers.

    Attributes:
        maps: The first is the input image.
        kernels: Ops whose weights are stored; further ops of the tie use these too.
        steps: In order of execution; the last computes the logits.
        weight_bits: Bits of a stored weight, except factors (``KernelForm.factors``).
    """

    maps: tuple[IntegerMap, ...]
    kernels: tuple[PlannedOp[KernelForm], ...]
    steps: tuple[IntegerStep, ...]
    weight_bits: int = WIDE_BITS

    @property
    def missing(self) -> tuple[Op, ...]:
        """Ops without an integer form."""
        return tuple(step.missing for step in self.steps if step.missing is not None)

    def check(self) -> None:
        """Raise NoIntegerFormError if the network has an op without an integer form."""
        if self.missing:
            op = self.missing[0]
            hint = "relu, leaky and prelu have an integer form" if op.role is Role.ACTIVATION else None
            raise NoIntegerFormError(f"{op.title} has no integer form", hint=hint)

    def output(self, step: IntegerStep) -> IntegerMap:
        """Return the output map of a step; the last step has none."""
        assert step.target is not None, "the logits are not stored in a map"
        return self.maps[step.target]

    @property
    def kernel_bits(self) -> tuple[int, ...]:
        """Bits of a weight of each kernel; factors have 8 bits."""
        return tuple(self.weight_bits if kernel.form.factors is None else WIDE_BITS for kernel in self.kernels)

    @property
    def kernel_bytes(self) -> tuple[int, ...]:
        """Whole bytes for the bits of each kernel."""
        pairs = zip(self.kernels, self.kernel_bits, strict=True)
        return tuple(math.ceil(math.prod(kernel.form.shape) * bits / 8) for kernel, bits in pairs)

    @property
    def constant_bytes(self) -> int:
        """Bytes of the kernels, and 2 bytes per multiplier and per bias."""
        return sum(self.kernel_bytes) + sum(step.constant_bytes for step in self.steps)

    @property
    def buffers(self) -> Buffers:
        """Stack buffers of C code for size, each as large as the largest step needs."""
        # The C code computes the orders for plain kernels too.
        has_poses = any(step.form.poses > 1 for step in self.steps if step.kind is StepKind.CONVOLUTION)
        sizes = [Buffers()]
        for step in self.steps:
            if step.kind is StepKind.CONVOLUTION and step.target is not None:
                _, channels, rows, columns = step.form.shape
                places = rows * columns
                window = places * self.maps[step.source].shape[0]
                orders = places if has_poses else 0
                sizes.append(Buffers(window, places * channels, orders, self.output(step).shape[0]))
        return Buffers(*map(max, zip(*map(astuple, sizes), strict=True)))

    @property
    def arena_bytes(self) -> int:
        """Bytes of the memory for maps that the caller provides, without the input image."""
        return max(each.end for each in self.maps)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of an exported network.

        ``calibrated_scales`` is the number of scales of maps measured on training images.
        """
        return {
            "constant_bytes": self.constant_bytes,
            "arena_bytes": self.arena_bytes,
            "calibrated_scales": len(self.maps),
        }


def integer_plan(ops: Iterable[Op], input_shape: tuple[int, int, int], weight_bits: int = WIDE_BITS) -> IntegerPlan:
    """Return the integer form of a network whose shapes fit together; ``input_shape`` is (channels, rows, columns)."""
    planner = _Planner(list(_items(ops, ())))
    planner.plan(input_shape)
    maps = _placed(planner.maps, planner.steps)
    return IntegerPlan(maps, tuple(planner.kernels), tuple(planner.steps), weight_bits)


class _Item(NamedTuple):
    mark: Literal["begin", "end", "op"]
    op: Op
    path: OpPath


def _items(ops: Iterable[Op], parent: OpPath) -> Iterator[_Item]:
    """Yield the ops, without dropout, and the begin and end of each sum."""
    for index, op in enumerate(ops):
        path = (*parent, index)
        if op.role is Role.SUM:
            yield _Item("begin", op, path)
            yield from _items(op.ops, path)
            yield _Item("end", op, path)
        elif op.role is not Role.DROPOUT:
            yield _Item("op", op, path)


@dataclass(slots=True)
class _Planner:
    """Reads the items in order and collects maps, kernels and steps.

    Attributes:
        kernel_indices: Index in ``kernels`` by the tie of an op or, without a tie, by the path.
        skips: Index of the input map of each residual sum that has begun and not ended, outermost first.
    """

    items: list[_Item]
    position: int = 0
    maps: list[IntegerMap] = field(default_factory=list)
    kernels: list[PlannedOp[KernelForm]] = field(default_factory=list)
    steps: list[IntegerStep] = field(default_factory=list)
    kernel_indices: dict[str | OpPath, int] = field(default_factory=dict)
    skips: list[int] = field(default_factory=list)

    def next_form(self, kind: type[_Form], shape: Shape) -> PlannedOp[_Form] | None:
        if self.position == len(self.items) or self.items[self.position].mark != "op":
            return None
        item = self.items[self.position]
        form = item.op.integer(_map_shape(shape))
        return PlannedOp(item.op, item.path, form) if isinstance(form, kind) else None

    def next_kernel(self, shape: Shape) -> PlannedOp[KernelForm] | None:
        """Return the next op if a step can begin with its kernel: not if the weights are products of factors."""
        form = self.next_form(KernelForm, shape)
        return form if form is not None and form.form.factors is None else None

    def ends_sum(self) -> bool:
        return self.position < len(self.items) and self.items[self.position].mark == "end"

    def plan(self, input_shape: tuple[int, int, int]) -> None:
        source = self.add_map(input_shape, is_signed=False)
        # The weights of the first op absorb mean and scale of a single channel. Several channels may have different
        # scales, and an op without weights absorbs nothing: both need a scaling step first.
        if input_shape[0] > 1 or self.next_kernel(input_shape) is None:
            channels = input_shape[0]
            step = IntegerStep(kind=StepKind.SCALING, source=source, multipliers=channels, biases=channels)
            source = self.add(step, input_shape, is_signed=True)
        while not self.add_logits(source):
            if self.items[self.position].mark == "begin":
                self.position += 1
                self.skips.append(source)
            else:
                source = self.add_step(source)

    def add_step(self, source: int) -> int:
        before = self.maps[source].shape
        if kernel := self.next_kernel(before):
            self.position += 1
            return self.convolution(kernel, source)
        norm = self.next_form(RescalingForm, before)
        rectifier = self.next_form(RectifierForm, before)
        if self.ends_sum() or norm is not None or rectifier is not None:
            return self.with_tail(IntegerStep(kind=StepKind.SCALING, source=source, multipliers=1), before)
        op = self.items[self.position].op
        pool = self.next_form(PoolingForm, before)
        self.position += 1
        if pool is None:
            size = _PARAMETER_BYTES * op.cost(before)[0]
            step = IntegerStep(kind=StepKind.MISSING, source=source, missing=op, other_bytes=size)
            return self.add(step, op.shape(before), is_signed=True)
        kind = StepKind.UNSHUFFLE if pool.form.reduction is Reduction.NONE else StepKind.POOLING
        step = IntegerStep(kind=kind, source=source, pool=pool)
        return self.add(step, op.shape(before), is_signed=self.maps[source].is_signed)

    def convolution(self, kernel: PlannedOp[KernelForm], source: int) -> int:
        index = self.weights_of(kernel)
        biases = kernel.form.shape[0] if kernel.form.has_bias else 0
        step = IntegerStep(
            kind=StepKind.CONVOLUTION, source=source, sums=kernel, kernel=index, multipliers=1, biases=biases
        )
        return self.with_tail(step, kernel.op.shape(self.maps[source].shape))

    def weights_of(self, kernel: PlannedOp[KernelForm]) -> int:
        owner = kernel.path if kernel.op.tie is None else kernel.op.tie
        index = self.kernel_indices.setdefault(owner, len(self.kernels))
        if index == len(self.kernels):
            self.kernels.append(kernel)
        return index

    def with_tail(self, step: IntegerStep, shape: Shape) -> int:
        if norm := self.next_form(RescalingForm, shape):
            self.position += 1
            repeat = norm.form.repeat
            # A bias belongs to a filter, so only poses of the same filter can share a pair. After conv3x3(8, poses=2,
            # bias), bn(poses=4, shared) needs a pair per channel.
            if step.biases and (shape[0] // step.biases) % repeat:
                repeat = 1
            pairs = shape[0] // repeat
            step = replace(step, norm=norm, multipliers=pairs, biases=pairs)
        if self.ends_sum():
            self.position += 1
            step = replace(step, skip=self.skips.pop())
        is_signed = True
        if rectifier := self.next_form(RectifierForm, shape):
            self.position += 1
            is_signed = rectifier.form.slope_attribute is not None
            step = replace(step, rectifier=rectifier)
        pool = self.next_form(PoolingForm, shape) if step.kind is StepKind.CONVOLUTION else None
        if pool is not None and not pool.form.is_global and pool.form.reduction is not Reduction.NONE:
            self.position += 1
            step = replace(step, pool=pool)
            shape = pool.op.shape(shape)
        return self.add(step, shape, is_signed=is_signed)

    def add(self, step: IntegerStep, shape: Shape, *, is_signed: bool) -> int:
        target = self.add_map(shape, is_signed=is_signed)
        self.steps.append(replace(step, target=target))
        return target

    def add_map(self, shape: Shape, *, is_signed: bool) -> int:
        self.maps.append(IntegerMap(_map_shape(shape), is_signed))
        return len(self.maps) - 1

    def add_logits(self, source: int) -> bool:
        """Add the last step if the remaining items fit into one step; return whether the step was added.

        The last step is a linear layer of a map or of the channel means, or the means alone. The step adds up the
        channels; the division belongs to the scale of the logits.
        """
        items = self.items[self.position :]
        if len(items) > 2 or any(item.mark != "op" for item in items):
            return False
        shape = self.maps[source].shape
        global_mean = PoolingForm(Reduction.MEAN, shape[1:], is_global=True)
        is_global = bool(items) and items[0].op.integer(shape) == global_mean
        if is_global:
            items = items[1:]
            shape = (shape[0], 1, 1)
        step = IntegerStep(kind=StepKind.LOGITS, source=source, is_global=is_global or not items)
        if items:
            form = items[0].op.integer(shape)
            if len(items) > 1 or not isinstance(form, KernelForm) or not form.is_global:
                return False
            kernel = PlannedOp(items[0].op, items[0].path, form)
            step = replace(step, sums=kernel, kernel=self.weights_of(kernel), biases=form.shape[0])
        self.steps.append(step)
        return True


def _map_shape(shape: Shape) -> tuple[int, int, int]:
    channels, rows, columns = (*shape, 1, 1)[:3]
    return channels, rows, columns


def _placed(maps: list[IntegerMap], steps: list[IntegerStep]) -> tuple[IntegerMap, ...]:
    """Return the maps with offsets in the arena.

    Few maps of a chain are live at once. If possible, a map overwrites an input of the step. Otherwise the map is
    placed at the bottom of the arena, at the top, or after a live map.
    """
    placed_maps = list(maps)
    last_uses = [0] * len(maps)  # of each map, by index of the step
    for index, step in enumerate(steps):
        for map_index in (step.source, step.skip):
            if map_index is not None:
                last_uses[map_index] = index
    top = 0
    for index, step in enumerate(steps):
        if step.target is None:
            continue
        size = maps[step.target].size
        live = [
            (placed_map.offset, placed_map.end)
            for placed_map, last_use in zip(placed_maps[: step.target], last_uses, strict=False)
            if placed_map.offset is not None and last_use >= index
        ]
        offset = _overwritten(step, index, placed_maps, last_uses)
        if offset is None:
            # Sufficient for two maps: the arena must hold the live maps and the target at once.
            top = max(top, sum(end - start for start, end in live) + size)
            offset = _first_free([0, top - size, *(end for _, end in live)], size, live)
        placed_maps[step.target] = replace(maps[step.target], offset=offset)
    return tuple(placed_maps)


def _overwritten(step: IntegerStep, index: int, placed_maps: list[IntegerMap], last_uses: list[int]) -> int | None:
    assert step.target is not None, "the logits are not stored in a map"
    for map_index in step.overwritable_maps:
        fits = placed_maps[map_index].size >= placed_maps[step.target].size
        if fits and last_uses[map_index] == index and placed_maps[map_index].offset is not None:
            return placed_maps[map_index].offset
    return None


def _first_free(starts: list[int], size: int, live: list[tuple[int, int]]) -> int:
    for start in starts:
        overlaps = any(start < map_end and map_start < start + size for map_start, map_end in live)
        if start >= 0 and not overlaps:
            return start
    raise AssertionError("there is space after the last live map")


def without_integer_form(op_types: Iterable[type[Op]]) -> list[str]:
    """Return the sorted class names, in lower case, of the op types without an integer form."""
    # A class with an integer form overrides ``Op.integer``.
    ops = [each for each in op_types if each.role not in _WITHOUT_STEP and each.integer is Op.integer]
    return sorted(each.__name__.lower() for each in ops)
