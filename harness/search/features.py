"""What a model of errors and times knows of a network and of its training: a row of numbers, the same for any space.

Nothing here names a space or a form: the numbers say how deep a network is, how wide, how often its kernels are used,
in how many orientations, and how long it is trained. Sizes are logarithms; shares are mostly between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from search_spaces.cost import Analysis, analyse, grouped_macs, map_numbers
from search_spaces.network import Architecture
from search_spaces.ops import (
    AvgPool,
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    Dropout2d,
    Linear,
    MaxPool,
    Op,
    ReLU,
    Residual,
)
from search_spaces.task import Task

# A receptive field beyond the image adds nothing.
_WIDEST_FIELD = 40
# Multiply-adds that take as long as moving one number of a map through BN, rectifier, pooling and their gradients; as
# the optimizer's step for one parameter, by image of a batch of 32; and as a multiply-add of a depthwise or grouped
# kernel takes besides. Fitted to 176 trainings, the last to 43 of seven forms, on two-core CPU machines:
# docs/lab, "what a training takes, with the faster engine" and "what a training takes, again".
NUMBER_MACS = 9.0
_PARAMETER_MACS = 22.0
_GROUPED_MACS = 0.8


@lru_cache(maxsize=50_000)
def network_features(architecture: Architecture, task: Task) -> tuple[float, ...]:
    """Return the numbers that describe a network, in the order of ``NAMES``."""
    return features(architecture, analyse(architecture, task))


@lru_cache(maxsize=50_000)
def work(architecture: Architecture, task: Task) -> float:
    """Return what a training step of a network takes for one image, in multiply-adds of the forward pass."""
    return work_of(analyse(architecture, task))


def work_of(analysis: Analysis) -> float:
    """Do as ``work`` for a network that has been analysed."""
    of_all = step_work(analysis.macs, map_numbers(analysis), analysis.parameters)
    return of_all + _GROUPED_MACS * grouped_macs(analysis)


def step_work(macs: int, numbers: int, parameters: int) -> float:
    """Return the work of a network of which only these totals are known, as if no kernel were depthwise or grouped."""
    return macs + NUMBER_MACS * numbers + _PARAMETER_MACS * parameters


def features(architecture: Architecture, analysis: Analysis) -> tuple[float, ...]:
    """Return the numbers that describe a network, in the order of ``NAMES``."""
    ops = tuple(_flat(architecture.ops))
    convs = [op for op in ops if isinstance(op, Conv | DepthwiseConv)]
    spatial = [op for op in convs if isinstance(op, DepthwiseConv) or op.kernel_size > 1]
    full = [op for op in convs if isinstance(op, Conv)]
    distinct = {op.tie or index for index, op in enumerate(convs)}
    norms = [index for index, op in enumerate(ops) if isinstance(op, BatchNorm)]
    pools = [op for op in ops if isinstance(op, AvgPool | MaxPool)]
    maps = [layer for layer in analysis.layers if len(layer.output_shape) == 3]
    # What the kernels would be if each use and each orientation had numbers of its own.
    laid_out = sum(
        layer.macs / math.prod(layer.output_shape[1:]) if len(layer.output_shape) == 3 else layer.macs
        for layer in analysis.layers
    )
    first = maps[0].output_shape if maps else (1, 1, 1)
    before_head = next((m.output_shape for m in reversed(maps) if m.output_shape[1] > 1), first)
    return (
        math.log(analysis.parameters),
        math.log(max(1.0, laid_out)),
        math.log(max(1, analysis.macs)),
        float(len(spatial)),
        float(min(_WIDEST_FIELD, analysis.receptive_field)),
        math.log2(max((op.poses for op in full), default=1)),
        _share(sum(isinstance(op, DepthwiseConv) or op.groups > 1 for op in spatial), len(spatial)),
        _share(sum(isinstance(op, Residual) for op in architecture.ops), len(spatial)),
        math.log(max(1, len(convs)) / max(1, len(distinct))),
        float(any(op.stride > 1 for op in convs)),
        _share(sum(isinstance(op, MaxPool) for op in pools), len(pools)),
        _share(sum(op.padding == 0 for op in spatial), len(spatial)),
        max((op.p for op in ops if isinstance(op, Dropout | Dropout2d)), default=0.0),
        _share(sum(index > 0 and isinstance(ops[index - 1], ReLU) for index in norms), len(norms)),
        math.log(first[0]),
        math.log(before_head[0]),
        math.log(before_head[1]),
        float(isinstance(ops[-1], Linear)),
        _share(sum(isinstance(op, Conv) and op.kernel_size == 1 for op in full), len(full)),
        math.log(1 + sum(m.macs for m in maps if m.output_shape[1] > 14)),
    )


# Name, centre and width of each number: how far apart two networks may be in it and still say much of one another. The
# widths are those under which the trainings that ship are most probable, drawn towards 1.25 times the spread among
# networks of some thousand parameters and rounded (docs/lab, "the widths of the model").
NAMES: tuple[tuple[str, float, float], ...] = (
    ("log parameters", 8.0, 0.55),
    ("log numbers of all uses", 9.2, 0.6),
    ("log multiply-adds", 13.8, 0.65),
    ("kernels larger than 1x1", 7.0, 2.2),
    ("receptive field", 30.0, 12.0),
    ("log2 orientations", 1.0, 1.4),
    ("share of separable kernels", 0.3, 0.7),
    ("share of sums", 0.3, 0.6),
    ("log uses of a kernel", 0.5, 0.75),
    ("strides", 0.5, 0.7),
    ("share of max pooling", 0.5, 0.9),
    ("share without padding", 0.2, 0.5),
    ("dropout", 0.0, 0.07),
    ("share of BN behind the rectifier", 0.3, 0.85),
    ("log channels of the first map", 2.6, 1.15),
    ("log channels before the head", 3.1, 0.38),
    ("log rows before the head", 2.0, 0.65),
    ("linear head", 0.8, 0.6),
    ("share of 1x1 kernels", 0.3, 0.35),
    ("log multiply-adds above 14x14", 11.0, 4.0),
)


def _flat(ops: tuple[Op, ...]) -> Iterator[Op]:
    for op in ops:
        if isinstance(op, Residual):
            yield from _flat(op.ops)
        else:
            yield op


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
