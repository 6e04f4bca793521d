#!/usr/bin/env bash
# ptflops and calflops leave the counted network in evaluation mode.
#
# Versions: torch 2.13.0, ptflops 0.7.5, calflops 0.3.2, torchinfo 1.8.0.
# Expected: a function that counts returns the network as it was; torchinfo does.
# Observed: after get_model_complexity_info and calculate_flops the network is in evaluation mode. A training loop
#   that called train() before, or that never calls train() because new modules train by default, then trains without
#   dropout, and BN normalises with its initial statistics.
# Matters: the usual place of a counter is directly before the training loop. The accuracy of a small network falls
#   without any message. Call network.train() after counting, or count a copy.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 ptflops==0.7.5 calflops==0.3.2 \
  transformers==5.23.0 torchinfo==1.8.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import calflops
import ptflops
import torch
import torchinfo
from torch import nn

quiet = {"as_strings": False, "print_per_layer_stat": False, "verbose": False}
calflops_quiet = {"output_as_string": False, "print_results": False}
counters = {
    "torchinfo": lambda network: torchinfo.summary(network, (1, 1, 28, 28), verbose=0),
    "ptflops": lambda network: ptflops.get_model_complexity_info(network, (1, 28, 28), **quiet),
    "calflops": lambda network: calflops.calculate_flops(network, input_shape=(1, 1, 28, 28), **calflops_quiet),
}
for name, count in counters.items():
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten())
    network.train()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        count(network)
    is_training = network.training
    network(torch.randn(64, 1, 28, 28) + 5)  # a step of training, without a further call of train()
    batches = int(network[1].num_batches_tracked)
    print(f"{name:10} training={is_training}, batches in the statistics of BN after one step: {batches}")
    assert (is_training, batches) == ((True, 1) if name == "torchinfo" else (False, 0)), name
PYTHON
