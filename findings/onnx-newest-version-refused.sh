#!/usr/bin/env bash
# A model from onnx with its default versions is refused by the newest ONNX Runtime.
#
# Versions: onnx 1.23.2, ONNX Runtime 1.31.1 (the newest of both in November 2026).
# Expected: the newest runtime reads the files that the newest onnx writes by default; the checker accepts them.
# Observed: make_model writes IR 14 and opset 28; ONNX Runtime refuses the file although it contains a single Softmax.
# Matters: exporters that build graphs with onnx.helper (as many converters for small chips do) must name an IR
#   version and an opset. torch.onnx.export names opset 20 and IR 10, which is accepted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import onnx
import onnxruntime
from onnx import TensorProto, helper

values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 10]) for name in ("logits", "scores")]
graph = helper.make_graph([helper.make_node("Softmax", ["logits"], ["scores"])], "head", values[:1], values[1:])


def answer(**versions):
    model = helper.make_model(graph, **versions)
    onnx.checker.check_model(model)
    described = f"IR {model.ir_version}, opset {model.opset_import[0].version}"
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error)
        return described, "refused: " + reason[reason.find("Unsupported") :][:60]
    return described, "accepted"


default = answer()
older = answer(ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
print(*default, sep=": ")
print(*older, sep=": ")
assert default[1].startswith("refused: Unsupported"), default
assert older[1] == "accepted", older
PYTHON
