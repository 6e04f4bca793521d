#!/usr/bin/env bash
# The opset converter of onnx keeps the name of a Softmax, Hardmax or Resize and changes the values of the output.
#
# Versions: onnx 1.23.2, ONNX Runtime 1.31.1 (runs each opset by the rules of this opset); CPU.
# Expected: convert_version keeps the values of each operator, inserts nodes if the meaning of an attribute changed, as
#   for Softmax from opset 12 to 13, or refuses.
# Observed: Softmax and LogSoftmax over channels, taken from opset 13 to 12, keep axis=1, which in opset 12 spans all
#   following axes: the probabilities of a pixel no longer add up to 1, the probabilities of the whole image do. Hardmax
#   changes in the upward direction, and a linear Resize or Upsample, taken to opset 11, samples different positions
#   (the new default half_pixel instead of asymmetric). The checker accepts all results. There is no message.
# Matters: converters for chips often read opset 11 or 12 only, and the downgrade is the step between. Shapes are equal,
#   so only a comparison of values shows the error. Put the axis last before the downgrade (transpose).
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
from onnx import TensorProto, helper, numpy_helper, version_converter

image = np.random.default_rng(0).normal(0, 1, (1, 4, 3, 3)).astype(np.float32)


def build(operator, opset, attributes, scales):
    """Return a checked model of a single operator on the image."""
    size = [1, 4, 6, 6] if scales else [1, 4, 3, 3]
    constants = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")] if scales else []
    node = helper.make_node(operator, ["x", "scales"] if scales else ["x"], ["y"], **attributes)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 3, 3])]
    graph = helper.make_graph(
        [node], "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, size)], constants
    )
    built = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    onnx.checker.check_model(built, full_check=True)
    return built


def run(built):
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(built.SerializeToString(), providers=providers).run(None, {"x": image})[0]


cases = (
    ("Softmax", 12, 13, {"axis": 1}, False, True),
    ("Softmax", 13, 12, {"axis": -1}, False, True),
    ("Softmax", 13, 12, {"axis": 1}, False, False),
    ("LogSoftmax", 13, 12, {"axis": 1}, False, False),
    ("Hardmax", 12, 13, {"axis": 1}, False, False),
    ("Resize", 10, 11, {"mode": "nearest"}, True, True),
    ("Resize", 10, 11, {"mode": "linear"}, True, False),
    ("Upsample", 9, 11, {"mode": "linear"}, True, False),
)
for operator, opset, target, attributes, scales, is_kept in cases:
    built = build(operator, opset, attributes, scales)
    converted = version_converter.convert_version(built, target)
    onnx.checker.check_model(converted, full_check=True)
    before, after = run(built), run(converted)
    assert before.shape == after.shape
    difference = float(abs(before - after).max())
    print(f"{operator:10} {opset:2} -> {target} {attributes}: largest difference {difference:.3f}", end="")
    print("" if is_kept else f" (values up to {abs(before).max():.3f})")
    assert (difference < 1e-5) == is_kept, (operator, opset, target, difference)
    if operator == "Softmax" and not is_kept:
        sums = before.sum(1).ravel(), after.sum(1).ravel()
        for title, values in zip(("before", "after"), sums):
            print(f"    sums over channels by pixel, {title}:", *(f"{value:.3f}" for value in values))
        assert np.allclose(sums[0], 1) and sums[1].max() < 0.5 and np.isclose(after.sum(), 1)
PYTHON
