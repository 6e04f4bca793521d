#!/usr/bin/env bash
# Seven counters give six numbers of multiply-adds for a convolution with bias and BN.
#
# Versions: torch 2.13.0, fvcore 0.1.5, thop 0.1.1, torchinfo 1.8.0, ptflops 0.7.5, calflops 0.3.2, torchprofile
#   0.1.0.
# Expected: the counters agree on the multiply-adds of one 3x3 convolution, 56,448, and differ at most in one rule for
#   the bias and for BN.
# Observed: six different totals from 56,448 to 81,536. BN costs 0 (torch, calflops), 16 (torchinfo: its parameters),
#   6,272 (torchprofile), 12,544 (fvcore, ptflops) or 25,088 (thop); the bias costs 0 or 6,272 (torchinfo, ptflops).
#   In a network of few channels the surplus is 44 %.
# Matters: in small networks BN and biases are a large part of the total, so published multiply-adds compare only
#   within one counter. Compare the kernels alone.
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
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

images = torch.randn(1, 1, 28, 28)
network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)).eval()


def torch_counter():
    with FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() // 2


quiet = {"as_strings": False, "print_per_layer_stat": False, "verbose": False}
calflops_quiet = {"output_as_string": False, "print_results": False}
counters = {
    "torch (flops / 2)": torch_counter,
    "calflops (MACs)": lambda: calflops.calculate_flops(network, input_shape=(1, 1, 28, 28), **calflops_quiet)[1],
    "torchprofile": lambda: torchprofile.profile_macs(network, images),
    "torchinfo": lambda: torchinfo.summary(network, input_data=images, verbose=0).total_mult_adds,
    "fvcore": lambda: FlopCountAnalysis(network, images).total(),
    "ptflops": lambda: ptflops.get_model_complexity_info(network, (1, 28, 28), **quiet)[0],
    "thop": lambda: thop.profile(network, (images,), verbose=False)[0],
}
kernel = 8 * 9 * 28 * 28
counts = {}
for name, count in counters.items():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        counts[name] = int(count())
for name, number in counts.items():
    print(f"{name:18} {number:7,} = kernel {kernel:,} + {number - kernel:,}")
assert list(counts.values()) == [56_448, 56_448, 62_720, 62_736, 68_992, 75_264, 81_536], counts
PYTHON
