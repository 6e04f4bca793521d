"""Costs of networks, compared with counts by hand; ``test_torch_network.py`` compares with torch."""

from __future__ import annotations

import json
import math
import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spaces.catalog import space
from harness.spaces.network import MNIST, Architecture, analyse
from harness.spaces.notation import parse_network, parse_notation
from harness.spaces.ops import (
    AvgPool,
    BatchNorm,
    Conv,
    DepthwiseConv,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Op,
    PReLU,
    Residual,
    Unshuffle,
)
from harness.spaces.space import draw_uniform
from harness.spaces.space_errors import ShapeError
from harness.training.recipe import _normalised_values
from measurements import latency

# Counted by hand: op, output shape, parameters, multiply-adds, receptive field.
TABLES: dict[str, list[tuple[str, tuple[int, ...], int, int, int]]] = {
    "conv3x3(8, bias) bn relu | gap | linear(10)": [
        ("conv3x3(8, bias)", (8, 28, 28), 80, 8 * 9 * 784, 3),
        ("bn", (8, 28, 28), 16, 0, 3),
        ("relu", (8, 28, 28), 0, 0, 3),
        ("gap", (8, 1, 1), 0, 0, 30),
        ("linear(10)", (10,), 90, 80, 30),
    ],
    "conv3x1(4, bias) conv1x3(6, stride=2) maxpool conv3x1(6, pad=0) gap conv1x1(10)": [
        ("conv3x1(4, bias)", (4, 28, 28), 12 + 4, 12 * 784, 1),
        ("conv1x3(6, stride=2)", (6, 14, 14), 72, 72 * 196, 3),
        # Receptive field: 5 rows and 5 columns, then 13 rows and 5 columns.
        ("maxpool", (6, 7, 7), 0, 0, 5),
        ("conv3x1(6, pad=0)", (6, 5, 7), 108, 108 * 35, 5),
        ("gap", (6, 1, 1), 0, 0, 29),
        ("conv1x1(10)", (10, 1, 1), 60, 60, 29),
    ],
    "conv3x3(6) conv3x3(4, groups=2, bias) maxpool res(conv3x1(4, groups=4)) gap conv1x1(10)": [
        ("conv3x3(6)", (6, 28, 28), 54, 54 * 784, 3),
        # Four kernels of 3x3x3 and four biases.
        ("conv3x3(4, groups=2, bias)", (4, 28, 28), 108 + 4, 108 * 784, 5),
        ("maxpool", (4, 14, 14), 0, 0, 6),
        ("res(conv3x1(4, groups=4))", (4, 14, 14), 12, 12 * 196, 6),
        ("gap", (4, 1, 1), 0, 0, 32),
        ("conv1x1(10)", (10, 1, 1), 40, 40, 32),
    ],
    "conv3x3(8, poses=4, bias) bn(poses=4) conv1x1(4, poses=2) bn(unscaled, poses=2) gap linear(10)": [
        # Two kernels of 3x3x1 and two biases, each used in four poses.
        ("conv3x3(8, poses=4, bias)", (8, 28, 28), 18 + 2, 72 * 784, 3),
        ("bn(poses=4)", (8, 28, 28), 4, 0, 3),
        ("conv1x1(4, poses=2)", (4, 28, 28), 16, 32 * 784, 3),
        ("bn(unscaled, poses=2)", (4, 28, 28), 2, 0, 3),
        ("gap", (4, 1, 1), 0, 0, 30),
        ("linear(10)", (10,), 50, 40, 30),
    ],
    "conv3x3(16, poses=8) gap poselinear(10, poses=8)": [
        ("conv3x3(16, poses=8)", (16, 28, 28), 18, 144 * 784, 3),
        ("gap", (16, 1, 1), 0, 0, 30),
        # Each output has a weight per kernel (2), a weight per pose (8), and a bias.
        ("poselinear(10, poses=8)", (10,), 20 + 80 + 10, 160, 30),
    ],
    "conv3x3(8, poses=8) dwconv3x3(poses=4, bias) conv1x1(8, poses=4) gap linear(10)": [
        ("conv3x3(8, poses=8)", (8, 28, 28), 9, 72 * 784, 3),
        # Two kernels of 3x3 and two biases, each used in four poses.
        ("dwconv3x3(poses=4, bias)", (8, 28, 28), 18 + 2, 72 * 784, 5),
        ("conv1x1(8, poses=4)", (8, 28, 28), 16, 64 * 784, 5),
        ("gap", (8, 1, 1), 0, 0, 32),
        ("linear(10)", (10,), 90, 80, 32),
    ],
    "conv5x5(6, stride=2) dwconv3x3(bias) conv1x1(10) gap": [
        ("conv5x5(6, stride=2)", (6, 14, 14), 150, 150 * 196, 5),
        ("dwconv3x3(bias)", (6, 14, 14), 60, 54 * 196, 9),
        ("conv1x1(10)", (10, 14, 14), 60, 60 * 196, 9),
        ("gap", (10, 1, 1), 0, 0, 35),
    ],
    "conv1x1(4) res(conv3x3(4) bn res(conv1x1(4, bias))) gap conv1x1(10)": [
        ("conv1x1(4)", (4, 28, 28), 4, 4 * 784, 1),
        ("res(conv3x3(4) bn res(conv1x1(4, bias)))", (4, 28, 28), 144 + 8 + 20, 160 * 784, 3),
        ("gap", (4, 1, 1), 0, 0, 30),
        ("conv1x1(10)", (10, 1, 1), 40, 40, 30),
    ],
}


