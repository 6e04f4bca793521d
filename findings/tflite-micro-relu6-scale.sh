#!/usr/bin/env bash
# tflite-micro: int8 RELU6 ignores the scale and the zero point of the output, without an error.
#
# Versions: tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0, flatbuffers 25.12.19; CPU, x86-64.
# Expected: RELU6 with an input of scale 0.05 and an output of scale 6 / 255 converts between both scales, as RELU does
#   and as LiteRT does; a kernel that cannot convert raises an error.
# Observed: the integers of the input are limited to the codes of 0 and 6 in the scale of the input, and returned
#   unchanged. Read in the scale of the output, 0 becomes 2.54, 1 becomes 3.01, and 6 becomes 5.36. RELU of both
#   interpreters and RELU6 of LiteRT are right, with the default and the reference kernels. With equal scales all agree.
# Matters: the range 0 to 6 of an output of its own uses all 256 codes, so a network that passes each test with LiteRT
#   on a computer computes other numbers on the chip. Give input and output of RELU6 the same scale, fuse RELU6 into the
#   layer before, or use MINIMUM after RELU.
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

CODES = np.arange(-128, 128).astype(np.int8)
INPUT = 0.05, -20  # scale and zero point: -5.4 to 7.35
LIMITS = {"RELU": np.inf, "RELU6": 6}


def tensor(name, scale, zero):
    """Return an int8 tensor of 256 numbers."""
    result = schema.TensorT()
    result.name, result.type, result.shape = name, schema.TensorType.INT8, np.array(CODES.shape, np.int32)
    result.quantization = schema.QuantizationParametersT()
    result.quantization.scale = np.array([scale], np.float32)
    result.quantization.zeroPoint = np.array([zero], np.int64)
    return result


def model(operation, output):
    """Return a TFLite model of a single activation; output is scale and zero point."""
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = np.array([0], np.int32), np.array([1], np.int32)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, operation)
    code.version = 2
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [tensor("x", *INPUT), tensor("y", *output)], [operator]
    graph.inputs, graph.outputs = np.array([0], np.int32), np.array([1], np.int32)
    content = schema.ModelT()
    content.version, content.operatorCodes, content.subgraphs = 3, [code], [graph]
    content.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder()
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def litert(content, kernels):
    """Return the output of LiteRT."""
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], CODES)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def micro(content):
    """Return the output of the interpreter for microcontrollers."""
    interpreter = runtime.Interpreter.from_bytes(content)
    interpreter.set_input(CODES, 0)
    interpreter.invoke()
    return interpreter.get_output(0)


numbers = INPUT[0] * (CODES.astype(float) - INPUT[1])
places = [int(np.abs(numbers - number).argmin()) for number in (-2, 0, 1, 3, 6, 7)]
print("inputs:", *numbers[places].round(2))
for operation, limit in LIMITS.items():
    exact = numbers.clip(0, limit)
    for scale, zero in (INPUT, (6 / 255, -128), (0.05, -128)):
        content = model(operation, (scale, zero))
        inside = exact <= scale * (127 - zero)  # the output range of RELU may end below the largest input
        codes = {
            "LiteRT": litert(content, OpResolverType.AUTO),
            "LiteRT, reference": litert(content, OpResolverType.BUILTIN_REF),
            "microcontroller": micro(content),
        }
        for name, output in codes.items():
            values = scale * (output.astype(float) - zero)
            error = np.abs(values - exact)[inside].max()
            print(f"{operation}, output scale {scale:.4f}, zero point {zero}, {name}:", *values[places].round(2), end="; ")
            print(f"largest error {error:.2f}")
            if name == "microcontroller" and operation == "RELU6" and (scale, zero) != INPUT:
                low, high = INPUT[1], INPUT[1] + round(6 / INPUT[0])
                assert np.array_equal(output, CODES.clip(low, high)), "the integers of the input, limited to 0 and 6"
                assert error > 2
            else:
                assert error <= scale, name
PYTHON
