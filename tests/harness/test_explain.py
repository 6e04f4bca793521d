from __future__ import annotations

import pytest

from harness.explain import document, table
from search_spaces.catalog import PRESETS
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.task import MNIST


def explained(text: str) -> tuple[dict[str, object], str]:
    architecture = parse_network(text)
    analysis = analyse(architecture, MNIST)
    return document(architecture, analysis), table(architecture, analysis)


def test_the_document_of_a_network_counted_by_hand():
    found, _ = explained("conv3x3(4, tie=a) relu res(conv3x3(4) bn) | maxpool | dropout(0) | linear(10)")

    # A tie used once and a dropout of nothing are gone; the map is 4 x 14 x 14 before the linear layer.
    assert found == {
        "architecture": "conv3x3(4) relu res(conv3x3(4) bn) | maxpool | linear(10)",
        "hash": found["hash"],
        "parameters": 36 + (144 + 8) + 7850,
        # And a mean and a variance of four channels.
        "stored_numbers": 36 + (144 + 8) + 7850 + 8,
        "macs": 36 * 784 + 144 * 784 + 7840,
        "receptive_field": 6,
        "layers": [
            layer("conv3x3(4)", [4, 28, 28], 36, 36 * 784, 3),
            layer("relu", [4, 28, 28], 0, 0, 3),
            layer("res(conv3x3(4) bn)", [4, 28, 28], 152, 144 * 784, 5),
            layer("maxpool", [4, 14, 14], 0, 0, 6),
            layer("linear(10)", [10], 7850, 7840, 32),
        ],
    }


def layer(op: str, output_shape: list[int], parameters: int, macs: int, receptive_field: int) -> dict[str, object]:
    return {
        "op": op,
        "output_shape": output_shape,
        "parameters": parameters,
        "macs": macs,
        "receptive_field": receptive_field,
    }


@pytest.mark.parametrize("name", PRESETS)
def test_the_totals_are_the_sums_of_the_layers(name: str):
    found, _ = explained(PRESETS[name].text)

    layers = found["layers"]
    assert isinstance(layers, list)
    assert sum(one["parameters"] for one in layers) == found["parameters"]
    assert sum(one["macs"] for one in layers) == found["macs"]


def test_the_table_has_fixed_columns_and_the_totals():
    _, text = explained("conv3x3(8) bn relu | maxpool | conv1x1(10) | gap")

    assert text.splitlines() == [
        "op             output  parameters    MACs  receptive field",
        "----------------------------------------------------------",
        "conv3x3(8)    8x28x28          72  56,448                3",
        "bn            8x28x28          16       0                3",
        "relu          8x28x28           0       0                3",
        "maxpool       8x14x14           0       0                4",
        "conv1x1(10)  10x14x14          80  15,680                4",
        "gap            10x1x1           0       0               30",
        "----------------------------------------------------------",
        "total                         168  72,128                4",
        "168 learned; 184 stored, with the means and variances of BN",
        "plain-168, hash dbd10e2739a4; total receptive field: before global pooling or the classifier",
    ]


def test_the_columns_make_room_for_a_long_op():
    _, text = explained("conv3x3(1, pad=0, stride=2, bias) bn relu | gap | linear(10)")

    # Two lines of words below the table.
    lines = text.splitlines()[:-2]
    assert len({len(line) for line in lines}) == 1


def test_poses_are_explained_where_there_are_some():
    assert "poses: " in explained("conv3x3(4, poses=4) relu | gap | linear(10)")[1]
    assert "poses: " not in explained("conv3x3(4) relu | gap | linear(10)")[1]


def test_the_ops_of_a_residual_stand_below_it_and_shared_kernels_are_marked():
    _, text = explained("conv3x3(4, tie=a) relu res(conv3x3(4, tie=b) bn) res(conv3x3(4, tie=b) bn) | gap | linear(10)")

    lines = [line.split() for line in text.splitlines()]
    at = lines.index(["res(", "4x28x28", "152", "112,896", "5"])
    assert lines[at + 1 : at + 4] == [["conv3x3(4,", "tie=t1)", "4x28x28"], ["bn", "4x28x28"], [")"]]
    assert lines[at + 4 : at + 6] == [
        ["res(", "4x28x28", "8", "112,896", "7"],
        ["conv3x3(4,", "tie=t1)", "4x28x28", "shared"],
    ]
    assert text.splitlines()[at + 1].startswith("  conv3x3(4")


def test_a_shared_kernel_outside_a_residual_has_no_parameters_of_its_own():
    _, text = explained("conv3x3(4) conv3x3(4, tie=a) relu conv3x3(4, tie=a) | gap | linear(10)")

    assert [line.split()[3] for line in text.splitlines() if "tie=" in line] == ["144", "shared"]
