"""The strip of layers and the small picture: what they count, and that their colours stand in the style sheet."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from reports import layers
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

PLAIN = parse_network("conv3x3(8) bn relu | maxpool | conv3x3(16) bn relu | gap | linear(10)")
TIED = parse_network(
    "conv3x3(8, poses=4) relu | avgpool | conv3x3(8, tie=t1) | res(conv1x1(8) conv3x3(8, tie=t1)) relu "
    "| res(conv3x3(8, tie=t1)) | gap | linear(10)"
)


def test_colours_are_rules_of_every_page():
    style = resources.files("reports").joinpath("page.css").read_text(encoding="utf-8")
    made = layers.strip(analyse(TIED, MNIST)) + layers.thumbnail(TIED, MNIST)

    used = {name for words in re.findall(r'class="([^"]*)"', made) for name in words.split()}
    assert {"map", "shared", "plain", "small", "posed"} <= used
    # A kernel that is used once has the colour of every map.
    assert {name for name in used - {"kernel"} if f".{name} " not in style} == set()


def test_a_bar_is_a_convolution_with_the_edge_and_the_channels_of_its_output():
    assert [(bar.edge, bar.channels, bar.sum) for bar in layers.bars(PLAIN, MNIST)] == [
        (28, 8, 0), (14, 16, 0), (1, 10, 0)
    ]  # fmt: skip
    assert [bar.kind for bar in layers.bars(TIED, MNIST)] == ["posed", "tied-1", "own", "tied-1", "tied-1", "linear"]
    assert [bar.sum for bar in layers.bars(TIED, MNIST)] == [0, 0, 1, 1, 2, 0]
    assert layers.thumbnail(TIED, MNIST).count('class="sum"') == 2


@pytest.mark.parametrize(
    ("network", "facts"),
    [
        (PLAIN, "2 convolutions; maps with edges of 28, 14 pixels"),
        (TIED, "5 convolutions, 3 kernels; maps with edges of 28, 14 pixels"),
    ],
)
def test_words_count_what_is_drawn(network: Architecture, facts: str):
    assert f'aria-label="{facts}"' in layers.thumbnail(network, MNIST)


def test_the_blocks_have_all_parameters_and_ops():
    found = layers.blocks(analyse(TIED, MNIST))

    assert sum(block.parameters for block in found) == analyse(TIED, MNIST).parameters
    assert [block.followers for block in found] == ["relu", "", "", "relu", "", "", ""]
    assert [block.kind for block in found] == ["shared", "plain", "shared", "shared", "shared", "plain", "kernel"]
