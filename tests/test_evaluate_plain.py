"""The program of ``examples`` that evaluates kept weights without this project: it agrees with the project."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.datasets import DATASETS
from harness.evidence.evaluation import evaluated, probabilities
from harness.evidence.record import read_weights
from harness.training.run import to_safetensors
from harness.training.torch_network import TorchNetwork, build
from search_spaces.modules import PoseLinearModule
from search_spaces.network import analyse
from search_spaces.notation import parse_network
from tests.conftest import REPOSITORY, example
from tests.factories import idx

PROGRAM = REPOSITORY / "examples" / "evaluate_plain.py"
MNIST = DATASETS["mnist"]
# Between them: 2, 4 and 8 poses of the first and of later kernels, in groups too, strides, windows that are not square,
# padding, biases, ties across resolutions, sums inside sums, BN without a scale, of maps and of vectors, every pooling,
# heads by pose.
NETWORKS = (
    "conv3x3(8, poses=2) bn(poses=2) relu maxpool | conv3x3(8, poses=2, stride=2) bn(poses=2) relu | gap | linear(10)",
    "conv3x3(8, poses=4, bias) bn(poses=4) relu avgpool | conv3x3(16, poses=4, groups=2) bn(poses=4) relu "
    "dwconv3x3(poses=4, stride=2, bias) bn conv1x1(8, poses=4) | gap | linear(10)",
    "conv5x5(8, pad=0, poses=8) bn(unscaled, poses=8) relu avgpool(3) | conv3x3(16, poses=8, tie=t1) bn(poses=8) relu "
    "maxpool | conv3x3(16, poses=8) relu | gap | conv1x1(10, bias)",
    "conv3x3(8, poses=4) relu maxpool | conv3x3(8, tie=t1, poses=4) bn(tie=t2) res(conv3x3(8, tie=t1, poses=4) "
    "bn(tie=t2) res(conv1x1(8) bn relu)) relu | maxpool(3) | conv3x3(8, tie=t1, poses=4, stride=2) bn(unscaled) gap "
    "linear(10)",
    "conv3x3(8, poses=4) bn(poses=4, shared) relu avgpool | res(conv1x1(8) bn(unscaled, poses=2, shared)) relu gap "
    "linear(10)",
    "conv3x3(8, poses=8) bn(poses=8) relu maxpool | conv3x3(16, poses=8, stride=2) relu conv1x1(16, poses=8) | gap | "
    "poselinear(12, poses=8) relu poselinear(10, poses=4)",
    "bn conv3x1(6, bias) conv1x3(6, pad=3) relu | dwconv3x3(stride=2, bias) bn relu | conv3x3(9, groups=3) relu "
    "dropout(0.1) | avgpool | conv3x3(6, pad=2, stride=3) bn | linear(12) bn relu dropout(0.2) linear(10)",
)


def learned(text: str) -> TorchNetwork:
    """A network whose BN has statistics of its own, as after a training, and that says now this, now that class."""
    torch.manual_seed(4)
    network = build(parse_network(text), MNIST.task)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "weight")) and tensor.ndim == 1:
            tensor.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.3)
    for module in network.modules():
        if isinstance(module, PoseLinearModule):
            nn.init.normal_(module.weight)
    head = list(network.parameters())[-1]
    if head.shape == (10,):
        with torch.no_grad():
            head.sub_(network.eval()(normalised(blots(40)[0])).mean(0))
    return network.eval()


def blots(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of squares in any shade, uint8 (count, 1, 28, 28), and labels at random, int64 (count,)."""
    source = np.random.default_rng(7)
    small = torch.from_numpy(source.integers(0, 256, (count, 1, 7, 7), dtype=np.uint8))
    return small.repeat_interleave(4, 2).repeat_interleave(4, 3), torch.from_numpy(source.integers(0, 10, count))


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels / 255 - MNIST.mean[0]) / MNIST.std[0]


def keep(path: Path, text: str) -> Path:
    about = {
        "architecture": str(parse_network(text)),
        "hash": parse_network(text).hash,
        "recipe_hash": "r" * 12,
        "dataset": "mnist",
        "seed_index": "3",
        "pixel_mean": repr(MNIST.mean[0]),
        "pixel_deviation": repr(MNIST.std[0]),
    }
    path.write_bytes(to_safetensors(learned(text), about))
    return path


