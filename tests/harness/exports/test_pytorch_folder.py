"""The folder of plain PyTorch: equal logits, the formatting of the code, and the programs that evaluate and train."""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import random
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

import harness
from harness.cli import run
from harness.data import user
from harness.data.datasets import DATASETS, Dataset
from harness.data.training_images import ImageData
from harness.evidence.evaluation import network_of
from harness.evidence.record import read_all, read_recorded
from harness.interface.lookup import NetworkArgument
from harness.interface.weights import NetworkSeed, TrainedNetwork
from harness.pytorch.translate import translate
from harness.spaces.catalog import SPACES, space
from harness.spaces.network import MNIST, Architecture, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space import draw_uniform
from harness.system.files import Workspace
from harness.training.recipe import RECIPES, NamedRecipe, Recipe
from harness.training.torch_network import augment
from tests.conftest import REPOSITORY
from tests.factories import NETWORK, idx, make_data, make_record
from tests.harness.exports.pytorch_folders import evaluation_of, net_of, program, trained, write
from tests.harness.training.native.networks import (
    ACROSS,
    EVERY_OP,
    POSED,
    POSED_AND_PLAIN,
    POSED_DEPTHWISE,
    SHARED,
    TIED_NORMS,
)

PLAIN = "conv3x3(8) bn relu dropout2d(0.1) maxpool | conv3x3(8, pad=0, bias) relu bn | gap conv1x1(10, bias)"
NESTED = (
    "conv3x3(8, poses=8) bn(poses=8) relu maxpool(4) res(conv1x1(8, poses=8) res(bn relu) relu) gap "
    "poselinear(12, poses=8) bn(poses=4, shared) dropout(0.1) linear(10)"
)
TORCH_ONLY = (
    "conv3x3(8) bn(bare) relu groupnorm(4) prelu(channelwise) conv3x3(8) bn(tie=a, joint) maxpool "
    "res(conv3x3(8) bn(tie=a, joint)) conv1x1(6) groupnorm(2, bare) linear(12, unbiased) bn(tie=b, joint) relu "
    "linear(12) bn(tie=b, joint) groupnorm(3) linear(10, unbiased)"
)
FORMS = (PLAIN, NESTED, TORCH_ONLY, ACROSS, EVERY_OP, POSED, POSED_AND_PLAIN, POSED_DEPTHWISE, SHARED, TIED_NORMS)
VARIED = Recipe(
    optimizer="adam",
    schedule="cosine",
    warmup=0.0,
    label_smoothing=0.1,
    average_statistics="recomputed",
    precision="bf16",
    starts=4,
)