@pytest.mark.parametrize("text", TABLES)
def test_costs_of_layers_equal_count_by_hand(text: str):
    analysis = analyse(parse_network(text), MNIST)
    rows = [
        (str(layer.op), layer.output_shape, layer.parameters, layer.macs, layer.receptive_field)
        for layer in analysis.costed_ops
    ]
    assert rows == TABLES[text]
    assert analysis.parameters == sum(row[2] for row in TABLES[text])
    assert analysis.macs == sum(row[3] for row in TABLES[text])


def test_receptive_field_of_a_network_ends_at_first_global_op():
    assert analyse(parse_network("conv3x3(4) maxpool gap linear(10)"), MNIST).receptive_field == 4
    assert analyse(parse_network("conv3x3(4) maxpool conv1x1(10) gap"), MNIST).receptive_field == 4
    assert analyse(parse_network("linear(10)"), MNIST).receptive_field == 1
    assert analyse(parse_network("conv5x5(10, pad=0, stride=24)"), MNIST).receptive_field == 5


@pytest.mark.parametrize(
    ("figure", "text", "number"),
    [
        ("map_numbers", "conv3x3(4) gap linear(10)", 4 * 784 + 4 + 10),
        ("map_numbers", "conv3x3(8, stride=2) bn relu | maxpool | gap | linear(10)", 3 * 8 * 196 + 8 * 49 + 8 + 10),
        # The map of a sum and the maps of the inner ops, also for nested sums.
        ("map_numbers", "conv3x3(4) res(conv3x3(4) bn) gap linear(10)", 4 * 784 + 3 * 4 * 784 + 4 + 10),
        ("map_numbers", "conv3x3(4) res(bn res(conv3x3(4) bn)) gap linear(10)", 4 * 784 + 5 * 4 * 784 + 4 + 10),
        ("grouped_macs", "conv3x3(4) gap linear(10)", 0),
        ("grouped_macs", "conv1x1(4) dwconv3x3 gap linear(10)", 4 * 9 * 784),
        # Also in a sum, after an inner op that changes the number of channels.
        ("grouped_macs", "conv1x1(4) avgpool res(conv1x1(8) dwconv3x3 conv1x1(4) bn) gap linear(10)", 8 * 9 * 196),
        ("grouped_macs", "conv1x1(8) conv3x3(16, groups=2, stride=2) gap linear(10)", 16 * 4 * 9 * 196),
        ("pointwise_macs", "conv3x3(4) gap linear(10)", 0),
        ("pointwise_macs", "conv1x1(4) dwconv3x3 gap conv1x1(10)", 4 * 784 + 4 * 10),
        ("pointwise_macs", "conv1x1(4) avgpool res(conv1x1(8, poses=4) conv3x3(4) bn) gap linear(10)",
         4 * 784 + 8 * 4 * 196),
        # All parameters, and two statistics per channel of each BN.
        ("stored_numbers", "linear(10)", 7_850),
        ("stored_numbers", "conv3x3(4) bn relu | gap | linear(10)", 36 + 8 + 50 + 8),
        # A constant scale is neither learned nor stored.
        ("stored_numbers", "conv3x3(4) bn(unscaled) | gap | linear(10)", 36 + 4 + 50 + 8),
        # Poses share kernel, scale and shift, but each map has separate statistics.
        ("stored_numbers", "conv3x3(8, poses=4) bn(poses=4) | gap | linear(10)", 2 * 9 + 2 * 2 + 90 + 16),
        # Shared statistics are stored once for all poses.
        ("stored_numbers", "conv3x3(8, poses=4) bn(poses=4, shared) | gap | linear(10)", 2 * 9 + 2 * 2 + 90 + 4),
        ("stored_numbers", "conv3x3(8) bn(unscaled, poses=8, shared) res(bn(poses=2, shared)) | gap | linear(10)",
         72 + 1 + 8 + 90 + 2 + 8),
        # Tied BN: scales and shifts are stored once, statistics for each use.
        ("stored_numbers", "conv3x3(4) bn(tie=a) conv3x3(4) res(bn(tie=a)) | gap | linear(10)", 36 + 8 + 144 + 50 + 16),
        # The tied kernel is stored once, statistics for each BN.
        ("stored_numbers", "conv3x3(4) conv3x3(4, tie=a) bn conv3x3(4, tie=a) bn | gap | linear(10)",
         36 + 144 + 16 + 50 + 16),
        ("stored_numbers", "conv3x3(4) res(conv3x3(4) bn res(conv1x1(4) bn)) | gap | linear(10)",
         36 + 144 + 8 + 16 + 8 + 50 + 16),
        # BN of the input, of unshuffled channels, and of a vector.
        ("stored_numbers", "bn unshuffle bn linear(6) bn linear(10)",
         2 + 8 + (4 * 196 * 6 + 6) + 12 + 70 + 2 * (1 + 4 + 6)),
    ],
)  # fmt: skip
def test_figures_of_networks_equal_count_by_hand(figure: str, text: str, number: int):
    assert getattr(analyse(parse_network(text), MNIST), figure) == number


