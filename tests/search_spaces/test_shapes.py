from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.cost import _check_output, analyse, normalised_values, output_shape
from search_spaces.errors import ShapeError
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.ops import (
    AvgPool,
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout2d,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Op,
    ReLU,
    Residual,
    Unshuffle,
)
from search_spaces.task import MNIST, Shape, shape_text


@pytest.mark.parametrize(
    ("op", "before", "after"),
    [
        (Conv(3, 8), (1, 28, 28), (8, 28, 28)),
        (Conv(3, 8, 0), (4, 28, 28), (8, 26, 26)),
        (Conv(3, 8, 1, 2), (4, 28, 28), (8, 14, 14)),
        (Conv(3, 8, 1, 2), (4, 7, 7), (8, 4, 4)),
        (Conv(1, 16, 1), (16, 14, 14), (16, 16, 16)),
        (Conv(5, 2, 0, 3), (1, 28, 28), (2, 8, 8)),
        (Conv(3, 2, kernel_width=1), (1, 28, 28), (2, 28, 28)),
        (Conv(3, 2, 0, kernel_width=1), (1, 28, 28), (2, 26, 28)),
        (Conv(1, 2, 0, 2, kernel_width=3), (1, 28, 28), (2, 14, 13)),
        (Conv(1, 2, 3, kernel_width=3), (1, 9, 9), (2, 9, 13)),
        (DepthwiseConv(0), (6, 5, 5), (6, 3, 3)),
        (MaxPool(), (3, 7, 7), (3, 3, 3)),
        (AvgPool(3), (3, 7, 7), (3, 2, 2)),
        (Unshuffle(), (3, 14, 14), (12, 7, 7)),
        (Unshuffle(3), (1, 9, 6), (9, 3, 2)),
        (GlobalAvgPool(), (3, 7, 7), (3, 1, 1)),
        (Linear(10), (3, 7, 7), (10,)),
        (Linear(10), (16,), (10,)),
        (BatchNorm(), (16,), (16,)),
        (Residual((Conv(3, 4), ReLU())), (4, 9, 9), (4, 9, 9)),
    ],
)
def test_shapes_after_an_op(op: Op, before: Shape, after: Shape):
    assert output_shape(op, before) == after


@pytest.mark.parametrize(
    ("op", "before", "message"),
    [
        (Conv(3, 8), (10,), "conv3x3(8) needs a map (channels x height x width), but gets a vector of 10"),
        (MaxPool(), (10,), "maxpool needs a map (channels x height x width), but gets a vector of 10"),
        (GlobalAvgPool(), (10,), "gap needs a map (channels x height x width), but gets a vector of 10"),
        (
            Dropout2d(0.1),
            (10,),
            "dropout2d(0.1) needs a map (channels x height x width), but gets a vector of 10",
        ),
        (MaxPool(), (4, 1, 1), "maxpool leaves nothing of a map of 1x1: its window of 2x2 does not fit in"),
        (
            Conv(5, 8, 0),
            (4, 4, 4),
            "conv5x5(8, pad=0) leaves nothing of a map of 4x4: its window of 5x5 does not fit in",
        ),
        (
            Unshuffle(),
            (4, 14, 7),
            "unshuffle needs a map whose edges are multiples of 2, but gets one of 14x7",
        ),
        (Unshuffle(), (10,), "unshuffle needs a map (channels x height x width), but gets a vector of 10"),
        (
            Residual((Conv(3, 8),)),
            (4, 9, 9),
            "res(...) turns 4x9x9 into 8x9x9; it can add its input only to an output of equal shape",
        ),
        (Residual(()), (4, 9, 9), "res() is empty: it needs at least one op to add its input to"),
    ],
)
def test_ops_refuse_what_they_cannot_take(op: Op, before: Shape, message: str):
    with pytest.raises(ShapeError) as caught:
        output_shape(op, before)
    assert caught.value.message == message


