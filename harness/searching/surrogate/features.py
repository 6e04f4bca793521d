"""Features of a network and a training, the inputs of the surrogate model.

No feature names a space or a family: features count depth, width, weight sharing, orientations and training length.
Sizes are natural logarithms; shares are between 0 and 1. Quantities that grow with the image are rescaled to 28x28
pixels, so that networks for images of any size are comparable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

from harness.spaces.network import Analysis, Architecture, Task, analyse
from harness.spaces.ops import Conv, ReLU, Role, flat, kernels

_WIDEST_FIELD = 40  # pixels of a 28x28 image; wider fields have no effect
_EDGE = 28.0  # pixels, edge of the images to which all quantities are rescaled
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of networks or trainings.

    Attributes:
        width: Difference that is scaled to 1, the unit of the length scale of the Gaussian process.
    """

    name: str
    centre: float
    width: float

    def scaled(self, value: float) -> float:
        """Return (value - centre) / width."""
        return (value - self.centre) / self.width


class _FeatureMap(NamedTuple):
    """Output of a top-level op that is a map.

    Attributes:
        positions: Rows times columns of the map.
        edge: Edge of a square map with as many positions, rescaled to images of 28x28 pixels.
        macs: Multiply-adds of the op, rescaled to images of 28x28 pixels.
    """

    channels: int
    positions: int
    edge: float
    macs: float


class _NetworkFacts:
    """Ops, kernels and maps of a network, from which the features are computed.

    Attributes:
        ops: Ops in order of execution, without the sums.
        uses: All convolutions in order of execution; a tied kernel is listed once per use.
        spatial: Convolutions whose kernels have several rows.
        convs: Ops of the class ``Conv``: all convolutions, grouped or not, except ``dwconv3x3``.
        before_norms: Op before each normalisation; None for the input of the network.
        pixels_scale: Pixels of a 28x28 image over pixels of an image of the task.
        maps: Outputs of the top-level ops (a residual sum is a single op) that are maps; not empty.
    """

    def __init__(self, architecture: Architecture, analysis: Analysis) -> None:
        self.analysis = analysis
        self.sums = [op for op in architecture.ops if op.role is Role.SUM]
        self.ops = [op for op in flat(architecture.ops) if op.role is not Role.SUM]
        self.uses = kernels(self.ops)
        self.spatial = [op for op in self.uses if op.edges[0] > 1]
        self.convs = [op for op in self.uses if isinstance(op, Conv)]
        self.pools = [op for op in self.ops if op.role in (Role.MAX_POOLING, Role.MEAN_POOLING) and not op.is_global]
        neighbours = zip((None, *self.ops), self.ops, strict=False)
        self.before_norms = [previous for previous, op in neighbours if op.role is Role.NORMALISATION]
        _, rows, columns = analysis.task.input_shape
        self.pixels_scale = _EDGE**2 / (rows * columns)
        # The receptive field of a series is measured in columns.
        edge = columns if rows == 1 else min(rows, columns)
        self.receptive_field = analysis.receptive_field * _EDGE / edge
        self.maps = _maps(analysis, self.pixels_scale)

    @property
    def mean_uses_of_a_kernel(self) -> float:
        distinct = {op.tie or index for index, op in enumerate(self.uses)}
        return len(self.uses) / len(distinct) if distinct else 1.0

    @property
    def before_head(self) -> _FeatureMap:
        return next((each for each in reversed(self.maps) if each.positions > 1), self.maps[0])


def _maps(analysis: Analysis, pixels_scale: float) -> list[_FeatureMap]:
    maps = []
    for layer in analysis.costed_ops:
        if len(layer.output_shape) == 3:
            channels, rows, columns = layer.output_shape
            positions = rows * columns
            # For a series, of a square map with as many positions.
            edge = math.sqrt(positions * pixels_scale)
            maps.append(_FeatureMap(channels, positions, edge, layer.macs * pixels_scale))
    return maps or [_FeatureMap(1, 1, 1.0, 0.0)]


def _unshared_weights(analysis: Analysis) -> float:
    """Return the number of weights of convolutions and linear layers without sharing: a copy per use and orientation.

    The convolutions of a residual sum are assumed to have outputs of the size of the sum.
    """
    return sum(layer.macs / math.prod(layer.output_shape[1:]) for layer in analysis.costed_ops)


def _share(ops: Sequence[_T], counts: Callable[[_T], bool]) -> float:
    return len(list(filter(counts, ops))) / len(ops) if ops else 0.0


