"""Commands on a PyTorch module that the notation cannot express."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.cli import run
from harness.data.training_images import load, locked_arrays, split
from harness.evidence import record
from harness.evidence.leaderboard_table import collect
from harness.searching.start_networks import StartNetworks
from harness.spaces.catalog import space
from harness.spaces.notation import parse_notation
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.training.user_modules.execution import code_of, fresh_module
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
    assert [*Workspace(workspace).records.glob("*.json")] == [evidence.path(Workspace(workspace).records)]


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
        StartNetworks("leaderboard", (parse_notation(text),)).suitable(space("all"), 20_000)


@pytest.mark.parametrize(("option", "kind"), [((), "data set"), (("--from",), "study")])
def test_search_names_module_given_as_data_set_or_study(
    option: tuple[str, ...], kind: str, net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", *option, net, "--plan"]) == 2
    message = capsys.readouterr().err
    assert net in message
    assert kind in message


# Weights without a record -----------------------------------------------------------------------------------------

CHECKPOINT = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.LAYER(), nn.MaxPool2d(4))
        self.head = nn.Linear(4 * 36, 10)

    def forward(self, x):
        return self.head(self.features(x).flatten(1)).log_softmax(1)
"""


@pytest.fixture
def checkpoint(workspace: Path) -> dict[str, Tensor]:
    """Return the ``state_dict`` of a module in ``net.py`` with random weights."""
    (workspace / "net.py").write_text(CHECKPOINT.replace("LAYER", "Tanh"))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = fresh_module("net.py:Net", code_of("net.py:Net"))
        assert isinstance(module.features, nn.Sequential)
        assert isinstance(module.features[1], nn.BatchNorm2d)
        module.features[1].running_mean = torch.randn(4)
        return module.state_dict()


