"""Weights that a person already has: a ``state_dict`` saved by torch, or a safetensors file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.spaces.ops import shape_text
from harness.system.errors import ContentError, UsageError
from harness.training.user_modules.execution import quiet

_MAX_NAMES = 5  # of a kind in a message
_COUNTER = "num_batches_tracked"  # of BN, without an effect on predictions


@dataclass(frozen=True, slots=True)
class _State:
    """Tensors of a file by name, without the prefix of the names.

    Attributes:
        location: Keys of the dictionaries that contain the tensors, and the prefix, such as ``state_dict.module.``.
        faults: Differences from the names and shapes of the module, by kind; empty if the tensors fit.
    """

    location: str
    tensors: Mapping[str, Tensor]
    faults: Mapping[str, list[str]]


def load_weights(module: nn.Module, path: Path, name: str) -> str:
    """Load weights of a file into a module, and return the location in the file, empty for the top.

    Accepted are safetensors files and files of ``torch.save`` without code (``weights_only``): a ``state_dict``, also
    within dictionaries such as ``{"model": ...}``, and with a common prefix of all names such as ``module.``.

    Raises:
        UsageError: There is no such file.
        ContentError: The file cannot be read, or names or shapes differ from the module.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    is_safe = path.suffix == ".safetensors"
    try:
        with quiet(str(path)):
            content: Any = load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
    except ContentError as error:
        message = f"{path} is neither a safetensors file nor a state_dict, and no other file is read"
        hint = "write the weights by torch.save(module.state_dict(), FILE)"
        raise ContentError(message, hint=hint) from error
    states = [_fitted(module, location, tensors) for location, tensors in _dictionaries(content, "")]
    if not states:
        raise ContentError(f"{path} contains no tensors by name")
    best = min(states, key=lambda state: (sum(map(len, state.faults.values())), len(state.location)))
    if best.faults:
        texts = [f"{kind}: {_listed(names)}" for kind, names in best.faults.items()]
        raise ContentError(f"the weights {path} do not fit {name}: {'; '.join(texts)}")
    fitting = [state for state in states if not state.faults]
    if len(fitting) > 1:
        places = _listed([state.location.removesuffix(".") or "the top" for state in fitting])
        hint = "write the weights to test into a file of their own by torch.save(checkpoint[KEY], FILE)"
        raise ContentError(f"{path} contains several sets of weights that fit {name}: {places}", hint=hint)
    module.load_state_dict(best.tensors, strict=False)
    return best.location.removesuffix(".")


def _dictionaries(content: Any, location: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if isinstance(content, Mapping):
        tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if tensors:
            yield location, tensors
        for key, value in content.items():
            yield from _dictionaries(value, f"{location}{key}.")


def _fitted(module: nn.Module, location: str, tensors: Mapping[str, Tensor]) -> _State:
    expected = {key: tensor for key, tensor in module.state_dict().items() if not key.endswith(_COUNTER)}
    prefixes = Counter(key[: -len(name)] for key in tensors for name in expected if f".{key}".endswith(f".{name}"))
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    state = {key.removeprefix(prefix): value for key, value in tensors.items() if not key.endswith(_COUNTER)}
    # A tensor of several names is stored once.
    stored = {expected[key].data_ptr() for key in state.keys() & expected.keys()}
    faults = {
        "missing": [key for key, tensor in expected.items() if key not in state and tensor.data_ptr() not in stored],
        "unexpected": [key for key in state if key not in expected],
        "different": [
            f"{key} ({_form(state[key])} in place of {_form(tensor)})"
            for key, tensor in expected.items()
            if key in state and _form(state[key]) != _form(tensor)
        ],
    }
    return _State(location + prefix, state, {kind: names for kind, names in faults.items() if names})


def _form(tensor: Tensor) -> str:
    """Numbers that are not real have their type before the shape."""
    shape = shape_text(tuple(tensor.shape)) or "a number"
    if tensor.is_meta or tensor.layout != torch.strided:
        return f"{'meta' if tensor.is_meta else tensor.layout} {shape}"
    return shape if tensor.is_floating_point() else f"{tensor.dtype} {shape}"


def _listed(names: list[str]) -> str:
    further = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {further} more" if further > 0 else "")