# The rounded widths maximise the marginal likelihood of the shipped trainings times a prior that draws each width
# towards 1.25 times the spread among networks of some thousand parameters (diary 65). The centres are round values
# within the range of such networks; there the linear term of the Gaussian process is 0. Kernels with a single row, such
# as 1x3 for series, count as 1x1. Poses of depthwise kernels do not count as orientations.
_NETWORK_FEATURES: tuple[tuple[Feature, Callable[[_NetworkFacts], float]], ...] = (
    (Feature("log parameters", 8.0, 0.55), lambda net: math.log(net.analysis.parameters)),
    (Feature("log weights without sharing", 9.2, 0.6), lambda net: math.log(max(1.0, _unshared_weights(net.analysis)))),
    (Feature("log multiply-adds", 13.8, 0.65), lambda net: math.log(max(1.0, net.analysis.macs * net.pixels_scale))),
    (Feature("kernels larger than 1x1", 7.0, 2.2), lambda net: float(len(net.spatial))),
    (Feature("receptive field", 30.0, 12.0), lambda net: min(_WIDEST_FIELD, net.receptive_field)),
    (Feature("log2 orientations", 1.0, 1.4), lambda net: math.log2(max((op.poses for op in net.convs), default=1))),
    (Feature("share of separable kernels", 0.3, 0.7), lambda net: _share(net.spatial, lambda op: op.is_grouped)),
    (Feature("sums per kernel > 1x1", 0.3, 0.6), lambda net: len(net.sums) / len(net.spatial) if net.spatial else 0.0),
    (Feature("log uses of a kernel", 0.5, 0.75), lambda net: math.log(net.mean_uses_of_a_kernel)),
    (Feature("strides", 0.5, 0.7), lambda net: float(any(op.stride > 1 for op in net.uses))),
    (Feature("share of max pooling", 0.5, 0.9), lambda net: _share(net.pools, lambda op: op.role is Role.MAX_POOLING)),
    (Feature("share without padding", 0.2, 0.5), lambda net: _share(net.spatial, lambda op: max(op.paddings) == 0)),
    (Feature("dropout", 0.0, 0.07), lambda net: max((op.drop_rate for op in net.ops), default=0.0)),
    (
        Feature("share of BN behind the rectifier", 0.3, 0.85),
        lambda net: _share(net.before_norms, lambda op: isinstance(op, ReLU)),
    ),
    (Feature("log channels of the first map", 2.6, 1.15), lambda net: math.log(net.maps[0].channels)),
    (Feature("log channels before the head", 3.1, 0.38), lambda net: math.log(net.before_head.channels)),
    (Feature("log edge before the head", 2.0, 0.65), lambda net: math.log(net.before_head.edge)),
    (Feature("linear head", 0.8, 0.6), lambda net: float(net.ops[-1].role is Role.LINEAR)),
    (Feature("share of 1x1 kernels", 0.3, 0.35), lambda net: _share(net.convs, lambda op: op.kernel_size == 1)),
    (
        Feature("log multiply-adds above 14x14", 11.0, 4.0),
        lambda net: math.log(1 + sum(each.macs for each in net.maps if each.edge > 14)),
    ),
)
_TRAINING_FEATURES = (
    Feature("log epochs", 2.3, 1.0),
    Feature("log batch", 3.7, 0.65),
    Feature("share of augmented images", 0.6, 0.4),
)
FEATURES = (*(feature for feature, _ in _NETWORK_FEATURES), *_TRAINING_FEATURES)
Row = tuple[float, ...]  # scaled features, in the order of ``FEATURES``


def row_of(architecture: Architecture, task: Task, epochs: float, batch_size: int, augmented_share: float) -> Row:
    """Return the scaled features of a network and a training.

    Args:
        epochs: Epochs, divided by ``harness.training.recipe.length_factor(training images)``.
        augmented_share: Share of augmented images, from 0 to 1.
    """
    return _known_row(architecture, task) + training_row(epochs, batch_size, augmented_share)


@lru_cache(maxsize=50_000)
def _known_row(architecture: Architecture, task: Task) -> Row:
    return network_row(architecture, analyse(architecture, task))


def training_row(epochs: float, batch_size: int, augmented_share: float) -> Row:
    """Return the scaled training features, the end of a row, as for ``row_of``."""
    values = (math.log(epochs), math.log(batch_size), augmented_share)
    return tuple(feature.scaled(value) for feature, value in zip(_TRAINING_FEATURES, values, strict=True))


def network_row(architecture: Architecture, analysis: Analysis) -> Row:
    """Return the scaled network features, the beginning of a row."""
    values = network_features(architecture, analysis).values()
    return tuple(feature.scaled(value) for (feature, _), value in zip(_NETWORK_FEATURES, values, strict=True))


def network_features(architecture: Architecture, analysis: Analysis) -> dict[str, float]:
    """Return the unscaled network features by name, in the order of a row."""
    facts = _NetworkFacts(architecture, analysis)
    return {feature.name: value_of(facts) for feature, value_of in _NETWORK_FEATURES}
