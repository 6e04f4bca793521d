#!/usr/bin/env bash
# Three packages named Muon: a convolution kernel is refused, fails, or is trained.
#
# Versions: torch 2.13.0, muon-optimizer 0.1.0, pytorch_optimizer 4.1.0.
# Expected: Muon flattens a kernel of four dimensions into a matrix, as the reference code states, and the three
#   packages give equal steps.
# Observed: for matrices the three agree. For a kernel torch.optim.Muon raises ValueError in the constructor,
#   muon-optimizer raises RuntimeError at the first step (the flattened update is subtracted from the kernel without
#   a reshape), and only pytorch_optimizer trains the kernel.
# Matters: a convolutional network has almost all weights in such kernels. With torch.optim.Muon, pass views: kernels
#   must be flattened by the user or trained by a different optimiser.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 muon-optimizer==0.1.0 \
  pytorch_optimizer==4.1.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import muon
import pytorch_optimizer
import torch
from torch import nn

makers = {
    "torch.optim.Muon": lambda weights: torch.optim.Muon(weights, lr=0.1, weight_decay=0),
    "muon-optimizer": lambda weights: muon.SingleDeviceMuon(weights, lr=0.1, weight_decay=0),
    "pytorch_optimizer": lambda weights: pytorch_optimizer.Muon([{"params": weights, "use_muon": True}], lr=0.1),
}


def outcome(make, shape):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape)
    try:
        make([weight]).step()
    except (RuntimeError, ValueError) as error:
        return type(error).__name__
    return f"step of norm {weight.norm():.2f}"


results = {name: [outcome(make, shape) for shape in ((10, 64), (8, 4, 3, 3))] for name, make in makers.items()}
for name, (matrix, kernel) in results.items():
    print(f"{name:18} 10x64: {matrix}; 8x4x3x3: {kernel}")
assert all(matrix.startswith("step of norm 0.3") for matrix, _ in results.values()), results
assert results["torch.optim.Muon"][1] == "ValueError", results
assert results["muon-optimizer"][1] == "RuntimeError", results
assert results["pytorch_optimizer"][1].startswith("step of norm 0.2"), results
PYTHON
