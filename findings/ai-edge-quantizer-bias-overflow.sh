#!/usr/bin/env bash
# ai-edge-quantizer writes a bias that does not fit into int32 as the most negative number; the channel changes its sign.
#
# Versions: ai-edge-quantizer 0.10.0, ai-edge-litert 2.3.0, NumPy 2.4.6; CPU, x86-64.
# Expected: a channel with small weights and a large bias gets a larger weight scale, so that the bias fits, or the
#   quantiser ends with an error.
# Observed: static_wi8_ai8 divides the bias by input scale * weight scale and casts to int32. The bias 1.0 of a channel
#   with the weight 5e-6 becomes -2^31, and the output of this channel -0.67 in place of 1.0. NumPy warns of an invalid
#   value in a cast; no exception follows, and the file runs.
# Matters: training with weight decay leaves channels that are constants, with weights near 0 and a bias. After
#   conversion such a channel is wrong for every image. Turn RuntimeWarning into an error during quantisation.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile ai-edge-quantizer==0.10.0 ai-edge-litert==2.3.0 \
  flatbuffers==25.12.19 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log" >&2; exit 1; }
import warnings

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

INPUT = np.linspace(0.1, 1, 16, dtype=np.float32).reshape(1, 4, 4, 1)


def float_model(small):
    """Return a TFLite model of a 1x1 convolution of one channel to two: weights (0.5, small), biases (0, 1)."""
    constants = {
        "weights": np.array([0.5, small], np.float32).reshape(2, 1, 1, 1),
        "bias": np.array([0.0, 1.0], np.float32),
    }
    shapes = {"x": (1, 4, 4, 1), "weights": (2, 1, 1, 1), "bias": (2,), "y": (1, 4, 4, 2)}
    buffers, tensors = [schema.BufferT()], []
    for name, shape in shapes.items():
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, np.array(shape, np.int32), schema.TensorType.FLOAT32
        if name in constants:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(constants[name].tobytes(), np.uint8)
            tensor.buffer = len(buffers)
            buffers.append(buffer)
        tensors.append(tensor)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = np.array([0, 1, 2], np.int32), np.array([3], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    options = operator.builtinOptions = schema.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, [operator]
    graph.inputs, graph.outputs = np.array([0], np.int32), np.array([3], np.int32)
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], buffers
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def quantised(content, ranges):
    with open("float.tflite", "wb") as file:
        file.write(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = quantizer.Quantizer("float.tflite", recipe.static_wi8_ai8()).quantize(ranges)
    return bytes(result.quantized_model), [str(each.message) for each in caught if each.category is RuntimeWarning]


def second_channel(content):
    """Return the mean of the second output channel, as a real number, and the stored bias of this channel."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = source["quantization"]
    interpreter.set_tensor(source["index"], np.clip(np.rint(INPUT / scale) + zero, -128, 127).astype(np.int8))
    interpreter.invoke()
    scale, zero = target["quantization"]
    numbers = interpreter.get_tensor(target["index"])[..., 1]
    bias = next(each for each in interpreter.get_tensor_details() if each["name"] == "bias")
    return (numbers.astype(float).mean() - zero) * scale, int(interpreter.get_tensor(bias["index"])[1])


ends = [np.full((1, 1, 1, 1), value, np.float32) for value in (-1, 1)]
ranges = {name: {"min": ends[0], "max": ends[1]} for name in ("x", "y")}
for small, is_right in ((1e-5, True), (5e-6, False)):
    content, messages = quantised(float_model(small), ranges)
    mean, bias = second_channel(content)
    print(f"weight {small:.0e}, bias 1.0: stored bias {bias:,}, mean of the channel {mean:.3f}, warnings {messages}")
    assert abs(mean - (1 if is_right else -0.67)) < 0.02, mean
    assert (bias == -(2**31)) == (not is_right), bias
PYTHON
