"""Export of networks to ONNX and safetensors."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from onnx.reference import ReferenceEvaluator
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
from safetensors import safe_open
from safetensors.numpy import load_file
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

import harness
from harness.cli import run
from harness.data import user
from harness.data.datasets import DATASETS, Dataset
from harness.data.training_images import ImageData, load
from harness.evidence import record
from harness.evidence.evaluation import network_of
from harness.evidence.record import Record, match
from harness.exports.onnx import FORMAT, integers_to_onnx, to_onnx
from harness.spaces.network import MNIST, Architecture, Task, analyse
from harness.spaces.notation import parse_network
from harness.spaces.ops import UserModule
from harness.system import errors
from harness.system.errors import DataError
from harness.system.files import Workspace
from harness.training.integer import StepNumbers, integer_logits, integers_of
from harness.training.pixels import RawInputNetwork
from harness.training.recipe import Recipe
from harness.training.result import Purpose, derive_seed
from harness.training.run import to_safetensors
from harness.training.torch_network import build
from tests.conftest import REPOSITORY
from tests.factories import make_data, make_record, make_result
from tests.fakes import train_in_this_process
from tests.harness.exports import pytorch_folders
from tests.harness.exports.test_c_library import CASES, dataset_of, trained
from tests.harness.training.native.networks import EVERY_OP

# Export -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _single_table_of_operators() -> Iterator[None]:
    """Build the exporter's table of operators once; without this fixture, each export builds an equal table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


NETWORK = "conv3x3(4) bn relu maxpool(4) | conv3x3(4, tie=a) bn relu conv3x3(4, tie=a) bn relu | gap | linear(10)"


