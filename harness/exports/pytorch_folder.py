"""Export of a trained network as plain PyTorch: ``model.py``, ``weights.pt``, ``evaluate.py`` and ``train.py``.

If torchvision cannot download the data set, ``train.npz`` and ``test.npz`` contain the images. Layers that ``torch.nn``
lacks are copied from ``harness/spaces/posed.py``. The files compute as ``harness.load`` does, bit for bit.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import statistics
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.data.testset import read_test_set
from harness.evidence.record import Record
from harness.exports.c_library import rendered
from harness.interface.formats import Files, Format
from harness.interface.weights import TrainedNetwork
from harness.spaces import posed
from harness.spaces.network import Architecture, Task, analyse, walk
from harness.spaces.ops import Op, Residual, Role, Shape, kernels
from harness.system.errors import ContentError
from harness.system.files import workspace
from harness.training.pixels import raw_numbers, takes_bytes
from harness.training.recipe import Recipe

_WIDTH = 100  # characters in a line
# Without number, by role; other roles have the name in the notation.
_ATTRIBUTES = {
    Role.CONVOLUTION: "conv",
    Role.LINEAR: "linear",
    Role.MAX_POOLING: "pool",
    Role.MEAN_POOLING: "pool",
    Role.DROPOUT: "dropout",
}


class _PyTorch(Format):
    is_folder = True

    def check(self, architecture: Architecture, task: Task, recipe: Recipe) -> None:
        if recipe.precision == "int8":
            raise ContentError("an integer network cannot be exported as PyTorch, only as C")
        settings = {"trainer": recipe.trainer, "dirac": recipe.initialisation == "dirac"}
        for name, value in settings.items():
            if value:
                raise ContentError(f"the recipe setting {name} cannot be exported as PyTorch, only as safetensors")
        for op, before in walk(architecture.ops, task.input_shape):
            if not isinstance(op, Residual):
                op.source(before)  # raises SearchSpaceError

    def reads_test_set(self, dataset: Dataset) -> bool:
        return not dataset.folder  # torchvision downloads all other data sets

    def tensor_names(self, network: TrainedNetwork) -> dict[str, str]:
        names = {tensor.data_ptr(): name for name, tensor in reversed(_net_of(network).state.items())}
        return {name: names[tensor.data_ptr()] for name, tensor in network.model.state_dict().items()}

    def files(self, network: TrainedNetwork, path: Path) -> Files:
        """Return the files of a folder of PyTorch, with the images if torchvision has no class for the data set.

        The read of the test images is logged.

        Raises:
            DataError: The test images are missing or damaged.
        """
        net = _net_of(network)
        buffer = io.BytesIO()
        torch.save(net.state, buffer)
        context = _context(network, net)
        texts = {name: rendered(name, context) for name in ("model.py", "evaluate.py", "train.py")}
        contents = {path / name: text.encode() for name, text in texts.items()}
        contents[path / "weights.pt"] = buffer.getvalue()
        spec = network.images.dataset
        if not self.reads_test_set(spec):
            return Files(contents)
        purpose = f"export {network.architecture.hash} --pytorch"
        pixels, labels = read_test_set(network.images, purpose=purpose, log=workspace().test_log)
        contents[path / "train.npz"] = _npz(spec, network.images.train_images, network.images.train_labels)
        contents[path / "test.npz"] = _npz(spec, pixels, labels)
        return Files(contents, {"test_images": len(labels)})


FORMAT = _PyTorch()


def _net_of(network: TrainedNetwork) -> _Net:
    net = _Net()
    net.add(network.architecture.ops, network.images.dataset.task.input_shape, network.model.ops)
    return net


def _npz(spec: Dataset, pixels: Tensor, labels: Tensor) -> bytes:
    """``read_arrays`` in ``evaluate.py`` reads the file; ``pixels`` are uint8 (n, channels, rows, columns)."""
    numbers = raw_numbers(pixels, spec).numpy()
    if spec.image_shape[0] == 1:
        numbers = numbers[:, 0]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=numbers, y=labels.numpy())
    return buffer.getvalue()


@dataclass(slots=True)
class _Net:
    """The code and the tensors of the class ``Net``.

    Attributes:
        sources: Expression of each layer, the right side of the statement in ``layers``.
        state: Tensors by the names in ``Net.state_dict()``.
        counts: Number of layers so far, by attribute without number.
        owners: First name of each parameter by id; a tied layer refers to this name.
        names: Name of each layer by the id of the module; a module that is used twice is a single layer.
    """

    layers: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    owners: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def add(self, ops: tuple[Op, ...], shape: Shape, modules: Any, depth: int = 1) -> None:
        """``depth`` is 1 for the ops of the network, 2 for the ops of a residual sum, and so on."""
        for op, module in zip(ops, modules, strict=True):
            if isinstance(op, Residual):
                shortcut = "shortcut" if depth == 1 else f"shortcut{depth}"
                self.steps.append(f"{shortcut} = x")
                self.add(op.ops, shape, module.ops, depth + 1)
                self.steps.append(f"x = x + {shortcut}")
            else:
                self._add_layer(op, shape, module)
            shape = op.shape(shape)
        if depth == 1 and len(shape) == 3:
            self.steps.append("x = torch.flatten(x, 1)")

    def _add_layer(self, op: Op, shape: Shape, module: nn.Module) -> None:
        if id(module) not in self.names:
            self.names[id(module)] = self._new_layer(op, shape, module)
        if op.role is Role.LINEAR and len(shape) == 3:
            self.steps.append("x = torch.flatten(x, 1)")
        self.steps.append(f"x = self.{self.names[id(module)]}(x)")

    def _new_layer(self, op: Op, shape: Shape, module: nn.Module) -> str:
        notation = re.match("[a-z]+", str(op))
        assert notation is not None, "the name of an op begins with a letter"
        attribute = _ATTRIBUTES.get(op.role, notation[0])
        self.counts[attribute] += 1
        name = f"{attribute}{self.counts[attribute]}"
        source = op.source(shape)
        self.sources.append(source)
        self.layers.append(_assignment(f"self.{name}", source))
        for key, parameter in module.named_parameters():
            owner = self.owners.setdefault(id(parameter), f"self.{name}.{key}")
            if owner != f"self.{name}.{key}":
                self.layers.append(f"self.{name}.{key} = {owner}")
        self.state |= {f"{name}.{key}": tensor for key, tensor in module.state_dict().items()}
        return name


def _assignment(target: str, source: str) -> str:
    """Return an assignment, wrapped as Black does if the line would be too long."""
    statement = f"{target} = {source}"
    if len(f"        {statement}") <= _WIDTH:
        return statement
    name, _, arguments = source.removesuffix(")").partition("(")
    return f"{target} = {name}(\n    {arguments}\n)"


def _helpers(sources: Iterable[str]) -> str:
    """Return the definitions in ``harness/spaces/posed.py`` that expressions need, in the order of the file."""
    definitions = {
        name: inspect.getsource(value).rstrip()
        for name, value in vars(posed).items()
        if getattr(value, "__module__", None) == posed.__name__
    }
    closure: set[str] = set()
    queue = list(sources)
    while queue:
        names = (_names_in(queue.pop()) & definitions.keys()) - closure
        closure |= names
        queue += (definitions[name] for name in names)
    return "\n\n\n".join(definition for name, definition in definitions.items() if name in closure)


def _names_in(code: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}


def _context(network: TrainedNetwork, net: _Net) -> dict[str, Any]:
    spec = network.images.dataset
    recipe = network.recipe
    analysis = analyse(network.architecture, spec.task)
    helpers = _helpers(net.sources)
    channels, rows, columns = spec.image_shape
    low, high = spec.number_range
    return {
        "layers": net.layers,
        "steps": net.steps,
        "helpers": helpers,
        "names": _names_in("\n".join([helpers, *net.sources, *net.steps])),
        "parameters": analysis.parameters,
        "macs": analysis.macs,
        "mean_accuracy": _mean_accuracy(network.seed.record),
        "recorded_run": network.recorded_run,
        "has_bias": any(kernel.bias for kernel in kernels(network.architecture.ops)),
        "notation": textwrap.fill(f"Notation of harness: {network.architecture}", _WIDTH - 4).splitlines(),
        "title": _in_docstring(spec.title),
        "recipe_name": _in_docstring(network.about["recipe"]),
        "about": network.about,
        "recipe": recipe,
        "spec": spec,
        "channels": channels,
        "rows": rows,
        "columns": columns,
        "image_count": len(network.images.train_labels),
        # Empty for data of users and of packages.
        "torchvision": spec.folder.partition("/")[0],
        "low": f"{min(low):g}",
        "high": f"{max(high):g}",
        "takes_bytes": takes_bytes(spec),
        "test_sha256": network.images.test_sha256,
    }


def _mean_accuracy(record: Record | None) -> str | None:
    if record is None:
        return None
    accuracies_pct = record.accuracies_pct
    mean_pct = statistics.fmean(accuracies_pct)
    if len(accuracies_pct) == 1:
        return f"{mean_pct:.3f} % with a single seed"
    return f"{mean_pct:.3f} +- {statistics.stdev(accuracies_pct):.3f} % over {len(accuracies_pct)} seeds"


def _in_docstring(text: str) -> str:
    return text.encode("unicode_escape").decode().replace('"', "'")
