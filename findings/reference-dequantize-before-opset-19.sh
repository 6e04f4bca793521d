#!/usr/bin/env bash
# The reference evaluator of onnx runs no quantised model of opset 10 to 18.
#
# Versions: onnx 1.23.2, ONNX Runtime 1.31.1; CPU.
# Expected: the reference evaluator has every operator of every opset; QuantizeLinear and DequantizeLinear exist since
#   opset 10, and the checker accepts the models.
# Observed: from opset 10 to 18 DequantizeLinear has no implementation (RuntimeError); from 19 on the evaluator gives
#   the values of ONNX Runtime, which runs all of these opsets. The nodes of the model are the same.
# Matters: many quantised models have an opset from 13 to 18. To compare one of them with the reference, set the opset
#   to 19: the meaning of these two operators is unchanged for 8-bit integers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def model(opset):
    """Return a checked model that dequantises, doubles and quantises four bytes."""
    constants = {"scale": np.float32(0.5), "zero": np.uint8(2)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["real"]),
        helper.make_node("Add", ["real", "real"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "scale", "zero"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.UINT8, [4]) for name in "xy")
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    built = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    onnx.checker.check_model(built, full_check=True)
    return built


numbers = np.array([0, 1, 5, 200], np.uint8)
refused = []
for opset in range(10, 22):
    built = model(opset)
    session = onnxruntime.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": numbers})[0].tolist()
    try:
        answer = ReferenceEvaluator(built).run(None, {"x": numbers})[0].tolist()
        assert answer == expected, (opset, answer, expected)
    except RuntimeError as error:
        refused.append(opset)
        answer = str(error)[:60]
    print(f"opset {opset}: ONNX Runtime {expected}, reference {answer}")
assert refused == list(range(10, 19)), refused
PYTHON
