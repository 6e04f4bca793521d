"""``harness train``: JSON document, warnings, the locked test set, and exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from harness.cli import run
from harness.data import training_images as data
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.system.terminal import say_once
from harness.training import run as run_module
from harness.training.integer import warn_of_few
from harness.training.recipe import Recipe
from harness.training.result import Purpose, derive_seed
from tests.conftest import REPOSITORY
from tests.factories import make_data

NETWORK = "conv3x3(4) bn relu | maxpool(4) | gap | linear(10)"


@pytest.fixture(autouse=True)
def small_data(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace every data set by 140 training images and 20 validation images."""
    images = make_data(train_size=140)
    monkeypatch.setattr(data, "load", lambda name, folder: images)
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    (workspace / "quick.toml").write_text("batch_size = 16\nepochs = 2\n", encoding="utf-8")


def train(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["train", NETWORK, "--recipe", "@quick.toml", "--json", *arguments]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_json_has_documented_fields(capsys: pytest.CaptureFixture[str]):
    result = train(capsys, "--seed", "3")

    assert result["architecture"] == NETWORK
    assert result["parameters"] == 36 + 8 + 50
    recipe = Recipe(batch_size=16, epochs=2)
    assert (result["recipe"], result["recipe_hash"]) == ("quick", recipe.hash)
    assert result["seed"] == derive_seed(result["hash"], recipe.hash, Purpose.TRAIN, 3)
    assert (result["seed_index"], result["epochs"], result["status"], result["dataset"]) == (3, 2, "complete", "toy")
    assert result["validation_accuracy_pct"] == 100 * (20 - result["validation_errors"]) / 20
    assert result["images_per_second"] == pytest.approx(2 * 128 / result["train_seconds"])
    assert [epoch["epoch"] for epoch in result["history"]] == [1, 2]
    assert result["history"][-1]["validation_errors"] == result["validation_errors"]
    assert result["environment"]["threads"] == 1


def test_integer_recipe_on_few_images_warns_once(workspace: Path, capsys: pytest.CaptureFixture[str]):
    say_once.cache_clear()
    (workspace / "integers.toml").write_text('batch_size = 16\nepochs = 1\nprecision = "int8"\n', encoding="utf-8")

    errors = []
    for recipe in ("@quick.toml", "@integers.toml", "@integers.toml"):
        assert run(["train", NETWORK, "--recipe", recipe]) == 0
        errors.append(capsys.readouterr().err)

    assert ["140 training images" in error for error in errors] == [False, True, False]
    for count in (199, 200):
        warn_of_few(count)
    assert [word for word in capsys.readouterr().err.split() if word.isdecimal()] == ["199"]


def test_several_starts_are_announced_with_their_epochs(workspace: Path, capsys: pytest.CaptureFixture[str]):
    (workspace / "several.toml").write_text("batch_size = 16\nepochs = 3\nstarts = 4\nstart_epochs = 1\n", "utf-8")

    assert run(["train", NETWORK, "--recipe", "@several.toml"]) == 0

    # Two of the four starts end after the first epoch, a third after the second epoch.
    lines = [line for line in capsys.readouterr().err.splitlines() if "starts" in line]
    assert [[word for word in re.split(r"\W+", line) if word.isdecimal()] for line in lines] == [["4", "2", "3", "4"]]


@pytest.mark.parametrize("recipe", ["@quick.toml", "documents"])
def test_train_reads_no_test_set_and_writes_only_weights(recipe: str, workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_module, "read_test_set", lambda *_, **__: pytest.fail("the test set was read"))

    assert run(["train", NETWORK, "--recipe", recipe, "--epochs", "1"]) == 0

    assert [path.name for path in workspace.iterdir()] == ["quick.toml"]

    path = workspace / "net.safetensors"
    assert run(["train", NETWORK, "--recipe", recipe, "--epochs", "1", "--out", str(path)]) == 0

    weights = load_file(path)
    assert sum(tensor.numel() for tensor in weights.values()) == analyse(parse_network(NETWORK), MNIST).stored_numbers


def test_invalid_input_is_rejected_before_import_of_torch():
    lines = [["seed4", "--budget", "100"], ["conv3x3(8) bnn", "--json"], ["seed4", "--recipe", "slow"]]
    program = (
        "import sys\nfrom harness.cli import run\n"
        f"codes = [run(['train', *line]) for line in {lines!r}]\nprint(codes, 'torch' in sys.modules, file=sys.stderr)"
    )

    result = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert result.stderr.splitlines()[-1] == "[4, 4, 2] False"


def test_diverged_run_has_status_diverged_and_exit_code_3(workspace: Path, capsys: pytest.CaptureFixture[str]):
    (workspace / "wild.toml").write_text(
        "batch_size = 16\nepochs = 40\nlearning_rate = 1000\nwarmup = 0\nmomentum = 0.99\n", encoding="utf-8"
    )
    network = "conv3x3(4) conv3x3(4) | gap | linear(10)"

    assert run(["export", network, "--recipe", "@wild.toml", "--safetensors", "new/net"]) == 3
    assert not (workspace / "new").exists()
    capsys.readouterr()
    assert run(["train", network, "--recipe", "@wild.toml", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "diverged"
    assert document["history"][-1]["train_loss"] is None


@pytest.mark.parametrize(("network", "batch"), [(NETWORK, 141), ("gap bn linear(10)", 1)])
def test_batch_size_unsuitable_for_data_or_bn_is_content_error(network: str, batch: int, workspace: Path):
    (workspace / "odd.toml").write_text(f"batch_size = {batch}\n", encoding="utf-8")

    assert run(["train", network, "--recipe", "@odd.toml"]) == 4
