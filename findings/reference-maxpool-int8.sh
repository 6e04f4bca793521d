#!/usr/bin/env bash
# The reference evaluator of onnx cannot run MaxPool of int8 with overlapping windows.
#
# Versions: onnx 1.23.2, ONNX Runtime 1.31.1.
# Expected: MaxPool accepts int8 and uint8 since opset 12, and the reference evaluator runs each operator of the
#   standard for each type.
# Observed: uint8 works, and int8 works with windows that do not overlap; int8 with stride 1 raises ValueError (cannot
#   convert float NaN to integer), because the evaluator begins each maximum with NaN.
# Matters: networks for chips are quantised to int8, and their exports are tested against the reference evaluator. Use
#   uint8 or another evaluator for overlapping pooling.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def model(node, inputs, output, constants):
    """Return a checked model of one node; inputs and output are (name, type, shape)."""
    values = [helper.make_tensor_value_info(*each) for each in (*inputs, output)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([node], "g", values[:-1], values[-1:], tensors)
    built = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(built)
    return built


def with_reference(built, feed):
    return ReferenceEvaluator(built).run(None, feed)[0]


def with_onnxruntime(built, feed):
    session = onnxruntime.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


results = {}
for kind, stride in ((np.int8, 2), (np.int8, 1), (np.uint8, 1)):
    values = np.array([[[[3, 2, 1], [4, 5, 6], [9, 8, 7]]]], kind)
    name = np.dtype(kind).name
    edge = 3 - stride
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[stride, stride])
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    built = model(node, [("x", code, [1, 1, 3, 3])], ("y", code, [1, 1, edge, edge]), {})
    for run in (with_onnxruntime, with_reference):
        try:
            answer = run(built, {"x": values}).ravel().tolist()
        except ValueError as error:
            answer = f"ValueError: {error}"
        evaluator = run.__name__.removeprefix("with_")
        results[evaluator, name, stride] = answer
        print(f"{name:5} stride {stride} {evaluator:11} {answer}")
assert results["onnxruntime", "int8", 1] == results["onnxruntime", "uint8", 1] == [5, 6, 9, 8], results
assert results["reference", "uint8", 1] == [5, 6, 9, 8], results
assert results["reference", "int8", 2] == results["onnxruntime", "int8", 2] == [5], results
assert "NaN" in results["reference", "int8", 1], results
PYTHON