def check_equal(architecture: Architecture, folder: Path) -> nn.Module:
    network = trained(architecture)
    net = net_of(write(network, folder))
    images = torch.randn(3, *MNIST.input_shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        assert torch.equal(net(images), network.model(images))
    assert sum(parameter.numel() for parameter in net.parameters()) == analyse(architecture, MNIST).parameters
    return net


# The network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", FORMS)
def test_written_network_has_logits_of_original_and_can_be_imported(text: str, tmp_path: Path):
    net = check_equal(parse_network(text), tmp_path / "net")

    # A kernel with as many groups as channels is a depthwise kernel.
    text = re.sub(r"(?<!dw)conv3x3\((\d), groups=\1, tie=(\w)\)", r"dwconv3x3(tie=\2)", text)
    assert translate(net, MNIST).architecture.hash == parse_network(text).hash


@pytest.mark.slow
@given(...)
@settings(max_examples=60)
def test_any_written_network_has_logits_of_original(architecture: Architecture):
    with tempfile.TemporaryDirectory() as folder:
        check_equal(architecture, Path(folder) / "net")


def test_layers_are_named_in_order_and_tied_kernels_share_a_parameter(tmp_path: Path):
    net = check_equal(
        parse_network("conv3x3(4) bn relu conv3x3(4, tie=a) | conv3x3(4, tie=a) gap linear(10)"), tmp_path / "n"
    )

    names = [name for name, _ in net.named_children()]
    assert names == ["conv1", "bn1", "relu1", "conv2", "conv3", "pool1", "linear1"]
    assert net.get_parameter("conv2.weight") is net.get_parameter("conv3.weight")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (PLAIN, ""),
        ("conv1x1(4) bn(poses=4, shared) gap poselinear(10, poses=4)", "SharedBatchNorm pose_matrix PosedLinear "),
        ("dwconv3x3 conv3x3(8, poses=8) gap linear(10)", "learned_channel posed_filters PosedConv2d "),
    ],
)
def test_only_required_modules_are_copied(text: str, names: str, tmp_path: Path):
    code = (write(trained(parse_network(text)), tmp_path / "net") / "model.py").read_text()

    definitions = [node for node in ast.parse(code).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    assert " ".join(node.name for node in definitions) == f"{names}Net"


def hash_of_import(architecture: Architecture, folder: Path, spec: Dataset = DATASETS["mnist"]) -> str:
    translation = translate(net_of(write(trained(architecture, spec=spec), folder)), spec.task)
    return str(translation.architecture.hash)


@pytest.mark.slow
def test_shipped_networks_can_be_imported(shipped: Path, home: Workspace, tmp_path: Path):
    with (REPOSITORY / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        texts = {row["architecture"] for row in csv.DictReader(file)}
    architectures = {record.architecture for record in read_all(home.records)} | set(map(parse_network, texts))
    # The files of claimed modules are in other repositories.
    for architecture in filter(lambda each: each.user_module is None, architectures):
        assert hash_of_import(architecture, tmp_path / architecture.hash) == architecture.hash, architecture


SHAPES = {"series": (1, 1, 96), "forms-series": (1, 1, 96), "small": (1, 8, 8), "forms-small": (1, 8, 8)} | {
    "large": (3, 48, 48)
}


@pytest.mark.parametrize("count", [2, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SPACES)
def test_drawn_networks_can_be_imported(name: str, count: int, tmp_path: Path):
    shape = SHAPES.get(name, MNIST.input_shape)
    spec = replace(DATASETS["mnist"], image_shape=shape, mean=(0.1,) * shape[0], std=(0.3,) * shape[0])
    rng = random.Random(7)
    for index in range(count):
        architecture = draw_uniform(space(name, spec.task), rng, None).architecture
        assert hash_of_import(architecture, tmp_path / str(index), spec) == architecture.hash, architecture


# The code ---------------------------------------------------------------------------------------------------------


def test_code_is_formatted_and_training_has_at_most_150_lines(tmp_path: Path):
    spec = replace(
        DATASETS["mnist"], name="signs", folder="", image_shape=(3, 20, 24), mean=(0.1, 0.2, 0.3), std=(0.1, 0.2, 0.3),
        low=(-1.0, 0.0, 0.0), high=(1.0, 2.0, 2.5), balanced=True, test_size=70,
    )  # fmt: skip
    recipes = {name: entry.recipe for name, entry in RECIPES.items() if entry.recipe.precision != "int8"}
    for name, recipe in recipes.items():
        record = make_record([60, 61], PLAIN, recipe=recipe)
        write(trained(parse_network(PLAIN), recipe, record=record), tmp_path / name)
    write(trained(parse_network(PLAIN), VARIED), tmp_path / "varied")
    for number, text in enumerate((*FORMS, f"conv5x5(1024, poses=8, pad=0, stride=2, bias) {SHARED}")):
        write(trained(parse_network(text)), tmp_path / f"form{number}")
    write(trained(parse_network("conv3x3(4) gap linear(10)", spec.task), VARIED, spec), tmp_path / "own")

    ruff = [sys.executable, "-m", "ruff"]
    style = ["--isolated", "--line-length", "100", str(tmp_path)]
    for command in (["format", "--check"], ["check", "--select", "E,F,B,UP,SIM"]):
        result = subprocess.run([*ruff, *command, *style], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout
    lengths = {path.parent.name: len(path.read_text().splitlines()) for path in tmp_path.glob("*/train.py")}
    assert {name: lines for name, lines in lengths.items() if lines > 150 and name in recipes} == {}


def test_docstring_states_costs_and_recorded_accuracy(tmp_path: Path):
    record = make_record([60, 64], PLAIN)
    network = trained(parse_network(PLAIN), record=record)
    with program(write(network, tmp_path / "net"), "model") as model:
        text = model.Net.__doc__

    analysis = analyse(network.architecture, MNIST)
    for figure in (f"{analysis.parameters:,}", f"{analysis.macs:,}", "99.40 %", "errors: 60", "99.380", "2 seeds"):
        assert figure in text


def test_unusual_names_do_not_break_the_code(tmp_path: Path):
    spec = replace(DATASETS["mnist"], name='\\u"""ü', sha256="0", folder="")
    network = trained(parse_network(PLAIN), spec=spec)
    network = replace(network, about={**network.about, "recipe": '"""\\N{x}\n'})

    net_of(write(network, tmp_path / "net"))


# Evaluation -------------------------------------------------------------------------------------------------------


def test_errors_are_counted_on_mnist_files_and_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    network = trained(parse_network(PLAIN))
    pixels = np.random.default_rng(1).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    with torch.inference_mode():
        # The normalisation of the example of torchvision.
        inputs = (torch.from_numpy(pixels)[:, None] / 255 - 0.1307) / 0.3081
        classes = network.model(inputs).argmax(1).numpy().astype(np.uint8)
    labels = classes.copy()
    labels[:7] = (labels[:7] + 1) % 10
    record = make_record([7], PLAIN)
    sha256 = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    images = replace(network.images, test_sha256=sha256)
    folder = write(replace(trained(parse_network(PLAIN), record=record), images=images), tmp_path / "net")
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-images-idx3-ubyte").write_bytes(idx(pixels))
    (raw / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    np.savez(tmp_path / "user.npz", x=pixels[:20].astype(float), y=labels[:20])

    from_files = evaluation_of(folder, capsys, str(tmp_path / "data"))
    from_arrays = evaluation_of(folder, capsys, "--images", str(tmp_path / "user.npz"))

    assert from_files.splitlines()[1:] == ["errors: 7 of 50 images, accuracy 86.00 %", "as recorded"]
    # The images differ, so equal errors prove nothing.
    assert "user.npz" in from_arrays
    assert "errors: 7 of 20 images, accuracy 65.00 %" in from_arrays
    np.savez(tmp_path / "few.npz", x=np.zeros((3, 28, 28)), y=np.zeros(2))
    for arguments in (["--images", "none.npz"], ["--images", str(tmp_path / "few.npz")], ["--weights", "none.pt"]):
        with pytest.raises(SystemExit, match=rf"^\S*{Path(arguments[1]).name}: .+$"):
            evaluation_of(folder, capsys, *arguments)
    assert "as recorded" not in from_arrays


def user_data(low: tuple[float, ...], high: tuple[float, ...]) -> Dataset:
    spec = replace(DATASETS["mnist"], name="user", folder="", image_shape=(2, 6, 7), mean=(0.4, 0.5), std=(0.2, 0.3))
    return replace(spec, low=low, high=high)


@pytest.mark.parametrize("low", [(), (0.0, 0.0), (-1.0, 1e6)])
def test_images_of_user_data_are_copied_unchanged(low: tuple[float, ...], tmp_path: Path):
    spec = user_data(low, tuple(3.1 * (edge + 1) for edge in low))
    network = trained(parse_network("conv3x3(4) gap linear(10)", spec.task), spec=spec)
    pixels = torch.arange(84 * 6).remainder(256).to(torch.uint8).view(6, 2, 6, 7)
    images = replace(network.images, train_images=pixels, train_labels=torch.arange(6))
    folder = write(replace(network, images=images), tmp_path / "net")

    with program(folder, "evaluate") as evaluate:
        copies, labels = evaluate.read_arrays(folder / "test.npz")
    assert torch.equal(copies, pixels)
    assert labels.tolist() == [*range(6)]


def test_numbers_of_user_data_are_scaled_as_in_harness(tmp_path: Path):
    spec = user_data((-1.0, 0.0), (1.0, 4.0))
    network = trained(parse_network("conv3x3(4) gap linear(10)", spec.task), spec=spec)
    numbers = np.stack([np.linspace(-1.2, 1, 42), np.linspace(0, 4, 42)]).reshape(1, 2, 6, 7)
    np.savez(tmp_path / "user.npz", x=numbers, y=[3])

    with program(write(network, tmp_path / "net"), "evaluate") as evaluate:
        pixels, labels = evaluate.read_arrays(tmp_path / "user.npz")
        inputs = evaluate.normalise(pixels)

    scaled = np.rint(255 * (numbers - np.array([-1, 0]).reshape(2, 1, 1)) / np.array([2, 4]).reshape(2, 1, 1))
    expected = (scaled.clip(0, 255) / 255 - np.reshape(spec.mean, (2, 1, 1))) / np.reshape(spec.std, (2, 1, 1))
    np.testing.assert_allclose(inputs, expected, rtol=1e-5, atol=1e-6)
    assert labels.tolist() == [3]


# Training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=4),
        RECIPES["small"].recipe,
        RECIPES["seed1"].recipe,
        Recipe(epochs=5, schedule="cosine", warmup=0.0, average_start=0.3),
    ],
)
def test_rates_and_averages_equal_recipe(recipe: Recipe, tmp_path: Path):
    steps = 7
    epochs = [recipe.epoch_steps(epoch * steps, steps) for epoch in range(recipe.epochs)]
    rates = [rate for epoch in epochs for rate in epoch.rates]
    shares = [share for epoch in epochs for share in epoch.shares]

    with program(write(trained(parse_network(PLAIN), recipe), tmp_path / "net"), "train") as train:
        written_rates = [train.learning_rate(step / (steps * recipe.epochs)) for step in range(len(rates))]
        assert written_rates == pytest.approx(rates)
        if recipe.average_decay:
            first = int(epochs[0].first_averaged_step)
            counts = torch.arange(1, len(rates) - first + 1)
            averages = [train.moving_average(torch.zeros(()), torch.ones(()), count).item() for count in counts]
            assert averages == pytest.approx(shares[first:])
            # A counter of batches is an integer.
            assert train.moving_average(torch.tensor(3), torch.tensor(4), counts[-1]) == pytest.approx(3, abs=1)


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 12, 20)])
def test_images_are_augmented_as_in_harness(
    shape: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = replace(DATASETS["mnist"], image_shape=shape, mean=(0.1,) * shape[0], std=(0.3,) * shape[0])
    recipe = Recipe()
    folder = write(trained(parse_network("gap linear(10)", spec.task), recipe, spec), tmp_path / "net")
    draws = torch.rand(7, 40)
    pixels = torch.rand(40, *shape)
    expected = augment(pixels, recipe, torch.Generator())

    def fixed_draws(*sizes: int, **options: Any) -> Tensor:
        return {(7, 40): draws, (6, 40): draws[:6], (40,): draws[6]}[sizes]

    with program(folder, "train") as train:
        monkeypatch.setattr(torch, "rand", fixed_draws)
        assert torch.allclose(train.augment(pixels), augment(pixels, recipe, torch.Generator()), atol=1e-5)
    assert not torch.equal(expected, pixels)


def test_statistics_are_recomputed_from_training_images(tmp_path: Path):
    recipe = replace(RECIPES["small"].recipe, augmented_share=0.0)
    with program(write(trained(parse_network(PLAIN), recipe), tmp_path / "net"), "train") as train:
        net = train.Net()
        pixels = torch.randint(0, 256, (300, 1, 28, 28), dtype=torch.uint8)
        train.recompute_statistics(net, pixels)
        values = net.conv1(train.normalise(pixels))

    assert torch.allclose(net.bn1.running_mean, values.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(net.bn1.running_var, values.var((0, 2, 3)), rtol=1e-4)


def write_arrays(path: Path, count: int, seed: int) -> Path:
    """Write images of bright squares whose positions are the classes; two epochs suffice to learn the classes."""
    source = np.random.default_rng(seed)
    labels = source.integers(0, 10, count)
    pixels = source.integers(0, 100, (count, 28, 28))
    for image, label in zip(pixels, labels, strict=True):
        image[5 * (label // 5) * 2 : 5 * (label // 5) * 2 + 8, 5 * (label % 5) : 5 * (label % 5) + 5] += 150
    np.savez(path, x=pixels, y=labels)
    return path


@pytest.mark.nightly
@pytest.mark.parametrize(
    "recipe",
    [replace(RECIPES["small"].recipe, epochs=2), pytest.param(replace(VARIED, epochs=2), marks=pytest.mark.slow)],
)
def test_training_learns_classes_and_equal_seeds_give_equal_weights(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = replace(DATASETS["mnist"], folder="")
    folder = write(
        trained(parse_network("conv3x3(4) bn relu | maxpool(4) | linear(10)"), recipe, spec), tmp_path / "net"
    )
    train, test = write_arrays(tmp_path / "train.npz", 1_000, 1), write_arrays(tmp_path / "test.npz", 300, 2)

    words = ["train.py", str(train), str(test), "--seed", "3", "--out"]
    line = [sys.executable, *words, "first.pt"]
    result = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    # A second process would import torch again.
    monkeypatch.setattr(sys, "argv", [*words, str(folder / "second.pt")])
    with program(folder, "train") as module:
        module.main()

    assert result.returncode == 0, result.stderr
    _, errors, *_ = result.stdout.splitlines()[-1].split()  # errors: 7 of 300 images, ...
    assert int(errors) < 60
    states = [torch.load(folder / name, weights_only=True) for name in ("first.pt", "second.pt")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# The command ------------------------------------------------------------------------------------------------------


def test_trained_network_is_written_as_folder(
    small_data: ImageData, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["export", NETWORK, "--recipe", "@quick.toml", "--pytorch", "new/digits", "--json"]) == 0

    facts = json.loads(capsys.readouterr().out)
    names = ["evaluate.py", "model.py", "test.npz", "train.npz", "train.py", "weights.pt"]
    assert sorted(path.name for path in Path("new/digits").iterdir()) == names
    assert facts["files"][0]["size_bytes"] == sum(path.stat().st_size for path in Path("new/digits").iterdir())
    counted = sum(parameter.numel() for parameter in net_of(Path("new/digits")).parameters())
    assert counted == facts["parameters"]


@pytest.mark.parametrize(("obstacle", "code"), [("no test images", 5), ("no log of reads", 2)])
def test_unreadable_test_images_are_refused_before_training(
    obstacle: str, code: int, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    generator = np.random.default_rng(1)
    data_set = user.Data.from_arrays("toy", generator.integers(0, 256, (200, 8, 8), dtype=np.uint8), np.arange(200) % 3)
    monkeypatch.setattr("harness.interface.weights.train_here", pytest.fail)
    if obstacle == "no test images":
        (Workspace(workspace).data(data_set.name) / "test.npz").unlink()
    else:
        Workspace(workspace).records.write_text("a file in place of the folder")

    network = "conv3x3(2) relu | gap | linear(3)"
    assert run(["export", network, "--dataset", data_set.name, "--recipe", "smoke", "--pytorch", "net"]) == code

    assert len([line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]) == 1
    assert not (workspace / "net").exists()


# Shipped records --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_float_records_have_logits_of_load_and_recorded_errors(
    shipped: Path, mnist_folder: Path, home: Workspace, tmp_path: Path
):
    records = [each for each in read_all(home.records) if each.kept_indices(home.records)]
    floats = [each for each in records if each.recipe.precision != "int8"]
    assert len(floats) == 24
    for record in floats:
        spec = DATASETS[record.dataset]
        index = record.kept_indices(home.records)[0]
        weights = read_recorded(home.records, record, index)
        model = network_of(weights, spec.task)
        images = replace(make_data(), dataset=spec)
        seed_run = record.seed(index)
        assert seed_run is not None
        recipe = NamedRecipe(record.recipe_name, record.recipe)
        seed = NetworkSeed(NetworkArgument(record.architecture), recipe, spec.name, index, record)
        network = TrainedNetwork(seed, model, weights.about, images, seed_run, "identical")
        folder = write(network, tmp_path / f"{record.hash}-{record.recipe_hash}")
        net = net_of(folder)
        original = harness.load(record, index)
        with program(folder, "evaluate") as evaluate:
            # Networks for further data sets also get images of MNIST.
            pixels, labels = evaluate.read_part(mnist_folder / "MNIST" / "raw", "t10k")
            with torch.inference_mode():
                assert torch.equal(net(evaluate.normalise(pixels[:500])), original.logits(pixels[:500])), record.hash
            if record.dataset == "mnist" and record.recipe.precision == "fp32" and record.macs < 800_000:
                assert evaluate.report(net, pixels, labels) == seed_run.test_errors
