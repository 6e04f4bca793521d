from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.cost import analyse, analyse_ops, check_budget, grouped_macs, map_numbers
from search_spaces.errors import SearchSpaceError, ShapeError
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.op_specs import op_text
from search_spaces.ops import BatchNorm, Conv, DepthwiseConv, GlobalAvgPool, Linear, MaxPool, Op, PReLU, Residual
from search_spaces.task import MNIST, Task

# Counted by hand.
TABLES: dict[str, list[tuple[str, tuple[int, ...], int, int, int]]] = {
    "conv3x3(8, bias) bn relu | gap | linear(10)": [
        ("conv3x3(8, bias)", (8, 28, 28), 80, 8 * 9 * 784, 3),
        ("bn", (8, 28, 28), 16, 0, 3),
        ("relu", (8, 28, 28), 0, 0, 3),
        ("gap", (8, 1, 1), 0, 0, 30),
        ("linear(10)", (10,), 90, 80, 30),
    ],
    "conv3x3(4) swish | gap | linear(10)": [
        ("conv3x3(4)", (4, 28, 28), 36, 28224, 3),
        ("swish", (4, 28, 28), 0, 0, 3),
        ("gap", (4, 1, 1), 0, 0, 30),
        ("linear(10)", (10,), 50, 40, 30),
    ],
    "conv3x3(4) leaky(0.2) prelu | gap | linear(10)": [
        ("conv3x3(4)", (4, 28, 28), 36, 36 * 784, 3),
        ("leaky(0.2)", (4, 28, 28), 0, 0, 3),
        ("prelu", (4, 28, 28), 1, 0, 3),
        ("gap", (4, 1, 1), 0, 0, 30),
        ("linear(10)", (10,), 50, 40, 30),
    ],
    "conv3x1(4, bias) conv1x3(6, stride=2) maxpool conv3x1(6, pad=0) gap conv1x1(10)": [
        ("conv3x1(4, bias)", (4, 28, 28), 12 + 4, 12 * 784, 1),
        ("conv1x3(6, stride=2)", (6, 14, 14), 72, 72 * 196, 3),
        # 5 columns, 5 rows; then 13 rows and still 5 columns.
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
        # Two kernels of 3x3x1 and two biases, used as eight.
        ("conv3x3(8, poses=4, bias)", (8, 28, 28), 18 + 2, 72 * 784, 3),
        ("bn(poses=4)", (8, 28, 28), 4, 0, 3),
        ("conv1x1(4, poses=2)", (4, 28, 28), 16, 32 * 784, 3),
        ("bn(unscaled, poses=2)", (4, 28, 28), 2, 0, 3),
        ("gap", (4, 1, 1), 0, 0, 30),
        ("linear(10)", (10,), 50, 40, 30),
    ],
    "unshuffle conv3x3(6) unshuffle gap linear(10)": [
        ("unshuffle", (4, 14, 14), 0, 0, 2),
        ("conv3x3(6)", (6, 14, 14), 216, 216 * 196, 6),
        ("unshuffle", (24, 7, 7), 0, 0, 8),
        ("gap", (24, 1, 1), 0, 0, 32),
        ("linear(10)", (10,), 250, 240, 32),
    ],
    "conv3x3(4) bn(unscaled) linear(6) bn(unscaled) linear(10)": [
        ("conv3x3(4)", (4, 28, 28), 36, 36 * 784, 3),
        ("bn(unscaled)", (4, 28, 28), 4, 0, 3),
        ("linear(6)", (6,), 4 * 784 * 6 + 6, 4 * 784 * 6, 30),
        ("bn(unscaled)", (6,), 6, 0, 30),
        ("linear(10)", (10,), 70, 60, 30),
    ],
    "conv3x3(4) maxpool conv3x3(4, pad=0) linear(10)": [
        ("conv3x3(4)", (4, 28, 28), 36, 36 * 784, 3),
        ("maxpool", (4, 14, 14), 0, 0, 4),
        ("conv3x3(4, pad=0)", (4, 12, 12), 144, 144 * 144, 8),
        ("linear(10)", (10,), 5770, 5760, 30),
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
def test_layers_cost_what_a_count_by_hand_gives(text: str):
    found = analyse(parse_network(text), MNIST)
    rows = [
        (op_text(layer.op), layer.output_shape, layer.parameters, layer.macs, layer.receptive_field)
        for layer in found.layers
    ]
    assert rows == TABLES[text]
    assert found.parameters == sum(row[2] for row in TABLES[text])
    assert found.macs == sum(row[3] for row in TABLES[text])


def test_the_receptive_field_of_a_network_is_the_one_before_its_first_global_op():
    assert analyse(parse_network("conv3x3(4) maxpool gap linear(10)"), MNIST).receptive_field == 4
    assert analyse(parse_network("conv3x3(4) maxpool conv1x1(10) gap"), MNIST).receptive_field == 4
    assert analyse(parse_network("linear(10)"), MNIST).receptive_field == 1
    assert analyse(parse_network("conv5x5(10, pad=0, stride=24)"), MNIST).receptive_field == 5


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("conv3x3(4) gap linear(10)", 4 * 784 + 4 + 10),
        ("conv3x3(8, stride=2) bn relu | maxpool | gap | linear(10)", 3 * 8 * 196 + 8 * 49 + 8 + 10),
        # A sum's own map and those of its ops, also of a sum within the sum.
        ("conv3x3(4) res(conv3x3(4) bn) gap linear(10)", 4 * 784 + 3 * 4 * 784 + 4 + 10),
        ("conv3x3(4) res(bn res(conv3x3(4) bn)) gap linear(10)", 4 * 784 + 5 * 4 * 784 + 4 + 10),
    ],
)
def test_the_numbers_in_all_maps_are_those_counted_by_hand(text: str, numbers: int):
    assert map_numbers(analyse(parse_network(text), MNIST)) == numbers


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        ("conv3x3(4) gap linear(10)", 0),
        ("conv1x1(4) dwconv3x3 gap linear(10)", 4 * 9 * 784),
        # Within a sum too, and after an op of the sum that changes the channels.
        ("conv1x1(4) avgpool res(conv1x1(8) dwconv3x3 conv1x1(4) bn) gap linear(10)", 8 * 9 * 196),
        ("conv1x1(8) conv3x3(16, groups=2, stride=2) gap linear(10)", 16 * 4 * 9 * 196),
    ],
)
def test_the_multiply_adds_of_depthwise_and_grouped_kernels_are_those_counted_by_hand(text: str, macs: int):
    assert grouped_macs(analyse(parse_network(text), MNIST)) == macs


