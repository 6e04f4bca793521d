"""BN statistics recomputed for weights that no batch has ever passed through, as averaged ones are.

Averaged weights come with averaged statistics, but those are of the weights that were averaged, not of the average
(Izmailov et al., arXiv 1803.05407, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Gathered:
    """Sums over everything that one BN was given, in float64: a number a mean, be it a channel's or a group's."""

    def __init__(self, norm: _BatchNorm) -> None:
        self.count = 0
        # Not the scale's device: a BN may have no scale.
        assert norm.running_mean is not None
        self.sums = torch.zeros(2, norm.num_features, dtype=torch.float64, device=norm.running_mean.device)

    def add(self, norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Add what a BN is given, (batch, channels) or (batch, channels, height, width)."""
        by_channel = given[0].detach().double().transpose(0, 1)
        # (means, values): channels that share a mean are neighbours.
        each = by_channel.reshape(self.sums.shape[1], -1)
        self.count += each.shape[1]
        self.sums += torch.stack([each.sum(1), (each * each).sum(1)])

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return each mean and unbiased variance."""
        mean, square = self.sums / self.count
        return mean, (square - mean * mean).clamp(min=0) * (self.count / max(1, self.count - 1))


def recompute_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every BN to those of all that the batches bring it, dropout off.

    On the way each BN normalises by the batch's own statistics, so that layers behind it get what they will get; with
    some hundred images a batch that holds closely. The network is left in evaluation mode.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    gathered = {norm: _Gathered(norm) for norm in norms}
    network.eval()
    hooks = [norm.train().register_forward_pre_hook(sums.add) for norm, sums in gathered.items()]
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    network.eval()
    for norm, sums in gathered.items():
        mean, variance = sums.moments()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
