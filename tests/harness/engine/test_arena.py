"""Tests of where maps lie: apart from each other, within the whole, as wide as their readers need."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine import arena as module
from harness.engine.arena import Arena, MapRow, arena
from harness.engine.instruction import Code
from harness.engine.persistent_training import SOURCES
from harness.engine.program import Program, program
from harness.errors import ContentError
from search_spaces.architecture import Architecture
from search_spaces.notation import parse_network

networks = st.from_type(Architecture)


def size(row: MapRow, batch: int) -> int:
    return row.channels * (row.height + 2 * row.margin) * (row.width + 2 * row.margin) * batch


def distinct(found: Arena) -> list[MapRow]:
    return sorted({row for row in (*found.maps, *found.gradients, *found.spreads) if row.channels}, key=lambda r: r.at)


@given(networks, st.integers(1, 64))
def test_no_two_maps_overlap_and_all_lie_within_the_whole(network: Architecture, batch: int):
    found = arena(program(network), batch)

    rows = distinct(found)
    ends = [row.at + size(row, batch) for row in rows]
    assert all(end <= after.at for end, after in zip(ends, rows[1:], strict=False))
    assert rows[0].at >= 0
    assert ends[-1] <= found.size
    assert all(row.at % module.ALIGNMENT == 0 for row in rows)


@given(networks)
def test_maps_have_the_shapes_and_margins_of_the_program(network: Architecture):
    flat = program(network)
    found = arena(flat, 3)

    for value, row, gradient in zip(flat.values, found.maps, found.gradients, strict=True):
        shape = (value.channels, value.height, value.width)
        assert (row.channels, row.height, row.width, row.margin) == (*shape, value.margin)
        assert (gradient.channels, gradient.height, gradient.width) == shape
        assert gradient.margin >= value.gradient_margin
    for item in flat.instructions:
        shared = found.gradients[item.source] == found.gradients[item.target]
        assert shared == (item.code is Code.POINTWISE)


def test_a_gradient_is_spread_where_strides_leave_gaps_only():
    flat = program(parse_network("conv3x3(4, stride=2) conv3x3(6, stride=2, pad=0) conv3x3(8) gap linear(10)"))

    spreads = arena(flat, 2).spreads

    # 28 to 14 to 6 positions; the last row of the second is seen by no window, and its gradient is a zero.
    shapes = [(row.channels, row.height, row.width, row.margin) for row in spreads]
    assert shapes == [(4, 28, 28, 1), (6, 12, 12, 2), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0)]


def room(text: str, batch: int) -> tuple[int, int]:
    found = arena(program(parse_network(text)), batch)
    return found.scratch, found.packed


def test_partial_sums_and_kernels_have_the_room_that_the_kernel_takes():
    # 5 by 9 weights, four chunks of seven rows, two images; filled up to 8 outputs, which is more than back to one.
    assert room("conv3x3(5) gap linear(10)", 2) == (5 * 9 * 4 * 2, 8 * 9)
    # Eight inputs for each of 3 outputs on the way back are more than 8 outputs for each of 2 inputs.
    assert room("conv1x1(2) conv1x1(3) gap linear(10)", 1)[1] == 3 * 8
    # Depthwise: each channel alone, and a bias that sums 14 rows.
    assert room("avgpool dwconv3x3(bias) gap linear(10)", 1) == (9 * 2, 8 * 9)
    assert room("avgpool conv1x1(3, bias) gap linear(10)", 1)[0] == 3 * 14
    # Four sums a row of each channel.
    assert room("avgpool relu gap linear(10)", 5)[0] == 4 * 14 * 5
    # The losses of a batch.
    assert room("gap linear(10)", 100) == (100, 0)


def test_what_the_kernel_cannot_count_is_an_error():
    flat: Program = program(parse_network("conv1x1(300) gap linear(10)"))

    assert arena(flat, 9_000).size > 300 * 784 * 9_000
    with pytest.raises(
        ContentError, match=r"^recipe: with batch_size 10000 an instruction .* takes 2,352,000,000 numb"
    ):
        arena(flat, 10_000)


def test_the_kernel_s_constants_are_those_of_its_source():
    text = (SOURCES / "convolution.h").read_text(encoding="utf-8")

    assert re.findall(r"constexpr int CHUNK = (\d+);", text) == [str(module.CHUNK)]
    assert max(int(outputs) for outputs in re.findall(r"convolve<(\d+), \d+>", text)) == module.BLOCK
