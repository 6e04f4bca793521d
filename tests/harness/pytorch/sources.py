"""PyTorch source code of a network in five common styles; without ops in poses, which torch lacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.spaces.network import Architecture, Task
from harness.spaces.ops import Op, Residual, Shape, flat

STYLES = ("sequential", "layers", "functional", "blocks", "inheritance")
HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"


def text_of_module(first: str, forward: str) -> str:
    """Return a file with a module ``Net`` that has a convolution ``self.c``."""
    return (
        f"{HEAD}import random\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.c = nn.Conv2d(1, 10, 3)\n        {first}\n\n    def forward(self, x):\n        {forward}\n"
    )


@dataclass
class Layer:
    """A layer: name, expression of the module, and expression of the result for ``x``."""

    name: str
    module: str
    call: str


@dataclass
class Program:
    """The layers of a network, and the lines of ``forward``."""

    functional: bool
    layers: list[Layer] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    kernels: dict[str, Layer] = field(default_factory=dict)
    vectors: bool = False


def source_of(architecture: Architecture, task: Task, style: str) -> str:
    """Return the source of a file that defines ``Net``."""
    program = Program(style == "functional")
    list(_write(architecture.ops, task.input_shape, program, 0))
    lines = [*program.lines, "return torch.flatten(x, 1)"]
    if style == "functional":
        lines[-1] = "return F.log_softmax(x.view(x.size(0), -1), dim=1)"
    if style == "sequential" and not any(isinstance(op, Residual) or op.tie for op in flat(architecture.ops)):
        modules = "".join(f"    {layer.module},\n" for layer in program.layers)
        return f"{HEAD}Net = nn.Sequential(\n{modules}    nn.Flatten(),\n)\n"
    if style == "blocks":
        return _in_blocks(program, lines)
    assignments = [f"self.{layer.name} = {layer.module}" for layer in program.layers if layer.module]
    if style == "inheritance":
        half = len(assignments) // 2
        base = _class("Base", "nn.Module", assignments[:half], ["raise NotImplementedError"])
        return HEAD + base + "\n\n" + _class("Net", "Base", assignments[half:], lines)
    return HEAD + _class("Net", "nn.Module", assignments, lines)


def _class(name: str, base: str, assignments: list[str], lines: list[str]) -> str:
    body = ["super().__init__()", *assignments]
    indent = "\n        "
    return (
        f"class {name}({base}):\n    def __init__(self):\n        {indent.join(body)}\n\n"
        f"    def forward(self, x):\n        {indent.join(lines)}\n"
    )


def _in_blocks(program: Program, lines: list[str]) -> str:
    """Group runs of layers in ``nn.Sequential`` blocks, which a loop applies."""
    is_tied = any(not layer.module for layer in program.layers)
    if is_tied or any(not line.startswith("x = self.") for line in lines[:-1]):
        assignments = [f"self.{layer.name} = {layer.module}" for layer in program.layers if layer.module]
        return HEAD + _class("Net", "nn.Module", assignments, lines)
    modules = [layer.module for layer in program.layers]
    groups = [modules[first : first + 3] for first in range(0, len(modules), 3)]
    blocks = ", ".join(f"nn.Sequential({', '.join(group)})" for group in groups)
    loop = ["for block in self.blocks:", "    x = block(x)", lines[-1]]
    return HEAD + _class("Net", "nn.Module", [f"self.blocks = nn.ModuleList([{blocks}])"], loop)


def _write(ops: tuple[Op, ...], shape: Shape, program: Program, depth: int) -> Iterator[Shape]:
    for op in ops:
        if isinstance(op, Residual):
            program.lines.append(f"skip{depth} = x")
            list(_write(op.ops, shape, program, depth + 1))
            program.lines.append(f"x = x + skip{depth}")
        else:
            _add(op, shape, program)
        shape = op.shape(shape)
        yield shape


def _add(op: Any, shape: Shape, program: Program) -> None:
    kind = type(op).__name__
    name = f"{kind.lower()}{len(program.layers)}"
    module = _MODULES[kind](op, shape)
    if kind.endswith("Linear") and len(shape) == 3:
        module = f"nn.Sequential(nn.Flatten(), {module})"
    if op.tie in program.kernels:
        first = program.kernels[op.tie]
        name = first.name
        program.layers.append(Layer(name, "", ""))
        if module != first.module:
            # A padding that differs from the first layer needs the functional form.
            options = f"padding={op.paddings}, stride={op.stride}, groups={getattr(op, 'groups', shape[0])}"
            program.lines.append(f"x = F.conv2d(x, self.{name}.weight, {options})")
            return
    else:
        program.layers.append(Layer(name, module, ""))
        if op.tie:
            program.kernels[op.tie] = program.layers[-1]
    functions = _FUNCTIONS if program.functional else {}
    program.lines.append(f"x = {functions[kind](op)}" if kind in functions else f"x = self.{name}(x)")


def _convolution(op: Any, shape: Shape) -> str:
    rows, columns = op.edges
    window = str(rows) if rows == columns else f"({rows}, {columns})"
    options = "" if op.paddings == (0, 0) else f", padding={op.paddings[0] if rows == columns else op.paddings}"
    options += f", stride={op.stride}" if op.stride > 1 else ""
    groups = shape[0] if type(op).__name__ == "DepthwiseConv" else op.groups
    options += f", groups={groups}" if groups > 1 else ""
    options += "" if op.bias else ", bias=False"
    return f"nn.Conv2d({shape[0]}, {op.shape(shape)[0]}, {window}{options})"


def _norm(op: Any, shape: Shape) -> str:
    options = ", affine=False" if type(op).__name__ == "BareBatchNorm" else ""
    return f"nn.BatchNorm{2 if len(shape) == 3 else 1}d({shape[0]}{options})"


_MODULES: dict[str, Callable[[Any, Shape], str]] = {
    "Conv": _convolution,
    "WideConv": _convolution,
    "DepthwiseConv": _convolution,
    "BatchNorm": _norm,
    "BareBatchNorm": _norm,
    "JointBatchNorm": _norm,
    "GroupNorm": lambda op, shape: f"nn.GroupNorm({op.groups}, {shape[0]}, affine={not op.bare})",
    "ReLU": lambda op, shape: "nn.ReLU(inplace=True)",
    "LeakyReLU": lambda op, shape: f"nn.LeakyReLU({op.slope})",
    "PReLU": lambda op, shape: "nn.PReLU()",
    "ChannelPReLU": lambda op, shape: f"nn.PReLU({shape[0]})",
    "Swish": lambda op, shape: "nn.SiLU()",
    "Dropout": lambda op, shape: f"nn.Dropout({op.p})",
    "Dropout2d": lambda op, shape: f"nn.Dropout2d({op.p})",
    "MaxPool": lambda op, shape: f"nn.MaxPool2d({op.size}, {op.size})",
    "AvgPool": lambda op, shape: f"nn.AvgPool2d({op.size})",
    "Unshuffle": lambda op, shape: f"nn.PixelUnshuffle({op.size})",
    "GlobalAvgPool": lambda op, shape: "nn.AdaptiveAvgPool2d(1)",
    "Linear": lambda op, shape: f"nn.Linear({math.prod(shape)}, {op.out_features})",
    "UnbiasedLinear": lambda op, shape: f"nn.Linear({math.prod(shape)}, {op.out_features}, bias=False)",
}
_FUNCTIONS: dict[str, Callable[[Any], str]] = {
    "ReLU": lambda op: "F.relu(x)",
    "LeakyReLU": lambda op: f"F.leaky_relu(x, {op.slope})",
    "Swish": lambda op: "F.silu(x)",
    "Dropout": lambda op: f"F.dropout(x, {op.p}, training=self.training)",
    "Dropout2d": lambda op: f"F.dropout2d(x, p={op.p}, training=self.training)",
    "MaxPool": lambda op: f"F.max_pool2d(x, {op.size})",
    "AvgPool": lambda op: f"F.avg_pool2d(x, {op.size})",
    "Unshuffle": lambda op: f"F.pixel_unshuffle(x, {op.size})",
    "GlobalAvgPool": lambda op: "x.mean(dim=(2, 3), keepdim=True)",
}
