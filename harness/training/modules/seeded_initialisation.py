"""Torch's own first weights from a generator of one's own.

torch's modules draw their first weights from the generator of the whole process. Two threads that seed it and draw at
the same time get each other's numbers, so a run draws from a generator that is its alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# What torch draws first weights with. A test finds out when it draws with something else.
_DRAWS = (Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)


class _Drawing(TorchFunctionMode):  # torch's way to see the calls of a block; it holds for one thread only
    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        drawing = {"generator": self.generator} if function in _DRAWS else {}
        return function(*arguments, **{**(named or {}), **drawing})


def drawing_from(generator: torch.Generator) -> TorchFunctionMode:
    """Let modules that are built in the block, and ``nn.init``, draw from a generator; the process's own is not used.

    Args:
        generator: of the CPU. Seeded with a number it gives what ``torch.manual_seed`` with that number gives.
    """
    return _Drawing(generator)
