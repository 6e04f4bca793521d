from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from onnx import numpy_helper
from onnxruntime import InferenceSession
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.data.datasets import DATASETS
from harness.onnx_graph import onnx_model
from harness.training.build import Network, build
from harness.training.weights import weights_of
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

[MEAN], [DEVIATION] = DATASETS["mnist"].mean, DATASETS["mnist"].std
TIED = (
    "conv3x3(4) bn relu conv3x3(4, tie=a) bn relu conv3x3(4, tie=a, bias) res(conv3x3(4, tie=a) bn) | gap | linear(10)"
)
EVERY_OP = (
    "conv5x5(4, pad=0, stride=2, bias) bn relu dropout(0.1) dwconv3x3(bias) res(conv1x1(4) relu) dropout2d(0.1) "
    "maxpool(3) avgpool conv1x1(6) leaky conv3x1(6, groups=2) prelu conv1x3(4) swish bn(unscaled) unshuffle(2) gap "
    "linear(12) bn relu linear(10)"
)


POSED = (
    "conv3x3(8, poses=8, bias) bn(poses=8) relu conv1x1(8, poses=4, tie=a) relu conv1x1(8, poses=4, tie=a) bn(poses=2) "
    "conv1x1(2, tie=a) conv3x3(8, groups=2, poses=4) bn(unscaled, poses=4) gap linear(10)"
)
SHARED = (
    "conv3x3(8, poses=4) bn(poses=4, shared) relu conv1x1(6) bn(unscaled, poses=2, shared) gap linear(8) "
    "bn(poses=8, shared) linear(10)"
)


def trained(text: str | Architecture) -> tuple[Architecture, Network]:
    """A network with weights and BN statistics drawn at random, so that no op can be left out unseen."""
    architecture = parse_network(text) if isinstance(text, str) else text
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build(architecture, MNIST)
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                for values in (module.weight, module.bias, module.running_mean):
                    if values is not None:  # an unscaled one has no weight
                        nn.init.normal_(values)
                assert module.running_var is not None
                nn.init.uniform_(module.running_var, 0.5, 2)
    return architecture, network.eval()


def model_of(text: str | Architecture) -> onnx.ModelProto:
    architecture, network = trained(text)
    return onnx_model(architecture, weights_of(network)[0], DATASETS["mnist"], {"hash": architecture.hash})


def logits(model: onnx.ModelProto, pixels: torch.Tensor) -> np.ndarray:
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(["logits"], {"pixels": pixels.numpy()})[0]
    return answer


def some_pixels(count: int = 5) -> torch.Tensor:
    source = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8)


def check_against_torch(text: str | Architecture) -> None:
    network = trained(text)[1]
    with torch.inference_mode():
        # The normalisation of torchvision's own example.
        ours = network((some_pixels() / 255 - MEAN) / DEVIATION).numpy()
    theirs = logits(model_of(text), some_pixels())

    assert theirs.shape == (5, 10)
    scale = max(float(np.abs(ours).max()), 1e-6)
    assert float(np.abs(ours - theirs).max()) < 1e-4 * scale


@pytest.mark.parametrize(
    "text", [TIED, EVERY_OP, POSED, SHARED, "conv3x3(10) gap", "linear(10)", "conv3x3(10, pad=0, stride=3) gap"]
)
def test_the_model_gives_the_logits_of_torch(text: str):
    check_against_torch(text)


@given(...)
@settings(max_examples=40)
def test_any_network_gives_the_logits_of_torch(architecture: Architecture):
    check_against_torch(architecture)


def test_a_tied_kernel_is_stored_once_so_the_model_holds_as_many_numbers_as_we_count():
    model = model_of(TIED)

    sizes = {item.name: numpy_helper.to_array(item).size for item in model.graph.initializer}
    statistics = sum(size for name, size in sizes.items() if "running" in name)
    normalisation = sizes["largest"] + sizes["mean"] + sizes["deviation"]
    assert sum(sizes.values()) - statistics - normalisation == analyse(parse_network(TIED), MNIST).parameters
    kernels = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    assert kernels == ["ops.0.weight", "ops.3.weight", "ops.3.weight", "ops.3.weight"]


def test_the_model_takes_raw_pixels_of_any_number_of_images_and_has_no_dropout():
    model = model_of(EVERY_OP)

    assert logits(model, some_pixels(1)).shape == (1, 10)
    assert logits(model, some_pixels(7)).shape == (7, 10)
    assert [item.name for item in model.graph.input] == ["pixels"]
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert not [node for node in model.graph.node if "Dropout" in node.op_type]


def test_the_model_says_what_it_is():
    model = model_of(TIED)

    assert {item.key: item.value for item in model.metadata_props} == {"hash": parse_network(TIED).hash}
    assert model.producer_name == "harness"


def test_the_same_weights_give_the_same_bytes():
    assert model_of(TIED).SerializeToString(deterministic=True) == model_of(TIED).SerializeToString(deterministic=True)
