#!/usr/bin/env bash
# The reference evaluator of onnx rounds QLinearConv by another rule than its own QuantizeLinear.
#
# Versions: onnx 1.23.2, ONNX Runtime 1.31.1, OpenVINO 2026.4.1, tract 0.23.9; CPU.
# Expected: the reference evaluator is the standard, and a backend that equals it is right; QLinearConv rounds as
#   QuantizeLinear does, round half to even, then plus the zero point.
# Observed: with an odd zero point the reference evaluator and OpenVINO round the sum that already contains the zero
#   point; ONNX Runtime and tract add it afterwards. Every value on a half differs, with power-of-two scales one of
#   eight.
# Matters: integer exports are checked against the reference evaluator. A difference of one step says nothing about
#   the export before the zero points are even.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6 openvino==2026.4.1 \
  tract==0.23.9
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
import tract
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


def with_tract(built, feed):
    onnx.save(built, "model.onnx")
    runnable = tract.onnx().load("model.onnx").into_model().into_runnable()
    return runnable.run(list(feed.values()))[0].to_numpy()


def with_openvino(built, feed):
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(built.SerializeToString(), b""), "CPU")
    return compiled(feed)[compiled.output(0)]


generator = np.random.default_rng(0)
images = generator.integers(0, 256, (1, 8, 16, 16)).astype(np.uint8)
kernel = generator.integers(-1, 2, (8, 8, 1, 1)).astype(np.int8)
names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"]
types = [("x", TensorProto.UINT8, list(images.shape))], ("y", TensorProto.UINT8, list(images.shape))
constants = {"x_scale": np.float32(0.5), "x_zero": np.uint8(128), "w": kernel, "w_scale": np.float32(0.5)}
constants |= {"w_zero": np.int8(0), "y_scale": np.float32(2)}
sums = np.einsum("oi,nihw->nohw", kernel[:, :, 0, 0].astype(int), images.astype(int) - 128) / 8
print(f"{(sums % 1 == 0.5).sum()} of {sums.size} sums are halfway between two integers")
results = {}
for zero in (130, 131):
    built = model(helper.make_node("QLinearConv", names, ["y"]), *types, {**constants, "y_zero": np.uint8(zero)})
    first = np.clip(np.rint(sums) + zero, 0, 255)
    last = np.clip(np.rint(sums + zero), 0, 255)
    for run in (with_onnxruntime, with_tract, with_reference, with_openvino):
        name = run.__name__.removeprefix("with_")
        answer = run(built, {"x": images})
        results[name, zero] = (int((answer != first).sum()), int((answer != last).sum()))
        print(f"zero point {zero} {name:11} values that differ from round(s) + zero: {results[name, zero][0]}", end=" ")
        print(f"and from round(s + zero): {results[name, zero][1]}")
assert all(results[name, 131][0] == 0 for name in ("onnxruntime", "tract")), results
assert all(results[name, 131][0] > 100 and results[name, 131][1] == 0 for name in ("reference", "openvino")), results
assert all(results[name, 130] == (0, 0) for name in ("onnxruntime", "tract", "reference", "openvino")), results
PYTHON