def errors_by_hand(state: Mapping[str, Tensor], pixels: Tensor, labels: Tensor, mean: float, deviation: float) -> int:
    x = functional.conv2d((pixels / 255 - mean) / deviation, state["features.0.weight"], state["features.0.bias"])
    norm = {
        name: state[f"features.1.{name}"].view(4, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
    }
    x = (x - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt() * norm["weight"] + norm["bias"]
    x = functional.max_pool2d(x.tanh(), 4).flatten(1)
    return int(((x @ state["head.weight"].t() + state["head.bias"]).argmax(1) != labels).sum())


def wrapped(state: dict[str, Tensor], form: str) -> Any:
    counters = {name: tensor for name, tensor in state.items() if not name.endswith("tracked")}
    forms = {
        "plain": state,
        "without counters": counters,
        "prefix": {f"module.{name}": tensor for name, tensor in state.items()},
        "prefixes": {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
        "model": {"epoch": 3, "model": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
        "state_dict": {"state_dict": {f"net.{name}": tensor for name, tensor in state.items()}, "ema": {"decay": 0.1}},
    }
    return forms[form]


@pytest.mark.parametrize("form", ["plain", "without counters", "prefix", "prefixes", "model", "state_dict", "file"])
def test_errors_of_a_checkpoint_equal_the_count_by_hand(
    form: str, checkpoint: dict[str, Tensor], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load("mnist-5k")
    indices = split(data).validation
    labels = data.train_labels[indices]
    if form == "file":
        save_file(checkpoint, workspace / "weights.safetensors")
    else:
        torch.save(wrapped(checkpoint, form), workspace / "weights.pt")
    path = next(workspace.glob("weights.*")).name
    line = ["evaluate", "net.py:Net", "--weights", path, "--dataset", "mnist-5k", "--json"]

    for options, scale in (((), (data.dataset.mean[0], data.dataset.std[0])), (("--normalise", "0", "1"), (0.0, 1.0))):
        assert run([*line, *options]) == 0
        document = json.loads(capsys.readouterr().out)
        expected = errors_by_hand(checkpoint, data.train_images[indices], labels, *scale)
        assert (document["errors"], sum(map(sum, document["confusion"]))) == (expected, len(labels))
    assert not Workspace(workspace).test_log.exists()


def test_test_images_are_read_for_a_checkpoint_on_request_only_with_an_entry_in_the_log(
    checkpoint: dict[str, Tensor], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(checkpoint, workspace / "weights.pt")
    data = load("mnist-5k")

    assert run(["evaluate", "net.py:Net", "--weights", "weights.pt", "--dataset", "mnist-5k", "--test", "--json"]) == 0

    pixels, labels = map(torch.from_numpy, locked_arrays(data.dataset, data.folder))
    expected = errors_by_hand(checkpoint, pixels, labels, data.dataset.mean[0], data.dataset.std[0])
    assert json.loads(capsys.readouterr().out)["errors"] == expected
    [entry] = map(json.loads, Workspace(workspace).test_log.read_text().splitlines())
    assert entry["purpose"] == "evaluate net.py:Net --weights weights.pt"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state | {"more.weight": torch.zeros(2)}, "unexpected: more.weight"),
        (lambda state: {name: state[name] for name in state if name != "head.bias"}, "missing: head.bias"),
        (lambda state: state | {"head.bias": torch.zeros(11)}, "different: head.bias (11 in place of 10)"),
        (lambda state: state | {"head.bias": torch.full((10,), torch.nan)}, "infinite or NaN"),
        (lambda state: {"model": state, "ema": {name: tensor * 0 for name, tensor in state.items()}}, "model, ema"),
        (lambda state: state | {"head.bias": state["head.bias"].to_sparse()}, "different: head.bias (torch.sparse_coo"),
        (lambda state: state | {"head.bias": state["head.bias"].to("meta")}, "different: head.bias (meta"),
        (lambda state: [1, 2], "no tensors by name"),
        (lambda state: Path("x"), "neither"),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused_in_one_line(
    change: Callable[[dict[str, Tensor]], Any],
    words: str,
    checkpoint: dict[str, Tensor],
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save(change(checkpoint), workspace / "weights.pt")

    assert run(["evaluate", "net.py:Net", "--weights", "weights.pt", "--dataset", "mnist-5k"]) == 4

    captured = capsys.readouterr()
    assert (captured.out, words in captured.err.splitlines()[0]) == ("", True)


@pytest.mark.parametrize(
    "options", [["--test"], ["--normalise", "0", "1"], ["--weights", "no.pt"], ["--normalise", "x"]]
)
def test_options_of_a_checkpoint_require_the_file(options: list[str], checkpoint: object) -> None:
    assert run(["evaluate", "net.py:Net", *options, "--dataset", "mnist-5k"]) == 2


@pytest.mark.parametrize("layer", ["Tanh", "Softsign"])  # the second has no notation
def test_exported_weights_have_the_names_of_the_module_of_the_user(
    layer: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "net.py").write_text(CHECKPOINT.replace("LAYER", layer))
    line = ["export", "net.py:Net", "--dataset", "mnist-5k", "--recipe", "smoke", "--safetensors", "net.safetensors"]

    assert run(line) == 0
    module = fresh_module("net.py:Net", code_of("net.py:Net"))
    module.load_state_dict(load_file(workspace / "net.safetensors"))  # raises if a name is missing or unexpected
    if layer == "Tanh":
        # With --pytorch, both files of the call have the names of model.py.
        assert run([*line, "--pytorch", "folder"]) == 0
        names = torch.load(workspace / "folder" / "weights.pt").keys()
        assert load_file(workspace / "net.safetensors").keys() == {name for name in names if "tracked" not in name}
    capsys.readouterr()
    name = "folder/model.py:Net" if layer == "Tanh" else "net.py:Net"
    assert run(["evaluate", name, "--weights", "net.safetensors", "--dataset", "mnist-5k", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy_pct"] > 30
