#!/usr/bin/env bash
# torch-pruning: a pruning ratio of 0.9 for layers of 8 channels prunes nothing, without a message.
#
# Versions: torch-pruning 1.6.1, torch 2.13.0.
# Expected: at most the ratio is pruned, and at least one channel stays: 0.3 leaves 6 of 8 channels, 0.9 leaves 1; the
#   number of steps (iterative_steps) does not change the final size.
# Observed: the number of channels is rounded down: 0.3 leaves 5 (37.5 % pruned), 0.05 leaves 7 (12.5 %). If it is
#   rounded to 0 the layer is left out: 0.9 in one step leaves 8, 0.85 leaves 1, and 0.9 in five steps leaves 2.
# Matters: in networks with few channels the size rises from 1 to 8 channels when the ratio rises, so a search over
#   ratios sees a jump. Pass channel counts (pruning_ratio_dict with 1 - n / 8), and check the sizes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 torch-pruning==1.6.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torch_pruning
from torch import nn


def channels(ratio, steps):
    """Return the channels that remain of two layers of 8 channels."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    pruner = torch_pruning.pruner.BasePruner(
        network,
        torch.zeros(1, 1, 28, 28),
        importance=torch_pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=ratio,
        ignored_layers=[network[-1]],
        iterative_steps=steps,
    )
    for _ in range(steps):
        pruner.step()
    return network[0].out_channels, network[2].out_channels


remaining = {(ratio, steps): channels(ratio, steps) for ratio in (0.05, 0.3, 0.5, 0.85, 0.9) for steps in (1, 5)}
for (ratio, steps), counts in remaining.items():
    print(f"ratio {ratio} in {steps} steps: {counts} of 8 channels remain")
assert remaining[0.5, 1] == (4, 4), remaining
assert remaining[0.05, 1] == (7, 7), remaining
assert remaining[0.3, 1] == (5, 5), remaining
assert remaining[0.85, 1] == (1, 1), remaining
assert remaining[0.9, 1] == (8, 8), remaining
assert remaining[0.9, 5] == (2, 2), remaining
PYTHON
