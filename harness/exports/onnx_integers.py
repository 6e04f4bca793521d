"""An integer network as an ONNX graph with quantised maps and weights (QDQ), the form that external toolchains read.

Each map is a pair of ``QuantizeLinear`` and ``DequantizeLinear``, with ordinary operators in floating point between,
which a toolchain replaces by integer kernels. Kernels of chips and runtimes multiply a sum by a single factor, while
our integers drop bits of a sum first (``harness/training/integer.py``), so single numbers of a map can differ by 1, and
therefore logits too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.datasets import Dataset
from harness.spaces.integer_plan import IntegerStep, StepKind
from harness.spaces.ops.integer_form import PoolingForm, Reduction
from harness.training.integer import IntegerNetwork, StepNumbers, kernel_in_poses, product_weights
from harness.training.pixels import takes_bytes

_IR_VERSION = 8  # oldest version of the file format that has opset 18
_UNIT_WEIGHT = 64  # of a step without a kernel; a power of two, so that the scale is exact
_MAX_BIAS = 2**30  # largest magnitude; kernels with sums of 32 bits add less than this number
_WEIGHT_MAX = 127  # largest magnitude of an int8 weight


@dataclass(slots=True)
class _Map:
    """A quantised tensor, with the real value of the number 1 and the number that represents 0."""

    name: str
    scale: float
    zero: npt.NDArray[Any]


@dataclass(slots=True)
class _Graph:
    """Nodes and constants of a model; ``constants`` holds the name of each constant by type, shape and content."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, values: Any, kind: type[np.generic]) -> str:
        array = np.asarray(values).astype(kind)
        key = (array.dtype.str, array.shape, array.tobytes())
        return self.constants.setdefault(key, f"constant_{len(self.constants)}")

    def initializers(self) -> list[Any]:
        from onnx import numpy_helper

        return [
            numpy_helper.from_array(np.frombuffer(content, kind).reshape(shape), name)
            for (kind, shape, content), name in self.constants.items()
        ]

    def quantised(self, values: str, scale: float, *, is_signed: bool) -> _Map:
        zero = np.zeros((), np.int8 if is_signed else np.uint8)
        arguments = (self.constant(scale, np.float32), self.constant(zero, zero.dtype.type))
        return _Map(self.add("QuantizeLinear", values, *arguments), scale, zero)

    def real(self, source: _Map) -> str:
        zero = self.constant(source.zero, source.zero.dtype.type)
        return self.add("DequantizeLinear", source.name, self.constant(source.scale, np.float32), zero)

    def weights(self, values: npt.NDArray[np.int64], scales: npt.NDArray[np.float64]) -> str:
        """Return the name of weights (filters, ...) or biases (filters,) times ``scales``, (filters,) or (1,).

        Weights beyond int8, the products of factors, are stored as floats.
        """
        kind = np.int32 if values.ndim == 1 else np.int8
        if kind is np.int8 and np.abs(values).max() > _WEIGHT_MAX:
            return self.constant(values * scales.reshape(-1, *[1] * (values.ndim - 1)), np.float32)
        scale = scales if len(scales) > 1 else scales[0]
        return self.add("DequantizeLinear", self.constant(values, kind), self.constant(scale, np.float32), axis=0)


