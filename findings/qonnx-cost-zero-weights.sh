#!/usr/bin/env bash
# QONNX' inference_cost leaves weights of zero out of multiply-adds and memory.
#
# Versions: qonnx 1.0.0, onnx 1.23.2.
# Expected: the cost of a dense convolution depends on its shape: 8 kernels of 3x3 over 6x6 positions have 2,592
#   multiply-adds and 72 weights.
# Observed: with half of the weights zero, total_macs is 1,296 and total_mem_w_elems is 36. discount_sparsity is True by
#   default; with False the numbers are 2,592 and 72.
# Matters: weights of few bits have many zeros, so the same network becomes cheaper with coarser rounding although no
#   dense kernel skips a zero and every zero is stored. Pass discount_sparsity=False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile qonnx==1.0.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from qonnx.util.inference_cost import inference_cost

weights = np.ones((8, 1, 3, 3), np.float32)
weights[:4] = 0
node = helper.make_node(
    "Conv", ["images", "weights"], ["maps"], kernel_shape=[3, 3], group=1, pads=[0] * 4, strides=[1, 1], dilations=[1, 1]
)
graph = helper.make_graph(
    [node],
    "convolution",
    [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 1, 8, 8])],
    [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, 8, 6, 6])],
    [numpy_helper.from_array(weights, "weights")],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "convolution.onnx")
costs = {}
for options in ({}, {"discount_sparsity": False}):
    cost = inference_cost("convolution.onnx", **options)["total_cost"]
    costs[tuple(options)] = (cost["total_macs"], cost["total_mem_w_elems"])
    print(options or "default", "multiply-adds and weights:", costs[tuple(options)])
assert costs[()] == (1296, 36), costs
assert costs["discount_sparsity",] == (2592, 72), costs
PYTHON
