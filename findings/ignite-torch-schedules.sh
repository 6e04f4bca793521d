#!/usr/bin/env bash
# ignite's LRScheduler changes the rates of most PyTorch schedules, for the whole training with a warm-up.
#
# Versions: torch 2.13.0, pytorch-ignite 0.5.5.
# Expected: LRScheduler(schedule), attached to ITERATION_STARTED as in its documentation, gives the rates of the same
#   schedule in a PyTorch loop; StepLR and LambdaLR do.
# Observed: LinearLR from a tenth of the rate begins at a hundredth and ends at a tenth, where it stays; ConstantLR with
#   factor 0.5 ends at half of the rate. The first rate of CosineAnnealingLR is above the maximum, and ExponentialLR is
#   one step ahead. The wrapper calls get_lr() at step 0, where PyTorch's recursive schedules have already changed the
#   rate of the optimiser.
# Matters: a warm-up by LinearLR is usual; the training that follows runs at a tenth of the stated rate, which no message
#   shows. Use ignite's own schedulers or create_lr_scheduler_with_warmup.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 pytorch-ignite==0.5.5
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from ignite.engine import Engine, Events
from ignite.handlers import LRScheduler
from torch import nn
from torch.optim import lr_scheduler as schedules

STEPS = 12


def by_torch(make):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = make(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def by_ignite(make):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    rates = []
    trainer = Engine(lambda engine, batch: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.add_event_handler(Events.ITERATION_STARTED, LRScheduler(make(optimizer)))
    trainer.run([0] * STEPS, max_epochs=1)
    return rates


makers = {
    "StepLR": lambda optimizer: schedules.StepLR(optimizer, 5),
    "LambdaLR": lambda optimizer: schedules.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "LinearLR": lambda optimizer: schedules.LinearLR(optimizer, 0.1, 1.0, 5),
    "ConstantLR": lambda optimizer: schedules.ConstantLR(optimizer, 0.5, 4),
    "CosineAnnealingLR": lambda optimizer: schedules.CosineAnnealingLR(optimizer, STEPS),
    "ExponentialLR": lambda optimizer: schedules.ExponentialLR(optimizer, 0.9),
}
rates = {name: (by_torch(make), by_ignite(make)) for name, make in makers.items()}
for name, (torch_rates, ignite_rates) in rates.items():
    shown = [" ".join(f"{rate:.4f}" for rate in (values[0], values[1], values[-1])) for values in rates[name]]
    print(f"{name:18} first, second, last: torch {shown[0]}, ignite {shown[1]}")
for name in ("StepLR", "LambdaLR"):
    assert max(abs(a - b) for a, b in zip(*rates[name])) < 1e-12, name
assert abs(rates["LinearLR"][1][-1] - 0.01) < 1e-12, rates["LinearLR"]
assert abs(rates["ConstantLR"][1][-1] - 0.05) < 1e-12, rates["ConstantLR"]
assert rates["CosineAnnealingLR"][1][0] > 0.1 + 1e-6, rates["CosineAnnealingLR"]
assert abs(rates["ExponentialLR"][1][0] - 0.09) < 1e-12, rates["ExponentialLR"]
PYTHON
