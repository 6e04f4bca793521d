#!/usr/bin/env bash
# loss-landscapes: alternate rows of a plane are shifted by a step, and a line leaves out the start.
#
# Versions: loss-landscapes 3.0.6, torch 2.13.0.
# Expected: planar_interpolation evaluates a grid of steps x steps points: entry (i, j) lies i steps along the first
#   direction and j along the second. linear_interpolation begins at the first model and ends at the second.
# Observed: rows with an even index hold the second coordinates 1 to 5, rows with an odd index 0 to 4, for 5 steps. A
#   surface that depends on the second direction alone has different rows. The line holds steps 1 to 5.
# Matters: a contour plot of the loss around a network has ridges that the loss does not have, and the barrier between
#   two networks is computed without the loss of the first. Shift every second row, and evaluate the start separately.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 loss-landscapes==3.0.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import loss_landscapes
import numpy as np
import torch
from loss_landscapes.metrics import Metric
from torch import nn

STEPS = 5


class Point(nn.Module):
    """A module with two weights, the coordinates of a point."""

    def __init__(self, first, second):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([float(first), float(second)]))


class Coordinate(Metric):
    """The value of a weight as a loss."""

    def __init__(self, index):
        super().__init__()
        self.index = index

    def __call__(self, wrapper):
        return wrapper.modules[0].weights[self.index].item()


origin = Point(0, 0)
right = Point(STEPS, 0)
top = Point(0, STEPS)
line = loss_landscapes.linear_interpolation(origin, top, Coordinate(1), steps=STEPS, deepcopy_model=True)
first, second = (
    loss_landscapes.planar_interpolation(origin, right, top, Coordinate(index), steps=STEPS, deepcopy_model=True)
    for index in (0, 1)
)
print("line:", line)
print("plane, first coordinate:", first, sep="\n")
print("plane, second coordinate:", second, sep="\n")
assert np.allclose(line, [1, 2, 3, 4, 5]), line
assert np.allclose(first, np.arange(STEPS)[:, None]), first
assert np.allclose(second[::2], [1, 2, 3, 4, 5]), second
assert np.allclose(second[1::2], [0, 1, 2, 3, 4]), second
assert origin.weights.tolist() == [0, 0]
PYTHON
