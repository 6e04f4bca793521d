#!/usr/bin/env bash
# NNCF cannot quantise a torch.nn.Sequential: the storage of its hooks becomes a layer of the sequence.
#
# Versions: NNCF 3.4.0, torch 2.13.0.
# Expected: nncf.quantize accepts every traceable module, such as a Sequential of three layers.
# Observed: NotImplementedError: Module [HookStorage] is missing the required "forward" function. NNCF registers the
#   storage as a child of the model, and Sequential calls all children. The same layers inside another module can be traced.
# Matters: a Sequential is the usual form of a small network, and the message names neither the cause nor the remedy.
#   Wrap the Sequential in a module whose forward calls it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile nncf==3.4.0 torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging

import nncf
import torch
from torch import nn

nncf.set_log_level(logging.ERROR)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = layers()

    def forward(self, images):
        return self.layers(images)


def layers():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 10, 3))


def graph_error(model):
    # The first step of nncf.quantize; the remaining steps compile a C++ extension.
    model = nncf.torch.function_hook.wrap_model(model.eval())
    try:
        nncf.torch.function_hook.nncf_graph.nncf_graph_builder.build_nncf_graph(model, torch.zeros(1, 1, 9, 9))
    except NotImplementedError as error:
        return str(error)
    return "no error"


try:
    nncf.quantize(layers().eval(), nncf.Dataset([torch.rand(1, 1, 9, 9)]))
except NotImplementedError as error:
    result = str(error)
else:
    result = "no error"
print("Sequential:", result)
wrapped = graph_error(Wrapped())
print("Sequential inside a module (trace only):", wrapped)
assert "HookStorage" in result, result
assert wrapped == "no error", wrapped
PYTHON