def export(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["export", *arguments, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


# The model ----------------------------------------------------------------------------------------------------

TIED_TEXT = (
    "conv3x3(4) bn relu conv3x3(4, tie=a) bn relu conv3x3(4, tie=a, bias) res(conv3x3(4, tie=a) bn) | gap | linear(10)"
)
POSED = (
    "conv3x3(8, poses=8, bias) bn(poses=8) relu conv1x1(8, poses=4, tie=a) relu conv1x1(8, poses=4, tie=a) bn(poses=2) "
    "conv1x1(2, tie=a) conv3x3(8, groups=2, poses=4) bn(unscaled, poses=4) dwconv3x3(poses=4, bias) gap linear(10)"
)
SHARED = (
    "conv3x3(8, poses=4) bn(poses=4, shared) relu conv1x1(6) bn(unscaled, poses=2, shared) gap linear(8) "
    "bn(poses=8, shared) linear(10)"
)


def check_against_torch(architecture: Architecture) -> onnx.ModelProto:
    """Compare an exported network with PyTorch, and return the ONNX model."""
    network = pytorch_folders.trained(architecture).model
    pixels = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    content, comparison = to_onnx(network, DATASETS["mnist"], pixels, {"hash": architecture.hash})
    assert (comparison["images"], comparison["classes_differ"]) == (5, 0)
    with torch.inference_mode():
        # Mean and standard deviation as in PyTorch's MNIST example.
        expected = network((pixels / 255 - 0.1307) / 0.3081).numpy()
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(["logits"], {"pixels": pixels.numpy()})[0]
    assert float(np.abs(expected - logits).max()) < 1e-4 * max(float(np.abs(expected).max()), 1e-6)
    return onnx.load_from_string(content)


@pytest.mark.parametrize("text", [TIED_TEXT, EVERY_OP, POSED, SHARED, "conv3x3(10, pad=0, stride=3) gap"])
def test_model_takes_raw_pixels_and_gives_logits_of_torch(text: str):
    model = check_against_torch(parse_network(text))

    onnx.checker.check_model(model)
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert {item.key: item.value for item in model.metadata_props} == {"hash": parse_network(text).hash}
    # Generators of C code refuse computed shapes.
    assert "Shape" not in {node.op_type for node in model.graph.node}
    # By default the exporter stores folders and lines of the source code.
    assert b".py" not in model.SerializeToString()


@pytest.mark.slow
@given(...)
@settings(max_examples=40)
def test_random_networks_give_logits_of_torch(architecture: Architecture):
    check_against_torch(architecture)


def test_model_with_wrong_logits_is_not_returned(monkeypatch: pytest.MonkeyPatch):
    network = build(parse_network("conv3x3(10, pad=0, stride=3) gap"), MNIST).eval()
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    session = SimpleNamespace(run=lambda *arguments: [np.full((3, 10), np.nan, np.float32)])
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *arguments, **options: session)

    with pytest.raises(AssertionError):
        to_onnx(network, DATASETS["mnist"], images, {})


def test_memory_error_is_not_reported_as_fault_of_user_module(monkeypatch: pytest.MonkeyPatch):
    module = Architecture((UserModule(10, name="net.py:Net"),))
    images = SimpleNamespace(dataset=DATASETS["mnist"], train_images=[0], sample=lambda count: 0)
    network: Any = SimpleNamespace(images=images, architecture=module, recipe=Recipe(), model=None, about={})

    def raise_memory_error(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("harness.exports.onnx.to_onnx", raise_memory_error)
    with pytest.raises(MemoryError):
        FORMAT.files(network, Path("net.onnx"))


RECORDS = REPOSITORY / "records"


# Integer networks ---------------------------------------------------------------------------------------------


def reference_logits(content: bytes, numbers: np.ndarray) -> np.ndarray:
    model = onnx.load_from_string(content)
    # The reference evaluator of onnx 1.23 has no ``DequantizeLinear`` before opset 19, which has equivalent operators.
    model.opset_import[0].version = 19
    outputs: Any = ReferenceEvaluator(model).run(None, {"pixels": numbers})
    return np.asarray(outputs[0])


@pytest.mark.parametrize(("text", "task"), [case for case in CASES if max(case[1].input_shape) < 1_000])
def test_onnx_logits_of_integer_network_approximate_integer_logits(text: str, task: Task):
    _, images, integers = trained(parse_network(text, task), task)

    content, comparison = integers_to_onnx(integers, dataset_of(task), images.pixels, {"hash": "0123"})

    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    settings = SessionOptions()
    # Fused kernels for integers saturate on x86 processors without VNNI.
    settings.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    session = InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"pixels": images.pixels.numpy()})[0]
    expected = integers.logit_scale * integer_logits(integers, images.pixels.numpy())
    largest = np.abs(expected).max()
    assert np.abs(logits - expected).max() < 0.02 * largest
    difference_count = (np.abs(logits - expected) > 1e-6 * largest).sum()
    assert (comparison["logits_differ"], comparison["logits"]) == (difference_count, expected.size)
    assert comparison["classes_differ"] == (logits.argmax(1) != expected.argmax(1)).sum()
    metadata = {item.key: item.value for item in model.metadata_props}
    assert (metadata["hash"], metadata["reference_logits_differ"]) == ("0123", str(difference_count))
    assert np.abs(reference_logits(content, images.pixels[:3].numpy()) - logits[:3]).max() < 0.01 * largest


INTEGER_RECORDS = [path for path in sorted(RECORDS.glob("*-mnist-*.json")) if '"precision": "int8"' in path.read_text()]


