"""``harness explain`` and ``harness spaces``; exit codes and keys of both are in ``tests/golden/commands.jsonl``."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.spaces.catalog import space
from harness.spaces.space import by_configurations, replay
from tests.conftest import REPOSITORY

GOLDEN = Path(__file__).parents[1] / "spaces" / "seed_layers.json"


@pytest.fixture(autouse=True)
def empty_workspace(workspace: Path) -> None:
    """No record, study or leaderboard answers to a hash."""


def document_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run([*arguments, "--json"]) == 0
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    document: dict[str, Any] = json.loads(output)
    return document


def test_explain_states_fit_of_network_on_chip(capsys: pytest.CaptureFixture[str]):
    chip = document_of(capsys, "explain", "seed4", "--chip", "stm32f030f4")["chip"]
    assert run(["explain", "seed4", "--chip", "stm32f030f4"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    required, available = chip["ram_bytes"]

    assert (chip["name"], chip["fits"], available) == ("STM32F030F4", False, 4_096)
    assert line.startswith("STM32F030F4: does not fit (")
    assert f"{required - available:,} bytes of RAM too many" in line
    assert "estimated time per image: " in line


@pytest.mark.usefixtures("shipped")
def test_explain_counts_recorded_network_with_bits_of_recipe(capsys: pytest.CaptureFixture[str]):
    # The recipe of this record has weights of 5 bits (docs/use/deployment.md); a text is counted with 8 bits.
    recorded = document_of(capsys, "explain", "5f42dd")
    as_text = document_of(capsys, "explain", recorded["architecture"])
    assert (recorded["weight_bytes"], as_text["weight_bytes"]) == (1_341, 1_972)


def test_explain_states_why_seed0_has_more_parameters_than_its_document(capsys: pytest.CaptureFixture[str]):
    assert run(["explain", "seed0", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["parameters"] == 9266 + 60 + 310
    assert all(number in captured.err for number in ("9,266", "60", "310"))


@pytest.mark.parametrize("seed", ["seed0", "seed1", "seed2", "seed3", "seed4"])
def test_seed_networks_have_layers_of_source_documents(seed: str, capsys: pytest.CaptureFixture[str]):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[seed]

    document = document_of(capsys, "explain", seed)

    layers = [
        # Names of ops as in the tables of the documents.
        [
            "conv" if layer["op"].startswith("conv") else layer["op"].partition("(")[0],
            layer["output_shape"],
            layer["parameters"],
        ]
        for layer in document["layers"]
    ]
    position = 0
    for expected in golden["layers"]:
        # The tables omit functional ReLUs and pooling, which have no parameters.
        while layers[position] != expected:
            assert layers[position][0] in ("relu", "maxpool", "gap")
            position += 1
        position += 1
    if golden["total"] is not None:
        assert document["parameters"] == golden["total"]
        assert [layer[0] for layer in layers[position:]] in ([], ["gap"])


INSTRUCTIONS = ("instructions_m0", "instructions_rv32", "instructions_m4", "instructions_m55")


def test_document_of_network_equals_count_by_hand(capsys: pytest.CaptureFixture[str]):
    text = "conv3x3(4, tie=a) relu res(conv3x3(4) bn) | maxpool | dropout(0) | linear(10)"
    document = document_of(capsys, "explain", text)

    # A tie with a single use and a dropout of rate 0 are removed; the map before the linear layer is 4 x 14 x 14.
    keys = ("op", "output_shape", "parameters", "macs", "receptive_field")
    layers = [
        ("conv3x3(4)", [4, 28, 28], 36, 36 * 784, 3),
        ("relu", [4, 28, 28], 0, 0, 3),
        ("res(conv3x3(4) bn)", [4, 28, 28], 152, 144 * 784, 5),
        ("maxpool", [4, 14, 14], 0, 0, 6),
        ("linear(10)", [10], 7850, 7840, 32),
    ]
    assert document == {
        "architecture": "conv3x3(4) relu res(conv3x3(4) bn) | maxpool | linear(10)",
        "hash": document["hash"],
        "parameters": 36 + (144 + 8) + 7850,
        # Parameters, and means and variances of four channels.
        "stored_numbers": 36 + (144 + 8) + 7850 + 8,
        "macs": 36 * 784 + 144 * 784 + 7840,
        "receptive_field": 6,
        # Multipliers and shifts have 16 bits: a multiplier of the first convolution, pairs of the second, ten shifts.
        "weight_bytes": 36 + 2 + 144 + 4 * 4 + 7840 + 10 * 2,
        # The pooling is fused with the sum.
        "ram_bytes": 4 * 784 + 4 * 14 * 14,
        "latency_us": document["latency_us"],
        **{name: document[name] for name in INSTRUCTIONS},
        "layers": [dict(zip(keys, layer, strict=True)) for layer in layers],
    }
    assert min(document[name] for name in ("latency_us", *INSTRUCTIONS)) > 0


def test_explain_lists_ops_of_residual_and_marks_shared_kernels(capsys: pytest.CaptureFixture[str]):
    text = "conv3x3(4) relu res(conv3x3(4, tie=b) bn) conv3x3(4, tie=b) | gap | linear(10)"
    assert run(["explain", text, "--torch", "--budget", "12100"]) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    position = lines.index(["res(", "4x28x28", "152", "112,896", "5"])
    assert lines[position + 1 : position + 5] == [
        ["conv3x3(4,", "tie=t1)", "4x28x28", "144", "112,896"],
        ["bn", "4x28x28", "8", "0"],
        [")"],
        ["conv3x3(4,", "tie=t1)", "4x28x28", "shared", "112,896", "7"],
    ]


def test_explain_imports_no_heavy_library():
    program = (
        "import sys\nfrom harness.cli import run\n"
        "codes = [run(['explain', 'seed4', '--budget', '20000']), run(['explain', '012345'])]\n"
        "heavy = sorted({'torch', 'numpy', 'scipy', 'pandas', 'optuna', 'matplotlib'} & set(sys.modules))\n"
        "print(codes, heavy, file=sys.stderr)"
    )
    child = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert child.stderr.splitlines()[-1] == "[0, 4] []"


# Spaces -----------------------------------------------------------------------------------------------------


def test_sample_is_reproducible_from_seed_and_decisions(capsys: pytest.CaptureFixture[str]):
    arguments = ("spaces", "sample", "card", "--count", "4", "--seed", "7", "--budget", "6000")
    document = document_of(capsys, *arguments)

    assert document_of(capsys, *arguments) == document
    for network in document["networks"]:
        draw = replay(space("card"), network["decisions"], by_configurations(random.Random(0)))
        assert (str(draw.architecture), network["parameters"] <= 6000) == (network["architecture"], True)


def test_count_is_exact_for_small_spaces(workspace: Path, capsys: pytest.CaptureFixture[str]):
    text = "net = conv3x3({4, 8}) bn? gap linear(10); where parameters <= 100"
    (workspace / "small.space").write_text(text, encoding="utf-8")

    feasible = document_of(capsys, "spaces", "count", "@small.space", "--budget", "90")["feasible"]

    assert [(each["reason"], each["times"]) for each in feasible.pop("rejected")] == [("parameters", 3)]
    assert feasible == {
        "low": 1,
        "high": 1,
        "derivations": 4,
        "exact": True,
        "looked_at": 4,
        "accepted": 1,
        "confidence": 1.0,
        "median_macs": 28 * 28 * 9 * 4 + 40,
        # The maps of the convolution and of gap, and the outputs.
        "median_numbers": 28 * 28 * 4 + 4 + 10,
        "median_parameters": 9 * 4 + 50,
    }


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "net = conv3x3(4..90) bn? | conv3x3(4..90) | gap | linear(10); where parameters <= 50;",
            "2,000 configurations",
        ),
        ("old = bn; w = {4, 8}; net = conv3x3(w) gap linear(10)", "'old'"),
    ],
)
def test_check_warns_of_unusual_spaces(text: str, warning: str, workspace: Path, capsys: pytest.CaptureFixture[str]):
    (workspace / "posed").write_text(text, encoding="utf-8")

    assert run(["spaces", "check", "posed"]) == 0

    # A file has priority over a name.
    assert warning in capsys.readouterr().err