def test_tied_kernel_is_counted_at_first_use_and_biases_at_each_use():
    ops = [(3, 4, "free"), (3, 4, "a"), (3, 4, "a"), (3, 4, "a")]
    convolutions = tuple(Conv(size, out, bias=True, tie=tie) for size, out, tie in ops)
    analysis = analyse(Architecture((*convolutions, GlobalAvgPool(), Linear(10))), MNIST)
    assert [layer.parameters for layer in analysis.costed_ops] == [36 + 4, 144 + 4, 4, 4, 0, 50]
    assert [layer.macs for layer in analysis.costed_ops] == [36 * 784, 144 * 784, 144 * 784, 144 * 784, 0, 40]


def test_tied_kernels_may_differ_in_padding_stride_and_depth():
    tied = "conv3x3(4, tie=a) conv3x3(4, pad=0, stride=2, tie=a) res(conv3x3(4, tie=a) bn)"
    analysis = analyse(parse_network(f"conv1x1(4) {tied} gap linear(10)"), MNIST)
    assert [layer.parameters for layer in analysis.costed_ops] == [4, 144, 0, 8, 0, 50]


def count_stored(ops: tuple[Op, ...], shape: list[tuple[int, ...]], known_ties: set[str]) -> int:
    """Return the number of stored scalars, counted by enumeration; ``shape`` contains the input shape of each op."""
    total = 0
    for op, input_shape in zip(ops, shape, strict=True):
        channels = input_shape[0]
        match op:
            case Conv() | DepthwiseConv():
                outputs = range((op.out_channels if isinstance(op, Conv) else channels) // op.poses)
                inputs = range(channels // op.groups if isinstance(op, Conv) else 1)
                rows = range(op.kernel_size if isinstance(op, Conv) else 3)
                columns = range((op.kernel_width or 0) if isinstance(op, Conv) else 3)
                if op.tie is None or op.tie not in known_ties:
                    total += len(list(product(outputs, inputs, rows, columns)))
                total += len(outputs) if op.bias else 0
                known_ties |= {op.tie} if op.tie else set()
            case BatchNorm():
                names = ("shift",) if op.unscaled else ("scale", "shift")
                if op.tie is None or op.tie not in known_ties:
                    total += len(list(product(range(channels // op.poses), names)))
                known_ties |= {op.tie} if op.tie else set()
            case PReLU():
                total += 1
            case Linear():
                features = list(product(*map(range, input_shape)))
                total += len(list(product(range(op.out_features), [*features, "bias"])))
            case Residual():
                # In random networks, the ops in a sum keep the shape.
                total += count_stored(op.ops, [input_shape] * len(op.ops), known_ties)
    return total


@given(st.from_type(Architecture))
def test_parameters_equal_number_of_enumerated_scalars(network: Architecture):
    analysis = analyse(network, MNIST)
    shapes = [MNIST.input_shape, *(layer.output_shape for layer in analysis.costed_ops[:-1])]
    assert analysis.parameters == count_stored(network.ops, shapes, set())
    assert sum(layer.parameters for layer in analysis.costed_ops) == analysis.parameters
    assert sum(layer.macs for layer in analysis.costed_ops) == analysis.macs


@pytest.mark.parametrize(
    "text",
    [
        "linear(11)",
        "conv1x1(10)",
        "linear(8) conv3x3(8) linear(10)",
        "linear(8) gap",
        "linear(8) dropout2d(0.1) linear(10)",
        "unshuffle(3) linear(10)",
        "gap maxpool linear(10)",
        "res(conv3x3(8)) linear(10)",
    ],
)
def test_ops_with_incompatible_shapes_are_refused(text: str):
    with pytest.raises(ShapeError):
        analyse(parse_notation(text), MNIST)


def window_starts(size: int, kernel: int, stride: int, padding: int) -> list[int]:
    """Return the starts of all windows within the padded row, by trying all positions."""
    row = range(-padding, size + padding)
    return [start for start in row if start + kernel - 1 in row and (start + padding) % stride == 0]


@given(st.integers(1, 30), st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(0, 3))
def test_output_size_equals_number_of_windows(size: int, kernel: int, stride: int, padding: int):
    starts = window_starts(size, kernel, stride, padding)
    op = Conv(kernel, 2, padding, stride)
    if starts:
        assert op.shape((1, size, size)) == (2, len(starts), len(starts))
    else:
        with pytest.raises(ShapeError):
            op.shape((1, size, size))


def input_range(ops: tuple[Op, ...], low: int, high: int, axis: int) -> tuple[int, int]:
    """Return the range of input positions along an axis on which the outputs ``low`` to ``high`` depend."""
    for op in reversed(ops):
        match op:
            case Conv() | DepthwiseConv():
                kernel = (op.kernel_size, op.kernel_width or 0)[axis] if isinstance(op, Conv) else 3
                low, high = low * op.stride, high * op.stride + kernel - 1
            case MaxPool() | AvgPool() | Unshuffle():
                low, high = low * op.size, high * op.size + op.size - 1
            case Residual():
                low, high = input_range(op.ops, low, high, axis)
    return low, high


def receptive_edge(ops: tuple[Op, ...]) -> int:
    """Return the shorter edge of the input region on which a single output depends."""
    return min(high - low + 1 for low, high in [input_range(ops, 0, 0, axis) for axis in (0, 1)])


@given(st.from_type(Architecture))
def test_receptive_fields_equal_ranges_traced_back_from_an_output(network: Architecture):
    for index, layer in enumerate(analyse(network, MNIST).costed_ops):
        if isinstance(layer.op, GlobalAvgPool | Linear):
            break
        assert layer.receptive_field == receptive_edge(network.ops[: index + 1])
    assert analyse(network, MNIST).receptive_field == receptive_edge(network.ops[:index])


def test_normalised_values_per_channel_and_image_equal_positions():
    text = "bn maxpool conv3x3(4, stride=2) bn res(bn conv1x1(4)) conv3x1(5, pad=0) bn gap bn res(bn) linear(10) bn"
    layers = list(_normalised_values(parse_network(text).ops, MNIST.input_shape))
    assert layers == [28 * 28, 7 * 7, 7 * 7, 5 * 7, 1, 1, 1]


def test_normalised_values_of_shared_statistics_include_all_poses():
    text = "conv3x3(8, stride=2) bn(poses=4) bn(poses=4, shared) gap res(bn(poses=2, shared)) linear(10)"
    assert list(_normalised_values(parse_network(text).ops, MNIST.input_shape)) == [14 * 14, 4 * 14 * 14, 2]


def test_latency_follows_from_fitted_coefficients():
    results = json.loads(latency.RESULTS.read_text(encoding="utf-8"))
    for name in ("all", "card", "tiny"):
        analysis = analyse(draw_uniform(space(name), random.Random(name), 20_000).architecture, MNIST)
        pairs = zip(results["coefficients"], latency.terms(analysis), strict=True)
        assert analysis.latency_us == math.ceil(math.fsum(coefficient * term for coefficient, term in pairs))
