#!/usr/bin/env bash
# LiteRT rounds the same number up or down by its position in the tensor: QUANTIZE of halves.
#
# Versions: ai-edge-litert 2.3.0, flatbuffers 25.12.19; CPU, x86-64.
# Expected: one rule for all elements; the reference kernel rounds halves away from zero, so 2.5 with scale 1 gives 3
#   everywhere.
# Observed: for int16, with the default interpreter, the elements of each whole block of 16 become 2 (half to even) and
#   the remaining elements 3. For int8 and uint8 the default delegate (XNNPACK) gives 2 everywhere; without the
#   delegate the same split appears. The reference kernel gives 3 everywhere.
# Matters: images and maps at scales that are powers of two have many exact halves. A comparison of a chip with the
#   interpreter differs in single numbers whose places depend on the batch, and a test with a short tensor does not
#   show this. Feed integers, or compare with OpResolverType.BUILTIN_REF.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log" >&2; exit 1; }
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

KINDS = {np.int8: schema.TensorType.INT8, np.uint8: schema.TensorType.UINT8, np.int16: schema.TensorType.INT16}


def tensor(name, kind, count):
    """Return a tensor of ``count`` numbers; quantised tensors have scale 1 and zero point 0."""
    result = schema.TensorT()
    result.name, result.type, result.shape = name, kind, np.array([1, count], np.int32)
    if kind != schema.TensorType.FLOAT32:
        result.quantization = schema.QuantizationParametersT()
        result.quantization.scale = np.ones(1, np.float32)
        result.quantization.zeroPoint = np.zeros(1, np.int64)
    return result


def quantise(kind, count):
    """Return a TFLite model of one QUANTIZE operator."""
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = np.array([0], np.int32), np.array([1], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    operator.builtinOptions = schema.QuantizeOptionsT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    graph = schema.SubGraphT()
    graph.tensors = [tensor("x", schema.TensorType.FLOAT32, count), tensor("y", KINDS[kind], count)]
    graph.inputs, graph.outputs, graph.operators = operator.inputs, operator.outputs, [operator]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(content, numbers, kernels):
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], numbers)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


default, built_in = OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
reference = OpResolverType.BUILTIN_REF
split = [2] * 16 + [3] * 3
expected = {
    ("int8", default): [2] * 19, ("int8", built_in): split, ("int8", reference): [3] * 19,
    ("uint8", default): [2] * 19, ("uint8", built_in): split, ("uint8", reference): [3] * 19,
    ("int16", default): split, ("int16", built_in): split, ("int16", reference): [3] * 19,
}  # fmt: skip
for kind in KINDS:
    for kernels in (default, built_in, reference):
        answer = run(quantise(kind, 19), np.full((1, 19), 2.5, np.float32), kernels).tolist()
        print(f"2.5 as {kind.__name__:5}, {kernels.name:33}", *answer)
        assert answer == expected[kind.__name__, kernels], answer
PYTHON
