#!/usr/bin/env bash
# PyTorch's FlopCounterMode counts the kernel gradient of a depthwise convolution as if the convolution were dense.
#
# Versions: torch 2.13.0.
# Expected: the backward pass of a convolution costs twice the forward pass, once for the gradient of the input and once
#   for the gradient of the kernel, for any number of groups: each weight meets each of its pixels once in each.
# Observed: twice for a dense convolution, three times for 2 groups, 9 times for a depthwise convolution of 8 channels
#   and 65 times for 64 channels: the kernel gradient is multiplied by the number of groups. Forward pass and gradient of
#   the input are right. Training a block of depthwise 3x3 and pointwise convolution with 64 channels counts as 10.8
#   times its forward pass in place of 3 times.
# Matters: depthwise convolutions are the usual way to a small network. Budgets of training that are counted in this way
#   charge the cheap network 3.6 times its cost. Count the forward pass alone, and multiply by 3.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def passes(network, channels):
    """Return the counted operations of the forward pass and of the backward pass for one 14x14 map."""
    image = torch.randn(1, channels, 14, 14, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        outputs = network(image)
    with FlopCounterMode(display=False) as backward:
        outputs.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


for channels, groups in ((8, 1), (8, 2), (8, 8), (64, 1), (64, 64)):
    forward, backward = passes(nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False), channels)
    products = 14 * 14 * 9 * channels * channels // groups
    print(f"{channels:2} channels, {groups:2} groups: forward {forward:9,}, backward {backward / forward:g} times")
    assert forward == 2 * products
    assert backward == forward + groups * forward

depthwise = nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False)
for parameter, gradient in ((False, "input"), (True, "input and kernel")):
    depthwise.requires_grad_(parameter)
    forward, backward = passes(depthwise, 64)
    print(f"depthwise, gradient of {gradient}: {backward / forward:g} times forward")
    assert backward == (65 if parameter else 1) * forward

block = nn.Sequential(depthwise, nn.Conv2d(64, 64, 1, bias=False))
forward, backward = passes(block, 64)
ratio = (forward + backward) / forward
print(f"training the block: {ratio:.2f} times forward, {ratio / 3:.2f} times the cost")
assert 10 < ratio < 12
PYTHON
