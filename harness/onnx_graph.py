"""A network as an ONNX model: one node an op, tied kernels stored once, raw pixels in, logits out.

The graph is made from the architecture and not traced, so that it holds what the notation says and nothing else: the
same weights give the same bytes, whichever torch is installed. ``onnx`` is an optional extra, loaded when it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.datasets import Dataset
from search_spaces.cost import output_shape
from search_spaces.network import Architecture
from search_spaces.ops import (
    AvgPool,
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    Dropout2d,
    GlobalAvgPool,
    Kernel,
    LeakyReLU,
    Linear,
    MaxPool,
    Op,
    PReLU,
    ReLU,
    Residual,
    Swish,
    Unshuffle,
    kernel_shape,
    paddings,
)
from search_spaces.poses import channel_order, mirrored, turns
from search_spaces.task import Shape

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "pixels", "logits"
# Of 2021: every operator below is in it, and older runtimes read it.
OPSET, IR_VERSION = 15, 8
# torch's default, which the builder leaves as it is.
_EPSILON = 1e-5


@dataclass(slots=True)
class _Graph:
    """A graph in the making.

    Attributes:
        state: weights and statistics by torch's names.
        constants: what the nodes name, in order of first use.
        tied: the name of the kernel behind each tie.
        value: name of the latest value.
    """

    state: Mapping[str, np.ndarray[Any, Any]]
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    value: str = INPUT

    def add(self, kind: str, name: str, *inputs: str, **attributes: Any) -> None:
        """Append a node that takes the latest value and these; its output is the latest value then."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, [self.value, *inputs], [name], name, **attributes))
        self.value = name

    def constant(self, name: str, poses: int = 1) -> str:
        """Return the name of a weight or statistic in so many poses, stored at first use."""
        learned, kept = self.state[name], name if poses == 1 else f"{name}.poses{poses}"
        if kept not in self.constants:
            self.constants[kept] = learned if poses == 1 else _in_poses(learned, poses)
        return kept


