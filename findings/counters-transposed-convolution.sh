#!/usr/bin/env bash
# torchinfo and thop count a ConvTranspose2d of stride 2 as four times its multiply-adds.
#
# Versions: torch 2.13.0, torchinfo 1.8.0, thop 0.1.1.post2209072238, fvcore 0.1.5.post20221221.
# Expected: each input pixel is multiplied with the kernel once, so the count is input pixels * kernel weights; fvcore
#   and torch's FlopCounterMode agree with the products of a plain loop over the input pixels.
# Observed: torchinfo and thop multiply the weights by the output pixels, as for a convolution: 4 times too many if
#   stride 2 doubles the size of the maps, 16 times for stride 4.
# Matters: decoders, generators and segmentation networks appear four times as expensive as they are, and equal to
#   up-sampling followed by a convolution with the same kernel, which has four times the products. A search with a limit
#   on multiply-adds discards such networks. Use fvcore or FlopCounterMode.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 torchinfo==1.8.0 \
  thop==0.1.1.post2209072238 fvcore==0.1.5.post20221221
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import thop
import torch
import torchinfo
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

CHANNELS = (16, 8)
SIZE = 7


def products(layer, image):
    """Return the number of multiply-adds of a loop over input pixels, after a check of its result."""
    kernel = layer.weight.detach()  # inputs, outputs, rows, columns
    result = torch.zeros_like(layer(image)[0])
    stride, size = layer.stride[0], layer.kernel_size[0]
    count = 0
    for row in range(SIZE):
        for column in range(SIZE):
            patch = torch.einsum("i,ioyx->oyx", image[0, :, row, column], kernel)
            count += kernel.numel()
            top, left = row * stride, column * stride
            result[:, top : top + size, left : left + size] += patch
    assert torch.allclose(result, layer(image)[0], atol=1e-4)
    return count


def counts(module, image):
    with FlopCounterMode(display=False) as counter:
        module(image)
    return {
        "torchinfo": torchinfo.summary(module, input_data=image, verbose=0).total_mult_adds,
        "fvcore": int(FlopCountAnalysis(module, image).total()),
        "FlopCounterMode": counter.get_total_flops() // 2,
        "thop": int(thop.profile(module, (image,), verbose=False)[0]),
    }


image = torch.randn(1, CHANNELS[0], SIZE, SIZE)
for kernel, stride in ((3, 1), (2, 2), (4, 4)):
    layer = nn.ConvTranspose2d(*CHANNELS, kernel, stride, bias=False)
    exact = products(layer, image)
    pixels = layer(image)[0, 0].numel()
    found = counts(nn.Sequential(layer), image)
    print(f"kernel {kernel}, stride {stride}: {exact} products; {found}")
    assert found["fvcore"] == found["FlopCounterMode"] == exact
    assert found["torchinfo"] == found["thop"] == layer.weight.numel() * pixels
    if kernel == stride:
        assert found["thop"] == stride**2 * exact
PYTHON
