"""From an architecture to a torch module, one module an op, tied kernels shared."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.training.modules.posed import PosedBatchNorm, PosedConv2d
from harness.training.recipe import Initialisation
from search_spaces import architecture as spec
from search_spaces.cost import Analysis, analyse
from search_spaces.shapes import Shape, output_shape
from search_spaces.task import MNIST, Task


class Network(nn.Module):
    """The ops of an architecture in order; takes (batch, channels, rows, columns), gives (batch, classes) logits."""

    def __init__(self, ops: nn.Sequential) -> None:
        """Take the built ops."""
        super().__init__()
        self.ops = ops

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (batch, classes)."""
        # A network may end in a 1x1 map; the loss wants a vector.
        return torch.flatten(self.ops(images), 1)


class Residual(nn.Module):
    """Adds its input to what its ops make of it."""

    def __init__(self, ops: nn.Sequential) -> None:
        """Take the built ops."""
        super().__init__()
        self.ops = ops

    def forward(self, values: Tensor) -> Tensor:
        """Return a tensor of the input's shape."""
        return values + self.ops(values)  # type: ignore[no-any-return]  # Sequential returns Any


class FlatLinear(nn.Linear):
    """A linear layer that flattens a map first, so that one op stays one module."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, features)."""
        return super().forward(torch.flatten(input, 1))


class FastDropout(nn.Module):
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

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows."""
        return f"p={self.p}, channels={self.channels}"


def build(architecture: spec.Architecture, task: Task = MNIST) -> Network:
    """Return the network as a module with torch's own first weights.

    Raises:
        ShapeError: the ops do not fit together.
        AssertionError: torch counts other parameters than ``search_spaces.cost``; a fault of this program.
    """
    analysis = analyse(architecture, task)
    tied: dict[str, Tensor] = {}
    network = Network(_sequence(architecture.ops, task.input_shape, tied))
    _check_count(network, analysis)
    return network


def initialise(network: Network, initialisation: Initialisation) -> None:
    """Draw first weights from torch's current generator; a tied kernel is drawn once."""
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


def seed_dropout(network: Network, generator: torch.Generator) -> None:
    """Make every dropout of the network draw from ``generator``."""
    for module in network.modules():
        if isinstance(module, FastDropout):
            module.generator = generator


def _sequence(ops: tuple[spec.Op, ...], shape: Shape, tied: dict[str, Tensor]) -> nn.Sequential:
    modules = []
    for op in ops:
        modules.append(_module(op, shape, tied))
        shape = output_shape(op, shape)
    return nn.Sequential(*modules)


def _module(op: spec.Op, shape: Shape, tied: dict[str, Tensor]) -> nn.Module:
    match op:
        case spec.Conv():
            return _tie(convolution(op, shape[0]), op.tie, tied)
        case spec.DepthwiseConv():
            conv = nn.Conv2d(shape[0], shape[0], 3, op.stride, op.padding, groups=shape[0], bias=op.bias)
            return _tie(conv, op.tie, tied)
        case spec.BatchNorm():
            return batch_norm(op, shape[0], of_maps=len(shape) == 3)
        case spec.PReLU():
            return nn.PReLU()  # one slope, 0.25 at first
        case spec.Linear():
            return FlatLinear(math.prod(shape), op.out_features)
        case spec.Residual():
            return Residual(_sequence(op.ops, shape, tied))
        case _:
            return by_channel(op)


def by_channel(
    op: spec.ReLU
    | spec.LeakyReLU
    | spec.Dropout
    | spec.Dropout2d
    | spec.MaxPool
    | spec.AvgPool
    | spec.Unshuffle
    | spec.GlobalAvgPool,
) -> nn.Module:
    """Return the module of an op that learns nothing and treats each channel by itself, however many there are."""
    match op:
        case spec.ReLU():
            return nn.ReLU()
        case spec.LeakyReLU():
            return nn.LeakyReLU(op.slope)
        case spec.Dropout():
            return FastDropout(op.p)
        case spec.Dropout2d():
            return FastDropout(op.p, channels=True)
        case spec.MaxPool():
            return nn.MaxPool2d(op.size)
        case spec.AvgPool():
            return nn.AvgPool2d(op.size)
        case spec.Unshuffle():
            return nn.PixelUnshuffle(op.size)
        case spec.GlobalAvgPool():
            return nn.AdaptiveAvgPool2d(1)


def convolution(op: spec.Conv, channels: int, members: int = 1) -> nn.Conv2d:
    """Return the module of a convolution of ``channels`` channels, for so many members side by side."""
    channels, out, groups = members * channels, members * op.out_channels, members * op.groups
    window, padding = spec.kernel_shape(op), spec.paddings(op)
    if op.poses > 1:
        return PosedConv2d(op.poses, channels, out, window[0], op.stride, padding, groups=groups, bias=op.bias)
    return nn.Conv2d(channels, out, window, op.stride, padding, groups=groups, bias=op.bias)


def batch_norm(op: spec.BatchNorm, channels: int, *, of_maps: bool) -> nn.Module:
    """Return the module of a BN of maps or of vectors; where it is unscaled, it has no scale that could be trained."""
    if op.poses > 1:
        norm: nn.Module = PosedBatchNorm(channels, op.poses, shared=op.shared)
    else:
        norm = nn.BatchNorm2d(channels) if of_maps else nn.BatchNorm1d(channels)
    if op.unscaled:
        norm.register_parameter("weight", None)
    return norm


def _tie(conv: nn.Conv2d, name: str | None, tied: dict[str, Tensor]) -> nn.Conv2d:
    if name is not None:
        conv.weight = tied.setdefault(name, conv.weight)
    return conv


def _check_count(network: Network, analysis: Analysis) -> None:
    counted = sum(parameter.numel() for parameter in network.parameters())
    if counted != analysis.parameters:
        raise AssertionError(
            f"torch counts {counted} parameters, search_spaces.cost {analysis.parameters}: please report this network"
        )
