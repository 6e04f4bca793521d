"""Folders of plain PyTorch for tests: networks with random tensors, written and imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.data.datasets import DATASETS, Dataset
from harness.evidence.record import Record
from harness.exports.pytorch_folder import FORMAT
from harness.interface.lookup import NetworkArgument
from harness.interface.weights import NetworkSeed, TrainedNetwork
from harness.spaces.network import Architecture
from harness.spaces.posed import PosedLinear
from harness.training.recipe import RECIPES, NamedRecipe, Recipe
from harness.training.torch_network import build
from tests.factories import make_data, make_result


def trained(
    architecture: Architecture,
    recipe: Recipe = RECIPES["small"].recipe,
    spec: Dataset = DATASETS["mnist"],
    record: Record | None = None,
) -> TrainedNetwork:
    """Return a network with random tensors, statistics included, so that a missing op changes the outputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build(architecture, spec.task)
    generator = torch.Generator().manual_seed(4)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            for values in (module.weight, module.bias, module.running_mean):
                if values is not None:
                    nn.init.normal_(values, generator=generator)
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 2, generator=generator)
        if isinstance(module, PosedLinear):
            nn.init.normal_(module.weight, generator=generator)
    about = {"hash": architecture.hash, "recipe": "small", "seed_index": "0"}
    seed = NetworkSeed(NetworkArgument(architecture), NamedRecipe("small", recipe), spec.name, 0, record)
    match = "not on record" if record is None else "identical"
    return TrainedNetwork(seed, network.eval(), about, replace(make_data(), dataset=spec), make_result(), match)


def write(network: TrainedNetwork, folder: Path) -> Path:
    """Write the folder of a network, as ``harness export`` does; the training images are the test images, too."""
    folder.mkdir(parents=True)
    images = network.images
    copies = images.train_images, images.train_labels
    with patch("harness.exports.pytorch_folder.read_test_set", lambda *_, **__: copies):
        files = FORMAT.files(network, folder)
    for path, content in files.contents.items():
        path.write_bytes(content)
    return folder


@contextmanager
def program(folder: Path, name: str) -> Iterator[ModuleType]:
    """Import a program of a folder as a module; modules of the folder can be imported."""
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for module in ("model", "evaluate", "train"):
            sys.modules.pop(module, None)


def net_of(folder: Path) -> nn.Module:
    with program(folder, "model") as model:
        net: nn.Module = model.Net()
    net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return net.eval()


def evaluation_of(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the output of ``evaluate.py``."""
    with program(folder, "evaluate") as evaluate, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["evaluate.py", *arguments])
        evaluate.main()
    return capsys.readouterr().out