def test_a_tied_kernel_is_stored_once_at_its_first_user_and_its_biases_each_time():
    ops = [(3, 4, "free"), (3, 4, "a"), (3, 4, "a"), (3, 4, "a")]
    convolutions = tuple(Conv(size, out, bias=True, tie=tie) for size, out, tie in ops)
    found = analyse(Architecture((*convolutions, GlobalAvgPool(), Linear(10))), MNIST)
    assert [layer.parameters for layer in found.layers] == [36 + 4, 144 + 4, 4, 4, 0, 50]
    assert [layer.macs for layer in found.layers] == [36 * 784, 144 * 784, 144 * 784, 144 * 784, 0, 40]


def test_tied_kernels_may_differ_in_padding_stride_and_place_inside_res():
    tied = "conv3x3(4, tie=a) conv3x3(4, pad=0, stride=2, tie=a) res(conv3x3(4, tie=a) bn)"
    found = analyse(parse_network(f"conv1x1(4) {tied} gap linear(10)"), MNIST)
    assert [layer.parameters for layer in found.layers] == [4, 144, 0, 8, 0, 50]


def test_tied_depthwise_kernels_are_stored_once():
    found = analyse(parse_network("conv1x1(4) dwconv3x3(tie=a) dwconv3x3(tie=a) gap linear(10)"), MNIST)
    assert [layer.parameters for layer in found.layers] == [4, 36, 0, 0, 50]


