"""Activation functions without learned numbers that the native engine has no kernel for; they have no integer form."""

from __future__ import annotations

from dataclasses import dataclass

from harness.spaces.ops.op import Op, Signature, register


def _activation(layer: str) -> type[Op]:
    members = {"layer": layer, "__slots__": (), "__module__": __name__, "__doc__": f"``torch.nn.{layer}``."}
    op_type: type[Op] = dataclass(frozen=True)(type(layer, (Op,), members))
    return register(**{layer.lower(): Signature()})(op_type)


Tanh = _activation("Tanh")
Sigmoid = _activation("Sigmoid")
GELU = _activation("GELU")  # arXiv 1606.08415, with the exact distribution function of the normal distribution
ELU = _activation("ELU")  # arXiv 1511.07289
SELU = _activation("SELU")  # arXiv 1706.02515
ReLU6 = _activation("ReLU6")  # arXiv 1704.04861
Hardswish = _activation("Hardswish")  # arXiv 1905.02244
Mish = _activation("Mish")  # arXiv 1908.08681
Softplus = _activation("Softplus")
