#!/usr/bin/env bash
# QuantizeLinear divides in ONNX Runtime and multiplies by the reciprocal in three other runtimes.
#
# Versions: onnx 1.23.2, ONNX Runtime 1.31.1, OpenVINO 2026.4.1, tract 0.23.9, tinygrad 0.14.0; CPU.
# Expected: QuantizeLinear is defined as a division, and a compiler keeps divisions by values other than powers of
#   two.
# Observed: OpenVINO, tract and tinygrad agree with the product by the rounded reciprocal in all values; near a half
#   the answer differs by one step (30 of 5,101 evenly spaced values with scale 0.02). Reference and ONNX Runtime
#   divide.
# Matters: the first operator of a quantised network sees pixels, a few hundred different values; those on a half move
#   by one step in every image, so logits differ between runtimes although every convolution is exact.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6 openvino==2026.4.1 \
  tract==0.23.9 tinygrad==0.14.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
import tract
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tinygrad import Tensor
from tinygrad.nn.onnx import OnnxRunner


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


def with_tinygrad(built, feed):
    onnx.save(built, "model.onnx")
    answers = OnnxRunner("model.onnx")({name: Tensor(value) for name, value in feed.items()})
    return next(iter(answers.values())).numpy()


scale = np.float32(0.02)
values = (np.arange(-2550, 2551) * (scale / np.float32(20))).astype(np.float32)
node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
types = [("x", TensorProto.FLOAT, [values.size])], ("y", TensorProto.INT8, [values.size])
built = model(node, *types, {"scale": scale, "zero": np.int8(0)})
quotient = np.clip(np.rint(values / scale), -128, 127)
product = np.clip(np.rint(values * (np.float32(1) / scale)), -128, 127)
differing = {}
for run in (with_reference, with_onnxruntime, with_tract, with_openvino, with_tinygrad):
    name = run.__name__.removeprefix("with_")
    answer = run(built, {"x": values})
    differing[name] = (int((answer != quotient).sum()), int((answer != product).sum()))
    print(f"{name:11} of {values.size:,} values {differing[name][0]:2} differ from round(x / scale),", end=" ")
    print(f"{differing[name][1]:2} from round(x * (1 / scale))")
assert differing["reference"][0] == differing["onnxruntime"][0] == 0, differing
assert all(differing[name][0] > 0 and differing[name][1] == 0 for name in ("tract", "openvino", "tinygrad")), differing
PYTHON
