from __future__ import annotations

import pytest
from hypothesis import given

from search_spaces.catalog import PATTERN, PRESETS, is_named, network_name, network_names
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

POSED = "conv3x3(8, poses=4) bn(poses=4) relu | gap | linear(10)"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("conv3x3(8) bn relu | gap | linear(10)", "plain-178"),
        (POSED, "posed-112"),
        ("conv3x3(8) dwconv3x3 conv1x1(8) bn relu | gap | linear(10)", "separable-314"),
    ],
)
def test_a_name_is_the_form_and_the_parameters(text: str, name: str):
    assert network_name(parse_network(text), analyse(parse_network(text), MNIST).parameters) == name


def test_a_preset_keeps_its_name():
    assert network_name(parse_network(PRESETS["seed4"].text), 1) == "seed4"


@given(...)
def test_every_network_has_a_name_by_which_it_is_known(network: Architecture):
    parameters = analyse(network, MNIST).parameters
    name = network_name(network, parameters)

    assert is_named(network, parameters, name)
    assert is_named(network, parameters, f"{name}-{network.hash[:4]}")
    assert not is_named(network, parameters, f"{name}-zzzz")
    if name not in PRESETS:
        assert PATTERN.fullmatch(name)
        assert name.endswith(f"-{parameters}")


def test_networks_that_share_a_name_are_told_apart_by_their_hashes():
    first, other = parse_network(POSED), parse_network(POSED.replace("relu", "leaky"))
    alone = parse_network("conv3x3(8) bn relu | gap | linear(10)")

    names = network_names((each, analyse(each, MNIST).parameters) for each in (first, other, alone, first))

    assert names[alone.hash] == "plain-178"
    assert names[first.hash] == f"posed-112-{first.hash[:4]}"
    assert len(set(names.values())) == 3
