"""Placement of the maps of a network that takes the image row by row; tests of the exported C check the rows."""

from __future__ import annotations

import pytest

from harness.evidence.record import read
from harness.spaces.integer_plan import IntegerPlan, integer_plan
from harness.spaces.network import MNIST, Task
from harness.spaces.notation import parse_network
from harness.spaces.streaming import streamed
from tests.conftest import REPOSITORY


def plan_of(text: str, task: Task = MNIST) -> IntegerPlan:
    return integer_plan(parse_network(text, task).ops, task.input_shape)


# Rows of image and maps, times the bytes of a row.
ROWS_OF_DIGITS = 3 * 28 + 4 * 14 * 6 + 3 * 7 * 8 + 3 * 5 * 16 + 3 * 3 * 16 + 16


# Bytes of the arena: with whole maps, in addition to the image; and with rows, of the image too.
@pytest.mark.parametrize(
    ("prefix", "whole", "rows"),
    [("b0e868", 1_568, ROWS_OF_DIGITS), ("ecbe65", 4_312, 3_416), ("561d35", 12_152, 4_592)],
)
def test_arena_of_recorded_networks(prefix: str, whole: int, rows: int):
    [path] = (REPOSITORY / "records").glob(f"{prefix}*.json")
    plan = integer_plan(read(path).architecture.ops, MNIST.input_shape)

    assert (plan.arena_bytes, streamed(plan).arena_bytes) == (whole, rows)


def test_stream_of_digits_needs_half_of_arena_and_image():
    assert ROWS_OF_DIGITS <= (1_568 + 784) / 2


def test_series_is_taken_column_by_column():
    task = Task((2, 1, 1_500), 4)
    plan = streamed(plan_of("conv1x9(8, stride=2) relu res(conv1x3(8) bn) relu | gap | linear(4)", task))

    # Steps scale the caller's two numbers and add to the logits; the sum overwrites the map that it adds.
    assert [(each.shape[1:], each.held) for each in plan.maps] == [
        ((1_500, 1), 1), ((1_500, 1), 9), ((750, 1), 3), ((750, 1), 1)
    ]  # fmt: skip
    assert plan.maps[0].offset is None
    assert plan.arena_bytes == 9 * 2 + 3 * 8 + 8


def test_whole_map_is_held_for_hidden_linear_layer():
    plan = streamed(plan_of("conv3x3(4) relu maxpool(4) linear(12) relu linear(10)"))

    assert [each.held for each in plan.maps] == [6, 7, 1]
    assert plan.arena_bytes == 6 * 28 + 7 * 7 * 4 + 12


def test_pointwise_layer_needs_no_rows_of_its_own():
    deep = plan_of("conv3x3(8) relu conv1x1(8) relu conv1x1(8) relu conv3x3(4) gap linear(10)")
    plain = plan_of("conv3x3(8) relu conv3x3(4) gap linear(10)")

    assert streamed(deep).arena_bytes == streamed(plain).arena_bytes
