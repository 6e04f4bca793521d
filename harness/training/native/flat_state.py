"""The state of a torch network and of its optimizer as flat arrays, in the order of the native engine, and back.

The engine's order is that of ``program.py``: parameters, each once, then running means and variances. Torch's
``state_dict`` has another, and a tied kernel once a user.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.training.recipe import Optimizer


def _engine_tensors(network: nn.Module) -> list[Tensor]:
    """Return parameters, each once, then means and variances, in the order of the engine's state."""
    statistics = [
        getattr(module, name)
        for module in network.modules()
        if isinstance(module, _BatchNorm)
        for name in ("running_mean", "running_var")
    ]
    return [*network.parameters(), *statistics]


def flat_state(network: nn.Module, real: torch.dtype) -> Tensor:
    """Return a network's own state, (state_size,)."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in _engine_tensors(network)]).to(real)


def _parts(network: nn.Module, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return each tensor of the network with its part of a flat state."""
    pairs, at = [], 0
    for tensor in _engine_tensors(network):
        pairs.append((tensor, flat[at : at + tensor.numel()].view(tensor.shape)))
        at += tensor.numel()
    return pairs


def restore(network: nn.Module, state: Tensor) -> None:
    """Copy a flat state back into the network."""
    with torch.no_grad():
        for tensor, part in _parts(network, state):
            tensor.copy_(part)


def flat_of(network: nn.Module, tensors: list[Tensor], real: torch.dtype) -> Tensor:
    """Return as a flat state the tensors that stand for those of ``state_tensors``, as averages do."""
    named = dict(zip((tensor.data_ptr() for tensor in state_tensors(network)), tensors, strict=True))
    return torch.cat([named[tensor.data_ptr()].reshape(-1) for tensor in _engine_tensors(network)]).to(real)


def average_tensors(network: nn.Module, flat: Tensor) -> list[Tensor]:
    """Return the parts of a flat state in the order of ``state_tensors``, each a tensor of its own."""
    named = {tensor.data_ptr(): part for tensor, part in _parts(network, flat)}
    return [named[tensor.data_ptr()].to(tensor.dtype).clone() for tensor in state_tensors(network)]


def state_tensors(network: nn.Module) -> list[Tensor]:
    """Return all floating tensors of a network's state; a tied kernel comes once a user."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


# What an optimizer remembers of each parameter, by torch's names.
MEMORIES = {Optimizer.SGD: ("momentum_buffer",), Optimizer.ADAM: ("exp_avg", "exp_avg_sq")}


def _kind(optimizer: torch.optim.Optimizer) -> Optimizer:
    return Optimizer.ADAM if isinstance(optimizer, torch.optim.Adam) else Optimizer.SGD


def flat_optimizer_state(network: nn.Module, optimizer: torch.optim.Optimizer, real: torch.dtype) -> list[Tensor]:
    """Return the optimizer's two kinds of state, flat, zeros before the first step; the second is empty for SGD."""
    found = []
    for name in MEMORIES[_kind(optimizer)]:
        parts = []
        for parameter in network.parameters():
            kept = optimizer.state[parameter].get(name) if parameter in optimizer.state else None
            none = torch.zeros(parameter.numel(), device=parameter.device)
            parts.append(none if kept is None else kept.reshape(-1))
        found.append(torch.cat(parts).to(real))
    return [*found, torch.empty(0, dtype=real)]


def restore_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, optimizer_state: list[Tensor], steps: int
) -> None:
    """Copy flat state back into the optimizer, as torch leaves it after so many steps."""
    kind = _kind(optimizer)
    for name, memory in zip(MEMORIES[kind], optimizer_state, strict=False):
        at = 0
        for parameter in network.parameters():
            part = memory[at : at + parameter.numel()].view(parameter.shape)
            optimizer.state[parameter][name] = part.to(parameter.dtype).clone()
            at += parameter.numel()
    if kind is Optimizer.ADAM:
        for parameter in network.parameters():
            optimizer.state[parameter]["step"] = torch.tensor(float(steps))
