"""Cores of chips, and the estimated time per image of the exported C.

The clock cycles per image are the sum of the repetitions of each kind of work times the cycles per repetition, which
``measurements/instructions.py`` fits to emulated networks.
"""

from __future__ import annotations

import math
import operator
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from importlib import resources
from typing import Any

from harness.spaces import fast_kernels
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.integer_plan import WIDE_BITS, IntegerPlan, IntegerStep, StepKind
from harness.spaces.ops.integer_form import Reduction


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetitions:
    """Repetitions of each kind of work per image, or clock cycles per repetition.

    *Blocks* and *planes* are the two ways in which C for speed computes a convolution (``fast_kernels``). In C for size
    all convolutions count as blocks, and each sum as a call of ``dot``.

    Attributes:
        positions: Output positions of blocks, before pooling; for speed tiles of positions, for each group of channels
            and each pose.
        parts: Places that are copied: of the lines of blocks for speed, for each group of channels; of the windows for
            size.
        window: Numbers in these places.
        ordered_parts: Places that are copied again in the order of a pose, for each group of channels.
        ordered: Numbers in these places: for size only of kernels with poses, whose order changes.
        dots: Calls of a function ``dot``, for speed.
        macs: Multiply-adds of blocks.
        paired: Multiply-adds of blocks with weights of at most 6 bits, for speed; they are not in ``macs``.
        widened: Weights that are converted to 16 bits, for speed.
        vectors: Vectors of up to 16 multiply-adds of blocks, for speed.
        rest: Numbers or multiply-adds of ``dot`` that remain after the passes of four.
        outputs: Outputs of blocks, before pooling.
        shared_outputs: The same, if other steps use the function for outputs too, which takes longer: for size steps
            without a convolution, for speed planes.
        plane_outputs: Outputs of planes, before pooling.
        lines: Numbers in the lines of planes.
        slides: Calls of a function ``slide``.
        weights: Weights of blocks that are expanded, for speed.
        skips: Outputs to which a residual sum adds a number.
        means: Means of windows.
        scalings: Outputs of steps that only scale, for speed.
        others: Numbers of the larger map of other steps without a convolution.
        sums: Numbers and multiply-adds of the last step.
        unpacked: Weights of fewer than 8 bits that are read: for size for each product, for speed once per step.
    """

    positions: float = 0
    parts: float = 0
    window: float = 0
    ordered_parts: float = 0
    ordered: float = 0
    dots: float = 0
    macs: float = 0
    paired: float = 0
    widened: float = 0
    vectors: float = 0
    rest: float = 0
    outputs: float = 0
    shared_outputs: float = 0
    plane_outputs: float = 0
    lines: float = 0
    slides: float = 0
    weights: float = 0
    skips: float = 0
    means: float = 0
    scalings: float = 0
    others: float = 0
    sums: float = 0
    unpacked: float = 0

    @classmethod
    def of(cls, plan: IntegerPlan, optimise: Optimisation) -> Repetitions:
        """Return the repetitions per image."""
        total: Counter[str] = Counter()
        for step in plan.steps:
            source = plan.maps[step.source]
            if step.target is None:
                inputs = source.shape[0] if step.is_global else source.size
                products = 0 if step.sums is None else step.form.shape[0] * inputs
                total["sums"] += source.size + products
                if step.form.factors is None:
                    total["unpacked"] += products
                continue
            target_size = plan.output(step).size
            if step.kind is StepKind.CONVOLUTION:
                total.update(_convolution(plan, step, optimise))
            else:
                is_scaling = step.kind is StepKind.SCALING and optimise is Optimisation.SPEED
                total["scalings" if is_scaling else "others"] += max(source.size, target_size)
            if step.pool is not None and step.pool.form.reduction is Reduction.MEAN:
                total["means"] += target_size
        if plan.weight_bits == WIDE_BITS:
            total["unpacked"] = 0
        elif optimise is Optimisation.SIZE:
            total["unpacked"] += total["macs"]
        is_shared = "plane_outputs" in total
        if optimise is Optimisation.SIZE:
            is_shared = any(step.kind is StepKind.SCALING for step in plan.steps)
        return cls(**total, shared_outputs=total["outputs"] if is_shared else 0)