def test_grouped_and_depthwise_kernels_of_one_shape_can_be_tied():
    tied = "dwconv3x3(tie=a) conv3x3(4, groups=4, tie=a) conv3x3(4, groups=2)"
    found = analyse(parse_network(f"conv1x1(4) {tied} gap linear(10)"), MNIST)
    assert [layer.parameters for layer in found.layers] == [4, 36, 0, 72, 0, 50]


def test_kernels_of_different_shape_cannot_be_tied():
    with pytest.raises(ShapeError) as caught:
        analyse_ops((Conv(3, 4, tie="a"), Residual((BatchNorm(), Conv(3, 4, tie="a"))), Linear(10)), MNIST)
    assert caught.value.path == (1, 1)
    assert caught.value.message == (
        "tie=a shares a kernel of 4x1x3x3 with one of 4x4x3x3 (out x in x height x width); "
        "tied kernels must have equal shapes"
    )


def test_the_path_of_an_error_counts_ops_as_they_are_written():
    with pytest.raises(ShapeError) as caught:
        analyse_ops((Conv(3, 4), MaxPool(20), MaxPool(), Linear(10)), MNIST)
    assert caught.value.path == (2,)


def test_other_inputs_and_numbers_of_classes_can_be_asked_for():
    network = Architecture((Conv(3, 4), GlobalAvgPool(), Linear(7)))
    found = analyse(network, Task((3, 32, 32), 7))
    assert (found.parameters, found.macs) == (108 + 35, 108 * 1024 + 28)


def test_twenty_thousand_parameters_are_accepted_and_one_more_is_not():
    check_budget(20_000, 20_000)
    with pytest.raises(SearchSpaceError) as caught:
        check_budget(20_001, 20_000)
    assert caught.value.message == "20,001 parameters are 1 over the budget of 20,000"


def stored(ops: tuple[Op, ...], shape: list[tuple[int, ...]], tied: set[str]) -> int:
    """Number of stored scalars, listed one by one; ``shape`` holds the shape before each op."""
    total = 0
    for op, before in zip(ops, shape, strict=True):
        channels = before[0]
        match op:
            case Conv() | DepthwiseConv():
                outputs = range(op.out_channels // op.poses if isinstance(op, Conv) else channels)
                inputs = range(channels // op.groups if isinstance(op, Conv) else 1)
                rows = range(op.kernel_size if isinstance(op, Conv) else 3)
                columns = range((op.kernel_width or 0) if isinstance(op, Conv) else 3)
                if op.tie is None or op.tie not in tied:
                    total += len(list(product(outputs, inputs, rows, columns)))
                total += len(outputs) if op.bias else 0
                tied |= {op.tie} if op.tie else set()
            case BatchNorm():
                total += len(
                    list(product(range(channels // op.poses), ("shift",) if op.unscaled else ("scale", "shift")))
                )
            case PReLU():
                total += 1
            case Linear():
                features = list(product(*map(range, before)))
                total += len(list(product(range(op.out_features), [*features, "bias"])))
            case Residual():
                # What is inside keeps the shape, by the way that random networks are made.
                total += stored(op.ops, [before] * len(op.ops), tied)
    return total


@given(st.from_type(Architecture))
def test_parameters_equal_the_number_of_listed_array_elements(network: Architecture):
    found = analyse(network, MNIST)
    shapes = [MNIST.input_shape, *(layer.output_shape for layer in found.layers[:-1])]
    assert found.parameters == stored(network.ops, shapes, set())
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    assert sum(layer.macs for layer in found.layers) == found.macs