def integer_model(network: IntegerNetwork, dataset: Dataset, opset: int, about: Mapping[str, str]) -> Any:
    """Return an integer network as an ONNX model; input, output and ``about`` as in ``to_onnx``.

    The logits are the integers of the reference times ``logit_scale``. ``opset`` is the version of the operators.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    pixels = "pixels" if takes_bytes(dataset) else _bytes_of(graph, dataset)
    maps = [_Map(pixels, scale=1.0, zero=np.array(network.offset, np.uint8))]
    for step, numbers in zip(network.plan.steps[:-1], network.numbers, strict=False):
        maps.append(_step(graph, network, step, numbers, maps))
    _logits(graph, network, maps[network.plan.steps[-1].source])
    kind = TensorProto.UINT8 if takes_bytes(dataset) else TensorProto.DOUBLE
    inputs = [helper.make_tensor_value_info("pixels", kind, ["batch", *dataset.task.input_shape])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", dataset.classes])]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "integers", inputs, outputs, graph.initializers()),
        producer_name="harness",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", opset)],
    )
    helper.set_model_props(model, dict(sorted(about.items())))
    return model


def _bytes_of(graph: _Graph, dataset: Dataset) -> str:
    low, high = (np.reshape(limits, (-1, 1, 1)) for limits in (dataset.low, dataset.high))
    above_low = graph.add("Sub", "pixels", graph.constant(low, np.float64))
    scaled_values = graph.add("Mul", above_low, graph.constant(255, np.float64))
    levels = graph.add("Round", graph.add("Div", scaled_values, graph.constant(high - low, np.float64)))
    levels_in_range = graph.add("Clip", levels, graph.constant(0, np.float64), graph.constant(255, np.float64))
    return graph.add("Cast", levels_in_range, to=2)  # TensorProto.UINT8


def _step(graph: _Graph, network: IntegerNetwork, step: IntegerStep, numbers: StepNumbers, maps: list[_Map]) -> _Map:
    assert step.target is not None, "the logits are no map"
    source = maps[step.source]
    is_signed = network.plan.maps[step.target].is_signed
    window = None if step.pool is None else step.pool.form
    if step.kind is StepKind.UNSHUFFLE and window is not None:
        return _unshuffled(graph, source, network.plan.maps[step.source].shape, window)
    if step.kind is StepKind.POOLING and window is not None:
        return _pooled(graph, source, window, is_signed=is_signed)
    skip = maps[step.skip] if step.skip is not None and numbers.skip_multiplier else None
    # So that ``skip`` has the scale of the skipped map.
    scale = 1.0 if skip is None else skip.scale * 2.0**numbers.output_bits / numbers.skip_multiplier
    values = _convolved(graph, network, step, numbers, source, scale)
    if skip is not None:
        values = graph.add("Add", values, graph.real(skip))
    if numbers.slope is not None:
        values = graph.add("LeakyRelu", values, alpha=numbers.slope / 256)
    elif not is_signed:
        values = graph.add("Relu", values)
    output = graph.quantised(values, scale, is_signed=is_signed)
    return output if window is None else _pooled(graph, output, window, is_signed=is_signed)


def _convolved(
    graph: _Graph, network: IntegerNetwork, step: IntegerStep, numbers: StepNumbers, source: _Map, scale: float
) -> str:
    """Return the name of the sums with biases, as real values; ``scale`` is the scale of the output map."""
    form = step.form
    channels = network.plan.maps[step.source].shape[0]
    unit = 1  # weight that represents 1
    if step.kernel is None:
        weights = np.full((channels, 1, 1, 1), _UNIT_WEIGHT)
        unit = _UNIT_WEIGHT
    else:
        kernel = network.kernels[step.kernel]
        weights = (kernel if form.is_global else kernel_in_poses(kernel, form.poses)).transpose(0, 3, 1, 2)
    multipliers = numbers.multipliers
    channels_per_multiplier = len(weights) // len(multipliers)
    # A single scale for all channels is not repeated.
    repeats = channels_per_multiplier if len(multipliers) > 1 else 1
    # A scale is positive, so the sign of a multiplier goes to the weights.
    signs = np.sign(multipliers).repeat(channels_per_multiplier).reshape(-1, 1, 1, 1)
    # Numbers of the output map for a weight and an input of 1; a multiplier of 0 has the sign 0.
    magnitudes = np.maximum(np.abs(multipliers), 1) * 0.5 ** (numbers.sum_bits + numbers.output_bits) / unit
    scales = magnitudes * scale / source.scale
    inputs = [graph.real(source), graph.weights(weights * signs, scales.repeat(repeats))]
    if numbers.biases.any():
        biases = (numbers.biases << numbers.bias_bits).repeat(len(weights) // len(numbers.biases))
        bias_units = 2.0**numbers.output_bits * magnitudes.repeat(channels_per_multiplier)
        integer_biases = np.rint(biases / bias_units).clip(-_MAX_BIAS, _MAX_BIAS).astype(np.int64)
        inputs.append(graph.weights(integer_biases, (scales * source.scale).repeat(repeats)))
    rows, columns = form.paddings
    return graph.add(
        "Conv",
        *inputs,
        kernel_shape=weights.shape[2:],
        strides=[form.stride, form.stride],
        pads=[rows, columns, rows, columns],
        group=channels // weights.shape[1],
    )


def _pooled(graph: _Graph, source: _Map, form: PoolingForm, *, is_signed: bool) -> _Map:
    window = {"kernel_shape": form.window, "strides": form.window}
    if form.reduction is Reduction.MAXIMUM:
        return graph.quantised(graph.add("MaxPool", graph.real(source), **window), source.scale, is_signed=is_signed)
    values = graph.add("AveragePool", graph.real(source), **window)
    # ``QuantizeLinear`` rounds halves to even numbers, the C code rounds them upwards. A slightly smaller scale lifts
    # halves, and no other mean reaches the next half: 255 / (512 * size) < 1 / (2 * size).
    size = form.window[0] * form.window[1]
    return graph.quantised(values, source.scale * (1 - 1 / (512 * size)), is_signed=is_signed)


def _unshuffled(graph: _Graph, source: _Map, shape: tuple[int, int, int], form: PoolingForm) -> _Map:
    channels, rows, columns = shape
    height, width = form.window
    split = [-1, channels, rows // height, height, columns // width, width]
    joined_shape = [-1, channels * height * width, rows // height, columns // width]
    name = graph.add("Reshape", source.name, graph.constant(split, np.int64))
    name = graph.add("Transpose", name, perm=[0, 1, 3, 5, 2, 4])
    return _Map(graph.add("Reshape", name, graph.constant(joined_shape, np.int64)), source.scale, source.zero)


def _logits(graph: _Graph, network: IntegerNetwork, source: _Map) -> None:
    """The output is the real logits, not quantised."""
    step = network.plan.steps[-1]
    numbers = network.numbers[-1]
    _, rows, columns = network.plan.maps[step.source].shape
    values = graph.real(source)
    scale = network.logit_scale / source.scale
    if step.is_global:
        values = graph.add("GlobalAveragePool", values)
        scale *= rows * columns
    if step.kernel is None:
        values = graph.add("Mul", values, graph.constant(scale, np.float32))
    else:
        weights = product_weights(network.kernels[step.kernel], step.form).transpose(0, 3, 1, 2)
        biases = graph.constant((numbers.biases << numbers.bias_bits) * network.logit_scale, np.float32)
        values = graph.add(
            "Conv", values, graph.weights(weights, np.array([scale])), biases, kernel_shape=weights.shape[2:]
        )
    graph.add("Flatten", values)
    graph.nodes[-1].output[0] = "logits"
