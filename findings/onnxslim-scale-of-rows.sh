#!/usr/bin/env bash
# onnxslim takes a factor for each row or column of a square map for a factor of each channel.
#
# Versions: onnxslim 0.1.98, ONNX 1.23.2, ONNX Runtime 1.31.1.
# Expected: a Mul by a constant of shape (8,) or (8, 1) after a convolution with 8 channels and maps of 8x8 multiplies
#   columns or rows, by the rules of broadcasting; onnxslim.slim keeps the outputs, as ONNX Runtime does.
# Observed: slim multiplies the kernels of the 8 channels by the 8 factors and removes the Mul. With a factor of 2 for
#   the first row (column), 56 positions of channel 0 are doubled and 56 positions of the first rows (columns) are not.
#   There is no message. Shape (8, 1, 1) is right, and so is a bias of shape (8,) or (8, 1).
# Matters: a position mask or window after a convolution, whose side equals the number of channels, becomes a scale of
#   channels. Pass skip_fusion_patterns=["FusionConvMul"], or write the factors with shape (1, 1, 8, 8).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnxslim==0.1.98 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
KERNELS = rng.normal(0, 1, (8, 1, 3, 3)).astype(np.float32)
IMAGE = rng.normal(0, 1, (1, 1, 10, 10)).astype(np.float32)
FACTORS = np.array([2, 1, 1, 1, 1, 1, 1, 1], np.float32)


def scaled_convolution(operator, constant):
    """Return a convolution from 10x10 to 8 maps of 8x8, followed by Mul or Add of a constant."""
    constants = [numpy_helper.from_array(KERNELS, "kernels"), numpy_helper.from_array(constant, "constant")]
    nodes = [
        helper.make_node("Conv", ["image", "kernels"], ["maps"]),
        helper.make_node(operator, ["maps", "constant"], ["scaled"]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE.shape)]
    outputs = [helper.make_tensor_value_info("scaled", TensorProto.FLOAT, (1, 8, 8, 8))]
    graph = helper.make_graph(nodes, "scaled convolution", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": IMAGE})[0]


def differing(operator, shape, **options):
    """Return the number of outputs that onnxslim changes."""
    model = scaled_convolution(operator, FACTORS.reshape(shape))
    before = run(model)
    slim = onnxslim.slim(model, **options)
    changed = int((~np.isclose(before, run(slim), atol=1e-4)).sum())
    print(operator, shape, options, "->", *[node.op_type for node in slim.graph.node], f"differing {changed} of 512")
    return changed


assert differing("Mul", (8,)) == 112
assert differing("Mul", (8, 1)) == 112
assert differing("Mul", (8, 1), skip_fusion_patterns=["FusionConvMul"]) == 0
assert differing("Mul", (8, 1, 1)) == 0
assert differing("Add", (8,)) == 0
assert differing("Add", (8, 1)) == 0
PYTHON
