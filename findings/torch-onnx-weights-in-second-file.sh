#!/usr/bin/env bash
# torch.onnx.export writes 288 bytes of weights into a second file.
#
# Versions: torch 2.13.0, onnxscript 0.7.2, ONNX Runtime 1.31.1.
# Expected: a network of 150 parameters is one file, as it was with the exporter before torch 2.9; external data are
#   for models above 2 GB.
# Observed: the kernel of the second layer, 288 bytes, is in network.onnx.data; network.onnx (7 kB) cannot be loaded
#   after it was copied alone. external_data=False writes one file.
# Matters: a download, an artefact of CI or an attachment that contains only the .onnx file cannot be loaded.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 \
  onnxruntime==1.31.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io
import os
import shutil

import onnxruntime
import torch
from torch import nn


def loads(path):
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:
        return "refused: " + str(error).splitlines()[0][:90]
    return "loaded"


network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(32, 1)).eval()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    torch.onnx.export(network, (torch.zeros(1, 1, 8, 8),), "network.onnx")
    torch.onnx.export(network, (torch.zeros(1, 1, 8, 8),), "single.onnx", external_data=False)
sizes = {name: os.path.getsize(name) for name in sorted(os.listdir(".")) if ".onnx" in name}
print(sizes)
os.mkdir("elsewhere")
results = {}
for name in ("network.onnx", "single.onnx"):
    shutil.copy(name, "elsewhere")
    results[name] = loads(f"elsewhere/{name}")
    print(f"{name} alone in a folder: {results[name]}")
assert "network.onnx.data" in sizes and sizes["network.onnx.data"] < 1000, sizes
assert "single.onnx.data" not in sizes, sizes
assert results["network.onnx"].startswith("refused") and results["single.onnx"] == "loaded", results
PYTHON