def _convolution(plan: IntegerPlan, step: IntegerStep, optimise: Optimisation) -> dict[str, int]:
    """Return the work of a convolution or linear layer, without the means of pooling."""
    channels = plan.maps[step.source].shape[0]
    target = plan.output(step)
    filters, depth, rows, columns = step.form.shape
    poses = step.form.poses
    pool_rows, pool_columns = step.pool_window
    outputs = target.size * pool_rows * pool_columns
    counts = {"skips": 0 if step.skip is None else outputs}
    if optimise is Optimisation.SPEED and fast_kernels.reads_planes(plan, step):
        output_channels, output_rows, output_columns = target.shape
        tiles = math.ceil(output_columns / fast_kernels.tile_columns(plan, step))
        line_columns = output_columns * pool_columns * step.form.stride + tiles * (columns - step.form.stride)
        calls = output_channels * output_rows * pool_rows  # of ``gather``, per tile
        lines = calls * rows * line_columns
        return counts | {"plane_outputs": outputs, "lines": lines, "slides": calls * pool_columns * tiles}
    positions = outputs // target.shape[0]
    places = positions * rows * columns
    weights = depth * rows * columns  # of a filter
    counts |= {"positions": positions, "window": places * channels, "macs": outputs * weights, "outputs": outputs}
    if optimise is Optimisation.SIZE:
        # In a depthwise convolution in poses, each pose of a filter reads a channel of its own.
        groups = channels // (poses if filters < channels // depth else depth)
        ordered_parts = places * poses * groups
        ordered = ordered_parts * depth if poses > 1 else 0
        counts |= {"rest": outputs * (weights % 4), "parts": places}
        return counts | {"ordered_parts": ordered_parts, "ordered": ordered}
    passes = 1 if fast_kernels.is_expanded(plan) else poses
    groups = channels // depth
    period = fast_kernels.block_filters(plan, step)
    sizes = fast_kernels.block_sizes(period, plan.weight_bits)
    dots = outputs // period * len(sizes)
    tiles = math.ceil(target.shape[2] / fast_kernels.tile_columns(plan, step))
    line_columns = target.shape[2] * pool_columns * step.form.stride + tiles * (columns - step.form.stride)
    cells = target.shape[1] * pool_rows * rows * line_columns * groups
    # In half of 4 or 8 poses rows become columns: of several channels, each column is a call of ``dot`` then.
    quarter_turns = passes // 2 if passes > 2 and rows > 1 else 0
    calls = dots * (1 + quarter_turns * (columns - 1) // passes) if depth > 1 else dots
    rows_of_tiles = target.shape[1] * pool_rows * tiles
    counts |= {"positions": rows_of_tiles * groups * passes, "dots": calls, "rest": dots * (weights % 4)}
    # The first vector ends with the first weights that are no multiple of 4 (``dot`` in the C code).
    first = 12 + weights % 4 if weights % 4 else 16
    counts["vectors"] = outputs * (1 + math.ceil(max(0, weights - first) / 16))
    if fast_kernels.is_wide(plan, step):
        counts["widened"] = weights * filters * passes * rows_of_tiles
    counts |= {"parts": cells, "window": cells * depth}
    written_out = quarter_turns * places if depth == 1 else 0
    if plan.weight_bits <= fast_kernels.PAIR_BITS:
        counts["paired"] = counts.pop("macs")
    counts["ordered_parts"] = cells * (passes - 1 - (quarter_turns if depth == 1 else 0)) + written_out
    counts["ordered"] = counts["ordered_parts"] * depth
    weight_count = filters * weights * poses // passes
    if plan.weight_bits < WIDE_BITS:
        counts["unpacked"] = weight_count
    elif passes < poses:
        counts["weights"] = weight_count
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A type of processor, with the costs of the exported C for size.

    Attributes:
        program_bytes: Flash for code and tables, without the constants of the network.
        stack_bytes: Stack without the buffers of convolutions (``IntegerPlan.buffers``, ``fast_buffers``).
        cycles: Clock cycles per repetition; None if ``cycles_a_mac`` is given.
        cycles_a_mac: Clock cycles per multiply-add, all other work included; else None.
        speed: Costs of code for speed; None if unknown.

    Raises:
        ValueError: Neither or both of ``cycles`` and ``cycles_a_mac`` are given, a number is negative, or all are 0.
    """

    program_bytes: int
    stack_bytes: int
    cycles: Repetitions | None = None
    cycles_a_mac: float | None = None
    speed: Core | None = None

    def __post_init__(self) -> None:
        if (self.cycles is None) == (self.cycles_a_mac is None):
            number = "neither" if self.cycles is None else "both"
            raise ValueError(f"a core needs either cycles or cycles_a_mac, and has {number}")
        costs = (self.cycles_a_mac,) if self.cycles is None else astuple(self.cycles)
        if min(costs) < 0 or max(costs) <= 0:
            raise ValueError("the cycles of a core must not be negative, and some must be above 0")

    def costs(self, optimise: Optimisation) -> Core:
        """Return the costs with an optimisation; raise ValueError if unknown."""
        costs = self if optimise is Optimisation.SIZE else self.speed
        if costs is None:
            raise ValueError("the core has no costs for speed")
        return costs

    def cycles_per_image(self, plan: IntegerPlan, macs: int, optimise: Optimisation) -> float:
        """Return the estimated clock cycles per image; raise ValueError if the costs for ``optimise`` are unknown."""
        costs = self.costs(optimise)
        if costs.cycles is None:
            return (costs.cycles_a_mac or 0) * macs
        cycles: float = sum(map(operator.mul, astuple(costs.cycles), astuple(Repetitions.of(plan, optimise))))
        return cycles


TABLES = tomllib.loads(resources.files("harness.spaces").joinpath("declared", "chips.toml").read_text("utf-8"))


def _core(speed: Mapping[str, Any] | None = None, *, cycles: Mapping[str, float], **figures: Any) -> Core:
    return Core(cycles=Repetitions(**cycles), speed=None if speed is None else _core(**speed), **figures)


# Each has ``speed``; only a core of a user's file may lack the key.
CORES = {name: _core(**figures) for name, figures in TABLES["cores"].items()}
