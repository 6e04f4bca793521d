#!/usr/bin/env bash
# SequentialLR trains the first phase with the initial rate of a later OneCycleLR.
#
# Versions: torch 2.13.0.
# Expected: the first five epochs have the rate of the optimiser, 0.1, independent of the second scheduler, as with
#   CosineAnnealingLR.
# Observed: with OneCycleLR as the second scheduler the first five epochs have 0.004, because OneCycleLR overwrites the
#   rate and the initial rate of the optimiser in the constructor, and SequentialLR restarts the first scheduler from
#   this initial rate.
# Matters: a constant or warm-up phase before a cycle is a usual recipe; the training of this phase runs at 1/25 of the
#   stated rate, which no message shows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, OneCycleLR, SequentialLR


def rates(make_second):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedulers = [ConstantLR(optimizer, factor=1, total_iters=5), make_second(optimizer)]
    schedule = SequentialLR(optimizer, schedulers, milestones=[5])
    values = []
    for _ in range(15):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return values


cosine = rates(lambda optimizer: CosineAnnealingLR(optimizer, 10))
one_cycle = rates(lambda optimizer: OneCycleLR(optimizer, max_lr=0.1, total_steps=11))
print("constant 0.1, then cosine:   ", [round(value, 4) for value in cosine[:8]])
print("constant 0.1, then one cycle:", [round(value, 4) for value in one_cycle[:8]])
assert max(abs(value - 0.1) for value in cosine[:5]) < 1e-12, cosine
assert max(abs(value - 0.1 / 25) for value in one_cycle[:5]) < 1e-12, one_cycle
PYTHON
