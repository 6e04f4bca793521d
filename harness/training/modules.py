"""From an architecture to a torch network with first weights; each op has its module in a row of ``MODULES``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.training.recipe import Initialisation, Recipe
from search_spaces import ops as spec
from search_spaces.cost import analyse, output_shape
from search_spaces.network import Architecture
from search_spaces.poses import channel_order, mirrored, turns
from search_spaces.task import Shape, Task


class _Residual(nn.Module):
    """Adds its input to what its ops make of it."""

    def __init__(self, ops: nn.Sequential) -> None:
        super().__init__()
        self.ops = ops

    def forward(self, values: Tensor) -> Tensor:
        return values + self.ops(values)  # type: ignore[no-any-return]  # Sequential returns Any


class _FlatLinear(nn.Linear):
    """A linear layer that flattens a map first, so that one op stays one module."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(torch.flatten(input, 1))


class _FastDropout(nn.Module):
    """Dropout whose mask costs two random bytes a value; ``p`` is kept to within 1/65,536.

    torch draws a Bernoulli variable a value, which was 40 % of a training step of ``seed4`` on a CPU. Here
    one 64-bit draw serves four values. ``channels`` drops whole channels instead of single values.
    """

    def __init__(self, p: float, *, channels: bool = False) -> None:
        """Keep the rate; the generator is given by ``seed_dropout`` and is torch's own until then."""
        super().__init__()
        self.p = p
        self.channels = channels
        self.generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Return the values, in training with a share ``p`` zeroed and the rest scaled by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return values
        count = values.shape[0] * values.shape[1] if self.channels else values.numel()
        draws = torch.empty((count + 3) // 4, dtype=torch.int64, device=values.device)
        draws.random_(-(2**63), None, generator=self.generator)
        threshold = min(round(self.p * 65_536) - 32_768, 32_767)
        keep = (draws.view(torch.int16)[:count] >= threshold).to(values.dtype).mul_(1 / (1 - self.p))
        if self.channels:
            return values * keep.view(*values.shape[:2], *[1] * (values.dim() - 2))
        # The mask has no order of its own, so it takes the memory order of the values: the product is dense.
        return values * keep.as_strided(values.shape, values.stride())


class _GroupedLinear(nn.Module):
    """A linear layer a member; its weights are stored as those of all members one below the other."""

    def __init__(self, features: int, out_features: int, members: int) -> None:
        super().__init__()
        self.members = members
        self.weight = nn.Parameter(torch.empty(members * out_features, features))
        self.bias = nn.Parameter(torch.empty(members * out_features))

    def forward(self, values: Tensor) -> Tensor:
        each = values.reshape(len(values), self.members, -1)  # (batch, members, features)
        weight = self.weight.view(self.members, -1, each.shape[-1])
        return torch.einsum("nmf,mof->nmo", each, weight).flatten(1) + self.bias


class _GroupedPReLU(nn.Module):
    """A PReLU a member, each with one slope for all its channels: (members,)."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members))

    def forward(self, values: Tensor) -> Tensor:
        each = values.reshape(len(values), len(self.weight), -1)  # (batch, members, features)
        return functional.prelu(each, self.weight).view(values.shape)


def sequence(ops: tuple[spec.Op, ...], shape: Shape, members: int | None = None) -> nn.Sequential:
    """Return the modules of ops that get ``shape``, tied kernels shared.

    Args:
        members: of a population, whose channels lie side by side; None for a network by itself.
    """
    return _sequence(ops, shape, members, {})


def _sequence(ops: tuple[spec.Op, ...], shape: Shape, members: int | None, tied: dict[str, Tensor]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for op in ops:
        if isinstance(op, spec.Residual):
            module: nn.Module = _Residual(_sequence(op.ops, shape, members, tied))
        else:
            module = MODULES[type(op)](op, shape, members)
        if isinstance(module, nn.Conv2d) and isinstance(op, spec.Conv | spec.DepthwiseConv) and op.tie is not None:
            module.weight = tied.setdefault(op.tie, module.weight)
        modules.append(module)
        shape = output_shape(op, shape)
    return nn.Sequential(*modules)


def _convolution(op: spec.Conv, shape: Shape, members: int | None) -> nn.Module:
    channels, out, groups = ((members or 1) * count for count in (shape[0], op.out_channels, op.groups))
    window, padding = spec.kernel_shape(op), spec.paddings(op)
    if op.poses > 1:
        return _PosedConv2d(op.poses, channels, out, window[0], op.stride, padding, groups=groups, bias=op.bias)
    return nn.Conv2d(channels, out, window, op.stride, padding, groups=groups, bias=op.bias)


def _depthwise(op: spec.DepthwiseConv, shape: Shape, members: int | None) -> nn.Module:
    channels = (members or 1) * shape[0]
    return nn.Conv2d(channels, channels, 3, op.stride, op.padding, groups=channels, bias=op.bias)


def _batch_norm(op: spec.BatchNorm, shape: Shape, members: int | None) -> nn.Module:
    channels = (members or 1) * shape[0]
    if op.poses > 1:
        norm: nn.Module = _PosedBatchNorm(channels, op.poses, shared=op.shared)
    else:
        norm = nn.BatchNorm2d(channels) if len(shape) == 3 else nn.BatchNorm1d(channels)
    if op.unscaled:
        norm.register_parameter("weight", None)
    return norm


def _linear(op: spec.Linear, shape: Shape, members: int | None) -> nn.Module:
    features = math.prod(shape)
    return _GroupedLinear(features, op.out_features, members) if members else _FlatLinear(features, op.out_features)


# From an op, the shape before it and the members of a population, None for a network by itself. ``res`` is not here: it
# is a sequence of its own.
MODULES: Mapping[type[spec.Op], Callable[[Any, Shape, int | None], nn.Module]] = {
    spec.Conv: _convolution,
    spec.DepthwiseConv: _depthwise,
    spec.BatchNorm: _batch_norm,
    spec.ReLU: lambda op, shape, members: nn.ReLU(),
    spec.LeakyReLU: lambda op, shape, members: nn.LeakyReLU(op.slope),
    # One slope, 0.25 at first.
    spec.PReLU: lambda op, shape, members: _GroupedPReLU(members) if members else nn.PReLU(),
    spec.Swish: lambda op, shape, members: nn.SiLU(),
    spec.Dropout: lambda op, shape, members: _FastDropout(op.p),
    spec.Dropout2d: lambda op, shape, members: _FastDropout(op.p, channels=True),
    spec.MaxPool: lambda op, shape, members: nn.MaxPool2d(op.size),
    spec.AvgPool: lambda op, shape, members: nn.AvgPool2d(op.size),
    spec.Unshuffle: lambda op, shape, members: nn.PixelUnshuffle(op.size),
    spec.GlobalAvgPool: lambda op, shape, members: nn.AdaptiveAvgPool2d(1),
    spec.Linear: _linear,
}


def _in_poses(kernel: Tensor, poses: int) -> Tensor:
    # (out, in, rows, rows) to (out * poses, in, rows, rows), the poses of one kernel side by side as the next expects.
    posed = []
    for pose in range(poses):
        seen = _reordered(kernel, pose, poses)
        if mirrored(pose):
            seen = seen.flip(3)
        posed.append(torch.rot90(seen, turns(pose, poses), (2, 3)))
    return torch.stack(posed, 1).flatten(0, 1)


def _reordered(kernel: Tensor, pose: int, poses: int) -> Tensor:
    if kernel.shape[1] == 1:
        return kernel
    # Not an index: it would be copied to the device at each use, which the capture of a CUDA graph forbids.
    parts = kernel.reshape(len(kernel), -1, poses, *kernel.shape[2:]).unbind(2)
    return torch.stack([parts[place] for place in channel_order(pose, poses, poses)], 2).flatten(1, 2)


class _PosedConv2d(nn.Conv2d):
    """A convolution with one learned kernel, and one bias, for each ``poses`` neighbouring outputs."""

    def __init__(self, poses: int, channels: int, out: int, *further: Any, **named: Any) -> None:
        """Make room for the weights, (out / poses, channels / groups, window, window); ``out`` counts all poses.

        What follows are the arguments of ``nn.Conv2d``.
        """
        super().__init__(channels, out // poses, *further, **named)
        self.poses = poses

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, out, height, width)."""
        bias = None if self.bias is None else self.bias.repeat_interleave(self.poses)
        return functional.conv2d(
            input, _in_poses(self.weight, self.poses), bias, self.stride, self.padding, groups=self.groups
        )


class _PosedBatchNorm(_BatchNorm):
    """Batch normalisation of maps or vectors with one shift, and one scale, for each ``poses`` neighbouring channels.

    Statistics are each channel's own, (channels,), or those of all values of these neighbours where they are
    ``shared``, (channels / poses,).
    """

    def __init__(self, channels: int, poses: int, *, shared: bool = False) -> None:
        super().__init__(channels // poses if shared else channels)
        self.poses = poses
        self.shared = shared
        self.weight = nn.Parameter(torch.ones(channels // poses))
        self.bias = nn.Parameter(torch.zeros(channels // poses))

    def forward(self, input: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.shared:
            # What channels share they are given as one channel of more positions: (batch, channels / poses, values).
            joined = input.reshape(input.shape[0], self.num_features, -1)
            return self._normalised(joined, self.weight, self.bias).reshape(input.shape)
        scale = None if self.weight is None else self.weight.repeat_interleave(self.poses)
        return self._normalised(input, scale, self.bias.repeat_interleave(self.poses))

    def _normalised(self, values: Tensor, scale: Tensor | None, shift: Tensor) -> Tensor:
        statistics, momentum = (self.running_mean, self.running_var), self.momentum or 0.0
        return functional.batch_norm(values, *statistics, scale, shift, self.training, momentum, self.eps)


# What may stand behind a head that says nothing yet: it lets the gradient through all the same.
_TRANSPARENT = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, _FastDropout)


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
        AssertionError: torch counts other parameters than ``search_spaces.cost``; a fault of this program.
    """
    expected = analyse(architecture, task).parameters
    network = Network(sequence(architecture.ops, task.input_shape))
    counted = sum(parameter.numel() for parameter in network.parameters())
    if counted != expected:
        raise AssertionError(
            f"torch counts {counted} parameters, search_spaces.cost {expected}: please report this network"
        )
    return network


def _initialise(network: Network, initialisation: Initialisation) -> None:
    # A tied kernel is drawn once.
    if initialisation is Initialisation.TORCH:
        return
    drawn: set[int] = set()
    for module in network.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if id(module.weight) not in drawn:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            drawn.add(id(module.weight))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def draw_first_weights(network: Network, recipe: Recipe) -> None:
    """Give a network the recipe's first weights, from torch's own generator."""
    _initialise(network, recipe.initialisation)
    if recipe.initialisation is Initialisation.DIRAC:
        _identity_init(network)
    if recipe.zero_head:
        _zero_init_head(network)


def _identity_init(network: Network) -> None:
    for module in network.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        poses = module.poses if isinstance(module, _PosedConv2d) else 1
        if module.in_channels == poses * module.out_channels:
            nn.init.zeros_(module.weight)
            # The first pose of a kernel hands on the first pose of its input, and so each pose its like.
            nn.init.dirac_(module.weight[:, ::poses], module.groups)


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
        if isinstance(module, _FastDropout):
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