def test_errors_inside_res_say_where():
    with pytest.raises(ShapeError) as caught:
        output_shape(Residual((Conv(3, 4), Residual((Conv(3, 4), MaxPool(40))))), (4, 9, 9))
    assert caught.value.path == (1, 1)


def test_a_network_ends_in_the_classes_as_vector_or_map():
    _check_output((10,), 10)
    _check_output((10, 1, 1), 10)
    _check_output((7,), 7)
    for wrong in [(11,), (10, 2, 2), (1, 10, 1)]:
        with pytest.raises(ShapeError, match=f"the network ends in {shape_text(wrong)}; it must end in 10 values"):
            _check_output(wrong, 10)


def window_starts(size: int, kernel: int, stride: int, padding: int) -> list[int]:
    """Where windows begin that lie wholly on the padded row, by trying every place."""
    row = range(-padding, size + padding)
    return [start for start in row if start + kernel - 1 in row and (start + padding) % stride == 0]


@given(st.integers(1, 30), st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(0, 3))
def test_sizes_equal_the_number_of_windows_that_fit(size: int, kernel: int, stride: int, padding: int):
    starts = window_starts(size, kernel, stride, padding)
    op = Conv(kernel, 2, padding, stride)
    if starts:
        assert output_shape(op, (1, size, size)) == (2, len(starts), len(starts))
    else:
        with pytest.raises(ShapeError, match="does not fit in"):
            output_shape(op, (1, size, size))


@given(st.integers(1, 30), st.integers(1, 8))
def test_pooled_sizes_equal_the_number_of_whole_windows(size: int, window: int):
    starts = window_starts(size, window, window, 0)
    if starts:
        assert output_shape(MaxPool(window), (1, size, size)) == (1, len(starts), len(starts))
    else:
        with pytest.raises(ShapeError, match="does not fit in"):
            output_shape(MaxPool(window), (1, size, size))


def seen(ops: tuple[Op, ...], low: int, high: int, axis: int) -> tuple[int, int]:
    """The input positions along one axis that outputs ``low`` to ``high`` depend on, going back from the end."""
    for op in reversed(ops):
        match op:
            case Conv() | DepthwiseConv():
                kernel = (op.kernel_size, op.kernel_width or 0)[axis] if isinstance(op, Conv) else 3
                low, high = low * op.stride, high * op.stride + kernel - 1
            case MaxPool() | AvgPool() | Unshuffle():
                low, high = low * op.size, high * op.size + op.size - 1
            case Residual():
                low, high = seen(op.ops, low, high, axis)
    return low, high


def edge(ops: tuple[Op, ...]) -> int:
    """The shorter edge of what one output depends on."""
    spans = [seen(ops, 0, 0, axis) for axis in (0, 1)]
    return min(high - low + 1 for low, high in spans)


@given(st.from_type(Architecture))
def test_receptive_fields_equal_those_traced_back_from_one_output(network: Architecture):
    for index, layer in enumerate(analyse(network, MNIST).layers):
        if isinstance(layer.op, GlobalAvgPool | Linear):
            break
        assert layer.receptive_field == edge(network.ops[: index + 1])
    assert analyse(network, MNIST).receptive_field == edge(network.ops[:index])


def test_a_bn_is_given_so_many_values_a_channel_by_each_image():
    text = "bn maxpool conv3x3(4, stride=2) bn res(bn conv1x1(4)) conv3x1(5, pad=0) bn gap bn res(bn) linear(10) bn"

    assert list(normalised_values(parse_network(text).ops, MNIST.input_shape)) == [
        28 * 28,
        7 * 7,
        7 * 7,
        5 * 7,
        1,
        1,
        1,
    ]


def test_a_bn_whose_poses_share_statistics_is_given_the_values_of_all_of_them():
    text = "conv3x3(8, stride=2) bn(poses=4) bn(poses=4, shared) gap res(bn(poses=2, shared)) linear(10)"

    assert list(normalised_values(parse_network(text).ops, MNIST.input_shape)) == [14 * 14, 4 * 14 * 14, 2]
