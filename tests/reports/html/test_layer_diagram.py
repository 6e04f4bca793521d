from __future__ import annotations

import re

from reports.html import layer_diagram, page
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

NETWORK = "conv3x3(8) bn relu | maxpool | conv3x3(8, tie=t1) conv3x3(8, tie=t1) | gap | linear(10)"


def test_the_colours_of_a_diagram_are_rules_of_every_page():
    made = layer_diagram.draw(analyse(parse_network(NETWORK), MNIST), "x")

    used = {name for words in re.findall(r'class="([^"]*)"', made) for name in words.split()}
    assert {"map", "shared", "plain", "small"} <= used
    # A kernel that is used once has the colour of every map.
    assert {name for name in used - {"kernel"} if f".{name} " not in page.style()} == set()


def test_shared_kernels_and_poses_are_explained_where_a_network_has_them():
    plain, tied, posed = (
        layer_diagram.note(parse_network(words))
        for words in ("conv3x3(8) gap linear(10)", NETWORK, "conv3x3(8, poses=4) gap linear(10)")
    )

    assert ["several times" in words for words in (plain, tied, posed)] == [False, True, True]
    assert ["share its weights" in words for words in (plain, tied, posed)] == [False, False, True]
