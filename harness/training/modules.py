"""From an architecture to a torch network with first weights; each op builds its own module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.training.recipe import Initialisation, Recipe
from search_spaces.modules import FastDropout, PosedConv2d
from search_spaces.network import Architecture, Task, analyse
from search_spaces.ops import Kernel, Op, Residual, Shape


class _Residual(nn.Module):
    """Adds its input to what its ops make of it."""

    def __init__(self, ops: nn.Sequential) -> None:
        super().__init__()
        self.ops = ops

    def forward(self, values: Tensor) -> Tensor:
        return values + self.ops(values)  # type: ignore[no-any-return]  # Sequential returns Any


def sequence(
    ops: tuple[Op, ...], shape: Shape, members: int | None = None, tied: dict[str, Tensor] | None = None
) -> nn.Sequential:
    """Return the modules of ops that get ``shape``, tied kernels shared.

    Args:
        members: of a population, whose channels lie side by side; None for a network by itself.
        tied: kernels that are known by a name; added to.
    """
    tied = {} if tied is None else tied
    modules: list[nn.Module] = []
    for op in ops:
        if isinstance(op, Residual):
            module: nn.Module = _Residual(sequence(op.ops, shape, members, tied))
        else:
            module = op.module(shape, members)
        if isinstance(module, nn.Conv2d) and isinstance(op, Kernel) and op.tie is not None:
            module.weight = tied.setdefault(op.tie, module.weight)
        modules.append(module)
        shape = op.shape(shape)
    return nn.Sequential(*modules)


# What may stand behind a head that says nothing yet: it lets the gradient through all the same.
_TRANSPARENT = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, FastDropout)


class Network(nn.Module):
    """The ops of an architecture in order; takes (batch, channels, rows, columns), gives (batch, classes) logits."""

    def __init__(self, ops: nn.Sequential) -> None:
        super().__init__()
        self.ops = ops

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (batch, classes)."""
        # A network may end in a 1x1 map; the loss wants a vector.
        return torch.flatten(self.ops(images), 1)


def build(architecture: Architecture, task: Task) -> Network:
    """Return the network as a module with torch's own first weights.

    Raises:
        ShapeError: the ops do not fit together.
        AssertionError: torch counts other parameters than ``search_spaces.network``; a fault of this program.
    """
    expected = analyse(architecture, task).parameters
    network = Network(sequence(architecture.ops, task.input_shape))
    counted = sum(parameter.numel() for parameter in network.parameters())
    if counted != expected:
        raise AssertionError(
            f"torch counts {counted} parameters, search_spaces.network {expected}: please report this network"
        )
    return network


def draw_first_weights(network: Network, recipe: Recipe) -> None:
    """Give a network the recipe's first weights, from torch's own generator; a tied kernel is drawn once."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if recipe.initialisation is not Initialisation.TORCH:
        for weight in {id(module.weight): module.weight for module in convolutions}.values():
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        for bias in (module.bias for module in convolutions if module.bias is not None):
            nn.init.zeros_(bias)
    if recipe.initialisation is Initialisation.DIRAC:
        for module in convolutions:
            poses = module.poses if isinstance(module, PosedConv2d) else 1
            if module.in_channels == poses * module.out_channels:
                nn.init.zeros_(module.weight)
                # The first pose of a kernel hands on the first pose of its input, and so each pose its like.
                nn.init.dirac_(module.weight[:, ::poses], module.groups)
    if recipe.zero_head:
        _zero_init_head(network)


def _zero_init_head(network: Network) -> None:
    """Set the last convolution or linear layer to zero, so that all classes begin equal.

    It stays as drawn where a BN or a ReLU behind it would make nothing of that, or where its kernel is another's too.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    last = next((module for module in reversed(list(network.ops)) if not isinstance(module, _TRANSPARENT)), None)
    if not isinstance(last, nn.Conv2d | nn.Linear) or sum(layer.weight is last.weight for layer in layers) > 1:
        return
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)


def seed_dropout(network: Network, generator: torch.Generator) -> None:
    """Make every dropout of the network draw from ``generator``."""
    for module in network.modules():
        if isinstance(module, FastDropout):
            module.generator = generator


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Let torch draw from this seed in the block, as first weights are drawn; its generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def recompute_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every BN to those of all that the batches bring it, dropout off.

    Averaged weights come with averaged statistics, but those are of the weights that were averaged, not of the average
    (Izmailov et al., arXiv 1803.05407, section 3.2). On the way each BN normalises by the batch's own statistics, so
    that layers behind it get what they will get; with some hundred images a batch that holds closely. The network is
    left in evaluation mode.
    """
    counts: dict[nn.Module, int] = {}
    sums: dict[nn.Module, Tensor] = {}

    def add(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        by_channel = given[0].detach().double().transpose(0, 1)  # (channels, batch, ...)
        # (means, values): channels that share a mean are neighbours.
        each = by_channel.reshape(sums[norm].shape[1], -1)
        counts[norm] += each.shape[1]
        sums[norm] += torch.stack([each.sum(1), (each * each).sum(1)])

    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    network.eval()
    for norm in norms:
        # Not the scale's device: a BN may have no scale.
        assert norm.running_mean is not None
        counts[norm] = 0
        sums[norm] = torch.zeros(2, norm.num_features, dtype=torch.float64, device=norm.running_mean.device)
    hooks = [norm.train().register_forward_pre_hook(add) for norm in norms]
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    network.eval()
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        count, (mean, square) = counts[norm], sums[norm] / counts[norm]
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((square - mean * mean).clamp(min=0) * (count / max(1, count - 1)))
