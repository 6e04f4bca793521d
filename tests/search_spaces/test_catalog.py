from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from search_spaces.catalog import PATTERN, PRESETS, SPACES, is_named, name_of, network_name, network_names, space
from search_spaces.cost import analyse
from search_spaces.count import configurations
from search_spaces.draw import enumerate_draws
from search_spaces.errors import NotationError, UnknownNameError
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.ops import AvgPool, BatchNorm, Conv, Dropout, Dropout2d, GlobalAvgPool, Linear, MaxPool, Op, ReLU
from search_spaces.task import MNIST

# What the documents' tables state, layer by layer: kind, shape after it, parameters.
TABLES: dict[str, Any] = json.loads((Path(__file__).parent / "seed_layers.json").read_text("utf-8"))
KINDS: dict[type[Op], str] = {
    Conv: "conv",
    BatchNorm: "bn",
    ReLU: "relu",
    Dropout: "dropout",
    Dropout2d: "dropout2d",
    MaxPool: "maxpool",
    AvgPool: "gap",
    GlobalAvgPool: "gap",
    Linear: "linear",
}
DOCUMENT_KINDS = {
    "Conv2d": "conv",
    "BatchNorm2d": "bn",
    "ReLU": "relu",
    "Dropout": "dropout",
    "Dropout2d": "dropout2d",
    "MaxPool2d": "maxpool",
    "AvgPool2d": "gap",
    "Linear": "linear",
}
# What a document's network does by functions, so that its table does not list it.
FUNCTIONAL = {"seed1": {"relu", "gap"}, "seed2": set()}


def listed(name: str) -> list[list[Any]]:
    layers = analyse(parse_network(PRESETS[name].text), MNIST).layers
    rows = [[KINDS[type(layer.op)], list(layer.output_shape), layer.parameters] for layer in layers]
    return [row for row in rows if row[0] not in FUNCTIONAL.get(name, set())]


@pytest.mark.parametrize("name", ["seed1", "seed2", "seed3", "seed4"])
def test_presets_equal_the_documents_layer_by_layer(name: str):
    assert listed(name) == TABLES[name]["layers"]
    assert analyse(parse_network(PRESETS[name].text), MNIST).parameters == TABLES[name]["total"]


def test_seed0_equals_its_document_as_far_as_that_goes():
    table = TABLES["seed0"]["layers"]
    assert listed("seed0")[: len(table)] == table
    assert listed("seed0")[len(table) :] == [
        ["bn", [30, 14, 14], 60],
        ["gap", [30, 1, 1], 0],
        ["conv", [10, 1, 1], 310],
    ]


def test_the_tables_are_those_of_the_documents(seed_documents: dict[str, Any]):
    for network in seed_documents["networks"]:
        rows = [
            [DOCUMENT_KINDS[layer["layer"].split("-")[0]], layer["output_shape"], layer["params"]]
            for layer in network["layers"]
        ]
        assert TABLES[network["name"]] == {"total": network["total_params"], "layers": rows}


def test_presets_are_written_in_canonical_form_and_found_by_hash():
    for name, entry in PRESETS.items():
        network = parse_network(entry.text)
        assert str(network) == entry.text
        assert name_of(network.hash) == name
    assert name_of("0" * 12) is None


def test_every_space_parses_and_every_file_is_listed():
    import search_spaces

    files = (Path(search_spaces.__file__).parent / "spaces").glob("*.space")
    assert {file.stem for file in files} == set(SPACES)
    for name in SPACES:
        assert space(name).name == name


def test_the_space_of_the_bench_is_as_small_and_as_cheap_as_it_says():
    networks = {str(Architecture(each.architecture.ops)) for each in enumerate_draws(space("bench"))}
    costs = [analyse(parse_network(text), MNIST) for text in networks]
    assert len(networks) == configurations(space("bench")) == 384
    assert "384 networks of 519 to 5,774 parameters" in SPACES["bench"]
    assert (min(cost.parameters for cost in costs), max(cost.parameters for cost in costs)) == (519, 5774)
    assert max(cost.macs for cost in costs) <= 800_000
    assert sum(cost.macs for cost in costs) <= 350_000 * len(costs)


def test_a_space_is_read_from_a_file(tmp_path: Path):
    file = tmp_path / "mine.space"
    file.write_text("net = bn? linear(10)", encoding="utf-8-sig")
    assert space(f"@{file}").name == "mine"
    assert space(f"@{file}").net.configurations == 2


@pytest.mark.parametrize("name", ["missing.space", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path):
    with pytest.raises(UnknownNameError, match="cannot read"):
        space(f"@{tmp_path / name}")


def test_an_error_in_a_file_names_the_file_and_points_into_its_text(tmp_path: Path):
    file = tmp_path / "mine.space"
    file.write_text("net = bn? linaer(10)", encoding="utf-8")
    with pytest.raises(NotationError) as caught:
        space(f"@{file}")
    assert caught.value.message.startswith(f"{file}: unknown name 'linaer'")
    assert (caught.value.position, caught.value.text) == (10, "net = bn? linaer(10)")


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
