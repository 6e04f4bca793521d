"""Multiply-adds of any module: torch dispatches each operator of a forward pass to a counter.

All layers reach torch as few basic operators: ``tensordot``, ``einsum`` and a linear layer are ``mm``, for example.
Operators that multiply matrices without a formula here are refused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from harness.spaces.network import Task
from harness.system.errors import ContentError

# In names of operators that multiply matrices or solve equations; for operators without a formula.
_PRODUCT_WORDS = {
    "addmm", "attention", "bmm", "cdist", "cholesky", "conv", "convolution", "dot", "einsum", "euclidean", "fft",
    "geqrf", "gru", "linalg", "linear", "lstm", "lu", "matmul", "mm", "mv", "ormqr", "pdist", "qr", "rnn", "solve",
    "svd", "tensordot", "triangular", "trilinear",
}  # fmt: skip
_NO_PRODUCTS = {"linalg_vector_norm", "linalg_cross", "linalg_check_errors"}  # without sums of products


def _matrix_macs(result: Tensor, first: Tensor, second: Tensor) -> int:
    return first.numel() * (second.shape[-1] if second.ndim > 1 else 1)


def _convolution_macs(result: Tensor, images: Tensor, weight: Tensor, *further: Any) -> int:
    is_transposed = further[4]  # after bias, stride, padding and dilation
    positions = (images if is_transposed else result).shape[2:]
    return weight.numel() * len(images) * math.prod(positions)


def _bilinear_macs(result: Tensor, first: Tensor, weights: Tensor, second: Tensor, *axes: Any) -> int:
    return math.prod(first.shape[:-1]) * (weights.numel() + weights.shape[0] * second.shape[-1])


# By operator, from the result and the arguments.
_FORMULAS: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), _matrix_macs),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "addmv"), lambda result, added, *pair: _matrix_macs(result, *pair)),
    "addr": lambda result, added, first, second: first.numel() * second.numel(),
    "mkldnn_rnn_layer": lambda result, steps, *weights: steps[..., 0].numel() * sum(map(Tensor.numel, weights[:2])),
    "trilinear": _bilinear_macs,
    "convolution": _convolution_macs,
}


def module_macs(module: nn.Module, task: Task) -> Mapping[str, int]:
    """Return the multiply-adds of each layer for an image, by path; the whole module has the path ``""``.

    Products of matrices in any form are counted, and elementwise products whose results are summed directly or that
    have more axes than both factors (an outer product). The module is left in evaluation mode.

    Raises:
        ContentError: An operator multiplies matrices in a way that is not counted.
    """
    counter = _Counter()
    hooks = []
    for path, part in module.eval().named_modules():
        hooks.append(part.register_forward_pre_hook(partial(counter.enter, path)))
        hooks.append(part.register_forward_hook(counter.leave, always_call=True))
    is_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a single operator without a formula
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            module(torch.zeros(1, *task.input_shape))
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)
        for hook in hooks:
            hook.remove()
    return counter.macs


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counter of the multiply-adds of all operators within the block.

    Attributes:
        macs: Multiply-adds by path of the layer, inner layers included.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = Counter[str]()
        self._paths: list[str] = []  # computed at present, from outside to inside
        self._terms: dict[int, Tensor] = {}  # results of elementwise products, by id

    def enter(self, path: str, *arguments: Any) -> None:
        self._paths.append(path)

    def leave(self, *arguments: Any) -> None:
        self._paths.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        name = func._schema.name.partition("::")[2].strip("_")
        if name not in _FORMULAS:
            with self:  # an operator without a rule for gradients consists of others
                result = func.decompose(*args, **keywords)
            if result is not NotImplemented:
                return result
        result = func(*args, **keywords)
        macs = self._macs_of(name, args, result)
        for path in {*self._paths}:
            self.macs[path] += macs
        return result

    def _macs_of(self, name: str, args: Any, result: Any) -> int:
        if name in _FORMULAS:
            return _FORMULAS[name](result, *args)
        if name == "mul":
            if _is_outer(*(tuple(each.shape) if isinstance(each, Tensor) else () for each in args)):
                return int(result.numel())
            self._terms[id(result)] = result
        elif name == "sum" and id(args[0]) in self._terms:
            return self._terms.pop(id(args[0])).numel()
        elif name not in _NO_PRODUCTS and _PRODUCT_WORDS.intersection(name.split("_")):
            raise ContentError(f"the multiply-adds of {name} are not counted")
        return 0


def _is_outer(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    rank = max(len(first), len(second))
    pairs = [*zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True)]
    return any(one == 1 < other for one, other in pairs) and any(other == 1 < one for one, other in pairs)
