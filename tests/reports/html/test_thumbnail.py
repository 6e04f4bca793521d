from __future__ import annotations

import re

import pytest

from reports.html.thumbnail import bars, description, draw
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

PLAIN = parse_network("conv3x3(8) bn relu | maxpool | conv3x3(16) bn relu | gap | linear(10)")
TIED = parse_network(
    "conv3x3(8, poses=4) relu | avgpool | conv3x3(8, tie=t1) | res(conv1x1(8) conv3x3(8, tie=t1)) relu "
    "| res(conv3x3(8, tie=t1)) | gap | linear(10)"
)


def test_a_bar_is_a_convolution_with_the_edge_and_the_channels_of_its_output():
    assert [(bar.edge, bar.channels) for bar in bars(PLAIN, MNIST)] == [(28, 8), (14, 16), (1, 10)]


def test_kernels_that_are_used_again_have_one_kind_inside_sums_and_outside():
    assert [bar.kind for bar in bars(TIED, MNIST)] == ["posed", "tied-1", "own", "tied-1", "tied-1", "linear"]


def test_each_residual_sum_has_a_number_of_its_own():
    assert [bar.sum for bar in bars(TIED, MNIST)] == [0, 0, 1, 1, 2, 0]
    assert draw(TIED, MNIST).count('class="sum"') == 2
    assert draw(PLAIN, MNIST).count('class="sum"') == 0


def test_higher_maps_are_higher_bars():
    heights = [float(height) for height in re.findall(r"v([\d.]+)h-", draw(PLAIN, MNIST))]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] == pytest.approx(2 * heights[1])


@pytest.mark.parametrize(
    ("network", "facts"),
    [
        (PLAIN, "2 convolutions; maps with edges of 28, 14 pixels"),
        (TIED, "5 convolutions, 3 kernels; maps with edges of 28, 14 pixels"),
        (
            parse_network(
                "conv3x3(4) conv3x3(4, tie=t1) conv3x3(4, tie=t2) conv3x3(4, tie=t2) conv3x3(4, tie=t1) "
                "conv3x3(4, tie=t2) | gap | linear(10)"
            ),
            "6 convolutions, 3 kernels; maps with edges of 28 pixels",
        ),
    ],
)
def test_words_count_what_is_drawn(network: object, facts: str):
    assert description(network, MNIST) == facts  # type: ignore[arg-type]  # a table of networks


def test_a_tie_beyond_the_colours_takes_the_first_again():
    ties = " ".join(f"conv3x3(4, tie=t{number}) conv3x3(4, tie=t{number})" for number in range(1, 6))
    network = parse_network(f"conv3x3(4) {ties} | gap | linear(10)")

    kinds = [bar.kind for bar in bars(network, MNIST)][1:-1:2]

    assert kinds == ["tied-1", "tied-2", "tied-3", "tied-1", "tied-2"]
