"""Networks as values: canonical text, hash, family and name; presets, compared with the source documents."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spaces.catalog import PATTERN, PRESETS, SPACES, is_named, name_of, network_name, network_names, space
from harness.spaces.network import FAMILIES, MNIST, Architecture, analyse
from harness.spaces.notation import parse_network
from harness.spaces.ops import (
    AvgPool,
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    Dropout2d,
    GlobalAvgPool,
    LeakyReLU,
    Linear,
    MaxPool,
    Op,
    ReLU,
    Residual,
    Unshuffle,
)
from harness.spaces.space import draw, enumerate_draws, uniform
from harness.spaces.space_errors import NotationError

HEAD = (GlobalAvgPool(), Linear(10))


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Conv(1, 8), "conv1x1(8)"),
        (Conv(5, 8, 0, 2, True, "t1"), "conv5x5(8, pad=0, stride=2, bias, tie=t1)"),
        (Conv(3, 8, 0, 2, True, "t1", kernel_width=1), "conv3x1(8, pad=0, stride=2, bias, tie=t1)"),
        (Conv(1, 8, 2, kernel_width=3), "conv1x3(8, pad=2)"),
        (Conv(3, 8, groups=2, bias=True, poses=4), "conv3x3(8, groups=2, poses=4, bias)"),
        (DepthwiseConv(0, 2, True, "t1"), "dwconv3x3(pad=0, stride=2, bias, tie=t1)"),
        (DepthwiseConv(bias=True, poses=4), "dwconv3x3(poses=4, bias)"),
        (BatchNorm(unscaled=True, poses=2, shared=True), "bn(unscaled, poses=2, shared)"),
        (LeakyReLU(), "leaky"),
        (LeakyReLU(0.25), "leaky(0.25)"),
        (Dropout(0.00001), "dropout(0.00001)"),
        (MaxPool(3), "maxpool(3)"),
        (Unshuffle(4), "unshuffle(4)"),
        (Residual((Conv(3, 4), BatchNorm()), (1,)), "res(conv3x3(4) | bn)"),
    ],
)
def test_ops_are_written_without_their_defaults(op: Op, text: str):
    assert str(op) == text


def test_dropout_of_rate_zero_is_removed_also_inside_res():
    inner = Residual((Dropout(0.0), Conv(3, 1), Dropout2d(0.0)))
    assert str(Architecture((Dropout(0.0), inner, *HEAD))) == "res(conv3x3(1)) gap linear(10)"


def test_ties_are_renamed_in_order_of_use_and_removed_if_used_once():
    ops = (Conv(3, 4, tie="once"), Conv(3, 4, tie="x"), Conv(3, 4, tie="b"), Conv(3, 4, tie="b"))
    text = str(Architecture((*ops, Residual((Conv(3, 4, tie="x"),)), *HEAD)))
    assert text == (
        "conv3x3(4) conv3x3(4, tie=t1) conv3x3(4, tie=t2) conv3x3(4, tie=t2) res(conv3x3(4, tie=t1)) gap linear(10)"
    )


def test_bars_are_printed_but_do_not_affect_equality_and_hash():
    without_bars = Architecture((Conv(3, 8), ReLU(), *HEAD))
    with_bars = Architecture((Conv(3, 8), ReLU(), *HEAD), bars=(2,))
    assert str(with_bars) == "conv3x3(8) relu | gap linear(10)"
    assert with_bars == without_bars
    assert with_bars.hash == without_bars.hash


@given(st.from_type(Architecture))
def test_hash_ignores_tie_names_and_dropouts_of_rate_zero(network: Architecture):
    def renamed(ops: tuple[Op, ...]) -> tuple[Op, ...]:
        renamed_ops: list[Op] = []
        for op in ops:
            if isinstance(op, Conv | DepthwiseConv | BatchNorm):
                op = replace(op, tie=op.tie and f"x{op.tie}")
            elif isinstance(op, Residual):
                op = Residual(renamed(op.ops), op.bars)
            renamed_ops += [op, Dropout(0.0)]
        return tuple(renamed_ops)

    assert Architecture(renamed(network.ops)).hash == network.hash


# Families of the alternatives of `net` in the space `all`, in order; the last three repeat earlier families.
FAMILIES_OF_ALL = (
    *("plain", "tied", "squeezed", "separable", "posed", "mirrored", "posed-separable"),
    *("posed-separable", "posed-separable", "posed"),
)


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
        ("conv3x3(8) dwconv3x3(poses=4) gap linear(10)", "posed-separable"),
    ],
)
def test_family_is_the_first_matching_family(network: str, expected: str):
    assert parse_network(network).family == expected


def test_families_of_the_space_all_equal_alternatives_of_the_space():
    rng, search_space = random.Random(0), space("all")
    alternatives = set()
    for _ in range(400):
        network_draw = draw(search_space, uniform(rng))
        (alternative,) = [decision.index for decision in network_draw.decisions if decision.name == "net"]
        assert network_draw.architecture.family == FAMILIES_OF_ALL[alternative], str(network_draw.architecture)
        alternatives.add(alternative)
    assert len(alternatives) == len(FAMILIES_OF_ALL)
    assert {*FAMILIES_OF_ALL, "summed", "module"} == set(FAMILIES)


# Tables of the documents: kind, output shape and parameters of each layer.
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
# Kinds of layers that the network of a document applies as functions, which are missing in the table.
FUNCTIONAL = {"seed1": {"relu", "gap"}, "seed2": set()}


def layer_rows(name: str) -> list[list[Any]]:
    layers = analyse(parse_network(PRESETS[name]), MNIST).costed_ops
    rows = [[KINDS[type(layer.op)], list(layer.output_shape), layer.parameters] for layer in layers]
    return [row for row in rows if row[0] not in FUNCTIONAL.get(name, set())]


@pytest.mark.parametrize("name", ["seed1", "seed2", "seed3", "seed4"])
def test_presets_equal_documents_layer_by_layer(name: str):
    assert layer_rows(name) == TABLES[name]["layers"]
    assert analyse(parse_network(PRESETS[name]), MNIST).parameters == TABLES[name]["total"]


def test_seed0_begins_with_the_layers_of_the_source_document():
    table = TABLES["seed0"]["layers"]
    assert layer_rows("seed0")[: len(table)] == table
    assert layer_rows("seed0")[len(table) :] == [
        ["bn", [30, 14, 14], 60],
        ["gap", [30, 1, 1], 0],
        ["conv", [10, 1, 1], 310],
    ]


def test_tables_equal_documents(seed_documents: dict[str, Any]):
    for network in seed_documents["networks"]:
        rows = [
            [DOCUMENT_KINDS[layer["layer"].split("-")[0]], layer["output_shape"], layer["params"]]
            for layer in network["layers"]
        ]
        assert TABLES[network["name"]] == {"total": network["total_params"], "layers": rows}


def test_presets_are_canonical_and_named_by_hash():
    for name, entry in PRESETS.items():
        network = parse_network(entry)
        assert str(network) == entry
        assert name_of(network.hash) == name
    assert name_of("0" * 12) is None


def test_every_space_parses_and_every_file_is_listed():
    import harness.spaces

    files = (Path(harness.spaces.__file__).parent / "declared").glob("*.space")
    assert {file.stem for file in files} == set(SPACES)
    for name in SPACES:
        assert space(name).name == name


def test_space_bench_has_documented_number_and_costs_of_networks():
    networks = {str(Architecture(each.architecture.ops)) for each in enumerate_draws(space("bench"))}
    costs = [analyse(parse_network(text), MNIST) for text in networks]
    assert len(networks) == space("bench").configurations == 384
    assert "384 networks of 519 to 5,774 parameters" in SPACES["bench"]
    assert (min(cost.parameters for cost in costs), max(cost.parameters for cost in costs)) == (519, 5774)
    assert max(cost.macs for cost in costs) <= 800_000
    assert sum(cost.macs for cost in costs) <= 350_000 * len(costs)


def test_space_is_read_from_file(tmp_path: Path):
    file = tmp_path / "mine.space"
    file.write_text("net = bn? linear(10)", encoding="utf-8-sig")
    assert space(f"@{file}").name == "mine"
    assert space(f"@{file}").net.configurations == 2


def test_error_in_a_space_file_names_file_and_position(tmp_path: Path):
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
def test_network_name_consists_of_family_and_parameters(text: str, name: str):
    assert network_name(parse_network(text), analyse(parse_network(text), MNIST).parameters) == name


@given(...)
def test_is_named_accepts_name_with_and_without_hash(network: Architecture):
    parameters = analyse(network, MNIST).parameters
    name = network_name(network, parameters)
    assert is_named(network, parameters, name)
    assert is_named(network, parameters, f"{name}-{network.hash[:4]}")
    assert not is_named(network, parameters, f"{name}-zzzz")
    if name not in PRESETS:
        assert PATTERN.fullmatch(name)
        assert name.endswith(f"-{parameters}")


def test_network_names_append_hash_if_names_are_equal():
    first, second = parse_network(POSED), parse_network(POSED.replace("relu", "leaky"))
    different = parse_network("conv3x3(8) bn relu | gap | linear(10)")
    names = network_names((each, analyse(each, MNIST).parameters) for each in (first, second, different, first))
    assert names[different.hash] == "plain-178"
    assert names[first.hash] == f"posed-112-{first.hash[:4]}"
    assert len(set(names.values())) == 3
