"""Translation of PyTorch modules into the notation of networks.

``torch.export`` records the module in evaluation mode as a graph of ATen operators, which become an op each. A kernel
or a scale that is computed from a parameter is compared with ``harness.spaces.posed`` on random values. Module and
network must have equal numbers of parameters, equal outputs and gradients in evaluation and training mode, and equal
running statistics afterwards.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from harness.pytorch import module_graph
from harness.pytorch.module_graph import ModuleGraph, Step, Sum, Untranslatable, operator, place_of, shape_of
from harness.spaces import ops as spec
from harness.spaces.modules import FastDropout
from harness.spaces.network import Architecture, Task, analyse
from harness.spaces.notation import parse_network
from harness.spaces.ops import SIGNATURES, Op, Residual, Shape, flat, shape_text, torch_only
from harness.spaces.posed import pose_matrix, posed_filters
from harness.spaces.space_errors import SearchSpaceError
from harness.system.terminal import counted
from harness.training.torch_network import TorchNetwork, build
from harness.training.user_modules.execution import BATCH, arguments_of, quiet

_OUTPUT_TOLERANCE = 1e-5  # largest difference of outputs, divided by the largest output if this exceeds 1
_GRADIENT_TOLERANCE = 1e-4  # the same for the gradients of the parameters
# In training, rounding errors grow if the values of a channel are nearly equal in a batch.
_TRAINING_TOLERANCE = 1e-3
_CHECKED_IMAGES = 8  # in the batch of the check
_POSES = (2, 4, 8)  # numbers of poses of the notation
_EPS = nn.BatchNorm2d(1).eps  # added to a variance, the same in batches and groups


@dataclass(frozen=True, slots=True)
class Translation:
    """A module in the notation.

    Attributes:
        weights: For each op with tensors, in order: names of the tensors of the user's module, by names in the torch
            module of the op. A joint layer has one entry.
        notes: Sentences about parts that the network leaves out or computes differently.
        tensor_names: Names of the tensors of the user's module, by names in the state of the network.
    """

    architecture: Architecture
    weights: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]
    tensor_names: dict[str, str] = field(default_factory=dict)


def translate(module: nn.Module, task: Task, name: str = "the module") -> Translation:
    """Return a module in the notation, with equal parameters, outputs and gradients, to rounding.

    ``module`` maps images (batch, channels, rows, columns) to logits, probabilities or their logarithms, (batch,
    classes) or (batch, classes, 1, 1), and is not changed.

    Raises:
        Untranslatable: The notation lacks an operator of the module, the module is not a sequence with residual sums,
            or the check of the translation failed.
        ContentError: The module cannot be run or recorded.
    """
    with quiet(name):
        module = _with_usual_dropout(copy.deepcopy(module)).eval().float().cpu()
        frozen_names = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
        # The check compares the gradients of all parameters.
        module.requires_grad_(True)
    graph = ModuleGraph(module, task, name, _TRANSLATORS)
    reader = _Reader(graph, task)
    ops = reader.ops_of(graph.steps)
    try:
        architecture = Architecture(ops)
        analyse(architecture, task)
        network_of_text = parse_network(str(architecture), task)
    except SearchSpaceError as error:
        raise Untranslatable(error.message) from error
    if network_of_text != architecture:
        raise Untranslatable(f"the text {architecture} is another network")
    names_in_use = {name for names in reader.weights for name in names.values()}
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters() if name not in names_in_use}
    notes = list(graph.notes)
    if frozen_names:
        notes.append(f"all parameters are trained, also those without gradients: {', '.join(frozen_names)}")
    if sizes:
        count = counted(sum(sizes.values()), "parameter")
        notes.append(f"left out, without an effect on the output: {count} ({', '.join(sizes)})")
    translation = Translation(architecture, tuple(reader.weights), tuple(notes))
    network = _Check(module, translation, graph, reader.momenta, task).run()
    tensors = zip(_parts_with_tensors(network), translation.weights, strict=True)
    names = {f"{path}.{name}": tensor_name for path, names in tensors for name, tensor_name in names.items()}
    return replace(translation, tensor_names=names)


def _with_usual_dropout(module: nn.Module) -> nn.Module:
    """Replace the dropout of this program by modules of torch, which a recording in evaluation mode contains."""
    for parent in list(module.modules()):
        for name, part in parent.named_children():
            if isinstance(part, FastDropout):
                setattr(parent, name, (nn.Dropout2d if part.channels else nn.Dropout)(part.p))
    return module


def with_weights(translation: Translation, tensors: Mapping[str, Tensor], task: Task) -> TorchNetwork:
    """Return the network of a translation with the weights of the module.

    ``tensors`` are parameters and buffers of the module, by name.
    """
    with torch.random.fork_rng(devices=[]):  # the initialisation must not advance the user's random generator
        network = build(translation.architecture, task)
    with torch.no_grad():
        for part, names in zip(_parts_with_tensors(network).values(), translation.weights, strict=True):
            for name, tensor_name in names.items():
                getattr(part, name).copy_(tensors[tensor_name])
    return network


def _parts_with_tensors(network: TorchNetwork) -> dict[str, nn.Module]:
    return {
        path: part
        for path, part in network.named_modules()
        if {*part._parameters.values(), *part._buffers.values()} - {None}
    }


class _Reader:
    """Translator of recorded operators to ops, in order of execution.

    ``momenta`` are the momenta of the batch normalisations so far, by the name of the running mean.
    """

    def __init__(self, graph: ModuleGraph, task: Task) -> None:
        self.weights: list[Mapping[str, str]] = []
        self.momenta: dict[str, float] = {}
        self._graph = graph
        self._shape: Shape = task.input_shape  # output shape of the latest op, without the batch
        # Operators that use each parameter and buffer.
        self._uses = Counter(
            source
            for node in module_graph.operators(graph.steps)
            for each in node.all_input_nodes
            for source in graph.sources(each)
        )

    def ops_of(self, steps: Sequence[Step]) -> tuple[Op, ...]:
        ops: list[Op] = []
        for step in steps:
            before = self._shape
            node = step.node if isinstance(step, module_graph.Recognised) else step
            if isinstance(node, Sum):
                op: Op | None = Residual(self.ops_of(node.steps))
            else:
                op = step.op if isinstance(step, module_graph.Recognised) else self._op_of(node)
            try:
                self._shape = before if op is None else op.shape(before)
            except SearchSpaceError as error:
                location = "" if isinstance(node, Sum) else place_of(node)
                raise Untranslatable(f"{location}{error.message}") from error
            if isinstance(step, Node):
                self._check_shape(step)
            if op is not None:
                ops.append(op)
        return tuple(ops)

    def _op_of(self, node: Node) -> Op | None:
        translator = _TRANSLATORS.get(operator(node))
        if translator is None:
            raise _lacks(node, operator(node))
        return translator(self, node)

    def _check_shape(self, node: Node) -> None:
        """The result of an operator must be the map, flattened or with poses joined."""
        batch, *recorded_shape = shape_of(node)
        allowed_shapes = [self._shape, (math.prod(self._shape),)]
        allowed_shapes += [(self._shape[0] // poses, math.prod(self._shape[1:]) * poses) for poses in _POSES]
        if batch != BATCH or _without_ones(recorded_shape) not in map(_without_ones, allowed_shapes):
            shapes = f"{shape_text(tuple(recorded_shape))} values per image, expected {shape_text(self._shape)}"
            raise Untranslatable(f"{place_of(node)}{operator(node)} returns {shapes}")

    def _add_weights(
        self, node: Node, tensors: Mapping[str, Any], *, shared_names: Sequence[str] = (), is_joint: bool = False
    ) -> Mapping[str, str]:
        """Append the tensors of an op to ``weights``; return the names of the parameters from which these are computed.

        ``tensors`` has the nodes of the tensors, by names in the torch module of the op. Raises Untranslatable if a
        tensor is computed in a way or used more often than the notation allows.
        """
        names = {}
        for name, value in tensors.items():
            if value is None:
                continue
            sources = self._graph.sources(value)
            is_statistic = name.startswith("running")
            if len(sources) != 1 or (is_statistic and self._graph.name_of(value) is None):
                raise _lacks(node, f"{operator(node)} with a computed {name}")
            names[name] = sources[0]
            if not is_joint and name not in shared_names and self._uses[sources[0]] > 1:
                raise Untranslatable(f"{place_of(node)}{sources[0]} is used several times")
        if names and not (is_joint and names in self.weights):
            self.weights.append(names)
        return names

    def _poses_of(self, value: Node, in_poses: Callable[[Tensor, int], Tensor]) -> int:
        """The number of poses in which a tensor repeats a parameter; 1 for the parameter itself."""
        (source,) = self._graph.sources(value)
        if self._graph.name_of(value) is not None:
            return 1
        kernel = torch.randn(self._graph.shapes[source], generator=torch.Generator().manual_seed(0))
        recorded_value = self._graph.value(value, {source: kernel})
        for poses in _POSES:
            try:
                expected_value = in_poses(kernel, poses)
            except RuntimeError:  # the channels are not a multiple of the poses
                continue
            if expected_value.shape == recorded_value.shape and torch.equal(expected_value, recorded_value):
                return poses
        raise Untranslatable(f"{place_of(value)}the notation has no form of {source} like {operator(value)}")

    def _tie_of(self, name: str) -> str | None:
        return f"t{list(self._uses).index(name) + 1}" if self._uses[name] > 1 else None

    def convolution(self, node: Node) -> Op:
        arguments = arguments_of(node)
        weight = arguments["weight"]
        bias = arguments["bias"]
        if set(arguments["dilation"]) != {1}:
            raise _lacks(node, "a dilated convolution")
        stride = _single(node, arguments["stride"], "stride")
        out, _, rows, columns = shape_of(weight)
        self._add_weights(node, {"weight": weight, "bias": bias}, shared_names=("weight",))
        tie = self._tie_of(self.weights[-1]["weight"])
        name = f"conv{rows}x{columns}"
        if name not in SIGNATURES:
            raise _lacks(node, f"a kernel of {rows}x{columns}")
        poses = self._poses_of(weight, posed_filters)
        if bias is not None and self._poses_of(bias, torch.repeat_interleave) != poses:
            raise _lacks(node, "a bias with other poses than the kernel")
        paddings = _paddings(node, arguments["padding"], (rows, columns))
        groups = arguments["groups"]
        is_depthwise = groups == self._shape[0] == out and (rows, columns) == (3, 3) and out > 1
        options = {"padding": max(paddings), "stride": stride, "bias": bias is not None, "tie": tie, "poses": poses}
        if is_depthwise:
            op = SIGNATURES["dwconv3x3"].make(**options)
        else:
            op = SIGNATURES[name].make(out_channels=out, groups=groups, **options)
        assert isinstance(op, spec.Kernel)
        if op.paddings != paddings:
            raise _lacks(node, f"a {name} with the padding {paddings}")
        return op

    def normalisation(self, node: Node) -> Op:
        arguments = arguments_of(node)
        scale = arguments["weight"]
        norm = nn.BatchNorm2d(1)
        if arguments["running_mean"] is None:
            raise _lacks(node, "batch normalisation without running statistics")
        if arguments["bias"] is None and scale is not None:
            raise _lacks(node, "batch normalisation with a scale and without a shift")
        if arguments["momentum"] != norm.momentum:
            average = f"{arguments['momentum']:g}"
            if self._graph.is_cumulative(arguments["running_mean"]):
                average = "a cumulative average"
            note = f"batch normalisation has the momentum {norm.momentum} in place of {average}"
            if note not in self._graph.notes:
                self._graph.notes.append(note)
        names = ("weight", "bias", "running_mean", "running_var")
        tensors = {name: arguments[name] for name in names if arguments[name] is not None}
        uses = {self._uses[source] for value in tensors.values() for source in self._graph.sources(value)}
        # A module that is called several times uses each of its tensors equally often.
        is_joint = len(tensors) > 2 and len(uses) == 1 and uses != {1}
        weight_names = self._add_weights(node, tensors, shared_names=("weight", "bias"), is_joint=is_joint)
        self.momenta[weight_names["running_mean"]] = arguments["momentum"]
        channels = self._shape[0]
        (statistics,) = shape_of(arguments["running_mean"])
        is_shared = statistics != channels
        if channels % statistics or (is_shared and arguments["bias"] is None):
            raise _lacks(node, f"batch normalisation of {statistics} values of a map of {channels} channels")
        has_eps = arguments["eps"] != _EPS
        if has_eps and (is_joint or arguments["bias"] is None or not 0 < arguments["eps"] < 1):
            raise _lacks(node, f"such a batch normalisation with eps={arguments['eps']:g}")
        if arguments["bias"] is None:
            return torch_only.BareBatchNorm()
        poses = self._poses_of(arguments["bias"], torch.repeat_interleave)
        if scale is not None and self._poses_of(scale, torch.repeat_interleave) != poses:
            raise _lacks(node, "batch normalisation with other poses in the scale than in the shift")
        # With shared statistics the map is reshaped, so that scale and shift are used without repeats.
        poses = max(poses, channels // statistics)
        tie = self._tie_of(weight_names["bias"])
        if is_joint:
            return torch_only.JointBatchNorm(unscaled=scale is None, poses=poses, tie=tie)
        if has_eps:
            return torch_only.EpsBatchNorm(scale is None, poses, is_shared, tie, arguments["eps"])
        return spec.BatchNorm(unscaled=scale is None, poses=poses, shared=is_shared, tie=tie)

    def group_norm(self, node: Node) -> Op:
        arguments = arguments_of(node)
        scale = arguments["weight"]
        shape = shape_of(arguments["input"])[1:]
        is_whole = tuple(arguments.get("normalized_shape", shape)) == shape
        if operator(node) == "layer_norm" and not (is_whole and (scale is None or len(shape) == 1)):
            raise _lacks(node, "layer normalisation with a scale per position or over a part of the values")
        if arguments["eps"] != _EPS:
            raise _lacks(node, f"group normalisation with eps={arguments['eps']:g}")
        if (scale is None) != (arguments["bias"] is None) or shape[0] != self._shape[0]:
            raise _lacks(node, "group normalisation with a single one of scale and shift, or of other channels")
        self._add_weights(node, {"weight": scale, "bias": arguments["bias"]})
        # Instance normalisation has a group per channel.
        if arguments.get("running_mean") is not None:
            raise _lacks(node, "instance normalisation with running statistics")
        groups = shape[0] if operator(node) == "instance_norm" else arguments.get("num_groups", 1)
        return torch_only.GroupNorm(groups, bare=scale is None)

    def pool(self, node: Node) -> Op:
        arguments = arguments_of(node)
        if len(self._shape) != 3:
            raise _lacks(node, f"{operator(node)} of {self._shape[0]} values")
        rows, columns = self._shape[1:]
        kernel = arguments["kernel_size"]
        is_series = rows == 1 and kernel[0] == 1
        edges = (columns,) if is_series else (rows, columns)
        size = _single(node, kernel[-len(edges) :], "window")
        covers_map = set(edges) == {size}  # the stride has no effect
        stride = _single(node, arguments["stride"][-len(edges) :] or size, "stride")
        padding = _single(node, arguments["padding"], "padding")
        if set(arguments.get("dilation", [1])) != {1} or arguments.get("divisor_override"):
            raise _lacks(node, "a pooling with dilation or a fixed divisor")
        if arguments["ceil_mode"] and any((edge + 2 * padding - size) % stride for edge in edges):
            raise _lacks(node, "a pooling with ceil_mode=True")
        if padding and not arguments.get("count_include_pad", True):
            raise _lacks(node, "a mean that leaves out the padding")
        is_maximum = operator(node) == "max_pool2d"
        if padding or (stride != size and not covers_map):
            return (torch_only.OverlappingMaxPool if is_maximum else torch_only.OverlappingAvgPool)(
                size, stride, padding
            )
        return spec.MaxPool(size) if is_maximum else spec.AvgPool(size)

    def dropout(self, node: Node) -> Op:
        arguments = arguments_of(node)
        rate = arguments["p"]
        if rate >= 1:
            raise _lacks(node, f"dropout with the rate {rate:g}")
        if arguments["train"] and rate:
            raise Untranslatable(
                f"{place_of(node)}this dropout changes values in evaluation mode too; pass training=self.training"
            )
        is_map = len(shape_of(node)) == 4
        return spec.Dropout2d(rate) if operator(node) == "feature_dropout" and is_map else spec.Dropout(rate)

    def linear(self, node: Node) -> Op:
        arguments = arguments_of(node)
        weight = arguments["weight"]
        bias = arguments["bias"]
        if len(shape_of(arguments["input"])) != 2:
            raise _lacks(node, "a linear layer over the columns of a map")
        self._add_weights(node, {"weight": weight, "bias": bias})
        out = shape_of(weight)[0]
        poses = self._poses_of(weight, pose_matrix)
        if bias is None:
            if poses > 1:
                raise _lacks(node, "a rotated linear layer without biases")
            return torch_only.UnbiasedLinear(out)
        return spec.Linear(out) if poses == 1 else spec.PoseLinear(out, poses)

    def prelu(self, node: Node) -> Op:
        weight = arguments_of(node)["weight"]
        self._add_weights(node, {"weight": weight})
        return spec.PReLU() if math.prod(shape_of(weight)) == 1 else torch_only.ChannelPReLU()


def _without_ones(shape: Iterable[int]) -> tuple[int, ...]:
    """Return a shape without axes of length 1, which do not change the order of the values."""
    return tuple(edge for edge in shape if edge != 1)


def _lacks(node: Node, subject: str) -> Untranslatable:
    return Untranslatable(f"{place_of(node)}{subject} is not in the notation")


def _single(node: Node, values: Any, name: str) -> int:
    distinct = set(values) if isinstance(values, Sequence) else {values}
    if len(distinct) != 1:
        raise _lacks(node, f"{operator(node)} with the {name} {tuple(values)}")
    return int(distinct.pop())


def _paddings(node: Node, padding: Any, window: tuple[int, int]) -> tuple[int, int]:
    if padding == "valid":
        return 0, 0
    if padding == "same":
        if any(edge % 2 == 0 for edge in window):
            raise _lacks(node, "padding='same' of a kernel of even size")
        return window[0] // 2, window[1] // 2
    return padding[0], padding[-1]


# Functions of torch and of torch.nn.functional.
_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout")
# These keep the values and their order; ``_check_shape`` checks the new shape.
_SHAPE_ONLY = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "contiguous", "clone", "alias", "to")
_TRANSLATORS: dict[str, Callable[[_Reader, Node], Op | None]] = {
    "conv2d": _Reader.convolution,
    "batch_norm": _Reader.normalisation,
    "group_norm": _Reader.group_norm,
    "instance_norm": _Reader.group_norm,
    "layer_norm": _Reader.group_norm,
    "relu": lambda reader, node: spec.ReLU(),
    "prelu": _Reader.prelu,
    "max_pool2d": _Reader.pool,
    "avg_pool2d": _Reader.pool,
    "dropout": _Reader.dropout,
    "feature_dropout": _Reader.dropout,
    "linear": _Reader.linear,
    **dict.fromkeys(_SHAPE_ONLY, lambda reader, node: None),
}


class _WithoutDropout(TorchFunctionMode):
    """Context in which dropout is the identity; ``rates`` are the rates of the active dropouts."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        if getattr(func, "__name__", "") not in _DROPOUTS:
            return func(*args, **keywords)
        # torch and torch.nn.functional name the third argument differently.
        values = dict(zip(("input", "p", "training"), args, strict=False)) | keywords
        if values.get("training", values.get("train", True)) and values.get("p", 0.5):
            self.rates.append(values.get("p", 0.5))
        return values["input"]


