#!/usr/bin/env bash
# LiteRT: the reference kernel of SUM reads int8 numbers as uint8, so every sum with a negative number is wrong.
#
# Versions: ai-edge-litert 2.3.0, tflite-micro 0.dev20261023182759, flatbuffers 25.12.19; CPU, x86-64.
# Expected: the reference kernels (OpResolverType.BUILTIN_REF) define the result, and the sum of -5 and 6 with scale 1 is
#   1, as with the built-in kernels and in the interpreter for microcontrollers.
# Observed: the reference kernel returns -1 for -5 + 6, for -5 - 6 and for each sum of the numbers as uint8 above 255;
#   100 + 100 becomes -56 in place of 127, and negative results are impossible except by this wrapping. 990 of 1,000
#   random sums of 16 numbers differ from the built-in kernel. MEAN of the same numbers is right with all kernels.
# Matters: tests of a chip or of a converter take the reference kernels for the truth. Compare SUM with
#   OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES or with tflite-micro, or use MEAN with an n times smaller scale.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile ai-edge-litert==2.3.0 tflite-micro==0.dev20261023182759 \
    flatbuffers==25.12.19 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log" >&2; exit 1; }
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro import runtime

KERNELS = {
    "reference": OpResolverType.BUILTIN_REF,
    "built-in": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "default": OpResolverType.AUTO,
}


def tensor(name, kind, shape, buffer=0):
    """Return a tensor; int8 tensors have scale 1 and zero point 0."""
    result = schema.TensorT()
    result.name, result.type, result.shape, result.buffer = name, kind, np.array(shape, np.int32), buffer
    if kind == schema.TensorType.INT8:
        result.quantization = schema.QuantizationParametersT()
        result.quantization.scale = np.ones(1, np.float32)
        result.quantization.zeroPoint = np.zeros(1, np.int64)
    return result


def model(operation, rows, columns):
    """Return a TFLite model that reduces each row of int8 numbers to a number of the same scale."""
    axes = schema.BufferT()
    axes.data = np.frombuffer(np.array([1], np.int32).tobytes(), np.uint8)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = np.array([0, 1], np.int32), np.array([2], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
    operator.builtinOptions = schema.ReducerOptionsT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, operation)
    code.version = 2
    graph = schema.SubGraphT()
    int8, int32 = schema.TensorType.INT8, schema.TensorType.INT32
    graph.tensors = [tensor("x", int8, (rows, columns)), tensor("axes", int32, (1,), 1), tensor("y", int8, (rows,))]
    graph.inputs, graph.outputs, graph.operators = np.array([0], np.int32), np.array([2], np.int32), [operator]
    content = schema.ModelT()
    content.version, content.operatorCodes, content.subgraphs = 3, [code], [graph]
    content.buffers = [schema.BufferT(), axes]
    builder = flatbuffers.Builder()
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def results(operation, numbers):
    """Return the outputs of each kernel for the rows of an int8 array."""
    numbers = np.array(numbers, np.int8)
    content = model(operation, *numbers.shape)
    answers = {}
    for name, kernels in KERNELS.items():
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], numbers)
        interpreter.invoke()
        answers[name] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(int)
    micro = runtime.Interpreter.from_bytes(content, arena_size=100_000)
    micro.set_input(numbers, 0)
    micro.invoke()
    answers["microcontroller"] = micro.get_output(0).astype(int)
    return answers


pairs = [[5, 6], [-5, 6], [-5, -6], [-1, 1], [100, 27], [100, 100], [-100, -100]]
answers = results("SUM", pairs)
for name, numbers in answers.items():
    print(f"SUM of {pairs}: {name:15}", *numbers)
exact = np.clip(np.sum(pairs, axis=1), -128, 127)
for name in ("built-in", "default", "microcontroller"):
    assert np.array_equal(answers[name], exact), name
assert answers["reference"].tolist() == [11, -1, -1, -1, 127, -56, -1]

numbers = np.random.default_rng(0).integers(-20, 21, (1000, 16)).astype(np.int8)
answers = results("SUM", numbers)
exact = np.clip(numbers.sum(axis=1, dtype=int), -128, 127)
unsigned = numbers.view(np.uint8).sum(axis=1, dtype=int).clip(0, 255).astype(np.uint8).view(np.int8)
for name, sums in answers.items():
    print(f"1,000 sums of 16 random numbers: {name:15} {np.sum(sums != exact)} differ from the exact sum")
    assert np.array_equal(sums, unsigned if name == "reference" else exact), name
assert np.mean(answers["reference"] != exact) > 0.95
means = results("MEAN", numbers)
difference = np.abs(means["reference"] - numbers.mean(axis=1)).max()
print(f"MEAN, reference: largest difference to the exact mean {difference:.2f}")
assert difference < 1
PYTHON
