"""Operators of a PyTorch module, recorded by ``torch.export`` as a sequence with residual sums.

A ``Node`` is a value of the recorded graph: an input, a parameter or buffer, or the result of an ATen operator.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from harness.spaces.network import Task
from harness.spaces.ops import SIGNATURES, AvgPool, GlobalAvgPool, LeakyReLU, MaxPool, Op, Role, Unshuffle
from harness.spaces.space_errors import SearchSpaceError
from harness.system.errors import ContentError
from harness.system.user_code import is_users_file
from harness.training.user_modules.execution import BATCH, arguments_of, exported, quiet

_SOFTMAXES = ("softmax", "log_softmax")  # operators after the logits, left out of a translation
_AFTER_SOFTMAX = ("clamp", "clamp_min", "log")  # functions that keep the order of the classes
_MAX_OPERATORS = 12  # operators of a recognised op
_REDUCTIONS = ("adaptive_avg_pool2d", "mean", "pixel_unshuffle", "avg_pool2d", "max_pool2d")
_SCALES = (4.0, 1e-3, 1e4)  # deviations of the random values that an op must agree on; limits such as 20 differ at 1e4


class Untranslatable(ContentError):
    """A module cannot be written in the notation; the message states the first reason."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A residual sum in a recorded graph; ``steps`` are the operators of the branch."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Recognised:
    """An op that one or several operators without parameters compute, such as ``x * sigmoid(x)``.

    Attributes:
        op: None if the values and their order stay the same.
    """

    node: Node
    op: Op | None


Step = Node | Recognised | Sum


