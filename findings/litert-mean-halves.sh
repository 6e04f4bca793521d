#!/usr/bin/env bash
# LiteRT rounds halves of an int8 MEAN to even numbers or upwards, by kernel, and those of AVERAGE_POOL_2D away from zero.
#
# Versions: ai-edge-litert 2.3.0, flatbuffers 25.12.19; CPU, x86-64.
# Expected: MEAN and AVERAGE_POOL_2D of the same int8 numbers, with equal scales, are equal, with and without the default
#   delegate (XNNPACK): -2.5 -1.5 -0.5 0.5 1.5 2.5 become -3 -2 -1 1 2 3.
# Observed: MEAN rounds halves to even numbers with the delegate (-2 -2 0 0 2 2) and upwards in the built-in and the
#   reference kernels (-2 -1 0 1 2 3). AVERAGE_POOL_2D rounds away from zero in all three.
# Matters: the global mean before the last layer has many exact halves over 2x2 or 4x4 positions. With zero point -128
#   most stored numbers are negative, so the kernels of a chip, which follow the reference, give other numbers than the
#   interpreter on a computer. Compare with OpResolverType.BUILTIN_REF, or use AVERAGE_POOL_2D.
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

PAIRS = np.array([[-3, -2, -1, 0, 1, 2], [-2, -1, 0, 1, 2, 3]], np.int8)  # means -2.5 .. 2.5


def tensor(name, kind, shape, zero=None):
    """Return a tensor; int8 tensors have scale 1."""
    result = schema.TensorT()
    result.name, result.type, result.shape = name, kind, np.array(shape, np.int32)
    if zero is not None:
        result.quantization = schema.QuantizationParametersT()
        result.quantization.scale = np.ones(1, np.float32)
        result.quantization.zeroPoint = np.array([zero], np.int64)
    return result


def mean(name, zero):
    """Return a TFLite model of one MEAN or AVERAGE_POOL_2D operator over two positions."""
    int8 = schema.TensorType.INT8
    axes = schema.BufferT()
    axes.data = np.frombuffer(np.array([1, 2], np.int32).tobytes(), np.uint8)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = np.array([0], np.int32), np.array([1], np.int32)
    tensors = [tensor("x", int8, (1, 2, 1, 6), zero), tensor("y", int8, (1, 1, 1, 6), zero)]
    if name == "MEAN":
        operator.inputs = np.array([0, 2], np.int32)
        operator.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
        operator.builtinOptions = schema.ReducerOptionsT()
        operator.builtinOptions.keepDims = True
        tensors.append(tensor("axes", schema.TensorType.INT32, (2,)))
        tensors[2].buffer = 1
    else:
        operator.builtinOptionsType = schema.BuiltinOptions.Pool2DOptions
        options = operator.builtinOptions = schema.Pool2DOptionsT()
        options.padding = schema.Padding.VALID
        options.filterHeight, options.filterWidth, options.strideH, options.strideW = 2, 1, 2, 1
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 2
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, [operator]
    graph.inputs, graph.outputs = np.array([0], np.int32), np.array([1], np.int32)
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), axes]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(content, kernels):
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], PAIRS.reshape(1, 2, 1, 6))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel().tolist()


away, upwards, even = [-3, -2, -1, 1, 2, 3], [-2, -1, 0, 1, 2, 3], [-2, -2, 0, 0, 2, 2]
default, reference = OpResolverType.AUTO, OpResolverType.BUILTIN_REF
expected = {
    "MEAN": {default: even, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES: upwards, reference: upwards},
    "AVERAGE_POOL_2D": {default: away, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES: away, reference: away},
}
for name, rounded in expected.items():
    for kernels, numbers in rounded.items():
        for zero in (0, -128):
            answer = run(mean(name, zero), kernels)
            print(f"{name:15}, {kernels.name:33}, zero point {zero:4}", *answer)
            assert answer == numbers, answer
PYTHON
