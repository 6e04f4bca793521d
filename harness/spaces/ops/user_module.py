"""A PyTorch module of the user as a network of its own, which the notation cannot express layer by layer.

The text states name, counts and identity, so that records are read without the code of the user.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from harness.spaces.ops.op import ArgumentKind, Op, Parameter, Role, Shape, Signature, register, shape_text
from harness.spaces.space_errors import SearchSpaceError, ShapeError


def _text(name: str, meaning: str) -> Parameter:
    return Parameter(name, name, ArgumentKind.TEXT, meaning)


def _total(name: str, label: str, meaning: str) -> Parameter:
    return Parameter(name, label, ArgumentKind.TOTAL, meaning, minimum=0)


_OPTIONS = {
    "name": _text("name", "name of the module"),
    "input": _text("input", "shape of an image"),
    "parameters": _total("parameters", "parameters", "number of parameters"),
    "macs": _total("macs", "macs", "number of multiply-adds"),
    "statistics": _total("statistic_count", "statistics", "number of running statistics"),
    "code": _text("code", "hash of the source code"),
    "graph": _text("graph", "hash of the recorded operators"),
}


@register(
    module=Signature(
        Parameter("outputs", "outputs", ArgumentKind.COUNT, "number of outputs"), required=True, options=_OPTIONS
    )
)
@dataclass(frozen=True, slots=True)
class UserModule(Op):
    """A whole network from images to logits.

    Attributes:
        input: Shape of an image, such as ``1x28x28``.
        parameters: A tensor that several layers share counts once.
        code: SHA-256 of the source code, 12 digits.
        graph: SHA-256 of the recorded operators and of the shapes of all tensors, 12 digits.
        name: ``FILE.py:NAME`` or ``package.module:NAME``; not part of the identity of the network.
    """

    role: ClassVar[Role] = Role.MODULE
    is_global: ClassVar[bool] = True
    outputs: int
    input: str = ""
    parameters: int = 0
    macs: int = 0
    statistic_count: int = 0
    code: str = ""
    graph: str = ""
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self._text_of(_OPTIONS)

    @property
    def title(self) -> str:
        return self.name or "the module"

    @property
    def identity(self) -> str:
        return self._text_of(keyword for keyword in _OPTIONS if keyword != "name")

    def _text_of(self, keywords: Iterable[str]) -> str:
        arguments = [str(self.outputs)]
        for keyword in keywords:
            value = getattr(self, _OPTIONS[keyword].field)
            arguments.append(f"{keyword}={value}" if isinstance(value, int) else f"{keyword}='{value}'")
        return f"module({', '.join(arguments)})"

    def shape(self, before: Shape) -> Shape:
        if self.input != shape_text(before):
            raise ShapeError(f"the module takes images of {self.input or 'no shape'}, but gets {shape_text(before)}")
        return (self.outputs,)

    def cost(self, before: Shape) -> tuple[int, int]:
        return self.parameters, self.macs

    def statistics(self, before: Shape) -> int:
        return self.statistic_count

    def source(self, before: Shape) -> str:
        raise SearchSpaceError(f"{self.name} is not written as PyTorch, because its code is PyTorch already")