class ModuleGraph:
    """The recorded operators of a module.

    Attributes:
        steps: Operators from the images to the logits, in order of execution.
        notes: Sentences about operators that were left out or are computed differently.
        final: Function applied to the logits, such as a softmax, or the identity.
        position: Index of the logits among all tensors that the module returns.
    """

    def __init__(self, module: nn.Module, task: Task, name: str, layers: Container[str]) -> None:
        """Record a module in evaluation mode.

        ``layers`` names the operators that become an op each; other operators are recognised by their values.

        Raises:
            ContentError: The module cannot be run or recorded.
            Untranslatable: The operators are not a sequence with residual sums, or the module changes a tensor, or
                returns no tensor with a value per class.
        """
        self.name = name
        self._module = module
        self._layers = layers
        with quiet(name):
            program = exported(module, task)
        signature = program.graph_signature
        constants = signature.inputs_to_lifted_tensor_constants
        self._constants: dict[str, Tensor] = {
            node_name: program.constants[name] for node_name, name in constants.items()
        }
        self._tensors = _tensor_names(module, {**signature.inputs_to_parameters, **signature.inputs_to_buffers})
        self.shapes = {name: tuple(tensor.shape) for name, tensor in program.state_dict.items()}
        self.notes: list[str] = []
        self.final: Callable[[Tensor], Tensor] = lambda logits: logits
        graph = program.graph
        for node in graph.nodes:
            if _works_in_place(node) and self.name_of(node.args[0]):
                input_name = self.name_of(node.args[0])
                raise Untranslatable(f"{place_of(node)}the module changes {input_name} in evaluation mode")
        _replace_overwritten(graph)
        _join_padding(graph)
        self._order = {node: index for index, node in enumerate(graph.nodes)}
        (self._images,) = (
            node for node in graph.nodes if node.op == "placeholder" and node.name in signature.user_inputs
        )
        self._varying = _dependent_on(self._images)  # nodes that depend on the images
        self._read: set[Node] = set()  # visited by ``_between``; each may be used once
        self._sources: dict[Node, tuple[str, ...]] = {}  # cache of ``sources``
        outputs: Any = graph.output_node().args[0]
        kind = program.call_spec.out_spec.type  # None for a single value
        positions = list(range(len(outputs)))
        if kind in (tuple, list):
            # In a tuple, the logits are the only tensor with a value per class.
            shapes = ((BATCH, task.classes), (BATCH, task.classes, 1, 1))
            positions = [i for i, each in enumerate(outputs) if isinstance(each, Node) and shape_of(each) in shapes]
        is_one_tensor = len(positions) == 1 and isinstance(outputs[positions[0]], Node)
        if kind not in (None, tuple, list) or not is_one_tensor:
            raise Untranslatable(f"the module returns a {getattr(kind, '__name__', 'number')}; expected one tensor")
        if len(outputs) > 1:
            self.notes.append(f"the module returns {len(outputs)} tensors; only the values of the classes are computed")
        (self.position,) = positions
        self.steps = self._between(self._images, self._logits(outputs[self.position]))

    def name_of(self, value: object) -> str | None:
        """Return the name of a parameter or buffer, else None."""
        return self._tensors.get(value.name) if isinstance(value, Node) else None

    def is_cumulative(self, mean: Node) -> bool:
        """Return whether the layer that owns a running mean averages over all batches (``momentum=None``)."""
        path, _, _ = (self.name_of(mean) or "").rpartition(".")
        return getattr(self._module.get_submodule(path), "momentum", 0) is None

    def sources(self, node: Node) -> tuple[str, ...]:
        """Return the names of the parameters and buffers from which a value is computed; none if from the images."""
        if node in self._varying:
            return ()
        if node not in self._sources:
            name = self.name_of(node)
            of_inputs = (source for each in node.all_input_nodes for source in self.sources(each))
            self._sources[node] = tuple(dict.fromkeys(of_inputs)) if name is None else (name,)
        return self._sources[node]

    def value(self, node: Node, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the value of a node with sources that depends on parameters only."""
        name = self.name_of(node)
        if name is not None:
            return tensors[name]
        if node.name in self._constants:
            return self._constants[node.name]
        arguments, keywords = map_arg((node.args, dict(node.kwargs)), lambda each: self.value(each, tensors))
        result: Tensor = node.target(*arguments, **keywords)  # type: ignore[operator]
        return result

    def _logits(self, output: Node) -> Node:
        """Return the operator before a final softmax, else ``output``; note the softmax and set ``final``."""
        later: list[Node] = []
        node: Any = output
        while operator(node) in _AFTER_SOFTMAX:
            later.insert(0, node)
            node = node.args[0]
        name = operator(node)
        if name not in _SOFTMAXES:
            return output
        dimension = node.args[1]
        if dimension not in (1, 1 - len(shape_of(node))):  # the classes, counted from either end
            raise Untranslatable(f"{place_of(node)}{name} over dimension {dimension} is not over the classes")
        names = " and ".join([name, *map(operator, later)])
        self.notes.append(f"the final {names} is left out, because the loss contains a softmax")

        def final(logits: Tensor) -> Tensor:
            values: Tensor = getattr(logits, name)(1)
            for step in later:
                values = step.target(values, *step.args[1:], **step.kwargs)  # type: ignore[operator]
            return values

        self.final = final
        before: Node = node.args[0]
        return before

    def _between(self, first: Node, last: Node) -> tuple[Step, ...]:
        steps: list[Step] = []
        node = last
        while node is not first:
            if node not in self._varying:
                raise Untranslatable("the output does not depend on the images")
            if node in self._read:
                raise Untranslatable(f"{place_of(node)}the result of {operator(node)} is used in several places")
            self._read.add(node)
            inputs = [each for each in node.all_input_nodes if each in self._varying]
            recognised = None if operator(node) in self._layers else self._recognised(node, first)
            if recognised is not None:
                step, node = recognised
                steps.append(step)
            elif len(inputs) == 1:
                steps.append(node)
                node = inputs[0]
            elif operator(node) == "add" and not node.kwargs:
                node, branch = self._ordered(inputs, node)
                steps.append(Sum(self._between(node, branch)))
            else:
                raise Untranslatable(f"{place_of(node)}{operator(node)} of {len(inputs)} values is not in the notation")
        return tuple(reversed(steps))

    def _recognised(self, last: Node, first: Node) -> tuple[Recognised, Node] | None:
        """Return the op that ``last`` and as few earlier operators as possible compute, and the input of the op.

        Operators up to ``first`` are not considered. None if no op gives the same values.
        """
        region = [last]
        while len(region) <= _MAX_OPERATORS and self._is_function(region[-1]):
            inputs = {each for node in region for each in node.all_input_nodes if each in self._varying}
            latest = max(inputs - {*region}, key=self._order.__getitem__)
            recorded = latest.meta["val"]
            if inputs <= {*region, latest} and isinstance(recorded, Tensor) and recorded.is_floating_point():
                normal = torch.randn(recorded.shape, generator=torch.Generator().manual_seed(0))
                normal.view(-1)[0] = -1  # ``_ops_like`` reads the slope of a rectifier
                samples = [normal.mul(scale).requires_grad_() for scale in _SCALES]
                try:
                    results = [self._results(region, {latest: sample})[last] for sample in samples]
                except (RuntimeError, IndexError, TypeError, ValueError):  # undefined for random numbers
                    return None
                for op in _ops_like(samples, results, reduces=operator(last) in _REDUCTIONS):
                    return Recognised(last, op), latest
            if latest is first:
                return None
            region.append(latest)
        return None

    def _is_function(self, node: Node) -> bool:
        is_random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        has_sources = any(self.sources(each) for each in node.all_input_nodes)
        return node.op == "call_function" and not is_random and not has_sources

    def _results(self, region: Sequence[Node], inputs: Mapping[Node, Tensor]) -> dict[Node, Any]:
        results: dict[Node, Any] = dict(inputs)
        for node in sorted(region, key=self._order.__getitem__):
            results[node] = self._result(node, results)
        return results

    def _result(self, node: Node, results: Mapping[Node, Any]) -> Any:
        def value_of(source: Node) -> Any:
            value = results[source] if source in results else self.value(source, {})
            return value.clone() if isinstance(value, Tensor) else value  # the operator may work in place

        arguments, keywords = map_arg((node.args, dict(node.kwargs)), value_of)
        return node.target(*arguments, **keywords)  # type: ignore[operator]

    def _ordered(self, terms: Sequence[Node], node: Node) -> tuple[Node, Node]:
        left, right = terms
        if right in _dependent_on(left):
            return left, right
        if left in _dependent_on(right):
            return right, left
        rule = "the notation only adds a value and the result of layers on this value"
        raise Untranslatable(f"{place_of(node)}a sum of two branches is not in the notation; {rule}")


def operators(steps: Sequence[Step]) -> Iterator[Node]:
    """Yield the operators that become an op each, in order of execution."""
    for step in steps:
        if isinstance(step, Sum):
            yield from operators(step.steps)
        elif isinstance(step, Node):
            yield step


def _ops_like(samples: Sequence[Tensor], results: Sequence[Any], *, reduces: bool) -> Iterator[Op | None]:
    """Yield the ops with these results for ``samples``; None stands for the same values in the same order.

    Args:
        samples: Inputs with the deviations ``_SCALES``, (batch, channels, rows, columns) or (batch, features); the
            first value is -1 in units of the deviation.
        reduces: Whether an op comes before None, such as ``gap`` for a map of a single value per channel.
    """
    first = results[0]
    is_tensor = isinstance(first, Tensor) and first.requires_grad and first.is_floating_point()
    if not is_tensor or first.shape[:1] != samples[0].shape[:1]:
        return
    results = [result.detach().flatten(1) for result in results]
    before = tuple(samples[0].shape[1:])
    ops: list[Op | None] = []
    if len(before) in (1, 3):
        activations = [each for each in SIGNATURES.values() if each.number is None and each.op_type is not None]
        ops += [op for each in activations if (op := each.make_default()).role is Role.ACTIVATION and op.layer]
    slope = round(-results[0][0, 0].item() / _SCALES[0], 6)  # decimal digits of a 32-bit number
    if 0 < slope < 1:
        ops.append(LeakyReLU(slope))
    if len(before) == 3:
        edges = before[2:] if before[1] == 1 else before[1:]
        sizes = range(2, min(edges) + 1)
        ops += [GlobalAvgPool(), *(kind(size) for kind in (AvgPool, MaxPool, Unshuffle) for size in sizes)]
    for candidate in [*ops, None] if reduces else [None, *ops]:
        try:
            is_as_large = math.prod(before if candidate is None else candidate.shape(before)) == results[0].shape[1]
        except SearchSpaceError:
            continue
        if is_as_large and (candidate is None or candidate.cost(before) == (0, 0)):
            layer = nn.Identity() if candidate is None else candidate.module(before)
            expected = [layer(sample).detach().flatten(1) for sample in samples]
            if all(map(_is_close, results, expected, _SCALES)):
                yield candidate


def _is_close(result: Tensor, expected: Tensor, scale: float) -> bool:
    """Large values may overflow in the operators of the user, as in ``log(1 + exp(x))``, and are not compared."""
    compared = result.isfinite() | (scale <= _SCALES[0])
    return torch.allclose(result[compared], expected[compared], rtol=1e-5, atol=1e-6 * max(scale, 1))


def operator(node: Node) -> str:
    """Return the name of an operator: ``relu`` for ``aten.relu.default`` and for ``relu_``, which works in place."""
    return _full_name(node).removesuffix("_")


def _full_name(node: Node) -> str:
    """Return the name of an operator without the overload: ``relu_`` for ``aten.relu_.default``."""
    name, _, _ = str(getattr(node.target, "__name__", node.target)).partition(".")
    return name


def shape_of(node: Node) -> tuple[int, ...]:
    """Return the shape of the result of an operator; the first axis is the batch."""
    return tuple(node.meta["val"].shape)


def place_of(node: Node) -> str:
    """Return the place of an operator in the user's code as the begin of a message.

    Examples: ``net.py:20 'x = x * y': `` and ``net.py:12, layer features.3 (Hardtanh): ``.
    """
    # File "PATH", line NUMBER, in FUNCTION; then the text of the line.
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines()]
    location = code = ""
    for line, text in itertools.pairwise([*lines, ""]):
        path, _, position = line.removeprefix('File "').partition('", line ')
        if line.startswith("File ") and is_users_file(path):
            location = f"{os.path.basename(path)}:{position.partition(',')[0]}"
            code = f" '{text}'" if text else ""
    *_, (layer, kind) = (node.meta.get("nn_module_stack") or {"": ("", "")}).values()
    if layer:
        kind = getattr(kind, "__name__", kind)
        code = f"{', ' if location else ''}layer {layer} ({kind.rpartition('.')[2]})"
    return f"{location}{code}: " if location or code else ""


def _tensor_names(module: nn.Module, inputs: Mapping[str, str]) -> dict[str, str]:
    parameters = dict(module.named_parameters(remove_duplicate=False))
    tensors: dict[str, Tensor] = parameters | dict(module.named_buffers(remove_duplicate=False))
    first_names: dict[int, str] = {}
    for name, tensor in tensors.items():
        first_names.setdefault(id(tensor), name)
    return {graph_name: first_names[id(tensors[name])] for graph_name, name in inputs.items()}


def _works_in_place(node: Node) -> bool:
    return node.op == "call_function" and _full_name(node).endswith("_")


def _replace_overwritten(graph: Graph) -> None:
    """Let all operators after an operator that works in place, such as ``relu_``, read the new value."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if _works_in_place(node):
            later = {each for each in graph.nodes if order[each] > order[node]}
            node.args[0].replace_all_uses_with(node, later.__contains__)


def _join_padding(graph: Graph) -> None:
    """Let convolutions add the zeros of a padding operator before, if the padding is equal on both sides."""
    for node in graph.nodes:
        if operator(node) != "conv2d" or operator(node.args[0]) not in ("pad", "constant_pad_nd"):
            continue
        padding = arguments_of(node)["padding"]
        pad = arguments_of(node.args[0])
        left, right, above, below, *further = [*pad["pad"], 0, 0, 0, 0][:6]
        is_zero = pad.get("mode", "constant") == "constant" and not pad["value"]
        if is_zero and not isinstance(padding, str) and (left, above, *further) == (right, below, 0, 0):
            arguments = arguments_of(node) | {
                "input": node.args[0].args[0], "padding": [padding[0] + above, padding[-1] + left],
            }  # fmt: skip
            node.args = tuple(arguments.values())
            node.kwargs = {}


def _dependent_on(origin: Node) -> set[Node]:
    nodes = {origin}
    for node in origin.graph.nodes:
        if not nodes.isdisjoint(node.all_input_nodes):
            nodes.add(node)
    return nodes
