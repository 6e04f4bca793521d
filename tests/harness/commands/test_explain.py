from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import cross_check
from harness.cli import run
from search_spaces.catalog import PRESETS

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


def test_json_is_the_documented_document(capsys: pytest.CaptureFixture[str]):
    found = explain(capsys, "seed4")

    assert list(found) == ["architecture", "hash", "parameters", "stored_numbers", "macs", "receptive_field", "layers"]
    assert (found["parameters"], found["receptive_field"], found["hash"]) == (12088, 24, "d5e9c2abeb4c")
    assert list(found["layers"][0]) == ["op", "output_shape", "parameters", "macs", "receptive_field"]


@pytest.mark.parametrize("seed", ["seed0", "seed1", "seed2", "seed3", "seed4"])
def test_torch_adds_the_checks(seed: str, capsys: pytest.CaptureFixture[str]):
    found = explain(capsys, seed, "--torch")

    assert found["checks"] == {
        "torch": found["parameters"],
        "torchsummary": found["parameters"],
        "fvcore": found["parameters"],
        "fvcore_macs": found["macs"],
        "tied_repeats": 0,
    }


def test_text_shows_the_checks_and_what_is_left_of_the_budget(capsys: pytest.CaptureFixture[str]):
    assert run(["explain", "seed4", "--torch", "--budget", "12100"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["op", "output", "parameters", "MACs", "receptive", "field"]
    assert lines[-2:] == [
        "budget 12,100: 12 parameters left",
        "the same: torch 12,088, torchsummary 12,088, fvcore 12,088, fvcore_macs 3,417,888, tied_repeats 0",
    ]


def test_the_budget_is_met_at_its_last_parameter_and_broken_by_the_next(capsys: pytest.CaptureFixture[str]):
    assert run(["explain", "seed4", "--budget", "12088"]) == 0
    capsys.readouterr()

    assert run(["explain", "seed4", "--budget", "12087"]) == 4

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: 12,088 parameters are 1 over the budget of 12,087\n"


def test_twenty_thousand_parameters_fit_and_one_more_does_not(capsys: pytest.CaptureFixture[str]):
    # 4 x 25 + 9 + 6 in the convolutions, 784 x 25 + 25 and 25 x 10 + 10 in the linear layers.
    fits = "conv5x5(1) " * 4 + "conv3x3(1) " + "conv1x1(1) " * 6 + "| linear(25) linear(10)"

    assert explain(capsys, fits, "--budget", "20000")["parameters"] == 20_000
    assert run(["explain", f"conv1x1(1) {fits}", "--budget", "20000"]) == 4
    assert capsys.readouterr().err == "error: 20,001 parameters are 1 over the budget of 20,000\n"


@pytest.mark.parametrize("budget", ["0", "-5", "many"])
def test_a_budget_that_is_none_is_a_usage_error(budget: str, capsys: pytest.CaptureFixture[str]):
    assert run(["explain", "seed4", "--budget", budget]) == 2

    assert capsys.readouterr().err.startswith("error: Invalid value for '--budget': ")


def test_an_error_of_the_notation_has_a_caret_and_a_position(capsys: pytest.CaptureFixture[str]):
    text = "conv3x3(8) bnn gap linear(10)"

    assert run(["explain", text]) == 4
    message, shown, caret, hint = capsys.readouterr().err.splitlines()
    assert message.startswith("error: unknown op 'bnn'; known are ")
    assert hint == "hint: did you mean 'bn'?"
    assert caret.index("^") == shown.index("bnn")

    assert run(["explain", text, "--json"]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["kind"], error["position"], error["hint"]) == (
        4,
        "content",
        11,
        "did you mean 'bn'?",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv3x3(8, stride=9) maxpool(9) gap linear(10)", "maxpool(9) leaves nothing of a map of 4x4: "),
        ("conv3x3(8) gap linear(11)", "the network ends in 11; it must end in 10 values, one for each class "),
        ("conv3x3(8, tie=a) conv5x5(8, tie=a) gap linear(10)", "tie=a shares a kernel of 8x1x3x3 with one of "),
    ],
)
def test_ops_that_do_not_fit_together_are_content_errors(text: str, message: str, capsys: pytest.CaptureFixture[str]):
    assert run(["explain", text]) == 4

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {message}")
    assert captured.err.splitlines()[-1].strip() == "^"


def test_a_network_is_read_from_a_file_and_from_the_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    text = "conv3x3(8)  # narrow\n  bn relu\n| gap | linear(10)\n"
    (tmp_path / "mine").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    from_file, from_input = explain(capsys, "@mine"), explain(capsys, "-")

    assert from_file == from_input
    assert from_file["architecture"] == "conv3x3(8) bn relu | gap | linear(10)"


def test_a_library_that_disagrees_ends_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(cross_check, "fvcore_parameters", lambda network: 7)

    assert run(["explain", "seed4", "--torch", "--json"]) == 1

    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], error["message"]) == (
        "internal",
        "fvcore counts 7 where search_spaces.cost counts 12,088",
    )


def test_nothing_but_the_check_loads_torch():
    program = (
        "import sys\nfrom harness.cli import run\n"
        "codes = [run(['explain', 'seed4', '--budget', '20000']), run(['explain', '012345'])]\n"
        "heavy = sorted({'torch', 'numpy', 'scipy', 'pandas', 'optuna', 'matplotlib'} & set(sys.modules))\n"
        "print(codes, heavy, file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert done.stderr.splitlines()[-1] == "[0, 4] []"


def test_every_preset_can_be_explained(capsys: pytest.CaptureFixture[str]):
    for name in PRESETS:
        assert explain(capsys, name)["parameters"] > 0


def test_a_file_without_its_mark_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "net.txt"
    path.write_text("gap linear(10)", encoding="utf-8")

    assert run(["explain", str(path)]) == 4
    assert capsys.readouterr().err.endswith(f"\nhint: for the network in it, write @{path}\n")
