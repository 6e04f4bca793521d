"""``examples/evaluate_plain.py``, which evaluates stored weights without this project, agrees with the project."""

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
from harness.spaces.network import analyse
from harness.spaces.notation import parse_network
from harness.spaces.posed import PosedLinear
from harness.training.run import to_safetensors
from harness.training.torch_network import TorchNetwork, build
from tests.conftest import REPOSITORY, example
from tests.factories import idx

PROGRAM = REPOSITORY / "examples" / "evaluate_plain.py"
MNIST = DATASETS["mnist"]
# Together, the networks have kernels in 2, 4 and 8 poses in the first and in later layers, also in groups; strides,
# padding, biases, and windows that are not square; ties across resolutions; nested sums; BN without scales, of maps and
# of vectors; all pooling ops; heads by pose.
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


def random_network(text: str) -> TorchNetwork:
    """Return a network with random BN statistics, as after a training, that predicts several classes."""
    torch.manual_seed(4)
    network = build(parse_network(text), MNIST.task)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "weight")) and tensor.ndim == 1:
            tensor.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.3)
    for module in network.modules():
        if isinstance(module, PosedLinear):
            nn.init.normal_(module.weight)
    head = list(network.parameters())[-1]
    if head.shape == (10,):
        with torch.no_grad():
            head.sub_(network.eval()(normalised(random_images(40)[0])).mean(0))
    return network.eval()


def random_images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of random grey squares, uint8 (count, 1, 28, 28), and random labels, int64 (count,)."""
    source = np.random.default_rng(7)
    small = torch.from_numpy(source.integers(0, 256, (count, 1, 7, 7), dtype=np.uint8))
    return small.repeat_interleave(4, 2).repeat_interleave(4, 3), torch.from_numpy(source.integers(0, 10, count))


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels / 255 - MNIST.mean[0]) / MNIST.std[0]


def write_weights(path: Path, text: str) -> Path:
    metadata = {
        "architecture": str(parse_network(text)),
        "hash": parse_network(text).hash,
        "recipe_hash": "r" * 12,
        "dataset": "mnist",
        "seed_index": "3",
        "pixel_mean": repr(MNIST.mean[0]),
        "pixel_deviation": repr(MNIST.std[0]),
    }
    path.write_bytes(to_safetensors(random_network(text), metadata))
    return path


def write_record(folder: Path, text: str, wrong: Sequence[Any], **changes: str) -> Path:
    path = folder / "record.json"
    seeds = [{"index": 0, "wrong": []}, {"index": 3, "wrong": wrong}]
    network = parse_network(text)
    fields = {"architecture": str(network), "hash": network.hash, "parameters": analyse(network, MNIST.task).parameters}
    fields |= {"recipe_hash": "r" * 12, "dataset": "mnist", "seeds": seeds}
    path.write_text(json.dumps(fields | changes))
    return path


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    return example("evaluate_plain")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor, torch.Tensor]:
    """Folder in the layout of MNIST with 1,010 test images, the pixels, and the labels."""
    folder = tmp_path_factory.mktemp("data")
    pixels, labels = random_images(1010)
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for name, values in (("images-idx3", pixels[:, 0]), ("labels-idx1", labels.to(torch.uint8))):
        (folder / "MNIST" / "raw" / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(idx(values.numpy()), 1))
    return folder, pixels, labels


def run_isolated(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program in a process that cannot import this project."""
    # None blocks the import of a package. The environment of installed packages may be in the project folder and stays.
    code = "import sys, runpy; "
    code += "sys.modules.update(harness=None); sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    program = [sys.executable, "-W", "error", "-c", code, PROGRAM, *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, cwd=Path(arguments[0]).parent)


@pytest.mark.parametrize(
    "text", NETWORKS, ids=["2 poses", "4 poses", "8 poses", "ties and sums", "shared", "head by pose", "no poses"]
)
def test_run_returns_logits_of_the_torch_network(text: str, plain: ModuleType, tmp_path: Path):
    weights, images = read_weights(write_weights(tmp_path / "net.safetensors", text)), normalised(random_images(20)[0])
    tensors = {name: torch.from_numpy(weights.arrays[weights.tied.get(name, name)]) for name in weights.state}

    with torch.inference_mode():
        logits = plain.run(images, weights.about["architecture"], tensors).flatten(1)
        assert torch.allclose(logits, random_network(text)(images), rtol=1e-4, atol=1e-4)


def test_main_confirms_matching_record_and_refuses_different_records(
    plain: ModuleType, data: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (folder, pixels, labels), text = data, NETWORKS[3]
    path = write_weights(tmp_path / "net.safetensors", text)
    document = evaluated(3, probabilities(read_weights(path), pixels, MNIST, "fp32"), labels, "fp32", None)

    plain.main(str(path), str(folder), str(write_record(tmp_path, text, document.wrong)))

    assert len({predicted for _, predicted in document.wrong}) > 2
    assert capsys.readouterr().out.splitlines() == [
        f"{parse_network(text).hash}, seed 3, errors: {document.errors} of 1010 test images",
        "the same images and classes as recorded",
    ]
    for name in ("hash", "recipe_hash", "dataset", "architecture", "parameters"):
        with pytest.raises(SystemExit):
            plain.main(str(path), str(folder), str(write_record(tmp_path, text, document.wrong, **{name: "else"})))
    # Weights of a different network with the metadata of this network.
    path.write_bytes(to_safetensors(random_network(NETWORKS[6]), dict(read_weights(path).about)))
    with pytest.raises(SystemExit):
        plain.main(str(path), str(folder), str(write_record(tmp_path, text, document.wrong)))


def test_program_runs_without_project_and_reports_mismatch(
    data: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path
):
    path = write_weights(tmp_path / "net.safetensors", NETWORKS[0])

    process = run_isolated(path, data[0], write_record(tmp_path, NETWORKS[0], [[0, 1], [5, 2]]))

    assert (process.returncode, process.stderr) == (1, "NOT as recorded (2 errors)\n")
    assert process.stdout.startswith(f"{parse_network(NETWORKS[0]).hash}, seed 3, ")


@pytest.mark.parametrize("op", ["prelu", "leaky", "swish", "unshuffle"])
def test_run_refuses_unknown_op(op: str, plain: ModuleType):
    with pytest.raises(SystemExit):
        plain.run(torch.zeros(1, 1, 28, 28), f"{op} | gap | linear(10)", {})


def test_run_supports_every_op_of_the_recorded_networks(plain: ModuleType):
    paths = sorted((REPOSITORY / "records").glob("*-*.json"))
    texts = {json.loads(path.read_text(encoding="utf-8"))["architecture"] for path in paths}
    images = normalised(random_images(2)[0])
    mismatches = set()
    for text in texts:
        network = random_network(text)
        with torch.inference_mode():
            logits = plain.run(images, text, network.state_dict()).flatten(1)
            if not torch.allclose(logits, network(images), rtol=1e-4, atol=1e-4):
                mismatches.add(text)

    assert len(texts) > 10
    assert mismatches == set()
