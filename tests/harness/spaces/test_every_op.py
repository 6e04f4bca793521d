"""All ops work in all parts of the program, and a new op needs no code outside the class of the op."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.cli import run
from harness.data import training_images as data
from harness.data.datasets import DATASETS
from harness.exports.onnx import to_onnx
from harness.searching.surrogate.features import network_features
from harness.spaces.counting import feasible
from harness.spaces.integer_plan import without_integer_form
from harness.spaces.network import MNIST, Architecture, Task, analyse, walk
from harness.spaces.notation import parse_network, parse_notation, parse_space
from harness.spaces.ops import SIGNATURES, Dropout, Dropout2d, Op, Role, Shape
from harness.spaces.ops.integer_form import IntegerForm, RescalingForm
from harness.spaces.ops.op import Signature, register
from harness.spaces.space import draw_uniform, enumerate_draws
from harness.spaces.space_errors import NoIntegerFormError, NotationError, SearchSpaceError, ShapeError
from harness.system.errors import DeviceError
from harness.training.crosscheck import cross_check
from harness.training.integer import integer_logits
from harness.training.native.engine import choose_engine
from harness.training.native.instruction import _ACTIVATIONS, KERNELS, _Activation
from harness.training.recipe import Recipe
from harness.training.torch_network import build, normalised, recompute_statistics
from tests.conftest import REPOSITORY
from tests.factories import make_data
from tests.harness.exports import pytorch_folders
from tests.harness.exports.test_c_library import c_logits, trained
from tests.harness.training.native.networks import EVERY_OP, NETWORKS

GRAMMAR = REPOSITORY / "docs" / "use" / "grammar.md"


def test_every_op_with_a_kernel_is_compared_with_torch_and_documented():
    assert parse_network(EVERY_OP).op_types == KERNELS
    # Each engine draws different masks of dropout.
    assert {op for text in NETWORKS for op in parse_network(text).op_types} == KERNELS - {Dropout, Dropout2d}
    assert {*_ACTIVATIONS.values()} == {*_Activation} - {_Activation.NONE}
    names = re.findall(r"`(\w+)", GRAMMAR.read_text(encoding="utf-8"))
    assert {name for name in (*SIGNATURES, "res") if name not in names} & set(re.findall(r"\w+", EVERY_OP)) == set()


[EXAMPLE] = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "ARCHITECTURE.md").read_text("utf-8"), re.M | re.S)
SPACE = "net = patches({4, 8}, size={2, 4}) relu | gap | linear(10); where parameters <= 150"
NETWORK = "patches(8, size=4) relu | gap | linear(10)"


@pytest.fixture
def notation() -> Iterator[None]:
    """Remove the ops that a test registered."""
    signatures = dict(SIGNATURES)
    yield
    SIGNATURES.clear()
    SIGNATURES.update(signatures)


@pytest.fixture
def patches(notation: None) -> None:
    """Register the op that ARCHITECTURE.md shows."""
    exec(compile(EXAMPLE, "patches.py", "exec", dont_inherit=True), {"__name__": "patches"})


@pytest.mark.usefixtures("patches")
def test_new_op_is_parsed_counted_drawn_and_built():
    network = parse_network(NETWORK)
    assert (str(network), parse_network(str(network))) == (NETWORK, network)
    # ``build`` raises an error if torch counts a different number of parameters.
    assert build(network, MNIST)
    analysis = analyse(network, MNIST)
    assert (analysis.parameters, analysis.macs) == (128 + 8 + 90, 128 * 7 * 7 + 80)
    assert all(math.isfinite(number) for number in network_features(network, analysis).values())
    with pytest.raises(ShapeError):
        parse_network("maxpool(10) patches(6, size=4) gap linear(10)")
    with pytest.raises(NotationError):
        parse_network("patches(0) gap linear(10)")
    space = parse_space(SPACE)
    names = {decision.name for each in enumerate_draws(space) for decision in each.decisions}
    assert names == {"channels", "size"}
    # The networks have 70, 118, 130 and 226 parameters.
    assert feasible(space).accepted == 3
    assert draw_uniform(space, random.Random(0)).decisions[0].name == "channels"


@pytest.mark.usefixtures("patches")
def test_native_engine_falls_back_to_torch_for_new_op_with_a_message(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(data, "load", lambda name, folder: make_data())
    (workspace / "quick.toml").write_text("batch_size = 16\nepochs = 2\n", encoding="utf-8")
    line = ["train", NETWORK, "--dataset", "mnist-5k", "--recipe", "@quick.toml", "--json", "--engine"]
    assert run([*line, "auto"]) == 0
    output = capsys.readouterr()
    document: dict[str, Any] = json.loads(output.out)
    assert (document["status"], document["environment"]["engine"]) == ("complete", "torch")
    assert "patches" in output.err
    assert run([*line, "native"]) == 6
    # A search trains all networks on the same engine.
    cpu = torch.device("cpu")
    assert choose_engine("auto", Recipe(), cpu, parse_space(SPACE).op_types).kind == "torch"
    with pytest.raises(DeviceError):
        choose_engine("native", Recipe(), cpu, parse_space(SPACE).op_types)


@pytest.mark.usefixtures("patches")
def test_new_op_is_exported_to_onnx():
    network = build(Architecture(parse_network(NETWORK).ops), MNIST).eval()
    pixels = torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8)
    assert to_onnx(network, DATASETS["mnist"], pixels, {})[1]["classes_differ"] == 0


@pytest.mark.usefixtures("patches")
def test_new_op_is_exported_to_pytorch(tmp_path: Path):
    network = pytorch_folders.trained(parse_network(NETWORK))
    net = pytorch_folders.net_of(pytorch_folders.write(network, tmp_path / "net"))
    images = torch.rand(3, 1, 28, 28)

    assert torch.equal(net(images), network.model(images))


@pytest.mark.usefixtures("patches")
def test_op_without_source_or_module_is_refused_in_one_line(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(data, "load", lambda name, folder: make_data())
    monkeypatch.setattr("harness.interface.weights.train_here", pytest.fail)
    monkeypatch.setattr(type(parse_network(NETWORK).ops[0]), "layer_call", Op.layer_call)

    with pytest.raises(SearchSpaceError, match="lacks the method module"):
        build(parse_network(NETWORK), MNIST)
    assert (run(["export", NETWORK, "--pytorch", "net"]), len(capsys.readouterr().err.splitlines())) == (4, 1)
    assert not (workspace / "net").exists()


def check_c(network: Architecture, folder: Path) -> None:
    """Assert that C gives the logits of the integer reference, and that the reference is close to torch."""
    module, images, integers = trained(network, MNIST)
    pixels = images.pixels.numpy()
    reference = integer_logits(integers, pixels)
    with torch.inference_mode():
        floats = module(normalised(images.pixels.float() / 255, images.mean, images.deviation)).numpy()
    assert np.abs(integers.logit_scale * reference - floats).mean() < 0.05 * floats.std()
    assert np.array_equal(c_logits(folder, integers, MNIST, pixels), reference)


@pytest.mark.usefixtures("patches")
def test_new_op_is_exported_to_c(tmp_path: Path):
    network = parse_network("patches(8, size=4) bn relu | maxpool patches(6) leaky | gap | linear(10)")

    # 128 weights and 8 pairs of 16 bits each; 192 weights, a multiplier and 6 biases; 60 weights and 10 biases.
    assert analyse(network, MNIST).weight_bytes == (128 + 32) + (192 + 14) + (60 + 20)
    check_c(network, tmp_path)


# Ops and options without a kernel in the engine ------------------------------------------------------------------


TORCH_ONLY = {  # parameters and multiply-adds, counted by hand
    "conv1x1(6) groupnorm(3) gap linear(10)": (6 + 12 + 70, 6 * 784 + 60),
    "conv1x1(6) groupnorm(1, bare) gap linear(10)": (6 + 70, 6 * 784 + 60),
    "conv1x1(6) bn(bare) gap linear(8) bn(bare) linear(10)": (6 + 56 + 90, 6 * 784 + 48 + 80),
    "conv1x1(6) prelu(channelwise) gap linear(10)": (6 + 6 + 70, 6 * 784 + 60),
    "maxpool(4) linear(8, unbiased) relu linear(10, unbiased)": (49 * 8 + 80, 49 * 8 + 80),
    "conv1x1(6) bn(eps=0.001) maxpool(3, stride=2, pad=1) gap linear(10)": (6 + 12 + 70, 6 * 784 + 60),
    "conv1x1(6) bn(unscaled, eps=0.001) avgpool(3, stride=1) gap linear(10)": (6 + 6 + 70, 6 * 784 + 60),
    **{
        f"conv1x1(6) {name} maxpool(3, pad=1) linear(10) {name}": (6 + 6010, 6 * 784 + 6000)
        for name in ("tanh", "sigmoid", "gelu", "elu", "selu", "relu6", "hardswish", "mish", "softplus")
    },
    "conv1x1(6) bn(tie=t1, joint) res(conv1x1(6) bn(tie=t1, joint)) gap linear(10)": (6 + 12 + 36 + 70, 42 * 784 + 60),
}


@pytest.mark.parametrize("text", TORCH_ONLY)
def test_costs_of_ops_without_kernel_equal_torch_and_fvcore(text: str):
    network = parse_network(text)
    analysis = analyse(network, MNIST)

    assert (str(network), parse_notation(text)) == (text, network)
    assert (analysis.parameters, analysis.macs) == TORCH_ONLY[text]
    cross_check(network, analysis)
    for op, before in walk(network.ops, MNIST.input_shape):
        if not op.ops:
            assert op.module(before)(torch.rand(2, *before)).shape == (2, *op.shape(before))
    assert choose_engine("auto", Recipe(), torch.device("cpu"), network.op_types).kind == "torch"
    with pytest.raises(DeviceError):
        choose_engine("native", Recipe(), torch.device("cpu"), parse_space(text).op_types)


POOLS: dict[str, Any] = {"maxpool": functional.max_pool1d, "avgpool": functional.avg_pool1d}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize(
    ("arguments", "expected"), [((), (2,)), ((3,), (3,)), ((4, 3), (4, 3)), ((11, 2), (11, 2)), ((1,), (1,))]
)
def test_pooling_of_a_series_equals_pooling_in_one_dimension(
    name: str, arguments: tuple[int, ...], expected: tuple[int, ...]
):
    task = Task((2, 1, 11), 2)
    text = ", stride=".join(map(str, arguments))
    network = parse_network(f"{name}({text}) linear(2)" if text else f"{name} linear(2)", task)
    series = torch.rand(5, *task.input_shape)
    values = POOLS[name](series[:, :, 0], *expected)
    pool = network.ops[0]

    torch.testing.assert_close(pool.module(task.input_shape)(series)[:, :, 0], values)
    torch.testing.assert_close(eval(pool.source(task.input_shape), {"nn": nn})(series)[:, :, 0], values)
    assert analyse(network, task).costed_ops[0].output_shape == (2, 1, values.shape[2])
    assert analyse(network, task).parameters == 2 * values[0].numel() + 2
    assert analyse(network, task).costed_ops[0].receptive_field == expected[0]


def test_windows_of_padded_means_and_of_unshuffle_have_rows_in_a_series():
    task = Task((1, 1, 12), 2)
    pool = parse_network("avgpool(3, stride=2, pad=1) linear(2)", task).ops[0]
    series = torch.rand(3, *task.input_shape)

    # The rows of the padding count.
    torch.testing.assert_close(pool.module(task.input_shape)(series), functional.avg_pool2d(series, 3, 2, 1))
    for text in ("unshuffle linear(2)", "avgpool(5, pad=1) linear(2)", "maxpool(13) linear(2)"):
        with pytest.raises(ShapeError):
            parse_network(text, task)


def test_joint_norms_share_a_module():
    network = parse_network("conv1x1(4) bn(tie=a, joint) relu conv1x1(4) bn(tie=a, joint) gap linear(10)")
    module = build(network, MNIST)
    first = nn.Conv2d(1, 4, 1, bias=False)
    norm = nn.BatchNorm2d(4)
    second = nn.Conv2d(4, 4, 1, bias=False)
    head = nn.Linear(4, 10)
    with torch.no_grad():
        for src, dst in zip(module.parameters(), nn.ModuleList([first, norm, second, head]).parameters(), strict=True):
            dst.copy_(src)
    images = torch.rand(5, 1, 28, 28)

    expected = head(norm(second(norm(first(images)).relu())).mean((2, 3)))

    torch.testing.assert_close(module(images), expected)
    tensors = module.state_dict()
    for index in (1, 4):
        torch.testing.assert_close(tensors[f"ops.{index}.running_var"], norm.running_var)
    # A mean and a variance for each of four channels, once.
    assert analyse(network, MNIST).stored_numbers == analyse(network, MNIST).parameters + 8
    recompute_statistics(module, [images])
    inputs = torch.cat([first(images), second(norm(first(images)).relu())])
    torch.testing.assert_close(module.state_dict()["ops.1.running_mean"], inputs.mean((0, 2, 3)))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("bn(tie=a, joint) linear(10)", "bn linear(10)"),
        ("bn(unscaled, tie=a, joint) gap linear(10)", "bn(unscaled) gap linear(10)"),
    ],
)
def test_joint_norm_with_a_single_use_is_an_ordinary_norm(text: str, canonical: str):
    assert parse_network(text) == parse_network(canonical)
    assert parse_network(text).hash == parse_network(canonical).hash


@pytest.mark.parametrize(
    "text",
    [
        "bn(bare, unscaled) linear(10)", "bn(bare, joint, tie=a) linear(10)", "bn(joint) linear(10)",
        "conv1x1(4) bn(tie=a, joint) conv1x1(4) bn(tie=a) gap linear(10)",
        "conv1x1(4) bn(tie=a, joint) linear(4) bn(tie=a, joint) linear(10)",
        "conv1x1(4) bn(tie=a, joint, poses=4) conv1x1(4) bn(tie=a, joint, poses=4) gap linear(10)",
        "conv1x1(4) groupnorm(3) gap linear(10)", "groupnorm linear(10)", "groupnorm(0) linear(10)",
        "prelu(4) linear(10)", "linear(10, biased)",
    ],
)  # fmt: skip
def test_contradictory_options_are_refused(text: str):
    with pytest.raises((NotationError, ShapeError)):
        parse_network(text)


def test_option_that_changes_the_op_can_be_drawn_only_as_an_alternative():
    with pytest.raises(NotationError):
        parse_space("net = conv3x3(4) bn(bare?) gap linear(10)")
    space = parse_space("net = conv3x3({4, 8}) <bn / bn(bare)> groupnorm({1, 2}, bare?) gap linear(10)")
    assert {str(draw.architecture.ops[1]) for draw in enumerate_draws(space)} == {"bn", "bn(bare)"}
    assert {type(draw.architecture.ops[1]) for draw in enumerate_draws(space)} <= space.op_types


@pytest.mark.parametrize("text", ["conv1x1(4) groupnorm(2) gap linear(10)", "prelu(channelwise) gap linear(10)"])
def test_ops_without_integer_form_are_refused(text: str):
    network = parse_network(text)
    with pytest.raises(NoIntegerFormError):
        analyse(network, MNIST).plan.check()
    assert len(without_integer_form(network.op_types)) == 1


def test_norms_without_scales_and_layers_without_biases_are_exported_to_c(tmp_path: Path):
    text = (
        "conv3x3(8) bn(bare) relu maxpool conv3x3(8) bn(tie=a, joint) relu conv3x3(8) bn(tie=a, joint) leaky "
        "maxpool(4) linear(12, unbiased) relu linear(10, unbiased)"
    )
    check_c(parse_network(text), tmp_path)


@dataclass(frozen=True, slots=True)
class Affine(Op):
    role: ClassVar[Role] = Role.NORMALISATION

    def cost(self, before: Shape) -> tuple[int, int]:
        return 2 * before[0], 0

    def module(self, before: Shape) -> nn.Module:
        return nn.Conv2d(before[0], before[0], 1, groups=before[0])

    def integer(self, before: Shape) -> IntegerForm:
        return RescalingForm(lambda module: (module.weight.double().flatten(), module.bias.double()))


@pytest.mark.usefixtures("notation")
def test_integer_form_of_registered_op_reads_module(tmp_path: Path):
    register(affine=Signature())(Affine)
    with pytest.raises(AssertionError, match="two ops have the name relu"):
        register(relu=Signature())(Affine)

    check_c(parse_network("conv3x3(8) affine relu maxpool res(affine conv3x3(8)) leaky gap linear(10)"), tmp_path)
