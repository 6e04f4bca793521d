#!/usr/bin/env bash
# A tied tensor is a single parameter of an exported module, and two parameters after torch.export.save and load.
#
# Versions: torch 2.13.0.
# Expected: program.module() of a loaded program equals the module before saving: a single Parameter with two names.
# Observed: the loaded module has two Parameter objects with the same storage, so sizes double. Only the first of the
#   two is part of the graph; the second has no gradient. After a change of type, .double(), the storage is no longer
#   shared: the unused name keeps the old values during training. The outputs are equal at first.
# Matters: the size of a loaded network is wrong, and a checkpoint of the converted and trained module holds old and
#   new values of the same tensor. Tie the names again after loading (module.first.weight = module.second.weight).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, batch):
        return self.second(torch.relu(self.first(batch)))


def changes(module):
    """Return the largest change of each name in one step of SGD in double precision."""
    module = module.double()
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    module(batch.double()).square().sum().backward()
    optimizer.step()
    return {name: (tensor - start[name]).abs().max().item() for name, tensor in module.state_dict().items()}


torch.manual_seed(0)
batch = torch.randn(8, 4)
program = torch.export.export(Network(), (batch,))
torch.export.save(program, "program.pt2")
modules = {"before saving": program.module(), "after loading": torch.export.load("program.pt2").module()}
outputs = [module(batch) for module in modules.values()]
assert torch.equal(*outputs)
sizes = {}
steps = {}
for name, module in modules.items():
    sizes[name] = sum(tensor.numel() for tensor in module.parameters())
    steps[name] = changes(module)
    print(f"{name}: {sizes[name]} parameters;", end=" ")
    print("changes in one step:", {key: round(value, 4) for key, value in steps[name].items()})
assert sizes == {"before saving": 16, "after loading": 32}, sizes
assert min(steps["before saving"].values()) > 0, steps
assert min(steps["after loading"].values()) == 0 < max(steps["after loading"].values()), steps
PYTHON
