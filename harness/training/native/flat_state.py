"""The state of a torch network and of its optimizer as flat arrays, in the order of the native engine, and back.

The engine's order is that of ``program.py``: parameters, each once, then running means and variances. Torch's
``state_dict`` has another, and a tied kernel once a user. A grouped network of several members keeps it too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.training.recipe import Optimizer


def engine_tensors(network: nn.Module) -> list[Tensor]:
    """Return parameters, each once, then means and variances, in the order of the engine's state."""
    return [*network.parameters(), *(tensor for tensor in network.buffers() if tensor.is_floating_point())]


def flat_state(network: nn.Module, real: torch.dtype) -> Tensor:
    """Return a network's own state, (state_size,)."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in engine_tensors(network)]).to(real)


def _parts(network: nn.Module, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return each tensor of the network with its part of a flat state."""
    tensors = engine_tensors(network)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [(tensor, part.view(tensor.shape)) for tensor, part in zip(tensors, parts, strict=True)]


def restore(network: nn.Module, state: Tensor) -> None:
    """Copy a flat state back into the network."""
    with torch.no_grad():
        for tensor, part in _parts(network, state):
            tensor.copy_(part)


def flat_of(network: nn.Module, tensors: list[Tensor], real: torch.dtype) -> Tensor:
    """Return as a flat state the tensors that stand for those of ``state_tensors``, as averages do."""
    named = dict(zip((tensor.data_ptr() for tensor in state_tensors(network)), tensors, strict=True))
    return torch.cat([named[tensor.data_ptr()].reshape(-1) for tensor in engine_tensors(network)]).to(real)


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
    """Return each kind of state that the optimizer keeps, flat, (parameter_count,); zeros before the first step."""
    found = []
    for name in MEMORIES[_kind(optimizer)]:
        kept = [(parameter, optimizer.state.get(parameter, {}).get(name)) for parameter in network.parameters()]
        parts = [torch.zeros_like(parameter) if value is None else value for parameter, value in kept]
        found.append(torch.cat([part.detach().reshape(-1) for part in parts]).to(real))
    return found


def restore_optimizer(network: nn.Module, optimizer: torch.optim.Optimizer, memories: list[Tensor], steps: int) -> None:
    """Copy flat state back into the optimizer, as torch leaves it after so many steps."""
    parameters = list(network.parameters())
    sizes = [parameter.numel() for parameter in parameters]
    for name, memory in zip(MEMORIES[_kind(optimizer)], memories, strict=True):
        for parameter, part in zip(parameters, torch.split(memory, sizes), strict=True):
            optimizer.state[parameter][name] = part.view(parameter.shape).to(parameter.dtype).clone()
    if _kind(optimizer) is Optimizer.ADAM:
        for parameter in parameters:
            optimizer.state[parameter]["step"] = torch.tensor(float(steps))