@pytest.mark.parametrize("path", INTEGER_RECORDS, ids=lambda path: path.name[:6])
def test_recorded_integer_networks_approximate_integer_logits_in_both_evaluators(path: Path):
    evidence = record.read(path)
    network = network_of(record.read_recorded(RECORDS, evidence, 0), MNIST)
    integers = integers_of(network, evidence.architecture, DATASETS["mnist"])
    pixels = make_data().train_images[:40]

    content, comparison = integers_to_onnx(integers, DATASETS["mnist"], pixels, {})

    assert comparison["largest_difference"] < 0.1
    expected = integers.logit_scale * integer_logits(integers, pixels[:4].numpy())
    assert np.abs(reference_logits(content, pixels[:4].numpy()) - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("limits", [(0.0, 255.0), (-2.6, 2.6)])
def test_integer_linear_network_gives_exact_logits_for_all_input_ranges(limits: tuple[float, float]):
    _, images, integers = trained(parse_network("maxpool(4) linear(10)"), MNIST)
    spec = replace(DATASETS["mnist"], low=limits[:1], high=limits[1:])

    assert integers_to_onnx(integers, spec, images.pixels, {})[1]["logits_differ"] == 0


def test_tied_integer_kernels_are_stored_once_as_int8():
    block = "res(conv3x3(8, poses=4, tie=a)) relu"
    text = f"conv3x3(8, poses=4) relu {block} {block} gap linear(10)"
    _, images, integers = trained(parse_network(text), MNIST)
    content, _ = integers_to_onnx(integers, DATASETS["mnist"], images.pixels[:9], {})

    kernels = [item for item in onnx.load_from_string(content).graph.initializer if len(item.dims) == 4]
    # All poses of a kernel are stored; the tied kernel is stored once.
    assert [(tuple(item.dims), item.data_type) for item in kernels] == [
        ((8, 1, 3, 3), onnx.TensorProto.INT8),
        ((8, 8, 3, 3), onnx.TensorProto.INT8),
        ((10, 8, 1, 1), onnx.TensorProto.INT8),
    ]


def test_integer_means_round_halves_up():
    _, images, integers = trained(parse_network("conv1x1(1) relu avgpool linear(10)"), MNIST)
    copy = StepNumbers(multipliers=np.ones(1, np.int64))  # the first step copies the bytes, so only means are rounded
    numbers = (copy, *integers.numbers[1:])
    copying_network = replace(
        integers, numbers=numbers, kernels=(np.ones((1, 1, 1, 1), np.int64), *integers.kernels[1:]), offset=0
    )

    assert integers_to_onnx(copying_network, DATASETS["mnist"], images.pixels, {})[1]["logits_differ"] == 0


# Raw numbers --------------------------------------------------------------------------------------------------


X = np.random.default_rng(5).random((140, 8, 9))
BYTES = (255 * X).round().astype(np.uint8)
COLOURS = np.stack([BYTES, BYTES[::-1], BYTES // 2], 1)
SERIES = 5.2 * X.reshape(140, -1) - 2.6
CHANNELS = np.stack([SERIES, 100 * SERIES**2, -SERIES], 1)
SIXTEEN = (16 * X).round().astype(np.uint8)
# Images of the user, images as the model takes them, position of the channels, and labels.
KINDS = [
    pytest.param(BYTES, BYTES[:, None], None, ["cat", "dog", "10"], id="bytes"),
    pytest.param(np.moveaxis(COLOURS, 1, 3), COLOURS, "last", [9, 10, 2], id="coloured"),
    pytest.param(X.astype(np.float32), X.astype(np.float32)[:, None], None, [0, 1, 2], id="fractions"),
    pytest.param(5.2 * X - 2.6, 5.2 * X[:, None] - 2.6, None, ["a", "b"], id="floats"),
    pytest.param((60_000 * X).astype(np.uint16), (60_000 * X).astype(np.uint16), None, [3, 7], id="wide"),
    pytest.param(SERIES, SERIES[:, None, None], None, ["no", "yes", "ä"], id="series"),
    pytest.param(CHANNELS, CHANNELS[:, :, None], "first", [1, 2], id="channels"),
    pytest.param(SIXTEEN, SIXTEEN[:, None], None, [-1, 1], id="sixteen"),
]


def _add_record(spec: Dataset, network: nn.Module, architecture: Architecture, home: Workspace, base: Record) -> Record:
    # The network is not trained.
    analysis, hash_ = analyse(architecture, spec.task), architecture.hash
    evidence = replace(base, architecture=architecture, hash=hash_, dataset=spec.name, macs=analysis.macs)
    path = evidence.weights_path(home.records, 0)
    path.parent.mkdir(parents=True)
    metadata = {"recipe": evidence.recipe_name, "recipe_hash": evidence.recipe_hash, "dataset": spec.name}
    path.write_bytes(to_safetensors(network, {"architecture": str(architecture), **metadata}))
    test_facts: dict[str, Any] = {"weights_sha256": record.read_weights(path).sha256, "test_size": spec.test_size}
    seed = replace(evidence.seeds[0], **test_facts, seed=derive_seed(hash_, evidence.recipe_hash, Purpose.VERIFY, 0))
    evidence = replace(evidence, parameters=analysis.parameters, seeds=(seed,))
    record.write(home.records, evidence)
    return evidence


@pytest.mark.parametrize(("numbers", "arranged", "channels", "labels"), KINDS)
def test_onnx_load_and_evaluate_predict_equal_classes_of_raw_numbers(
    numbers: np.ndarray, arranged: np.ndarray, channels: str, labels: list[Any], workspace: Path
):
    answers = np.array(labels)[np.arange(140) % len(labels)]
    spec = harness.Data.from_arrays("a", numbers[:100], answers[:100], numbers[100:], answers[100:], channels=channels)
    architecture = parse_network(f"conv1x3(4) relu | linear({len(labels)})", spec.task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = build(architecture, spec.task).eval()
    entry = _add_record(spec, network, architecture, Workspace(workspace), make_record([0]))
    shares = user.pixels_of(spec, numbers[100:]) / 255
    inputs = (shares - np.reshape(spec.mean, (-1, 1, 1))) / np.reshape(spec.std, (-1, 1, 1))
    expected = network(torch.from_numpy(inputs.astype(np.float32))).argmax(1).numpy()
    assert len(set(expected.tolist())) > 1

    raw_numbers = np.ascontiguousarray(arranged.reshape(140, *spec.image_shape)[100:])
    harness.export(str(architecture), "a.onnx", "a.safetensors", dataset=spec.name)
    session = InferenceSession("a.onnx", providers=["CPUExecutionProvider"])
    dtype = {"tensor(uint8)": np.uint8, "tensor(double)": np.float64}[session.get_inputs()[0].type]
    by_onnx = session.run(["logits"], {"pixels": raw_numbers.astype(dtype)})[0].argmax(1)
    by_load = harness.load(entry)(torch.from_numpy(raw_numbers)).argmax(1)
    assert by_load.tolist() == by_onnx.tolist() == expected.tolist()
    names = list(map(str, np.unique(answers).tolist()))
    truth = np.array([names.index(str(answer)) for answer in answers[100:]])
    assert sorted(label for _, label in harness.evaluate(entry).wrong) == sorted(expected[expected != truth].tolist())
    # Both files contain the class names in order, and the range of each channel.
    with safe_open("a.safetensors", "numpy") as file:
        metadata = json.loads(file.metadata()["harness"])
    for properties in ({item.key: item.value for item in onnx.load("a.onnx").metadata_props}, metadata):
        assert json.loads(properties["class_names"]) == names
        ranges = [tuple(map(float, properties[name].split())) for name in ("number_low", "number_high")]
        assert ranges == [spec.low, spec.high]


@pytest.fixture
def mnist_network() -> RawInputNetwork:
    return RawInputNetwork(build(parse_network(TIED_TEXT), MNIST), DATASETS["mnist"]).eval()


REFUSED = [((0, 1), (28, 28)), ((-0.42, 2.8), (1, 28, 28)), ((-2.6, 2.6), (784,))]
REFUSED += [(limits, (28, 28)) for limits in ((0, 65_535), (-300, 0), (0, math.nan), (0, 1e308))]


@pytest.mark.parametrize(("limits", "shape"), REFUSED)
def test_numbers_that_cannot_be_bytes_are_refused(
    mnist_network: RawInputNetwork, limits: tuple[float, float], shape: tuple[int, ...]
):
    with warnings.catch_warnings(action="error"), pytest.raises(DataError):
        mnist_network(torch.linspace(*limits, 2 * 784, dtype=torch.float64).reshape(2, *shape))


def test_pixels_of_any_dtype_and_channel_axis_give_equal_logits(mnist_network: RawInputNetwork):
    pixels = torch.arange(3 * 784).reshape(3, 28, 28) % 256
    numbers = pixels.float().requires_grad_()

    for variant in (pixels, pixels.short(), pixels.double() + 0.3, numbers, pixels[:, None], pixels[..., None]):
        assert torch.equal(mnist_network(variant), mnist_network(pixels.to(torch.uint8)))
    assert len(mnist_network(pixels[:0].float())) == 0
    (gradient,) = torch.autograd.grad(mnist_network(numbers).sum(), numbers)
    assert gradient.abs().max() > 0


# The record ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "changes", "expected"),
    [
        ("aa", {}, "identical"),
        ("bb", {}, "different"),
        ("bb", {"commit": "1" * 40, "dirty": True}, "different"),
        ("bb", {"engine": "native AVX2 0123"}, "made elsewhere"),
    ],
)
def test_match_compares_weights_with_record(weights: str, changes: dict[str, Any], expected: str):
    recorded = replace(make_record([60]).seeds[0], weights_sha256="aa")
    result = make_result(weights_sha256=weights, environment=replace(recorded.environment, **changes))

    assert match(result, recorded) == expected
    assert match(result, None) == match(result, replace(recorded, weights_sha256=None)) == "not on record"


@pytest.mark.parametrize("engine", [pytest.param("torch", marks=pytest.mark.slow), "native"])
@pytest.mark.nightly
def test_export_of_recorded_seed_gives_recorded_weights_without_reading_test_set(
    engine: str, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    train_in_this_process(monkeypatch)
    options = ["--recipe", "smoke", "--dataset", "mnist-5k"]
    run(["verify", NETWORK, *options, "--seeds", "2", "--engine", engine, "--workers", "1", "--target", "5"])
    capsys.readouterr()
    home = Workspace(workspace)
    [evidence] = record.read_all(home.records)
    reads = home.test_log.read_text(encoding="utf-8")

    document = export(
        capsys, evidence.hash[:8], "--seed", "1", "--onnx", "net.onnx", "--safetensors", "net.safetensors"
    )

    assert document["match"] == "identical"
    assert document["weights_sha256"] == document["recorded_weights_sha256"] == evidence.seeds[1].weights_sha256
    assert document["engine"].startswith(engine)
    assert (document["recipe"], document["dataset"], document["seed"]) == ("smoke", "mnist-5k", evidence.seeds[1].seed)
    assert home.test_log.read_text(encoding="utf-8") == reads
    # The ONNX file makes the recorded mistakes. This test reads the test set, the export does not.
    assert wrong_images_of_onnx(workspace / "net.onnx", workspace, evidence) == evidence.seeds[1].wrong


def wrong_images_of_onnx(model: Path, folder: Path, evidence: Record) -> tuple[tuple[int, int], ...]:
    """Return the index and the predicted class of each test image that an ONNX model classifies wrongly."""
    from harness.data.testset import read_test_set

    pixels, labels = read_test_set(load(evidence.dataset), purpose="a test", log=folder / "another.log")
    logits = InferenceSession(model, providers=["CPUExecutionProvider"]).run(["logits"], {"pixels": pixels.numpy()})[0]
    classes = logits.argmax(1)
    return tuple((int(index), int(classes[index])) for index in np.flatnonzero(classes != labels.numpy()))


def test_recorded_seed_is_trained_only_with_retrain_and_with_recipe_of_row(
    small_data: ImageData, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    recipe = Recipe(epochs=1, batch_size=25)
    evidence = make_record([60], NETWORK, recipe=recipe, recipe_name="special")
    record.write(workspace / "runs" / "records", evidence)

    for seed in ("0", "99"):
        assert run(["export", NETWORK, "--seed", seed, "--safetensors", "a"]) == 2
    assert not (workspace / "a").exists()
    by_notation = export(capsys, NETWORK, "--retrain", "--safetensors", "a")
    by_hash = export(capsys, evidence.hash, "--retrain", "--safetensors", "b")

    assert by_notation["recipe_hash"] == recipe.hash
    assert (workspace / "a").read_bytes() == (workspace / "b").read_bytes()
    assert by_notation["weights_sha256"] == by_hash["weights_sha256"]


def test_network_without_row_is_trained_with_named_recipe(
    small_data: ImageData, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    document = export(capsys, NETWORK, "--recipe", "@quick.toml", "--seed", "3", "--onnx", "x/net.onnx")

    assert (document["trained"], document["match"]) == (True, "not on record")
    onnx.checker.check_model(onnx.load(workspace / "x/net.onnx"))
    assert not (workspace / "runs" / "records").exists()


def test_without_export_extra_safetensors_are_written_and_onnx_exits_with_code_6(
    small_data: ImageData, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(errors, "find_spec", lambda name: None)

    document = export(capsys, NETWORK, "--recipe", "@quick.toml", "--safetensors", "new/net.safetensors")

    assert (
        sum(value.size for name, value in load_file("new/net.safetensors").items() if "running" not in name)
        == (document["parameters"])
    )
    assert run(["export", NETWORK, "--recipe", "@quick.toml", "--onnx", "net"]) == 6
