#!/usr/bin/env bash
# ExportedProgram.parameters() of torch.export lists a tied tensor twice.
#
# Versions: torch 2.13.0.
# Expected: parameters() yields each tensor once, as nn.Module.parameters() does.
# Observed: the program has 288 parameters, the module and program.module() have 144; SGD on program.parameters()
#   moves the tied tensor twice per step.
# Matters: torch.export is the recommended way to inspect a graph, so sizes of tied networks are reported twice as
#   large. Count distinct tensors.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.second.weight = self.first.weight

    def forward(self, images):
        return self.second(torch.relu(self.first(images)))


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


torch.manual_seed(0)
network = Tied()
images = torch.randn(2, 4, 8, 8)
program = torch.export.export(network, (images,))
numbers = (count(network.parameters()), count(program.parameters()), count(program.module().parameters()))
print("parameters of the module, of the program, of program.module():", numbers)

steps = []
for parameters in (list(network.parameters()), list(program.parameters())):
    before = network.first.weight.detach().clone()
    network.zero_grad()
    network(images).square().mean().backward()
    gradient = network.first.weight.grad.clone()
    for parameter in parameters:
        parameter.grad = gradient
    torch.optim.SGD(parameters, lr=0.1).step()
    steps.append(((before - network.first.weight).norm() / gradient.norm()).item())
    with torch.no_grad():
        network.first.weight.copy_(before)
print("step of SGD / gradient, lr 0.1: module", round(steps[0], 3), "program", round(steps[1], 3))
assert numbers == (144, 288, 144), numbers
assert abs(steps[0] - 0.1) < 1e-4 and abs(steps[1] - 0.2) < 1e-4, steps
PYTHON
