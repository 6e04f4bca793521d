#!/usr/bin/env bash
# ONNX Runtime replaces two quantisations in a row by one with the finer scale, or with a third scale.
#
# Versions: ONNX 1.23.2, ONNX Runtime 1.31.1; CPU.
# Expected: QuantizeLinear and DequantizeLinear with scale 1/4, then again with scale 1: every output is an integer, as
#   in the reference evaluator and without optimisation. In the other order the outputs are integers, too.
# Observed: by default one pair with scale 1/4 is left, in both orders, and 1.4 becomes 1.5. With equal scales of 0.02
#   and zero points 0 and 40 the pair that is left has scale 0.0169, a number that the model does not have. A MaxPool or
#   a Relu in between is enough to keep both pairs.
# Matters: a network that was trained with a coarser scale at a border of two blocks (for example 4 bits after 8 bits)
#   gets other activations than in training, without a message. The session option session.disable_double_qdq_remover =
#   1 keeps both pairs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime import GraphOptimizationLevel as Level

NUMBERS = np.array([-1.4, -0.6, -0.3, 0.3, 0.6, 1.4], np.float32)


def two_roundings(pairs, between=()):
    """Return a model that quantises to int8 and back with two pairs of scale and zero point."""
    constants, nodes, source = [], [], "x"
    for index, (scale, zero) in enumerate(pairs):
        constants.append(numpy_helper.from_array(np.array(scale, np.float32), f"scale{index}"))
        constants.append(numpy_helper.from_array(np.array(zero, np.int8), f"zero{index}"))
        rounding = [f"scale{index}", f"zero{index}"]
        nodes.append(helper.make_node("QuantizeLinear", [source, *rounding], [f"integer{index}"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"integer{index}", *rounding], [f"number{index}"]))
        source = f"number{index}"
        for operator in between if index == 0 else ():
            nodes.append(helper.make_node(operator, [source], [operator]))
            source = operator
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, NUMBERS.shape)]
    outputs = [helper.make_tensor_value_info("number1", TensorProto.FLOAT, NUMBERS.shape)]
    graph = helper.make_graph(nodes, "two roundings", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model, level=Level.ORT_ENABLE_ALL, keep="0"):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.add_session_config_entry("session.disable_double_qdq_remover", keep)
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": NUMBERS})[0]


def differs(title, model):
    """Return whether the default optimisations change the outputs."""
    reference = ReferenceEvaluator(model).run(None, {"x": NUMBERS})[0]
    default = run(model)
    print(f"{title:30} reference", *reference.round(4), "ONNX Runtime", *default.round(4))
    assert np.array_equal(run(model, level=Level.ORT_DISABLE_ALL), reference)
    assert np.array_equal(run(model, keep="1"), reference)
    return not np.array_equal(default, reference)


quarter_one = two_roundings([(0.25, 0), (1, 0)])
assert differs("1/4, then 1", quarter_one)
assert np.array_equal(run(quarter_one), [-1.5, -0.5, -0.25, 0.25, 0.5, 1.5])
assert differs("1, then 1/4", two_roundings([(1, 0), (0.25, 0)]))
assert differs("0.02, zero points 0 and 40", two_roundings([(0.02, 0), (0.02, 40)]))
assert not differs("1/4, then Relu, then 1", two_roundings([(0.25, 0), (1, 0)], between=["Relu"]))
assert not differs("1/4, then 1/4", two_roundings([(0.25, 0), (0.25, 0)]))
PYTHON