def record_in(folder: Path, text: str, wrong: Sequence[Any], **changes: str) -> Path:
    """The record of a network whose seed 3 has these wrong images."""
    path = folder / "record.json"
    seeds = [{"index": 0, "wrong": []}, {"index": 3, "wrong": wrong}]
    network = parse_network(text)
    of = {"architecture": str(network), "hash": network.hash, "parameters": analyse(network, MNIST.task).parameters}
    of |= {"recipe_hash": "r" * 12, "dataset": "mnist", "seeds": seeds}
    path.write_text(json.dumps(of | changes))
    return path


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """The program as a module."""
    return example("evaluate_plain")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor, torch.Tensor]:
    """A folder in MNIST's layout with a thousand images, their pixels and labels."""
    folder = tmp_path_factory.mktemp("data")
    pixels, labels = blots(1010)
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for name, values in (("images-idx3", pixels[:, 0]), ("labels-idx1", labels.to(torch.uint8))):
        (folder / "MNIST" / "raw" / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(idx(values.numpy()), 1))
    return folder, pixels, labels


def called(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program where nothing of this project can be imported."""
    # Of this project there is nothing; the environment, which may lie in its folder, stays.
    alone = "import sys, runpy; "
    alone += "sys.modules.update(harness=None, search_spaces=None); sys.argv = sys.argv[1:]; "
    alone += "runpy.run_path(sys.argv[0], run_name='__main__')"
    program = [sys.executable, "-W", "error", "-c", alone, PROGRAM, *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, cwd=Path(arguments[0]).parent)


@pytest.mark.parametrize(
    "text", NETWORKS, ids=["2 poses", "4 poses", "8 poses", "ties and sums", "shared", "head by pose", "no poses"]
)
def test_its_logits_are_those_of_the_network(text: str, plain: ModuleType, tmp_path: Path):
    weights, images = read_weights(keep(tmp_path / "net.safetensors", text)), normalised(blots(20)[0])
    named = {name: torch.from_numpy(weights.kept[weights.tied.get(name, name)]) for name in weights.state}

    with torch.inference_mode():
        found = plain.run(images, weights.about["architecture"], named).flatten(1)
        assert torch.allclose(found, learned(text)(images), rtol=1e-4, atol=1e-4)


def test_it_says_what_the_project_says_and_refuses_another_record(
    plain: ModuleType, data: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (folder, pixels, labels), text = data, NETWORKS[3]
    path = keep(tmp_path / "net.safetensors", text)
    document = evaluated(3, probabilities(read_weights(path), pixels, MNIST, "fp32"), labels, "fp32", None)

    plain.main(str(path), str(folder), str(record_in(tmp_path, text, document.wrong)))

    assert len({said for _, said in document.wrong}) > 2
    assert capsys.readouterr().out.splitlines() == [
        f"{parse_network(text).hash}, seed 3: {document.errors} errors on 1010 test images",
        "the same images and classes as recorded",
    ]
    for name in ("hash", "recipe_hash", "dataset", "architecture", "parameters"):
        with pytest.raises(SystemExit):
            plain.main(str(path), str(folder), str(record_in(tmp_path, text, document.wrong, **{name: "else"})))
    # Weights of another network that say they are this one's.
    other = learned(NETWORKS[6])
    path.write_bytes(to_safetensors(other, dict(read_weights(path).about)))
    with pytest.raises(SystemExit):
        plain.main(str(path), str(folder), str(record_in(tmp_path, text, document.wrong)))


def test_it_runs_alone_and_tells_a_record_that_does_not_fit(
    data: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path
):
    path = keep(tmp_path / "net.safetensors", NETWORKS[0])

    found = called(path, data[0], record_in(tmp_path, NETWORKS[0], [[0, 1], [5, 2]]))

    assert (found.returncode, found.stderr) == (1, "NOT as recorded (2 errors)\n")
    assert found.stdout.startswith(f"{parse_network(NETWORKS[0]).hash}, seed 3: ")


@pytest.mark.parametrize("op", ["prelu", "leaky", "swish", "unshuffle"])
def test_an_op_that_it_does_not_know_is_named(op: str, plain: ModuleType):
    with pytest.raises(SystemExit):
        plain.run(torch.zeros(1, 1, 28, 28), f"{op} | gap | linear(10)", {})


def test_it_knows_every_op_of_the_recorded_networks(plain: ModuleType):
    paths = sorted((REPOSITORY / "records").glob("*-*.json"))
    texts = {json.loads(path.read_text(encoding="utf-8"))["architecture"] for path in paths}
    images = normalised(blots(2)[0])
    unlike = set()
    for text in texts:
        network = learned(text)
        with torch.inference_mode():
            said = plain.run(images, text, network.state_dict()).flatten(1)
            if not torch.allclose(said, network(images), rtol=1e-4, atol=1e-4):
                unlike.add(text)

    assert len(texts) > 10
    assert unlike == set()