def onnx_model(
    architecture: Architecture,
    state: Mapping[str, np.ndarray[Any, Any]],
    dataset: Dataset,
    properties: Mapping[str, str],
) -> ModelProto:
    """Return the model of a trained network.

    It takes ``pixels``, uint8 (batch, channels, rows, columns) as the data set stores them, normalises them itself, and
    gives ``logits``, float32 (batch, classes). Dropout, which does nothing once training is over, is left out.

    Args:
        architecture: the network.
        state: its weights and statistics, float32, by the names of ``harness.training.build``'s module.
        dataset: says the shape of an image and how pixels are normalised.
        properties: what the model's metadata say.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    graph = _Graph(state)
    _normalise(graph, dataset.mean, dataset.std)
    shape = _ops(graph, architecture.ops, dataset.image_shape, "ops")
    graph.add("Flatten", OUTPUT)
    made = helper.make_graph(
        graph.nodes,
        architecture.hash,
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", *dataset.image_shape])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", math.prod(shape)])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in graph.constants.items()],
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="harness"
    )
    for name, text in properties.items():
        model.metadata_props.add(key=name, value=text)
    checker.check_model(model, full_check=True)
    return model


def _normalise(graph: _Graph, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
    """Do to the pixels what training does, in its order, so that the bits are the same."""
    from onnx import TensorProto

    graph.add("Cast", "pixels_as_numbers", to=TensorProto.FLOAT)
    for kind, name, numbers in (("Div", "largest", (255.0,)), ("Sub", "mean", mean), ("Div", "deviation", deviation)):
        shape = () if len(numbers) == 1 else (-1, 1, 1)
        graph.constants[name] = np.array(numbers, dtype=np.float32).reshape(shape)
        graph.add(kind, f"pixels_by_{name}", name)


def _ops(graph: _Graph, ops: tuple[Op, ...], shape: Shape, path: str) -> Shape:
    """Append all ops of a sequence; ``path`` is the name of its torch module. Return the shape after it."""
    for number, op in enumerate(ops):
        NODES[type(op)](graph, op, shape, f"{path}.{number}")
        shape = output_shape(op, shape)
    return shape


def _kernel(graph: _Graph, op: Kernel, shape: Shape, name: str) -> None:
    kernel, poses = f"{name}.weight", op.poses if isinstance(op, Conv) else 1
    if op.tie is not None:
        kernel = graph.tied.setdefault(op.tie, kernel)
    parts = [graph.constant(kernel, poses), *([graph.constant(f"{name}.bias", poses)] if op.bias else [])]
    graph.add(
        "Conv",
        name,
        *parts,
        kernel_shape=[*kernel_shape(op)],
        strides=[op.stride, op.stride],
        pads=[*paddings(op)] * 2,
        group=op.groups if isinstance(op, Conv) else shape[0],
    )


def _batch_norm(graph: _Graph, op: BatchNorm, shape: Shape, name: str) -> None:
    scale = f"{name}.weight"
    if op.unscaled:
        # The operator wants a scale.
        graph.constants[scale] = np.ones(shape[0], dtype=np.float32)
    else:
        scale = graph.constant(scale, op.poses)
    parts = [graph.constant(f"{name}.bias", op.poses)]
    shared = op.poses if op.shared else 1
    parts.extend(graph.constant(f"{name}.{part}", shared) for part in ("running_mean", "running_var"))
    graph.add("BatchNormalization", name, scale, *parts, epsilon=_EPSILON)


def _swish(graph: _Graph, op: Swish, shape: Shape, name: str) -> None:
    before = graph.value
    graph.add("Sigmoid", f"{name}.sigmoid")
    graph.add("Mul", name, before)


def _pool(graph: _Graph, op: MaxPool | AvgPool, shape: Shape, name: str) -> None:
    kind = "MaxPool" if isinstance(op, MaxPool) else "AveragePool"
    graph.add(kind, name, kernel_shape=[op.size, op.size], strides=[op.size, op.size])


def _linear(graph: _Graph, op: Linear, shape: Shape, name: str) -> None:
    graph.add("Flatten", f"{name}.input")
    graph.add("Gemm", name, graph.constant(f"{name}.weight"), graph.constant(f"{name}.bias"), transB=1)


def _residual(graph: _Graph, op: Residual, shape: Shape, name: str) -> None:
    before = graph.value
    _ops(graph, op.ops, shape, f"{name}.ops")
    graph.add("Add", name, before)


def _in_poses(learned: np.ndarray[Any, Any], poses: int) -> np.ndarray[Any, Any]:
    """Return a learned kernel, or numbers of its outputs, in all poses: (out, ...) to (out * poses, ...)."""
    if learned.ndim == 1:
        return learned.repeat(poses)
    posed = []
    for pose in range(poses):
        seen = learned[:, list(channel_order(pose, poses, learned.shape[1]))]
        if mirrored(pose):
            seen = np.flip(seen, 3)
        posed.append(np.rot90(seen, turns(pose, poses), (2, 3)))
    return np.stack(posed, 1).reshape(-1, *learned.shape[1:])


def _unshuffle(graph: _Graph, op: Unshuffle, shape: Shape, name: str) -> None:
    """Lay windows into channels in torch's order; ONNX's SpaceToDepth has another."""
    size, (channels, height, width) = op.size, output_shape(op, shape)
    # 0 keeps the batch.
    _reshape(graph, f"{name}.windows", [0, shape[0], height, size, width, size])
    graph.add("Transpose", f"{name}.ordered", perm=[0, 1, 3, 5, 2, 4])
    _reshape(graph, name, [0, channels, height, width])


def _reshape(graph: _Graph, name: str, sizes: list[int]) -> None:
    graph.constants[f"{name}.shape"] = np.array(sizes, dtype=np.int64)
    graph.add("Reshape", name, f"{name}.shape")


# What appends the nodes of an op, from the shape before it and the name of its torch module.
NODES: Mapping[type[Op], Callable[[_Graph, Any, Shape, str], None]] = {
    Conv: _kernel,
    DepthwiseConv: _kernel,
    BatchNorm: _batch_norm,
    ReLU: lambda graph, op, shape, name: graph.add("Relu", name),
    LeakyReLU: lambda graph, op, shape, name: graph.add("LeakyRelu", name, alpha=op.slope),
    PReLU: lambda graph, op, shape, name: graph.add("PRelu", name, graph.constant(f"{name}.weight")),
    Swish: _swish,
    Dropout: lambda graph, op, shape, name: None,
    Dropout2d: lambda graph, op, shape, name: None,
    MaxPool: _pool,
    AvgPool: _pool,
    Unshuffle: _unshuffle,
    GlobalAvgPool: lambda graph, op, shape, name: graph.add("GlobalAveragePool", name),
    Linear: _linear,
    Residual: _residual,
}
