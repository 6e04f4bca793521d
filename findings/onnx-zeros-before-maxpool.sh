#!/usr/bin/env bash
# ONNX Runtime 1.31.1 and onnxoptimizer move a border of zeros into the MaxPool, which then ignores the zeros.
#
# Versions: onnxoptimizer 0.4.2, ONNX 1.23.2, ONNX Runtime 1.31.1 and 1.32.0; CPU.
# Expected: Pad with zeros, then MaxPool: the zeros take part in the maximum, as without optimisation. The default
#   optimisations of a session and the default passes of onnxoptimizer.optimize keep the outputs.
# Observed: Pad and MaxPool become a MaxPool with pads, which count as minus infinity: over a map of -1 the windows at
#   the border give -1 in place of 0 (12 of 16). ONNX Runtime 1.32.0 keeps the Pad. onnxoptimizer also merges a Pad with
#   an AveragePool that has pads and count_include_pad=0, and then counts those pads: 0.11 in place of 0.25.
# Matters: padded maps of both signs (before a ReLU, or after a leaky or hard-swish activation) have maxima in the
#   runtime that differ from PyTorch, without a message. Pool after the ReLU, update ONNX Runtime, or leave out the pass
#   fuse_pad_into_pool of onnxoptimizer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnxoptimizer==0.4.2 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$folder"
cat > program.py <<'PYTHON'
import numpy as np
import onnxoptimizer
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import GraphOptimizationLevel as Level


def padded_pool(operator, **attributes):
    """Return a model that adds a border of zeros to a 4x4 map and pools windows of 3x3."""
    border = numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "border")
    pool = helper.make_node(operator, ["padded"], ["pooled"], kernel_shape=[3, 3], **attributes)
    inputs = [helper.make_tensor_value_info("map", TensorProto.FLOAT, (1, 1, 4, 4))]
    outputs = [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, (1, 1, None, None))]
    nodes = [helper.make_node("Pad", ["map", "border"], ["padded"]), pool]
    graph = helper.make_graph(nodes, operator, inputs, outputs, [border])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model, image, level=Level.ORT_DISABLE_ALL):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"map": image})[0][0, 0]


def report(title, model, image):
    """Print an output of each optimisation, and return the numbers of outputs that differ from none."""
    outputs = [run(model, image), run(model, image, Level.ORT_ENABLE_ALL), run(onnxoptimizer.optimize(model), image)]
    differing = [int((outputs[0] != output).sum()) for output in outputs[1:]]
    values = " ".join(f"{output[0, 0]:5.2f}" for output in outputs)
    print(f"{onnxruntime.__version__}, {title:34} none, ONNX Runtime, onnxoptimizer: {values}, differing {differing}")
    return differing


ones = np.ones((1, 1, 4, 4), np.float32)
inner_pads = padded_pool("AveragePool", count_include_pad=0, pads=[1, 1, 1, 1])
corrected = onnxruntime.__version__ == "1.32.0"
assert report("MaxPool of -1", padded_pool("MaxPool"), -ones) == [0 if corrected else 12, 12]
assert report("MaxPool of 1", padded_pool("MaxPool"), ones) == [0, 0]
assert report("AveragePool of 1", padded_pool("AveragePool"), ones) == [0, 0]
assert report("AveragePool of 1, with inner pads", inner_pads, ones) == [0, 20]
PYTHON
"$folder/venv/bin/python" -W ignore program.py
"$folder/venv/bin/pip" install --quiet --no-compile onnxruntime==1.32.0
"$folder/venv/bin/python" -W ignore program.py
