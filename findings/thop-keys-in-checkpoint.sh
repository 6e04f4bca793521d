#!/usr/bin/env bash
# thop leaves two tensors in the state dict of layers for which it has no rule.
#
# Versions: torch 2.13.0, thop 0.1.1.post2209072238.
# Expected: profile() removes all additions to the layers, as for Conv2d, ReLU and Linear.
# Observed: layers without a counting rule, such as Flatten, keep the buffers total_ops and total_params.
# Matters: a checkpoint that is saved after counting cannot be loaded into the same network that was not counted:
#   load_state_dict raises RuntimeError. Count a copy.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 thop==0.1.1.post2209072238
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from thop import profile
from torch import nn


def network():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 26 * 26, 10))


counted = network()
before = set(counted.state_dict())
profile(counted, (torch.randn(1, 1, 28, 28),), verbose=False)
extra = sorted(set(counted.state_dict()) - before)
print("keys added by counting:", extra)
try:
    network().load_state_dict(counted.state_dict())
    message = ""
except RuntimeError as error:
    message = str(error).splitlines()[1].strip()
print("load into a new network:", message)
assert extra == ["2.total_ops", "2.total_params"], extra
assert message.startswith("Unexpected key(s)"), message
PYTHON
