"""Activation functions without learned numbers that the native engine has no kernel for; they have no integer form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.ops.op import Op, Signature, register


@register(tanh=Signature())
@dataclass(frozen=True, slots=True)
class Tanh(Op):
    """Hyperbolic tangent."""

    layer: ClassVar[str] = "Tanh"


@register(sigmoid=Signature())
@dataclass(frozen=True, slots=True)
class Sigmoid(Op):
    """1 / (1 + exp(-x))."""

    layer: ClassVar[str] = "Sigmoid"


@register(gelu=Signature())
@dataclass(frozen=True, slots=True)
class GELU(Op):
    """x times the distribution function of the standard normal distribution (Hendrycks and Gimpel, 1606.08415)."""

    layer: ClassVar[str] = "GELU"


@register(elu=Signature())
@dataclass(frozen=True, slots=True)
class ELU(Op):
    """x, and exp(x) - 1 for negative x (Clevert, Unterthiner and Hochreiter, arXiv 1511.07289)."""

    layer: ClassVar[str] = "ELU"


@register(selu=Signature())
@dataclass(frozen=True, slots=True)
class SELU(Op):
    """ELU with fixed factors that keep mean 0 and variance 1 (Klambauer et al., arXiv 1706.02515)."""

    layer: ClassVar[str] = "SELU"


@register(relu6=Signature())
@dataclass(frozen=True, slots=True)
class ReLU6(Op):
    """Rectifier that is limited to 6 (Howard et al., arXiv 1704.04861)."""

    layer: ClassVar[str] = "ReLU6"


@register(hardswish=Signature())
@dataclass(frozen=True, slots=True)
class Hardswish(Op):
    """x * relu6(x + 3) / 6 (Howard et al., arXiv 1905.02244)."""

    layer: ClassVar[str] = "Hardswish"


@register(mish=Signature())
@dataclass(frozen=True, slots=True)
class Mish(Op):
    """x * tanh(log(1 + exp(x))) (Misra, arXiv 1908.08681)."""

    layer: ClassVar[str] = "Mish"


@register(softplus=Signature())
@dataclass(frozen=True, slots=True)
class Softplus(Op):
    """log(1 + exp(x))."""

    layer: ClassVar[str] = "Softplus"
