"""Commands on a PyTorch module that the notation cannot express."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import run
from harness.evidence import record
from harness.evidence.leaderboard_table import collect
from harness.searching.start_networks import suitable
from harness.system.errors import UsageError
from harness.system.files import Workspace
from search_spaces.catalog import space
from tests.harness.commands.conftest import Trainer
from tests.harness.pytorch.test_user_module import CONVOLUTION, CONVOLUTION_MACS, DROPOUT

ROW = ("--recipe", "smoke", "--dataset", "mnist-5k", "--target", "5")
PARAMETERS = CONVOLUTION + 20


@pytest.fixture
def net(workspace: Path) -> str:
    (workspace / "net.py").write_text(DROPOUT)
    return "net.py:Net"


def test_module_is_verified_evaluated_and_ranked(
    net: str, workspace: Path, trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Workspace(workspace)
    assert run(["verify", net, *ROW, "--seeds", "2"]) in (0, 3)
    [evidence] = record.read_all(home.records)
    assert (evidence.parameters, evidence.macs) == (PARAMETERS, CONVOLUTION_MACS)
    assert [seed.environment.engine for seed in evidence.seeds] == ["torch", "torch"]

    assert run(["verify", str(workspace / net), *ROW, "--seeds", "3"]) in (0, 3)
    capsys.readouterr()
    assert run(["verify", evidence.hash, *ROW, "--seeds", "3"]) in (0, 3)
    assert capsys.readouterr().out.count("equal to the record") == 3
    for network in (evidence.hash, net, f"module-{PARAMETERS}"):
        assert run(["evaluate", network, "--seed", "all", "--json"]) == 0
        assert [seed["as_recorded"] for seed in json.loads(capsys.readouterr().out)["seeds"]] == [True] * 3
    [row] = [item for item in collect(home) if item.hash == evidence.hash]
    assert (row.parameters, row.seeds) == (PARAMETERS, 3)
    assert run(["leaderboard", "--check"]) == 0


def test_changed_module_is_rejected_with_recorded_hash(
    net: str, workspace: Path, trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["verify", net, *ROW, "--seeds", "2"])
    [evidence] = record.read_all(Workspace(workspace).records)
    module = evidence.architecture.user_module
    assert module is not None
    (workspace / "net.py").write_text(f"{DROPOUT}\nraise SystemExit(3)\n")
    capsys.readouterr()

    for command in (["verify", *ROW], ["evaluate"], ["export", "--onnx", "net.onnx"]):
        assert run([command[0], evidence.hash, *command[1:]]) == 4
        line = capsys.readouterr().err
        assert module.code in line
        assert len(line.splitlines()) == 1
    assert run(["leaderboard", "--check"]) == 4
    assert module.code in capsys.readouterr().out
    assert [*Workspace(workspace).records.glob("*.json")] == [record.path_of(Workspace(workspace).records, evidence)]


def test_module_is_explained_trained_and_exported(
    net: str, workspace: Path, trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", net, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["parameters"], document["macs"], document["stored_numbers"]) == (
        PARAMETERS,
        CONVOLUTION_MACS,
        PARAMETERS,
    )
    assert [part["parameters"] for part in document["parts"]] == [CONVOLUTION, 20]
    # The layers of a module are unknown, and a module has no integer form.
    instructions = ("instructions_m0", "instructions_rv32")
    for metric in ("receptive_field", "weight_bytes", "ram_bytes", "latency_us", *instructions):
        assert document[metric] is None
    assert document["layers"][0]["receptive_field"] is None
    capsys.readouterr()
    assert run(["explain", net, "--torch"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert run(["train", net, "--dataset", "mnist-5k", "--recipe", "smoke", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["environment"]["engine"] == "torch"
    assert run(["train", net, "--dataset", "mnist-5k", "--engine", "native"]) == 6
    run(["verify", net, *ROW, "--seeds", "1"])
    assert run(["export", net, "--safetensors", "net.st", "--onnx", "net.onnx"]) == 0
    for option in ("--c", "--pytorch"):
        capsys.readouterr()
        assert run(["export", net, option, "folder"]) == 4
        line = capsys.readouterr().err
        assert "Traceback" not in line
        assert "graph=" not in line
    assert not (workspace / "folder").exists()


@pytest.mark.parametrize("folder", ["q'd", "p(a)", "a|b"])
def test_path_that_notation_cannot_quote_is_usage_error(folder: str, workspace: Path) -> None:
    (workspace / folder).mkdir()
    (workspace / folder / "net.py").write_text(DROPOUT)

    assert run(["explain", f"{folder}/net.py:Net"]) == 2


def test_error_in_module_names_module(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "net.py").write_text(DROPOUT.replace("self.n(self.c(x))", "self.missing(x)"))

    assert run(["explain", "net.py:Net"]) == 4
    assert "net.py:Net" in capsys.readouterr().err


def test_search_does_not_start_from_module(net: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["explain", net, "--json"])
    text = json.loads(capsys.readouterr().out)["architecture"]

    with pytest.raises(UsageError, match="no network fits"):
        suitable([text], space("all"), 20_000, "leaderboard")


@pytest.mark.parametrize(("option", "kind"), [((), "data set"), (("--from",), "study")])
def test_search_names_module_given_as_data_set_or_study(
    option: tuple[str, ...], kind: str, net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", *option, net, "--plan"]) == 2
    message = capsys.readouterr().err
    assert net in message
    assert kind in message
