"""Modules that third-party tools miscount or change (docs/evidence/other-tools.md) are counted and exported right."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from fvcore.nn import FlopCountAnalysis
from onnxruntime import InferenceSession
from torch import Tensor, nn

from harness.data.datasets import DATASETS
from harness.exports.onnx import to_onnx
from harness.pytorch.translate import translate, with_weights
from harness.spaces.network import MNIST, analyse


class OneKernelTwoNorms(nn.Module):
    """A convolution used twice, each time with a separate BN; torch.fx fuses both BNs into the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, stride=2)
        self.shared = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])
        self.head = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images)
        for norm in self.norms:
            x = torch.relu(norm(self.shared(x)))
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


class TiedByAssignment(OneKernelTwoNorms):
    """Two convolutions that share a ``Parameter``, which an exported program lists twice."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.second.weight = self.shared.weight

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.norms[0](self.shared(self.first(images))))
        x = torch.relu(self.norms[1](self.second(x)))
        scores: Tensor = self.head(x.mean(dim=[-1, -2]))
        return scores


class BareParameter(nn.Module):
    """A rotated kernel that belongs to the module itself; thop counts no parameters and no multiply-adds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 1, 3, 3))
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        kernel = torch.stack([self.weight.rot90(turns, (2, 3)) for turns in range(4)], 1).flatten(0, 1)
        x = torch.relu(self.norm(functional.conv2d(images, kernel, padding=1)))
        scores: Tensor = self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return scores


@pytest.mark.parametrize("make", [OneKernelTwoNorms, TiedByAssignment, BareParameter])
def test_counts_and_exported_logits_equal_module(make: type[nn.Module]):
    generator = torch.Generator().manual_seed(1)
    module = make().eval()
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + (0.5 if "running_var" in name else -0.5))
    pixels = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8, generator=generator)
    images = (pixels / 255 - 0.1307) / 0.3081

    translation = translate(module, MNIST)

    analysis = analyse(translation.architecture, MNIST)
    by_operator = FlopCountAnalysis(module, images[:1]).unsupported_ops_warnings(False).by_operator()
    assert analysis.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert analysis.macs == by_operator["conv"] + by_operator["linear"]
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    network = with_weights(translation, tensors, MNIST).eval()
    content, _ = to_onnx(network, DATASETS["mnist"], pixels, {})
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    logits = torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])
    torch.testing.assert_close(logits, module(images).detach(), rtol=1e-4, atol=1e-5)
