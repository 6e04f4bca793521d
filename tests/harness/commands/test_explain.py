from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run

GOLDEN = Path(__file__).parents[2] / "search_spaces" / "seed_layers.json"
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def empty_workspace(workspace: Path) -> None:
    """No record, study or leaderboard answers to a hash."""


def explain(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["explain", *arguments, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def kind(op: str) -> str:
    """What the tables of the documents call an op."""
    return "conv" if op.startswith("conv") else op.partition("(")[0]


@pytest.mark.parametrize("seed", ["seed0", "seed1", "seed2", "seed3", "seed4"])
def test_the_five_seeds_have_the_layers_of_their_documents(seed: str, capsys: pytest.CaptureFixture[str]):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[seed]

    found = explain(capsys, seed)

    layers = [[kind(one["op"]), one["output_shape"], one["parameters"]] for one in found["layers"]]
    place = 0
    for expected in golden["layers"]:
        # The tables leave out functional ReLUs and pooling, which hold no parameters.
        while layers[place] != expected:
            assert layers[place][0] in ("relu", "maxpool", "gap")
            place += 1
        place += 1
    if golden["total"] is not None:
        assert found["parameters"] == golden["total"]
        assert [one[0] for one in layers[place:]] in ([], ["gap"])


def test_the_document_of_a_network_counted_by_hand(capsys: pytest.CaptureFixture[str]):
    found = explain(capsys, "conv3x3(4, tie=a) relu res(conv3x3(4) bn) | maxpool | dropout(0) | linear(10)")

    # A tie used once and a dropout of nothing are gone; the map is 4 x 14 x 14 before the linear layer.
    keys = ("op", "output_shape", "parameters", "macs", "receptive_field")
    layers = [
        ("conv3x3(4)", [4, 28, 28], 36, 36 * 784, 3),
        ("relu", [4, 28, 28], 0, 0, 3),
        ("res(conv3x3(4) bn)", [4, 28, 28], 152, 144 * 784, 5),
        ("maxpool", [4, 14, 14], 0, 0, 6),
        ("linear(10)", [10], 7850, 7840, 32),
    ]
    assert found == {
        "architecture": "conv3x3(4) relu res(conv3x3(4) bn) | maxpool | linear(10)",
        "hash": found["hash"],
        "parameters": 36 + (144 + 8) + 7850,
        # And a mean and a variance of four channels.
        "stored_numbers": 36 + (144 + 8) + 7850 + 8,
        "macs": 36 * 784 + 144 * 784 + 7840,
        "receptive_field": 6,
        "layers": [dict(zip(keys, layer, strict=True)) for layer in layers],
    }


def test_the_ops_of_a_residual_stand_below_it_and_shared_kernels_are_marked(capsys: pytest.CaptureFixture[str]):
    text = "conv3x3(4) relu res(conv3x3(4, tie=b) bn) conv3x3(4, tie=b) | gap | linear(10)"
    assert run(["explain", text, "--torch", "--budget", "12100"]) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    at = lines.index(["res(", "4x28x28", "152", "112,896", "5"])
    assert lines[at + 1 : at + 5] == [
        ["conv3x3(4,", "tie=t1)", "4x28x28"],
        ["bn", "4x28x28"],
        [")"],
        ["conv3x3(4,", "tie=t1)", "4x28x28", "shared", "112,896", "7"],
    ]
    assert lines[-4][:2] == ["total", "238"]


@pytest.mark.parametrize("seed", ["seed0", "seed4"])
def test_torch_adds_the_checks(seed: str, capsys: pytest.CaptureFixture[str]):
    found = explain(capsys, seed, "--torch")

    by_library = dict.fromkeys(("torch", "torchsummary", "fvcore"), found["parameters"])
    assert found["checks"] == by_library | {"fvcore_macs": found["macs"], "tied_repeats": 0}


def test_twenty_thousand_parameters_fit_and_one_more_does_not(capsys: pytest.CaptureFixture[str]):
    # 4 x 25 + 9 + 6 in the convolutions, 784 x 25 + 25 and 25 x 10 + 10 in the linear layers.
    fits = "conv5x5(1) " * 4 + "conv3x3(1) " + "conv1x1(1) " * 6 + "| linear(25) linear(10)"

    assert explain(capsys, fits, "--budget", "20000")["parameters"] == 20_000
    assert run(["explain", f"conv1x1(1) {fits}", "--budget", "20000"]) == 4


def test_a_network_is_read_from_a_file_and_from_the_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    text = "conv3x3(8)  # narrow\n  bn relu\n| gap | linear(10)\n"
    (tmp_path / "mine").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    from_file, from_input = explain(capsys, "@mine"), explain(capsys, "-")

    assert from_file == from_input
    assert from_file["architecture"] == "conv3x3(8) bn relu | gap | linear(10)"


def test_nothing_but_the_check_loads_torch():
    program = (
        "import sys\nfrom harness.cli import run\n"
        "codes = [run(['explain', 'seed4', '--budget', '20000']), run(['explain', '012345'])]\n"
        "heavy = sorted({'torch', 'numpy', 'scipy', 'pandas', 'optuna', 'matplotlib'} & set(sys.modules))\n"
        "print(codes, heavy, file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert done.stderr.splitlines()[-1] == "[0, 4] []"
