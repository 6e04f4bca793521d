#!/usr/bin/env bash
# NNCF quantises the weights of the first convolution with 7 of the 8 bits; all other weights get 8 bits.
#
# Versions: NNCF 3.4.0, ONNX 1.23.2, ONNX Runtime 1.31.1.
# Expected: nncf.quantize with default options uses -127 to 127 for the weights of every layer.
# Observed: -64 to 64 in the first convolution (overflow_fix is FIRST_LAYER, for processors without VNNI, whatever
#   runs the graph), -127 to 127 elsewhere. With OverflowFix.DISABLE the first convolution has 8 bits, too.
# Matters: the rounding steps of the first weights are twice as large, and a comparison of bits per weight is not of
#   equal precision. Pass AdvancedQuantizationParameters(overflow_fix=OverflowFix.DISABLE) for integers of 32 bits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile nncf==3.4.0 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging

import nncf
import numpy as np
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from onnx import TensorProto, helper, numpy_helper

nncf.set_log_level(logging.ERROR)
rng = np.random.default_rng(0)
nodes, constants, source = [], [], "image"
for index, shape in enumerate([(8, 1, 3, 3), (8, 8, 3, 3), (10, 8, 3, 3)]):
    weights = rng.normal(0, 0.2, shape).astype(np.float32)
    constants.append(numpy_helper.from_array(weights, f"weights{index}"))
    nodes.append(helper.make_node("Conv", [source, f"weights{index}"], [f"sums{index}"], name=f"conv{index}"))
    nodes.append(helper.make_node("Relu", [f"sums{index}"], [f"map{index}"], name=f"relu{index}"))
    source = f"map{index}"
graph = helper.make_graph(
    nodes,
    "three convolutions",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 12, 12))],
    [helper.make_tensor_value_info(source, TensorProto.FLOAT, (1, 10, 6, 6))],
    constants,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
images = [{"image": rng.random((1, 1, 12, 12), dtype=np.float32)} for _ in range(20)]


def largest(**options):
    quantised = nncf.quantize(model, nncf.Dataset(images), **options)
    tensors = [numpy_helper.to_array(constant) for constant in quantised.graph.initializer]
    return [int(np.abs(array.astype(int)).max()) for array in tensors if array.dtype == np.int8 and array.ndim == 4]


default = largest()
disabled = largest(advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.DISABLE))
print("largest weight of each convolution: default", default, "OverflowFix.DISABLE", disabled)
assert default == [64, 127, 127], default
assert disabled == [127, 127, 127], disabled
PYTHON
