#!/usr/bin/env bash
# torch.fx fuses BN into a convolution that is used twice; the answers change silently.
#
# Versions: torch 2.13.0 (torch.fx.experimental.optimization.fuse, torch.ao.quantization.fuse_modules).
# Expected: fusing keeps the outputs to rounding. If a block is applied twice, the BN can be folded once; if a single
#   convolution has two BNs, fusing is refused.
# Observed: fuse folds the BN into the shared convolution once per use, so scale and shift apply twice, and the change
#   of the outputs exceeds the size of the outputs; with two BNs the convolution gets both. No error, no warning.
#   fuse_modules is right for the block and wrong for two BNs.
# Matters: weight-tied convolutions are common in networks of a few thousand parameters. Compare outputs after each
#   fusion, or fold BN in the exported ONNX graph, which has a node for each use (onnxsim and ONNX Runtime are right).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import copy

import torch
from torch import nn
from torch.ao.quantization import fuse_modules
from torch.fx.experimental.optimization import fuse


class Recurrent(nn.Module):
    """A block of convolution and BN, applied twice."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def block(self, values):
        return torch.relu(self.norm(self.convolution(values)))

    def forward(self, images):
        return self.block(self.block(images))


class TwoNorms(Recurrent):
    """A convolution with a separate BN for each use."""

    def __init__(self):
        super().__init__()
        self.second = nn.BatchNorm2d(4)

    def forward(self, images):
        return torch.relu(self.second(self.convolution(self.block(images))))


torch.manual_seed(0)
images = torch.randn(64, 4, 8, 8)
differences = {}
for make in (Recurrent, TwoNorms):
    network = make()
    for _ in range(20):
        network(3 * images + 1)  # statistics of BN
    network.eval()
    expected = network(images)
    for name, change in (
        ("torch.fx fuse", lambda module: fuse(module)),
        ("ao fuse_modules", lambda module: fuse_modules(copy.deepcopy(module), [["convolution", "norm"]])),
    ):
        difference = (change(network)(images) - expected).abs().max().item()
        differences[make.__name__, name] = difference
        print(f"{make.__name__:9} {name:15} largest difference {difference:.3f} (largest value {expected.max():.3f})")
assert differences["Recurrent", "torch.fx fuse"] > 0.1, differences
assert differences["TwoNorms", "torch.fx fuse"] > 0.1, differences
assert differences["Recurrent", "ao fuse_modules"] < 1e-4, differences
assert differences["TwoNorms", "ao fuse_modules"] > 0.1, differences
PYTHON
