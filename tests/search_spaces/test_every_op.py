"""Every op is known wherever an op has to be known; and a new one needs nothing but what it says of itself."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from harness.cli import run
from harness.data import training_images as data
from harness.data.datasets import DATASETS
from harness.deployment.onnx import to_onnx
from harness.searching.surrogate.features import network_features
from harness.system.errors import DeviceError
from harness.training.modules import build
from harness.training.native.engine import choose_engine
from harness.training.native.instruction import _ACTIVATIONS, KERNELS, _Activation
from harness.training.recipe import Recipe
from search_spaces.errors import NotationError, SearchSpaceError, ShapeError
from search_spaces.network import MNIST, Architecture, analyse
from search_spaces.notation import parse_network, parse_space
from search_spaces.ops import (
    SIGNATURES,
    ArgumentKind,
    Dropout,
    Dropout2d,
    Op,
    Parameter,
    Role,
    Shape,
    Signature,
    written,
)
from search_spaces.space import draw_uniform, enumerate_draws, feasible
from tests.conftest import REPOSITORY
from tests.factories import make_data
from tests.harness.deployment.pytorch_folders import net_of, trained, write
from tests.harness.training.native.networks import EVERY_OP, NETWORKS

GRAMMAR = REPOSITORY / "docs" / "grammar.md"


def test_every_op_that_has_a_kernel_is_compared_with_torch_and_documented():
    assert parse_network(EVERY_OP).op_types == KERNELS
    # Dropout draws masks of its own in each engine.
    assert {op for text in NETWORKS for op in parse_network(text).op_types} == KERNELS - {Dropout, Dropout2d}
    assert {*_ACTIVATIONS.values()} == {*_Activation} - {_Activation.NONE}
    names = re.findall(r"`(\w+)", GRAMMAR.read_text(encoding="utf-8"))
    assert {name for name in (*SIGNATURES, "res") if name not in names} & set(re.findall(r"\w+", EVERY_OP)) == set()


# As the example of ARCHITECTURE.md, under another name.
@dataclass(frozen=True, slots=True)
class ChunkNorm(Op):
    """Group normalisation (Wu and He, arXiv 1803.08494)."""

    role: ClassVar[Role] = Role.NORMALISATION
    groups: int

    def shape(self, before: Shape) -> Shape:
        if before[0] % self.groups:
            raise ShapeError(f"chunknorm({self.groups}) gets {before[0]} channels, no multiple of its groups")
        return before

    def cost(self, before: Shape) -> tuple[int, int]:
        return 2 * before[0], 0

    def module(self, before: Shape) -> torch.nn.Module:
        return torch.nn.GroupNorm(self.groups, before[0])

    def source(self, before: Shape) -> str:
        return f"nn.GroupNorm({self.groups}, {before[0]})"


SPACE = "net = conv3x3({4, 8}) <bn / chunknorm({2, 4, 8})> relu | gap | linear(10); where parameters <= 200"
NETWORK = "conv3x3(8) chunknorm(4) relu | gap | linear(10)"


@pytest.fixture
def chunknorm() -> Iterator[None]:
    known = dict(SIGNATURES)
    groups = Parameter("groups", "groups", ArgumentKind.COUNT, "number of groups")
    written(chunknorm=Signature(groups, required=True))(ChunkNorm)
    yield
    SIGNATURES.clear()
    SIGNATURES.update(known)


@pytest.mark.usefixtures("chunknorm")
def test_a_new_op_is_parsed_counted_drawn_and_built():
    network = parse_network(NETWORK)
    assert (str(network), parse_network(str(network))) == (NETWORK, network)
    # Torch counts the same, or it would not be built.
    assert build(network, MNIST)
    assert analyse(network, MNIST).parameters == 72 + 16 + 90
    with pytest.raises(ShapeError):
        parse_network("conv3x3(6) chunknorm(4) gap linear(10)")
    with pytest.raises(NotationError):
        parse_network("conv3x3(8) chunknorm(0) gap linear(10)")
    space = parse_space(SPACE)
    names = [decision.name for each in enumerate_draws(space) for decision in each.decisions]
    assert names[-1] == "groups"
    # Two widths with bn or one of three numbers of groups, of which one does not divide the smaller width.
    assert feasible(space).accepted == 7
    assert draw_uniform(space, random.Random(0)).decisions[0].name == "channels"


@pytest.mark.usefixtures("chunknorm")
def test_a_new_op_has_its_bytes_its_memory_and_its_features():
    network = parse_network(NETWORK)
    analysis = analyse(network, MNIST)
    # An int8 a weight, and 16 bits a multiplier or shift; of an op without an integer form 32 bits a parameter.
    assert analysis.weight_bytes == (72 + 2) + 4 * 16 + 2 + (80 + 2 * 10)
    # It is counted to work in its place.
    assert analysis.ram_bytes == 8 * 28 * 28
    # One of the two norms stands behind a rectifier.
    both = parse_network("conv3x3(8) relu chunknorm(4) conv3x3(8) bn relu gap linear(10)")
    assert network_features(both, analyse(both, MNIST))["share of BN behind the rectifier"] == 0.5


@pytest.mark.usefixtures("chunknorm")
def test_the_native_engine_leaves_it_to_torch_and_says_so(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(data, "load", lambda name, folder: make_data())
    (workspace / "quick.toml").write_text("batch_size = 16\nepochs = 2\n", encoding="utf-8")
    line = ["train", NETWORK, "--dataset", "mnist-5k", "--recipe", "@quick.toml", "--json", "--engine"]
    assert run([*line, "auto"]) == 0
    output = capsys.readouterr()
    document: dict[str, Any] = json.loads(output.out)
    assert (document["status"], document["environment"]["engine"]) == ("complete", "torch")
    assert "ChunkNorm" in output.err
    assert run([*line, "native"]) == 6
    # A search trains all its networks on one engine.
    cpu = torch.device("cpu")
    assert choose_engine("auto", Recipe(), cpu, parse_space(SPACE).op_types).kind == "torch"
    with pytest.raises(DeviceError):
        choose_engine("native", Recipe(), cpu, parse_space(SPACE).op_types)


@pytest.mark.usefixtures("chunknorm")
def test_a_new_op_is_exported():
    network = build(Architecture(parse_network(NETWORK).ops), MNIST).eval()
    pixels = torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8)
    assert to_onnx(network, DATASETS["mnist"], pixels, {})[1]["classes_differ"] == 0


@pytest.mark.usefixtures("chunknorm")
def test_a_new_op_is_written_as_pytorch(tmp_path: Path):
    architecture = parse_network(NETWORK)
    network = trained(architecture)
    net = net_of(write(network, tmp_path / "net"))
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(net(images), network.model(images))

    class Anonymous(ChunkNorm):
        __slots__ = ()
        source = Op.source

    with pytest.raises(SearchSpaceError):
        Anonymous(4).source((8, 28, 28))
