"""The form of a network follows from its structure."""

from __future__ import annotations

import random

import pytest

from search_spaces.catalog import space
from search_spaces.draw import Uniform, draw
from search_spaces.network import Form, form
from search_spaces.notation import parse_network

# The alternatives of `net` in the space `all`, in their order.
FORMS_OF_ALL = ("plain", "tied", "squeezed", "separable", "posed", "mirrored", "posed-separable")


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("conv3x3(8) bn relu | maxpool | conv1x1(4) | conv3x3(8) | gap | linear(10)", "plain"),
        ("gap linear(10)", "plain"),
        ("conv3x3(8) res(conv3x3(8) bn) gap linear(10)", "summed"),
        ("conv3x3(8) res(conv1x1(8, tie=a) bn) res(conv1x1(8, tie=a) bn) gap linear(10)", "tied"),
        ("conv3x3(8) conv3x3(8, tie=a) conv3x3(8, tie=a) gap linear(10)", "tied"),
        ("conv3x3(8) conv1x1(4) conv3x3(4, tie=a) conv3x3(4, tie=a) gap linear(10)", "tied"),
        ("conv3x3(8, tie=a) gap linear(10)", "plain"),
        ("conv3x3(8) conv1x1(4) conv3x3(8, tie=a) conv1x1(4) bn conv3x3(8, tie=a) gap linear(10)", "squeezed"),
        ("conv3x3(4) conv3x3(4, tie=a) res(conv3x3(4, tie=a) bn) gap linear(10)", "squeezed"),
        ("conv3x3(4) dwconv3x3 conv1x1(8) gap linear(10)", "separable"),
        ("conv3x3(4) res(dwconv3x3(tie=a)) res(dwconv3x3(tie=a)) gap linear(10)", "separable"),
        ("conv3x3(4) conv3x3(8, groups=2) gap linear(10)", "separable"),
        ("conv3x3(8, poses=4) gap linear(10)", "posed"),
        ("conv3x3(8, poses=8) gap linear(10)", "mirrored"),
        ("conv3x3(8, poses=4) conv3x3(8, groups=2, poses=4) gap linear(10)", "posed-separable"),
        ("conv3x3(8, poses=8) dwconv3x3 gap linear(10)", "posed-separable"),
    ],
)
def test_the_form_is_the_first_that_holds(network: str, expected: str):
    assert form(parse_network(network)) == expected


def test_the_forms_of_the_space_of_all_are_its_alternatives():
    rng, found = random.Random(0), space("all")
    seen = set()
    for _ in range(400):
        drawn = draw(found, Uniform(rng))
        (chosen,) = [decision.index for decision in drawn.decisions if decision.name == "net"]
        assert form(drawn.architecture) == FORMS_OF_ALL[chosen], str(drawn.architecture)
        seen.add(chosen)
    assert len(seen) == len(FORMS_OF_ALL) == len(Form) - 1