@dataclass(frozen=True, slots=True)
class _Check:
    """Comparison of a module, in which all parameters have gradients, with its translation.

    The tensors get random values, so that no difference is hidden by initial values such as the scale 1.
    """

    module: nn.Module
    translation: Translation
    graph: ModuleGraph
    momenta: Mapping[str, float]
    task: Task

    def run(self) -> TorchNetwork:
        translation = self.translation
        names_in_use = {name for names in translation.weights for name in names.values()}
        count = sum(parameter.numel() for name, parameter in self.module.named_parameters() if name in names_in_use)
        expected_count = analyse(translation.architecture, self.task).parameters
        if count != expected_count:
            raise Untranslatable(f"the module has {count:,} parameters, its translation {expected_count:,}")
        generator = torch.Generator().manual_seed(0)
        tensors = self._tensors
        with torch.no_grad():
            for name, tensor_name in (item for names in translation.weights for item in names.items()):
                tensor = tensors[tensor_name]
                noise = torch.randn(tensor.shape, generator=generator)
                value = noise.abs() + 0.5 if name == "running_var" else tensor + 0.1 * noise
                tensor.copy_(value)
        network = with_weights(translation, tensors, self.task)
        parts = list(zip(_parts_with_tensors(network).values(), translation.weights, strict=True))
        for part, names in parts:
            if "running_mean" in names:
                part.momentum = self.momenta[names["running_mean"]]  # type: ignore[assignment]
        images = torch.randn(_CHECKED_IMAGES, *self.task.input_shape, generator=generator)
        factors = torch.randn(_CHECKED_IMAGES, self.task.classes, generator=generator)  # gradients of the outputs
        self._compare(network.eval(), images, factors, _OUTPUT_TOLERANCE, _GRADIENT_TOLERANCE)
        rates = self._compare(network.train(), images, factors, _TRAINING_TOLERANCE, _TRAINING_TOLERANCE)
        drop_rates = [op.drop_rate for op in flat(translation.architecture.ops) if op.drop_rate]
        if sorted(rates) != sorted(drop_rates):
            raise Untranslatable(f"the module has dropout of {rates} in training, its translation of {drop_rates}")
        for part, names in parts:
            for name in names.keys() & part._buffers.keys():
                if self.momenta[names["running_mean"]]:  # a cumulative average has no momentum
                    values = (getattr(part, name), self._tensors[names[name]])
                    _check_equal(f"{names[name]} after a batch", *values, _TRAINING_TOLERANCE)
        return network

    @property
    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.module.named_parameters()) | dict(self.module.named_buffers())

    def _compare(
        self, network: TorchNetwork, images: Tensor, factors: Tensor, output_tolerance: float, gradient_tolerance: float
    ) -> list[float]:
        for part in network.modules():
            part.train(network.training and not isinstance(part, FastDropout))
        network.zero_grad()
        self.module.zero_grad()
        dropout = _WithoutDropout()
        with quiet(self.graph.name), dropout:
            self.module.train(network.training)
            module_tensor = torch.flatten(tree_leaves(self.module(images))[self.graph.position], 1)
            (module_tensor * factors).sum().backward()  # type: ignore[no-untyped-call]
        network_tensor = self.graph.final(network(images))
        _check_equal("outputs", network_tensor, module_tensor, output_tolerance)
        (network_tensor * factors).sum().backward()  # type: ignore[no-untyped-call]
        tensors = self._tensors
        for part, names in zip(_parts_with_tensors(network).values(), self.translation.weights, strict=True):
            for name in names.keys() & part._parameters.keys():
                gradients = (getattr(part, name).grad, tensors[names[name]].grad)
                _check_equal(f"gradients of {names[name]}", *gradients, gradient_tolerance)
        return dropout.rates


def _check_equal(subject: str, network_tensor: Tensor | None, module_tensor: Tensor | None, tolerance: float) -> None:
    assert network_tensor is not None, "the network computes outputs and gradients of all its parameters"
    if module_tensor is None:
        raise Untranslatable(f"the module has no {subject}")
    if network_tensor.shape != module_tensor.shape:
        raise Untranslatable(f"the {subject} of the module have the shape {shape_text(tuple(module_tensor.shape))}")
    difference = (network_tensor - module_tensor).abs().max().item()
    # ``not <=`` in place of ``>``, so that NaN is rejected too.
    if not difference <= tolerance * max(1.0, module_tensor.abs().max().item()):
        raise Untranslatable(f"the {subject} of the module and of its translation differ by {difference:.3g}")
