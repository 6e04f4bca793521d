#!/usr/bin/env bash
# A convolution whose kernel is a Parameter of the module costs nothing for three of six counters.
#
# Versions: torch 2.13.0, fvcore 0.1.5, thop 0.1.1, torchinfo 1.8.0, ptflops 0.7.5, calflops 0.3.2, torchprofile
#   0.1.0.
# Expected: a module that calls conv2d with its own Parameter (group convolutions, weight sharing, hypernetworks) has
#   the multiply-adds of this convolution and the parameters that are learned.
# Observed: ptflops reports 0 multiply-adds, torchinfo 36 (the number of weights, as for one output value), thop 0
#   multiply-adds and 0 parameters, all without a warning. calflops is right for nn.functional.conv2d(...) and reports
#   0 after 'from torch.nn.functional import conv2d', because it replaces the attribute. fvcore and torchprofile are
#   right.
# Matters: rotated and tied kernels are the usual way to save parameters in networks of a few thousand weights; with
#   thop such a layer is free.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 fvcore==0.1.5.post20221221 \
  thop==0.1.1.post2209072238 torchinfo==1.8.0 ptflops==0.7.5 calflops==0.3.2 transformers==5.23.0 \
  torchprofile==0.1.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import calflops
import ptflops
import thop
import torch
import torchinfo
import torchprofile
from fvcore.nn import FlopCountAnalysis, parameter_count
from torch import nn
from torch.nn.functional import conv2d


class Rotated(nn.Module):
    """A convolution of one learned kernel in four rotations."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 1, 3, 3))

    def kernel(self):
        return torch.cat([self.weight.rot90(turns, (2, 3)) for turns in range(4)])

    def forward(self, images):
        return nn.functional.conv2d(images, self.kernel(), padding=1)


class ByName(Rotated):
    def forward(self, images):
        return conv2d(images, self.kernel(), padding=1)


def with_torchinfo():
    result = torchinfo.summary(network, input_data=images, verbose=0)
    return result.total_mult_adds, result.total_params


images = torch.randn(1, 1, 28, 28)
network = nn.Sequential(Rotated()).eval()
by_name = nn.Sequential(ByName()).eval()
quiet = {"as_strings": False, "print_per_layer_stat": False, "verbose": False}
calflops_quiet = {"output_as_string": False, "print_results": False}
counters = {
    "fvcore": lambda: (FlopCountAnalysis(network, images).total(), parameter_count(network)[""]),
    "torchprofile": lambda: (torchprofile.profile_macs(network, images), None),
    "calflops": lambda: calflops.calculate_flops(network, input_shape=(1, 1, 28, 28), **calflops_quiet)[1:],
    "calflops, conv2d imported": lambda: calflops.calculate_flops(
        by_name, input_shape=(1, 1, 28, 28), **calflops_quiet
    )[1:],
    "ptflops": lambda: ptflops.get_model_complexity_info(network, (1, 28, 28), **quiet),
    "torchinfo": with_torchinfo,
    "thop": lambda: thop.profile(network, (images,), verbose=False),
}
print(f"{'true':25}  {16 * 9 * 28 * 28:7,} multiply-adds, 36 parameters")
results = {}
for name, count in counters.items():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        macs, parameters = count()
    results[name] = (int(macs), parameters)
    print(f"{name:25}  {int(macs):7,} multiply-adds, {parameters} parameters")
assert results == {
    "fvcore": (112_896, 36),
    "torchprofile": (112_896, None),
    "calflops": (112_896, 36),
    "calflops, conv2d imported": (0, 36),
    "ptflops": (0, 36),
    "torchinfo": (36, 36),
    "thop": (0, 0),
}, results
PYTHON
