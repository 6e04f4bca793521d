"""The program of plain torch that the documents show says what the package's own networks say."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.training.build import build
from search_spaces.notation import parse_network

PROGRAM = Path(__file__).resolve().parent.parent / "docs" / "examples" / "evaluate_plain.py"


@pytest.fixture(scope="module")
def run() -> Callable[[Tensor, str, dict[str, Tensor]], Tensor]:
    specification = importlib.util.spec_from_file_location("evaluate_plain", PROGRAM)
    assert specification is not None
    assert specification.loader is not None
    program = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(program)
    found: Callable[[Tensor, str, dict[str, Tensor]], Tensor] = program.run
    return found


@pytest.mark.parametrize(
    "text",
    [
        "conv3x3(8, stride=2, bias) bn relu dropout(0.1) res(conv1x3(8, groups=2) bn) maxpool(3) gap linear(10)",
        "conv3x3(8, poses=4) bn(poses=4) relu | avgpool | conv3x3(8, poses=8, bias) bn(unscaled, poses=2) | linear(10)",
        "conv3x3(8, poses=4) bn(poses=4, shared) relu res(conv1x1(8) bn(unscaled, poses=2, shared)) linear(10)",
    ],
)
def test_it_makes_of_images_what_the_built_network_makes(run: Callable[..., Tensor], text: str):
    torch.manual_seed(2)
    network, images = build(parse_network(text)).double(), torch.randn(3, 1, 28, 28, dtype=torch.float64)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)

    found = run(images, text, network.state_dict()).flatten(1)

    torch.testing.assert_close(found, network.eval()(images), rtol=0, atol=1e-10)
